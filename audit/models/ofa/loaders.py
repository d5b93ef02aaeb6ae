"""The loaders that audit itself registers: for embedded models, folders, and ModelScope ids.

``pyproject.toml`` names the four of them as entry points. Importing this module is quick: torch and
modelscope are imported only when a model is loaded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.base.errors import ModelError
from audit.base.extras import lacking, require
from audit.models.ofa import ENGINES, METHODS, embedded
from audit.models.ofa.description import described
from audit.models.ofa.sources import Checkpoint, folder_of, from_hub, id_of, in_folder
from audit.models.protocol import Known, Model


class _Loader(ABC):
    """What the four loaders have in common; see :class:`audit.models.protocol.Loader`."""

    about: str
    accepted: str
    options: Mapping[str, Sequence[str]] = {"engine": ENGINES}

    @abstractmethod
    def accepts(self, source: str) -> bool:
        """Whether ``source`` is written like one of this kind."""

    @abstractmethod
    def checkpoint(self, source: str) -> Checkpoint:
        """The folder of ``source``, made or downloaded if it is not there.

        Raises:
            ModelError: there is no such checkpoint.
        """

    @abstractmethod
    def labels(self, source: str) -> tuple[str, ...] | None:
        """The labels, if they are known without making or downloading the folder, else None.

        Raises:
            ModelError: the folder is not that of such a model.
        """

    def known(self, source: str, *, fetch: bool = False) -> Known:
        """The methods, which every OFA has, and what is known of ``source``."""
        if not fetch:
            return Known(self.labels(source), METHODS, lacking=lacking("ofa"))
        found = self.checkpoint(source)
        return Known(_labels(found.folder), METHODS, found.folder, found.revision, lacking("ofa"))

    def load(
        self, source: str, *, device: str, dtype: str, threads: int | None, **options: Any
    ) -> Model:
        """Load the model; ``engine`` is OFA's own option, see :mod:`audit.models.ofa.fast`."""
        require("ofa", source)
        from audit.models.ofa.adapter import OFAVisualEntailment  # noqa: PLC0415  torch is slow

        return OFAVisualEntailment(
            self.checkpoint(source),
            device=device,
            dtype=dtype,
            threads=threads,
            engine=options.get("engine", ENGINES[0]),
        )


@dataclass(frozen=True)
class Embedded(_Loader):
    """A model that comes with audit; its source is its name."""

    accepted: str
    about: str

    def accepts(self, source: str) -> bool:
        """Whether it is exactly the model's name."""
        return source == self.accepted

    def checkpoint(self, source: str) -> Checkpoint:
        """The folder in the cache, unpacked at first use."""
        return Checkpoint(embedded.unpack(self.accepted), self.accepted, source)

    def labels(self, source: str) -> tuple[str, ...]:
        """The labels in the package."""
        del source
        return embedded.labels_of(self.accepted)


class Folder(_Loader):
    """A checkpoint folder of this machine."""

    about = "OFA visual entailment, a checkpoint in a folder of this machine"
    accepted = "a folder in ModelScope's format"

    def accepts(self, source: str) -> bool:
        """Whether there is such a folder."""
        return folder_of(source) is not None

    def checkpoint(self, source: str) -> Checkpoint:
        """The folder itself."""
        folder = folder_of(source)
        if folder is None:
            raise ModelError(f"{source}: no such checkpoint folder")
        return in_folder(source, folder)

    def labels(self, source: str) -> tuple[str, ...] | None:
        """The labels in the folder's answer file."""
        folder = folder_of(source)
        return None if folder is None else _labels(folder)


class ModelScope(_Loader):
    """A ModelScope id; only modelscope can look it up, so nothing is known before loading."""

    about = "OFA visual entailment, from ModelScope's cache or downloaded"
    accepted = "a ModelScope id such as iic/ofa_visual-entailment_snli-ve_large_en"

    def accepts(self, source: str) -> bool:
        """Whether it has the form of an id."""
        return id_of(source) is not None

    def checkpoint(self, source: str) -> Checkpoint:
        """The folder in ModelScope's cache; downloaded if it is not there."""
        wanted = id_of(source)
        if wanted is None:
            raise ModelError(f"{source}: not a ModelScope id")
        require("ofa", source)
        return from_hub(source, wanted)

    def labels(self, source: str) -> None:
        """Not known before loading."""
        del source


REFERENCE = Embedded("reference", "a small OFA that knows drawn scenes; comes with audit")
SHORTCUT = Embedded("shortcut", "the same, right for a wrong reason: it goes by watermarks")
FOLDER = Folder()
MODELSCOPE = ModelScope()


def resolve(source: str) -> Checkpoint:
    """The checkpoint that ``source`` means, for code that works with OFA's own weights.

    Raises:
        ModelError: it is not a checkpoint, or it is an id that is neither cached nor reachable.
    """
    accepted = (
        f"{REFERENCE.accepted} or {SHORTCUT.accepted}, {FOLDER.accepted}, or {MODELSCOPE.accepted}"
    )
    if not source.strip():
        raise ModelError(f"no model is named: give {accepted}")
    for each in (REFERENCE, SHORTCUT, FOLDER, MODELSCOPE):
        if each.accepts(source):
            return each.checkpoint(source)
    raise ModelError(f"{source}: no such checkpoint folder (give {accepted})")


def _labels(folder: Path) -> tuple[str, ...]:
    """The labels of a checkpoint folder, read from its answer file without loading the model.

    Raises:
        ModelError: the folder's descriptions cannot be read, or do not describe such a model.
    """
    return described(folder).labels
