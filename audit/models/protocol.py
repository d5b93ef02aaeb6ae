"""What the rest of audit needs from a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from PIL import Image

from audit.base.errors import ModelError
from audit.base.handed import picture_from
from audit.base.settings import DTYPES
from audit.base.texts import readable
from audit.maps.trace import NOTHING_MORE, Need, Trace


def check_dtype(dtype: str) -> None:
    """Refuse a precision that is not supported.

    Raises:
        ModelError: it is not; the message lists those that are.
    """
    if dtype not in DTYPES:
        raise ModelError(f"dtype {dtype!r} is not supported: choose from {', '.join(DTYPES)}")


GENERIC = "This is a picture."
"""The hypothesis that asks nothing: it is true of every picture, and of each part as much as of any
other."""


@dataclass(frozen=True)
class Query:
    """One question to a model: a picture, a hypothesis, and perhaps a text premise.

    Attributes:
        image: a picture, or the path of one. A text is taken for a path, and a file's bytes or an
            array (height, width, 3) of uint8 in RGB become a picture.
        truncate: whether the model may cut texts that are longer than it can read.
        generic: whether nothing in particular is asked. ``text`` is :data:`GENERIC` then; a model
            that has a question of its own for this, as chat models do, asks that instead.

    Raises:
        ImageError: what is given for a picture is none.
        TextError: a text is blank, too long, or has characters that do not belong in a text.
    """

    image: Path | Image.Image
    text: str
    premise: str | None = None
    truncate: bool = False
    generic: bool = False

    def __post_init__(self) -> None:
        """Make each text one line, and whatever is given for a picture a path or a picture."""
        given: Any = self.image
        if isinstance(given, str):
            object.__setattr__(self, "image", Path(given))
        elif not isinstance(given, Path | Image.Image):
            object.__setattr__(self, "image", picture_from(given))
        object.__setattr__(self, "text", readable(self.text, "the hypothesis"))
        if self.premise is not None:
            object.__setattr__(self, "premise", readable(self.premise, "the premise"))

    @property
    def without_question(self) -> Query:
        """The same picture, and nothing in particular asked about it."""
        return Query(self.image, GENERIC, generic=True)


@dataclass(frozen=True)
class Fingerprint:
    """What produced an answer, so that two answers can be compared honestly.

    Attributes:
        name: short name of the model, and the name of its folder of baselines.
        source: what was asked for: ``reference``, a folder, or a ModelScope id.
        revision: the revision of a ModelScope id, else empty.
        digest: digest of the four below: what the model computes, wherever it runs.
        weights, configuration, tokenizer, preprocessing: SHA-256 of each part.
        device, dtype: where and in which precision it runs.
        packages: versions of the packages that compute.
        engine: of OFA, ``reference`` for the model's own passes, ``fast`` for the same in another
            order; empty for models that have no engines.
        asking: digest of the asking file, which is part of ``configuration``, too; empty for models
            that have none.
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
    engine: str = ""
    asking: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; without ``asking`` for models that have no asking file."""
        return {name: value for name, value in asdict(self).items() if value or name != "asking"}


class Model(Protocol):
    """A visual entailment model that can be audited."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The answers that the model can give, in its own order."""

    @property
    def methods(self) -> tuple[str, ...]:
        """The maps for which it can finish readings; the first is its default.

        They are methods of :data:`audit.maps.methods.METHODS` that come from the model. Occlusion
        and the controls work with any model.
        """

    @property
    def fingerprint(self) -> Fingerprint:
        """What this model is and where it runs."""

    def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
        """Answer the queries as one batch: one trace for each, equal to that of a single call.

        Args:
            queries: what is asked.
            need: the readings that the traces must hold.

        Raises:
            ImageError: a picture cannot be read.
            MapError: the model cannot give one of the readings, because it has no such method, head
                or layer.
            ModelError: the model cannot answer one of the queries.
            TextError: a text is longer than the model reads, or the model would see nothing of it.
        """


@runtime_checkable
class Scaling(Protocol):
    """An optional part of a model: how it scales pictures.

    Parts of a large picture are then hidden in the scaled picture.
    """

    def scaled(self, image: Image.Image) -> Image.Image:
        """The picture at the size that the model uses, scaled by its own preprocessing.

        The model gives the same answer to it as to ``image``, and sees the same part of it.
        """


@runtime_checkable
class Decoding(Protocol):
    """An optional part of a model: whether its label is always its likeliest answer.

    A model that generates its answer may choose another: beam search also weighs the length.
    """

    @property
    def label_is_likeliest(self) -> bool:
        """False if the label can differ from the answer with the largest probability."""


@dataclass(frozen=True)
class Known:
    """What is known of a model before it is loaded.

    Attributes:
        labels, methods: as in :class:`Model`; None if only the loaded model knows them.
        folder: where its files are on this machine, if they are in one folder.
        revision: the revision of its source, if there is one, else empty.
        lacking: what must be installed before it can be loaded, in words that follow its name, such
            as "needs torch: pip install torch"; empty if nothing is missing.
    """

    labels: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    folder: Path | None = None
    revision: str = ""
    lacking: str = ""


@runtime_checkable
class Loader(Protocol):
    """Finds and loads models of one kind; an entry point of ``audit.models`` names one.

    It is an object with these attributes, or a module with these names in it. Importing it must be
    quick, because cases are collected and models are listed without torch.
    """

    @property
    def about(self) -> str:
        """What kind of model it is, in one line."""

    @property
    def accepted(self) -> str:
        """How such a source is written, for messages: ``toy:SIZE``, ``a folder in ... format``."""

    @property
    def options(self) -> Mapping[str, Sequence[str]]:
        """Its own options and their choices, the default first; no choices if all will do."""

    def accepts(self, source: str) -> bool:
        """Whether ``source`` is written like one of this kind; it must not download anything.

        Args:
            source: everything that the user wrote, with the scheme.

        Raises:
            ModelError: nothing can be looked up under this name.
        """

    def known(self, source: str, *, fetch: bool = False) -> Known:
        """What is known of a model without loading it.

        Args:
            source: as for ``accepts``, or only the scheme, for what is true of all its models.
            fetch: whether files that are not on this machine may be downloaded first.

        Raises:
            ModelError: it cannot be a model of this kind.
        """

    def load(
        self, source: str, *, device: str, dtype: str, threads: int | None, **options: Any
    ) -> Model:
        """Load a model; the arguments are those of :func:`audit.load_model`.

        Raises:
            ModelError: it cannot be loaded with these arguments.
        """
