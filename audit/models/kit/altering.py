"""Optional parts of a model that let studies alter it: its network, its files, what it is given.

``audit power`` plants regressions in copies of a model, and ``audit validity`` randomises one. Each
part below is checked for by itself, and what a model lacks costs only the changes that need it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor, nn

from audit.base.errors import AuditError
from audit.maps.trace import NOTHING_MORE, Need, Trace
from audit.models.protocol import Fingerprint, Model, Query


class NotPossible(AuditError):
    """A change cannot be planted in this model, which says nothing about the gate."""


@dataclass(frozen=True)
class Alteration:
    """A regression that only the model's adapter can plant.

    Attributes:
        id: one that the studies use as well replaces theirs.
        about: what is changed, for a table.
        depends: names of facts about cases (:mod:`audit.studies.power.sight`); cases of which none
            is true cannot see the change.
        unfit: why the change makes no sense for this model; empty if it does.
    """

    id: str
    family: Literal["weights", "attention", "preprocessing", "text"]
    about: str
    depends: tuple[str, ...] = ()
    unfit: str = ""


@runtime_checkable
class Layered(Protocol):
    """A model that shows its network."""

    @property
    def torch_model(self) -> nn.Module:
        """The network; callers may change its parameters."""

    @property
    def stages(self) -> tuple[tuple[str, str], ...]:
        """The network's parts from the answer down to the picture: names, and regular expressions.

        A parameter belongs to the first part whose expression matches the beginning of its name.
        """


@runtime_checkable
class Alterable(Protocol):
    """A model whose adapter can plant regressions in it."""

    @property
    def alterations(self) -> tuple[Alteration, ...]:
        """What it can plant, or why it cannot."""

    def altered(self, name: str, seed: int) -> Model:
        """Plant the alteration with this id, and return the model to be asked.

        This object is changed, too: load the model again to have it intact.

        Raises:
            NotPossible: the alteration makes no sense for this model.
        """

    def given(self, query: Query) -> bytes:
        """What the network gets for a query: its tokens and its pixels, as bytes."""

    @property
    def preparation(self) -> str:
        """How pictures are prepared now, as a text that changes when that does."""


@runtime_checkable
class Stored(Protocol):
    """A model that was loaded from a folder with weights as ``.bin`` or ``.safetensors``."""

    @property
    def folder(self) -> Path:
        """The folder on this machine."""

    def loaded_from(self, folder: Path) -> Model:
        """The same model, loaded in the same way from a copy of its folder."""


@runtime_checkable
class Teachable(Protocol):
    """A model that can be fine-tuned."""

    @property
    def torch_model(self) -> nn.Module:
        """The network that is trained."""

    @property
    def vision(self) -> str:
        """How the names of the vision tower's parameters begin; they are not trained."""

    def scores(self, queries: Sequence[Query]) -> Tensor:
        """Log-probability of each label, (queries, labels), through which gradients flow.

        Raises:
            NotPossible: the model's answers cannot be scored in one pass.
        """


Plant = Callable[[Any, int], Model]
"""Takes a freshly loaded model and a seed, and returns the model to be asked."""


class Planting(ABC):
    """The first half of :class:`Alterable`, for adapters that keep their alterations in a table."""

    @abstractmethod
    def _table(self) -> Mapping[Alteration, Plant]:
        """The alterations, and what plants each."""

    @property
    def alterations(self) -> tuple[Alteration, ...]:
        """See :class:`Alterable`."""
        return tuple(self._table())

    def altered(self, name: str, seed: int) -> Model:
        """See :class:`Alterable`.

        Raises:
            NotPossible: the alteration makes no sense for this model.
        """
        ((alteration, plant),) = ((a, p) for a, p in self._table().items() if a.id == name)
        if alteration.unfit:
            raise NotPossible(alteration.unfit)
        return plant(self, seed)


def given_to(model: Model, query: Query) -> bytes | None:
    """What the model's network gets for a query; None if the model does not show it."""
    return model.given(query) if hasattr(model, "given") else None


class Altered:
    """A model that applies ``change`` to each query and then asks ``model``."""

    def __init__(self, model: Model, change: Callable[[Query], Query]) -> None:
        self._model, self._change = model, change

    @property
    def labels(self) -> tuple[str, ...]:
        """The model's labels."""
        return self._model.labels

    @property
    def methods(self) -> tuple[str, ...]:
        """The model's methods."""
        return self._model.methods

    @property
    def fingerprint(self) -> Fingerprint:
        """The model's own fingerprint; it does not cover what is changed here."""
        return self._model.fingerprint

    def given(self, query: Query) -> bytes | None:
        """What the network gets for a query; None if the model does not show it."""
        return given_to(self._model, self._change(query))

    def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
        """See :class:`audit.models.protocol.Model`."""
        return self._model.trace([self._change(query) for query in queries], need)


def texts(say: Callable[[str], str]) -> Callable[[Query], Query]:
    """A change that applies ``say`` to hypothesis and premise."""

    def change(query: Query) -> Query:
        premise = None if query.premise is None else say(query.premise)
        return replace(query, text=say(query.text), premise=premise)

    return change
