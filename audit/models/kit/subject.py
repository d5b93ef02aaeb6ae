"""A model under test of its conformance: what it is asked, and how its answers are compared."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from audit.base.errors import ModelError, in_a_sentence
from audit.base.files import counted
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

_KIT = Path(__file__).parent
_AUDIT = _KIT.parents[1]
_FRAMES = 6
"""So many places of a model's traceback are shown: half from its beginning, half from its end."""


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
                f"trace() was given {counted(len(queries), 'question')} and gave "
                f"{counted(len(found), 'trace')}; it must give a list with one Trace for each query"
            )
        return list(found)


def places_of(error: BaseException) -> list[str]:
    """Where in the model something was raised: its own lines of the traceback, the last one last.

    Audit's own lines are left out, unless the model is one of audit's.
    """
    all_frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in all_frames if not Path(f.filename).is_relative_to(_AUDIT)]
    frames = ours or [f for f in all_frames if not Path(f.filename).is_relative_to(_KIT)]
    if len(frames) > _FRAMES:
        frames = [*frames[: _FRAMES // 2], *frames[-_FRAMES // 2 :]]
    return [f"  {f.filename}:{f.lineno} in {f.name}: {f.line}" for f in frames]


def key_of(method: str) -> ReadingKey:
    """The plainest reading of a method."""
    return EACH_WORD if method == "word_attention" else ReadingKey(method)


def told_key(key: ReadingKey) -> str:
    """A key in words, with what is not the default.

    >>> told_key(ReadingKey("word_attention", word="birds", heads=(1, 2)))
    "word_attention of 'birds' with heads 1, 2"
    >>> told_key(EACH_WORD._replace(word=2)), told_key(ReadingKey("rollout", residual=0.5))
    ('word_attention of word 2', 'rollout with residual 0.5')
    """
    word = f"word {key.word}" if isinstance(key.word, int) else repr(key.word)
    of = "" if key.word is None else f" of {word}"
    heads = ", ".join(map(str, key.heads)) if isinstance(key.heads, tuple) else key.heads
    usual = ReadingKey(key.method, word=key.word)._asdict()
    others = [f"{n} {v}" for n, v in (key._asdict() | {"heads": heads}).items() if v != usual[n]]
    return f"{key.method}{of}{' with ' if others else ''}{' and '.join(others)}"


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


def refuse_missing(need: Iterable[ReadingKey], trace: Trace) -> None:
    """Refuse a trace without a reading that was asked for, or with one that is no reading.

    Raises:
        Failure: saying which.
    """
    for key in sorted(singly(need, len(trace.words)), key=repr):
        found = trace.readings.get(key)
        if found is None:
            raise Failure(f"the trace holds no reading of {told_key(key)}, which was asked for")
        if not isinstance(found, Reading) or not all(
            isinstance(array, np.ndarray) for array in found if array is not None
        ):
            raise Failure(f"{told_key(key)} must be a Reading of NumPy arrays")
        try:
            checked_reading(key, found, trace.grid)
        except ModelError as error:
            raise Failure(f"{told_key(key)}: {error}") from None


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
        q = other.probabilities.get(answer, float("inf"))
        if apart(p, q) > tolerance.probability:
            return f"probability {p:.6f} and {q:.6f} of {answer!r}"
    if apart(_number(one.unsaid), _number(other.unsaid)) > tolerance.probability:
        return f"{one.unsaid} and {other.unsaid} unsaid"
    between = one.probabilities[one.label] - one.probabilities.get(other.label, 0.0)
    if one.label != other.label and abs(between) > 2 * tolerance.probability:
        return f"the labels {one.label!r} and {other.label!r}"
    for name in ("prompt", "tokens", "words", "grid", "view"):
        if getattr(one, name) != getattr(other, name):
            return f"the {name} {getattr(one, name)!r} and {getattr(other, name)!r}"
    return _difference_in_readings(one, other, tolerance)


def _number(unsaid: float | None) -> float:
    """A number that differs from every probability, if there is none."""
    return -1.0 if unsaid is None else unsaid


def _difference_in_readings(one: Trace, other: Trace, tolerance: Tolerance) -> str:
    if one.readings.keys() != other.readings.keys():
        return f"{len(one.readings)} and {counted(len(other.readings), 'reading')}"
    for key in sorted(one.readings, key=repr):
        reading, found = one.readings[key], other.readings[key]
        if (cell := off(reading, found)) > tolerance.cell:
            return f"{told_key(key)} that differs by {cell:.2g} of its largest cell"
        if (share := apart(reading.share, found.share)) > tolerance.probability:
            return f"an image share of {told_key(key)} that differs by {share:.2g}"
    return ""


def off(one: Reading, other: Reading) -> float:
    """Largest difference of a cell, as a part of the largest cell; see :func:`apart`."""
    sizes = np.abs(np.concatenate([np.ravel(one.cells), np.ravel(other.cells)]))
    largest = float(np.max(sizes, where=np.isfinite(sizes), initial=0.0))
    between = apart(one.cells, other.cells)
    return between / largest if largest else between


def apart(one: ArrayLike, other: ArrayLike) -> float:
    """Largest difference of two values; infinite for other shapes, and where one is not finite.

    Values that are not finite in both do not differ: two checks are there to tell of them, and the
    others would give a wrong reason.
    """
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if a.shape != b.shape:
        return float("inf")
    finite = np.isfinite(a), np.isfinite(b)
    if (finite[0] != finite[1]).any():
        return float("inf")
    return float(
        np.max(np.abs(np.subtract(a, b, where=finite[0], out=np.zeros(a.shape))), initial=0.0)
    )


def is_finite(reading: Reading) -> bool:
    """Whether no cell of a reading is NaN or infinite."""
    return bool(np.isfinite(reading.cells).all())
