"""A model under test of its conformance: what it is asked, and how its answers are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from audit.base.errors import ModelError, in_a_sentence
from audit.maps.checks import checked_reading, checked_trace
from audit.maps.methods import METHODS
from audit.maps.trace import EACH_WORD, NOTHING_MORE, Need, Reading, ReadingKey, Trace
from audit.models.kit.remains import State, network_state
from audit.models.kit.words import singly
from audit.models.protocol import Model, Query


class Failure(AssertionError):
    """Something that a model must not do; the message tells its author what, with the figures."""


class Tolerance(NamedTuple):
    """How far two answers to one question may differ.

    Attributes:
        probability: in a probability, and in an image share.
        cell: in a cell of a reading, as a part of the reading's largest cell.
    """

    probability: float
    cell: float


TOLERANCES = {"float32": Tolerance(1e-5, 1e-4), "bfloat16": Tolerance(0.02, 0.1)}
"""By precision. A batch is computed in another order than a single query, and rounds otherwise."""

_NO_SUCH = 10_000


def example_queries() -> tuple[Query, ...]:
    """Questions about two drawn pictures of unequal shapes; the texts grow longer."""
    noise = np.random.default_rng(0).random((8, 6, 3)) * np.linspace(255, 55, 6)[:, None]
    patches = Image.fromarray(noise.astype(np.uint8)).resize((72, 96), Image.Resampling.NEAREST)
    square = Image.new("RGB", (96, 64), "navy")
    square.paste("red", (8, 8, 36, 36))
    square.paste("white", (60, 32, 80, 60))
    return (
        Query(square, "a red square"),
        Query(patches, "there are many coloured patches"),
        Query(square, "a white stripe is lower than the red square, and it is on the right"),
    )


@dataclass(frozen=True)
class Subject:
    """A model under test, and what it is asked.

    Attributes:
        queries: at least two, about at least two pictures, with different texts.
        load: loads the same model once more; None leaves out what needs a second one.
    """

    model: Model
    queries: Sequence[Query]
    load: Callable[[], Model] | None = None

    @property
    def tolerance(self) -> Tolerance:
        """How far two answers may differ, by the precision that the model's fingerprint names."""
        return TOLERANCES.get(self.model.fingerprint.dtype, TOLERANCES["float32"])

    @property
    def need(self) -> Need:
        """A reading of every method."""
        return frozenset(key_of(method) for method in self.model.methods)

    def __post_init__(self) -> None:
        """Two questions at least: what must differ between them is checked."""
        if len({q.text for q in self.queries}) < 2 or len({id(q.image) for q in self.queries}) < 2:
            raise ValueError("ask at least two texts about at least two pictures")

    @cached_property
    def network_before(self) -> State:
        """The network as it was before the first question."""
        return network_state(getattr(self.model, "torch_model", None))

    @cached_property
    def traces(self) -> list[Trace]:
        """Each query asked alone, with a reading of every method."""
        return [self.ask([query], self.need)[0] for query in self.queries]

    def ask(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
        """The model's traces.

        Raises:
            Failure: it raised something, or gave something else.
        """
        assert self.network_before is not None  # noted before the first question
        try:
            found = self.model.trace(queries, need)
        except Exception as error:
            asked = ", ".join(repr(query.text[:60]) for query in queries) or "nothing"
            raise Failure(
                f"asked about {asked}, the model raised {in_a_sentence(error)}"
            ) from error
        if len(found) != len(queries) or not all(isinstance(each, Trace) for each in found):
            raise Failure(
                f"trace() was given {len(queries)} queries and gave {len(found)} traces; it must "
                "give a list with one Trace for each query"
            )
        return list(found)


def key_of(method: str) -> ReadingKey:
    """The plainest reading of a method."""
    return EACH_WORD if method == "word_attention" else ReadingKey(method)


def choices(method: str) -> Iterable[ReadingKey]:
    """Other readings of a method that cases may ask for."""
    key = key_of(method)
    others = {
        "heads": [key._replace(heads=heads) for heads in ("max", (1,))],
        "residual": [key._replace(residual=0.5)],
        "variant": [key._replace(variant="paper")],
    }
    for name in METHODS[method].keys if method in METHODS else ():
        yield from others.get(name, ())


def impossible(subject: Subject) -> Iterable[tuple[str, Query, Need]]:
    """What no model can answer: what it is in words, and how it is asked."""
    query = subject.queries[0]
    missing = replace(query, image=Path("no-such-folder") / "no-such-picture.png")
    yield "a picture that is not there", missing, NOTHING_MORE
    yield "the unknown method 'no_such_method'", query, frozenset({ReadingKey("no_such_method")})
    for key in sorted(subject.need):
        taken = METHODS[key.method].keys if key.method in METHODS else ()
        if "heads" in taken:
            beyond = key._replace(heads=(_NO_SUCH,))
            yield f"head {_NO_SUCH} of {key.method}", query, frozenset({beyond})
        if "start_layer" in taken:
            late = key._replace(start_layer=_NO_SUCH)
            yield f"{key.method} from layer {_NO_SUCH} on", query, frozenset({late})


def refuse_odd(trace: Trace) -> None:
    """Refuse what is no answer, as audit does with every trace.

    Raises:
        Failure: saying why.
    """
    try:
        checked_trace(trace)
    except ModelError as error:
        raise Failure(str(error)) from None


def refuse_missing(need: Need, trace: Trace) -> None:
    """Refuse a trace without a reading that was asked for, or with one that is no reading.

    Raises:
        Failure: saying which.
    """
    for key in singly(need, len(trace.words)):
        found = trace.readings.get(key)
        if found is None:
            raise Failure(f"the trace holds no reading of {key}, which was asked for")
        if not isinstance(found, Reading) or not all(
            isinstance(array, np.ndarray) for array in found if array is not None
        ):
            raise Failure(f"the reading of {key} must be a Reading of NumPy arrays")
        try:
            checked_reading(key, found, trace.grid)
        except ModelError as error:
            raise Failure(f"the reading of {key}: {error}") from None


def refuse_difference(subject: Subject, one: Trace, other: Trace, what: str, hint: str) -> None:
    """Refuse two traces that are not the same within the tolerance.

    Args:
        what: how they were asked for, as the beginning of a sentence.
        hint: what may be wrong.

    Raises:
        Failure: saying what differs, and by how much.
    """
    said = _difference(one, other, subject.tolerance)
    if said:
        raise Failure(f"{what} has {said}; {hint}")


def _difference(one: Trace, other: Trace, tolerance: Tolerance) -> str:
    """What differs between two answers to one question, in words; empty if nothing does."""
    for answer, p in one.probabilities.items():
        q = other.probabilities.get(answer, float("nan"))
        if not abs(p - q) <= tolerance.probability:
            return f"probability {p:.6f} and {q:.6f} of {answer!r}"
    between = one.probabilities[one.label] - one.probabilities.get(other.label, 0.0)
    if one.label != other.label and abs(between) > 2 * tolerance.probability:
        return f"the labels {one.label!r} and {other.label!r}"
    for name in ("prompt", "tokens", "words", "grid", "view"):
        if getattr(one, name) != getattr(other, name):
            return f"the {name} {getattr(one, name)!r} and {getattr(other, name)!r}"
    return _difference_in_readings(one, other, tolerance)


def _difference_in_readings(one: Trace, other: Trace, tolerance: Tolerance) -> str:
    if one.readings.keys() != other.readings.keys():
        return f"{len(one.readings)} and {len(other.readings)} readings"
    for key, reading in one.readings.items():
        apart = off(reading, other.readings[key])
        if not apart <= tolerance.cell:
            return f"{key.method} that differs by {apart:.2g} of its largest cell"
        share = float(np.abs(reading.share - other.readings[key].share).max())
        if not share <= tolerance.probability:
            return f"an image share of {key.method} that differs by {share:.2g}"
    return ""


def off(one: Reading, other: Reading) -> float:
    """Largest difference of a cell, as a part of the largest cell; infinite for other shapes."""
    if one.cells.shape != other.cells.shape:
        return float("inf")
    largest = max(float(np.abs(one.cells).max()), float(np.abs(other.cells).max()))
    return float(np.abs(one.cells - other.cells).max()) / largest if largest else 0.0
