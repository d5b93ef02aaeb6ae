"""Every metric in one table.

The functions are in :mod:`~audit.metrics.placement` (a map and a region),
:mod:`~audit.metrics.shape` (a map), :mod:`~audit.metrics.distances` (two maps), and here (the
model's answers while cells are hidden or shown). Inputs are not changed. A metric that has no value
raises :class:`Undefined` with the reason; it never returns NaN. :mod:`~audit.metrics.measuring`
measures maps with this table, and :mod:`~audit.metrics.keys` names the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audit.base.errors import Undefined
from audit.maps.reading import image_share
from audit.metrics.distances import centre_shift, emd, focus_iou, js, pearson, spearman
from audit.metrics.placement import auc, iou, lift, mass, pointing, rank
from audit.metrics.shape import (
    area_above,
    centre_x,
    centre_y,
    effective_area,
    entropy,
    focus_area,
    gini,
    intensity_max,
    intensity_mean,
    intensity_min,
    intensity_std,
    peaks,
    spread,
)

__all__ = [
    "DEFAULTS",
    "METRICS",
    "REGISTRY_VERSION",
    "Metric",
    "Undefined",
]

Array = NDArray[np.float64]

REGISTRY_VERSION = 2
"""Incremented when a definition changes, so that baselines with the old one become stale."""


def area_under(curve: Array) -> float:
    """Area under a curve of evenly spaced points over the share of cells, by trapezoids.

    >>> area_under(np.array([1.0, 0.5, 0.0]))
    0.5

    Raises:
        Undefined: there are fewer than two points, or one is not a finite number.
    """
    if len(curve) < 2:
        raise Undefined("the curve has fewer than two points")
    if not np.isfinite(curve).all():
        raise Undefined("the curve is not finite")
    return float(np.clip(np.trapezoid(curve, dx=1 / (len(curve) - 1)), 0.0, 1.0))


def deletion(curve: Array) -> float:
    """Mean probability of the answer while cells are greyed, largest first (Petsiuk et al. 2018).

    The area under the deletion curve, by trapezoids; low if the map finds what the answer rests on.

    >>> deletion(np.array([0.75, 0.25, 0.25]))
    0.375
    """
    return area_under(curve)


def insertion(curve: Array) -> float:
    """Mean probability of the answer while cells are shown, largest first (Petsiuk et al. 2018).

    The area under the insertion curve, by trapezoids; high if the map finds what suffices.

    >>> insertion(np.array([0.25, 0.75, 0.75]))
    0.625
    """
    return area_under(curve)


def deletion_margin(curve: Array, control: Array) -> float:
    """How much faster the answer is lost than in random order: control's deletion − map's.

    >>> deletion_margin(np.array([0.75, 0.25, 0.25]), np.array([0.75, 0.75, 0.25]))
    0.25
    """
    return area_under(control) - area_under(curve)


def insertion_margin(curve: Array, control: Array) -> float:
    """How much faster the answer is found than in random order: map's insertion − control's.

    >>> insertion_margin(np.array([0.25, 0.75, 0.75]), np.array([0.25, 0.25, 0.75]))
    0.25
    """
    return area_under(curve) - area_under(control)


Better = Literal["higher", "lower", "neither"]
"""The direction in which a change is an improvement."""


@dataclass(frozen=True)
class Metric:
    """One row of the registry.

    Attributes:
        kind: what it is computed from: a map, a map and a region, the trace and map choice, two
            maps, or further answers of the model.
        low, high: its range; None if that end depends on the grid or the region.
        better: ``higher`` if a larger value means a more focused or better placed map, ``lower`` if
            a smaller one does, else ``neither``.
        chance: its value for a uniform map, in words.
        undefined: when it has no value, in words; empty if it always has one.
        tolerance: default drift tolerance, absolute.
        function: how it is computed.
        options: the keys that an expectation may give besides the region: keys of
            :data:`DEFAULTS`, which are arguments of the function, and ``against``, the other map.
    """

    kind: Literal["map", "region", "trace", "distance", "model"]
    low: float | None
    high: float | None
    better: Better
    chance: str
    undefined: str
    tolerance: float
    function: Callable[..., float]
    options: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (self.function.__doc__ or "").strip().splitlines()[0]

    @property
    def range(self) -> str:
        """From the lowest value to the highest, in words; … stands for one that can vary."""
        low, high = ("…" if end is None else f"{end:g}" for end in (self.low, self.high))
        return f"{low} to {high}"


DEFAULTS: Mapping[str, int | float | str] = {
    "tolerance": 0,
    "threshold": "max_share:0.5",
    "share": 0.5,
}
"""The options of metrics, with their values if an expectation does not give them."""

_EMPTY = "the region is empty"
_EDGE = "the region is empty or covers the whole picture"
_GRIDS = "the grids differ"
_FLAT = "the grids differ, or one of the maps is constant"
_NAN = "a probability is not finite"
_OTHER = "depends on the other map"

# `peaks` may drift by one: with one more blob at half the maximum, a map is still the same map.
METRICS: Mapping[str, Metric] = {
    "mass": Metric("region", 0, 1, "higher", "K/N", _EMPTY, 0.02, mass),
    "lift": Metric("region", 0, None, "higher", "1", _EMPTY, 0.2, lift),
    "rank": Metric("region", 0, 1, "higher", "K/N", _EMPTY, 0.05, rank),
    "pointing": Metric(
        "region", 0, 1, "higher", "about K/N", _EMPTY, 0.0, pointing, ("tolerance",)
    ),
    "auc": Metric("region", 0, 1, "higher", "0.5", _EDGE, 0.02, auc),
    "iou": Metric("region", 0, 1, "higher", "K/N", _EMPTY, 0.05, iou, ("threshold",)),
    "entropy": Metric("map", 0, 1, "neither", "1", "the map has one cell", 0.02, entropy),
    "gini": Metric("map", 0, 1, "neither", "0", "", 0.02, gini),
    "effective_area": Metric("map", 0, 1, "neither", "1", "", 0.02, effective_area),
    "focus_area": Metric(
        "map", 0, 1, "neither", "0.5, or `share`", "", 0.02, focus_area, ("share",)
    ),
    "area_above": Metric("map", 0, 1, "neither", "0", "", 0.03, area_above),
    "peaks": Metric("map", 1, None, "neither", "1", "", 1.0, peaks),
    "centre_x": Metric("map", 0, 1, "neither", "0.5", "", 0.02, centre_x),
    "centre_y": Metric("map", 0, 1, "neither", "0.5", "", 0.02, centre_y),
    "spread": Metric("map", 0, 0.5, "neither", "about 0.29", "", 0.02, spread),
    "image_share": Metric("trace", 0, 1, "neither", "image cells / tokens", "", 0.02, image_share),
    "mean": Metric("map", 0, 1, "neither", "1", "", 0.02, intensity_mean),
    "max": Metric("map", 1, None, "neither", "1", "", 1.0, intensity_max),
    "min": Metric("map", 0, 1, "neither", "1", "", 0.02, intensity_min),
    "std": Metric("map", 0, 1, "neither", "0", "", 0.02, intensity_std),
    "js": Metric("distance", 0, 1, "neither", _OTHER, _GRIDS, 0.05, js, ("against",)),
    "emd": Metric("distance", 0, 1, "neither", _OTHER, _GRIDS, 0.02, emd, ("against",)),
    "spearman": Metric(
        "distance", -1, 1, "neither", "undefined", _FLAT, 0.05, spearman, ("against",)
    ),
    "pearson": Metric(
        "distance", -1, 1, "neither", "undefined", _FLAT, 0.05, pearson, ("against",)
    ),
    "centre_shift": Metric(
        "distance", 0, 1, "neither", _OTHER, _GRIDS, 0.02, centre_shift, ("against",)
    ),
    "focus_iou": Metric("distance", 0, 1, "neither", _OTHER, _GRIDS, 0.05, focus_iou, ("against",)),
    "deletion": Metric("model", 0, 1, "lower", "about the random map's", _NAN, 0.05, deletion),
    "insertion": Metric("model", 0, 1, "higher", "about the random map's", _NAN, 0.05, insertion),
    "deletion_margin": Metric("model", -1, 1, "higher", "about 0", _NAN, 0.05, deletion_margin),
    "insertion_margin": Metric("model", -1, 1, "higher", "about 0", _NAN, 0.05, insertion_margin),
}
"""Every metric by the name that case files use."""
