"""What a change is: how it is planted in a copy of the model, and how that copy is audited."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from audit.cases.loading import Case
from audit.models.kit.altering import Plant
from audit.models.protocol import Model
from audit.studies.power.copies import Redraw

Family = Literal["weights", "attention", "preprocessing", "text", "learning", "harmless"]


@dataclass(frozen=True)
class Session:
    """Audited by pytest in a process of its own, in a copy of case files and pictures.

    Attributes:
        arguments: of pytest.
        environment: variables of the process.
        redraw: how the copies of pictures are written; None copies the files as they are.
    """

    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    redraw: Redraw | None = None

    @property
    def needs_xdist(self) -> bool:
        """Whether pytest-xdist must be installed."""
        return "-n" in self.arguments


@dataclass(frozen=True)
class Setting:
    """How a change is audited.

    Attributes:
        batch_size: 0 means all cases at once.
        engine: of models that have engines; empty for the plainest one.
        rewrite: makes a changed copy of a checkpoint's folder inside of another folder.
        around: a context that is open while the model answers.
        session: None means in the process of the study.
    """

    dtype: str = "float32"
    threads: int | None = None
    batch_size: int = 8
    order: Callable[[Sequence[Case]], list[Case]] = list
    engine: str = ""
    rewrite: Callable[[Path, Path], Path] | None = None
    around: Callable[[], AbstractContextManager[Any]] = nullcontext
    session: Session | None = None


@dataclass(frozen=True)
class Change:
    """One planted regression, or one harmless change.

    Attributes:
        id: also the name of its file of results.
        about: a description for the table.
        depends: see :class:`audit.models.kit.altering.Alteration`.
        unfit: why it makes no sense for the model; empty if it does, or if that shows only when it
            is planted.
    """

    id: str
    family: Family
    about: str
    plant: Plant
    setting: Setting = field(default_factory=Setting)
    depends: tuple[str, ...] = ()
    unfit: str = ""


def as_is(model: Model, _: int) -> Model:
    """Plants nothing."""
    return model
