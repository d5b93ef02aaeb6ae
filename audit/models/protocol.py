"""What the rest of audit needs of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from PIL import Image

from audit.base.errors import ModelError
from audit.base.settings import DTYPES, ENGINES
from audit.base.texts import readable
from audit.maps.trace import NOTHING_MORE, Need, Trace


def check_choices(dtype: str, engine: str) -> None:
    """Refuse a precision or an engine that there is not.

    Raises:
        ModelError: naming those that there are.
    """
    if dtype not in DTYPES:
        raise ModelError(f"dtype {dtype!r} is not supported: choose from {', '.join(DTYPES)}")
    if engine not in ENGINES:
        raise ModelError(f"engine {engine!r} is not known: choose from {', '.join(ENGINES)}")


@dataclass(frozen=True)
class Query:
    """One question to a model: a picture, a hypothesis, and perhaps a text premise.

    Attributes:
        truncate: whether the model may cut texts that are longer than it reads.

    Raises:
        TextError: a text is blank, too long, or has characters that no text has.
    """

    image: Path | Image.Image
    text: str
    premise: str | None = None
    truncate: bool = False

    def __post_init__(self) -> None:
        """Texts are one line, whoever asks."""
        object.__setattr__(self, "text", readable(self.text, "the hypothesis"))
        if self.premise is not None:
            object.__setattr__(self, "premise", readable(self.premise, "the premise"))


@dataclass(frozen=True)
class Fingerprint:
    """What produced an answer, so that two answers can be compared honestly.

    Attributes:
        name: short name of the model; names its folder of baselines.
        source: what was asked for: ``reference``, a folder, or a ModelScope id.
        revision: the revision of a ModelScope id, else empty.
        digest: over the four digests below: what the model computes, wherever it runs.
        weights, configuration, tokenizer, preprocessing: SHA-256 of each part.
        device, dtype: where and in which precision it runs.
        packages: versions of what computes.
        engine: ``reference`` for the model's own passes, ``fast`` for the same in another order.
    """

    name: str
    source: str
    revision: str
    digest: str
    weights: str
    configuration: str
    tokenizer: str
    preprocessing: str
    device: str
    dtype: str
    packages: dict[str, str]
    engine: str = "reference"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


class Model(Protocol):
    """A visual entailment model that can be audited."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The answers that the model can give, in its own order."""

    @property
    def methods(self) -> tuple[str, ...]:
        """The maps that it can finish readings for; the first is its default.

        Those of :data:`audit.maps.methods.METHODS` that come from the model. Occlusion and the
        controls work with any model.
        """

    @property
    def fingerprint(self) -> Fingerprint:
        """What this model is and where it runs."""

    def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
        """Answer the queries as one batch; one trace each, equal to what single calls give.

        Args:
            queries: what is asked.
            need: the readings that the traces must hold.

        Raises:
            ImageError: a picture cannot be read.
            MapError: a reading is asked for that the model cannot give: a method that is not
                among its methods, or a head or layer that it has not.
            ModelError: the model cannot answer such a query.
            TextError: a text is longer than the model reads, or it would see nothing of it.
        """


@runtime_checkable
class Scaling(Protocol):
    """What a model may offer besides: how it scales pictures.

    Hidden parts of a large picture are then drawn on what the model takes of it.
    """

    def scaled(self, image: Image.Image) -> Image.Image:
        """The picture at the size that the model takes, by its own preprocessing.

        The model gives the same answer to it as to ``image``.
        """
