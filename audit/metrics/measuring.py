"""Measure maps: all metrics of the registry, or one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from audit.base.errors import Undefined
from audit.maps.reading import MapSpec
from audit.maps.trace import Evidence, Trace
from audit.metrics.keys import FigureKey
from audit.metrics.registry import (
    METRICS,
    deletion,
    deletion_margin,
    insertion,
    insertion_margin,
)

Array = NDArray[np.float64]


class Curves(Protocol):
    """The answer's probability as cells are hidden or shown, in the order of a map."""

    @property
    def deletion(self) -> Array:
        """From the whole picture to none of it."""

    @property
    def insertion(self) -> Array:
        """From none of the picture to all of it."""


def measure(
    p: Array, regions: Mapping[str, Array], trace: Trace | Evidence, spec: MapSpec
) -> dict[str, float | str]:
    """Every metric of one map with default options; metrics of a region once for each region.

    Distances, and metrics that need further answers of the model, are left out: see
    :func:`measure_one` and :func:`measure_curves`.

    Returns:
        The values by stored name; a text is the reason why a metric is undefined.
    """
    found: dict[str, float | str] = {}
    for name, metric in METRICS.items():
        if metric.kind == "region":
            for region, area in regions.items():
                found[str(FigureKey(name, region))] = _or_reason(measure_one, name, p, region=area)
        elif metric.kind in ("map", "trace"):
            found[name] = _or_reason(measure_one, name, p, trace=trace, spec=spec)
    return found


def measure_one(
    name: str,
    p: Array,
    *,
    region: Array | None = None,
    trace: Trace | Evidence | None = None,
    spec: MapSpec | None = None,
    other: Array | None = None,
    options: Mapping[str, int | float | str] | None = None,
) -> float:
    """One metric: of a map, of a map and a region, of a trace, or of two maps.

    >>> half = np.array([[0.5, 0.5], [0.0, 0.0]])
    >>> measure_one("focus_area", half, options={"share": 0.8})
    0.4

    Args:
        region: for metrics of a region.
        trace, spec: for metrics of the trace: where the map was read, and how.
        other: for distances, the map to compare with.
        options: options from :data:`DEFAULTS` that the metric takes.

    Raises:
        Undefined: the metric has no value; the message says why.
        TypeError: an input that the metric needs is missing, or it does not take an option.
    """
    metric = METRICS[name]
    inputs: dict[str, tuple[Any, ...]] = {
        "map": (p,),
        "region": (p, region),
        "trace": (trace, spec),
        "distance": (p, other),
    }
    given = inputs.get(metric.kind, (None,))
    if any(one is None for one in given):
        raise TypeError(f"{name} cannot be measured without what its kind needs: {metric.kind}")
    for drawn in (p, other):
        # This also refuses a sum that is NaN or infinite.
        if drawn is not None and not 0 < drawn.sum() < np.inf:
            raise Undefined("the map is empty or not finite")
    value = float(metric.function(*given, **(options or {})))
    if not np.isfinite(value):
        raise Undefined("the value is not a finite number")
    return value


def measure_curves(curves: Curves, control: Curves | None = None) -> dict[str, float | str]:
    """Deletion and insertion of a map; given the random control's curves, also the margins over it.

    Returns:
        The values by stored name; a text is the reason why a metric is undefined.
    """
    found = {
        "deletion": _or_reason(deletion, curves.deletion),
        "insertion": _or_reason(insertion, curves.insertion),
    }
    if control is not None:
        found["deletion_margin"] = _or_reason(deletion_margin, curves.deletion, control.deletion)
        found["insertion_margin"] = _or_reason(
            insertion_margin, curves.insertion, control.insertion
        )
    return found


def _or_reason(function: Callable[..., float], *inputs: Any, **named: Any) -> float | str:
    try:
        return function(*inputs, **named)
    except Undefined as reason:
        return str(reason)
