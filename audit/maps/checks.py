"""Check that what a model gave is a valid answer, before any figure is computed from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from numbers import Integral, Real

import numpy as np
from numpy.typing import NDArray

from audit.base.errors import ModelError, NotFinite
from audit.base.files import counted
from audit.base.geometry import Box, Grid, is_view
from audit.maps.trace import Reading, ReadingKey, Trace, Word

_NO_NUMBERS = "the model's answers are not numbers"
_ROUNDING = 1e-6
_SUM_ROUNDING = 1e-3


def checked_trace(trace: Trace) -> Trace:
    """The trace, checked to be a valid answer, in the types that it promises.

    The output of a broken model is refused before figures are computed from it or stored.

    Raises:
        NotFinite: something is NaN or infinite; the message names it.
        ModelError: something else is invalid; the message names it.
    """
    if not isinstance(trace, Trace):
        raise ModelError(f"the model gave {_kind(trace)} instead of a Trace")
    probabilities = _probabilities(trace.probabilities)
    if not isinstance(trace.label, str):
        raise ModelError(f"the model's label is {_kind(trace.label)}; it must be text")
    if trace.label not in probabilities:
        raise ModelError(
            f"the model's label {trace.label!r} is not among the answers that it gives "
            f"probabilities for: {', '.join(probabilities)}"
        )
    if not isinstance(trace.prompt, str):
        raise ModelError(f"the model's prompt is {_kind(trace.prompt)}; it must be text")
    odd = [token for token in trace.tokens if not isinstance(token, str)]
    if odd:
        raise ModelError(f"among the model's tokens is {_kind(odd[0])}; they must be text")
    for word in trace.words if isinstance(trace.words, tuple) else (None,):
        if (
            not isinstance(word, Word)
            or not isinstance(word.text, str)
            or not word.text.isprintable()
        ):
            raise ModelError(f"among the model's words is {_kind(word)} that is no readable Word")
    grid = _grid(trace.grid)
    readings = {key: checked_reading(key, r, grid) for key, r in trace.readings.items()}
    return replace(
        trace, probabilities=probabilities, grid=grid, view=_view(trace.view), readings=readings,
        unsaid=_unsaid(trace.unsaid),
    )  # fmt: skip


def _probabilities(given: object) -> dict[str, float]:
    """``given`` as floats; values that rounding put just outside [0, 1] are clipped."""
    if not isinstance(given, Mapping) or not given:
        raise ModelError("the model's probabilities must be a number for each answer")
    for answer, p in given.items():
        if not isinstance(answer, str):
            raise ModelError(f"among the model's answers is {_kind(answer)}; they must be text")
        if isinstance(p, bool) or not isinstance(p, Real):
            raise ModelError(
                f"the model's probability of {answer} is {_kind(p)}; it must be a number"
            )
    found = {answer: float(p) for answer, p in given.items()}
    odd = {a: p for a, p in found.items() if not math.isfinite(p)}
    if odd:
        listed = ", ".join(f"{answer} {p}" for answer, p in odd.items())
        raise NotFinite(f"{_NO_NUMBERS}: its probabilities are not finite: {listed}")
    for answer, p in found.items():
        if not -_ROUNDING <= p <= 1 + _ROUNDING:
            raise ModelError(
                f"the model's probability of {answer} is {p:g}; it must be between 0 and 1"
            )
    total = math.fsum(found.values())
    if abs(total - 1) > _SUM_ROUNDING:
        raise ModelError(f"the model's probabilities sum to {total:g}; they must sum to 1")
    return {answer: min(max(p, 0.0), 1.0) for answer, p in found.items()}


def _unsaid(given: object) -> float | None:
    """What is left unsaid as a float in [0, 1]; None if the model has no such."""
    if given is None:
        return None
    unsaid = float(given) if isinstance(given, Real) else math.nan
    if not math.isfinite(unsaid):
        raise NotFinite(f"{_NO_NUMBERS}: what it leaves unsaid is not finite")
    if not -_ROUNDING <= unsaid <= 1 + _ROUNDING:
        raise ModelError(f"the model leaves {unsaid:g} unsaid; it must be between 0 and 1")
    return min(max(unsaid, 0.0), 1.0)


def _kind(value: object) -> str:
    """The type of a value, for a message; the value itself could be anything."""
    return "None" if value is None else f"of the type {type(value).__name__}"


def _listed(value: object) -> str:
    return str(tuple(value)) if isinstance(value, (tuple, list)) else _kind(value)


def _grid(given: object) -> Grid:
    if (
        not isinstance(given, (tuple, list))
        or len(given) != 2
        or not all(isinstance(n, Integral) and int(n) > 0 for n in given)
    ):
        raise ModelError(f"the model's grid is {_listed(given)}; it must have whole rows, cols")
    return Grid(*map(int, given))


def _view(given: object) -> Box:
    if (
        isinstance(given, (tuple, list))
        and len(given) == 4
        and all(isinstance(v, Real) for v in given)
        and is_view(found := Box(*map(float, given)))
    ):
        return found
    raise ModelError(
        f"the model's view is {_listed(given)}; it must be left, top, right, bottom, and hold some "
        "of the picture"
    )


def _numbers(given: object, name: str) -> NDArray[np.float64]:
    try:
        return np.asarray(given, np.float64)
    except (TypeError, ValueError, RuntimeError):  # the last from a tensor that has a gradient
        raise ModelError(f"the model's {name} is not an array of numbers") from None


def checked_reading(key: ReadingKey, reading: Reading, grid: Grid) -> Reading:
    """The reading, checked to be one over ``grid``, as arrays of float64.

    Raises:
        NotFinite: it holds NaN or infinity.
        ModelError: something else is wrong; the message names it.
    """
    if not isinstance(key, ReadingKey):
        raise ModelError(f"a key of the model's readings is {_kind(key)} instead of a ReadingKey")
    name = key.method.replace("_", " ")
    if not isinstance(reading, Reading):
        raise ModelError(f"the model's {name} is {_kind(reading)} instead of a Reading")
    cells, share = _numbers(reading.cells, name), _numbers(reading.share, name)
    weight = np.ones_like(share) if reading.weight is None else _numbers(reading.weight, name)
    if cells.ndim != 3 or cells.shape[1:] != grid or not len(cells):
        raise ModelError(
            f"the model's {name} is of the shape {cells.shape}; with its grid it must be "
            f"(layers, {grid.rows}, {grid.cols})"
        )
    for what, array in (("image shares", share), ("weights", weight)):
        if array.shape != cells.shape[:1]:
            raise ModelError(
                f"the model's {name} has {what} of the shape {array.shape} for "
                f"{counted(len(cells), 'layer')}"
            )
    if not all(np.isfinite(array).all() for array in (cells, share, weight)):
        raise NotFinite(f"{_NO_NUMBERS}: its {name} is not finite")
    if cells.min() < 0:
        raise ModelError(f"the model's {name} is negative somewhere; attention cannot be")
    if share.min() < -_ROUNDING or share.max() > 1 + _ROUNDING:
        raise ModelError(f"the model's {name} has an image share outside of 0 to 1")
    if weight.min() < 0:
        raise ModelError(f"the model's {name} has a negative weight")
    return Reading(cells, share, None if reading.weight is None else weight)
