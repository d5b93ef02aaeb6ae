"""Maps and masks to numbers: one pure function each, and one table that registers them all.

Throughout, ``p`` is a map (rows, cols), non-negative with sum 1; ``region`` is a fractional mask of
the same shape; N is the number of cells and K the region's area in cells. Nothing is changed in
place. A metric that has no value raises :class:`Undefined` with the reason; it never returns NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audit.maps import MapSpec, image_share
from audit.trace import Trace

Array = NDArray[np.float64]

REGISTRY_VERSION = 1
"""Raised when a definition changes, so that baselines measured by the old one become stale."""


class Undefined(ValueError):
    """A metric has no value for this input; the message says why."""


def mass(p: Array, region: Array) -> float:
    """Share of the map inside the region: relevance mass accuracy (Arras et al. 2022, eq. 4).

    >>> mass(np.array([[0.5, 0.25], [0.25, 0.0]]), np.array([[1.0, 0.0], [0.0, 0.0]]))
    0.5
    """
    _area(region)
    return float((p * region).sum())


def lift(p: Array, region: Array) -> float:
    """Mass over what a uniform map would have: mass · N / K.

    >>> lift(np.array([[0.5, 0.25], [0.25, 0.0]]), np.array([[1.0, 0.0], [0.0, 0.0]]))
    2.0
    """
    return float((p * region).sum() * p.size / _area(region))


def pointing(p: Array, region: Array) -> float:
    """Pointing game (Zhang et al. 2018): 1 if the maximum lies in the region.

    A cell lies in the region if at least half of it does, or, for regions smaller than that
    everywhere, if it holds the region's largest share. Ties count by the share of tied maxima
    that hit, so a uniform map scores the region's share of cells and no sort order matters.

    >>> pointing(np.array([[0.5, 0.25], [0.25, 0.0]]), np.array([[1.0, 0.0], [0.0, 0.0]]))
    1.0
    >>> pointing(np.full((2, 2), 0.25), np.array([[1.0, 0.0], [0.0, 0.0]]))
    0.25
    """
    _area(region)
    hits = region >= min(0.5, float(region.max()))
    tied = np.isclose(p, p.max(), rtol=1e-9, atol=0.0)
    return float(hits[tied].mean())


def entropy(p: Array) -> float:
    """Normalised Shannon entropy, the dispersion of a map: −Σ p ln p / ln N; uniform is 1.

    >>> entropy(np.full((2, 2), 0.25))
    1.0
    >>> entropy(np.array([[1.0, 0.0], [0.0, 0.0]]))
    0.0
    """
    if p.size == 1:
        raise Undefined("the map has one cell")
    positive = p[p > 0]
    # 0 − x, since the sum of a single-cell map is 0 and its negative would print as -0.0.
    return float(np.clip(0.0 - (positive * np.log(positive)).sum() / np.log(p.size), 0.0, 1.0))


def gini(p: Array) -> float:
    """Gini coefficient: sparseness (Hurley & Rickard 2009); uniform is 0, one cell 1 − 1/N.

    >>> gini(np.full((2, 2), 0.25))
    0.0
    >>> gini(np.array([[1.0, 0.0], [0.0, 0.0]]))
    0.75
    """
    ordered = np.sort(p, axis=None)
    n = ordered.size
    weights = 2 * np.arange(1, n + 1) - n - 1
    return float(np.clip((weights * ordered).sum() / n, 0.0, 1.0))


def focus_area(p: Array) -> float:
    """Smallest share of cells that holds half of the map; the last cell counts in part.

    >>> focus_area(np.array([[0.5, 0.25], [0.25, 0.0]]))
    0.25
    >>> focus_area(np.full((2, 2), 0.25))
    0.5
    """
    ordered = np.sort(p, axis=None)[::-1]
    total = np.cumsum(ordered)
    last = int(np.searchsorted(total, 0.5 - 1e-12))
    before = total[last - 1] if last else 0.0
    return float((last + (0.5 - before) / ordered[last]) / p.size)


def area_above(p: Array) -> float:
    """Share of cells above 0.5 after scaling the map to 0..1; a constant map has none.

    >>> area_above(np.array([[0.5, 0.25], [0.25, 0.0]]))
    0.25
    """
    spread = p.max() - p.min()
    if spread <= 0:
        return 0.0
    return float(((p - p.min()) / spread > 0.5).mean())


def centre_x(p: Array) -> float:
    """Centre of mass from left to right, as a fraction of the image's width.

    >>> centre_x(np.array([[0.0, 1.0], [0.0, 0.0]]))
    0.75
    """
    return _centre(p.sum(axis=0))


def centre_y(p: Array) -> float:
    """Centre of mass from top to bottom, as a fraction of the image's height.

    >>> centre_y(np.array([[0.0, 1.0], [0.0, 0.0]]))
    0.25
    """
    return _centre(p.sum(axis=1))


def intensity_mean(p: Array) -> float:
    """Mean of the map scaled to maximum 1.

    >>> intensity_mean(np.array([[0.5, 0.25], [0.25, 0.0]]))
    0.5
    """
    return float((p / p.max()).mean())


def intensity_max(p: Array) -> float:
    """Largest cell of the map, times the number of cells: how far the peak exceeds a uniform map.

    Scaled to maximum 1 the maximum would always be 1 and tell nothing.

    >>> intensity_max(np.array([[0.5, 0.25], [0.25, 0.0]]))
    2.0
    """
    return float(p.max() * p.size)


def intensity_min(p: Array) -> float:
    """Smallest value of the map scaled to maximum 1.

    >>> intensity_min(np.array([[0.5, 0.25], [0.25, 0.0]]))
    0.0
    """
    return float((p / p.max()).min())


def intensity_std(p: Array) -> float:
    """Standard deviation (of the population) of the map scaled to maximum 1.

    >>> round(intensity_std(np.array([[0.5, 0.25], [0.25, 0.0]])), 6)
    0.353553
    """
    return float((p / p.max()).std())


def _centre(marginal: Array) -> float:
    places = (np.arange(len(marginal)) + 0.5) / len(marginal)
    return float((marginal * places).sum())


def _area(region: Array) -> float:
    area = float(region.sum())
    if area <= 0:
        raise Undefined("the region is empty")
    return area


@dataclass(frozen=True)
class Metric:
    """One row of the registry.

    Attributes:
        kind: what it is computed from: a map, a map and a region, or the trace and map choice.
        low, high: its range; None where the range depends on the grid or the region.
        better: whether a larger value means a more focused or better placed map, a smaller one
            does, or neither.
        chance: its value for a uniform map, in words.
        undefined: when it has no value, in words; empty if it always has one.
        tolerance: default drift tolerance, absolute.
        function: how it is computed.
    """

    kind: Literal["map", "region", "trace"]
    low: float | None
    high: float | None
    better: Literal["higher", "lower", "neither"]
    chance: str
    undefined: str
    tolerance: float
    function: Callable[..., float]

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (self.function.__doc__ or "").strip().splitlines()[0]


_EMPTY = "the region is empty"

METRICS: Mapping[str, Metric] = {
    "mass": Metric("region", 0, 1, "higher", "K/N", _EMPTY, 0.02, mass),
    "lift": Metric("region", 0, None, "higher", "1", _EMPTY, 0.2, lift),
    "pointing": Metric("region", 0, 1, "higher", "about K/N", _EMPTY, 0.0, pointing),
    "entropy": Metric("map", 0, 1, "neither", "1", "the map has one cell", 0.02, entropy),
    "gini": Metric("map", 0, 1, "neither", "0", "", 0.02, gini),
    "focus_area": Metric("map", 0, 1, "lower", "0.5", "", 0.02, focus_area),
    "area_above": Metric("map", 0, 1, "lower", "0", "", 0.03, area_above),
    "centre_x": Metric("map", 0, 1, "neither", "0.5", "", 0.02, centre_x),
    "centre_y": Metric("map", 0, 1, "neither", "0.5", "", 0.02, centre_y),
    "image_share": Metric("trace", 0, 1, "neither", "image cells / tokens", "", 0.02, image_share),
    "mean": Metric("map", 0, 1, "lower", "1", "", 0.02, intensity_mean),
    "max": Metric("map", 1, None, "higher", "1", "", 1.0, intensity_max),
    "min": Metric("map", 0, 1, "lower", "1", "", 0.02, intensity_min),
    "std": Metric("map", 0, 1, "neither", "0", "", 0.02, intensity_std),
}
"""Every metric by the name that case files use."""


def region_key(metric: str, region: str) -> str:
    """The name under which a region's metric is stored: ``mass[birds]``."""
    return f"{metric}[{region}]"


def metric_of(key: str) -> Metric:
    """The registry's row for a stored name, with or without a region."""
    return METRICS[key.partition("[")[0]]


def measure(
    p: Array, regions: Mapping[str, Array], trace: Trace, spec: MapSpec
) -> dict[str, float | str]:
    """Every registered metric of a map, those of regions once for each.

    Returns:
        Stored name to value; a text is the reason why the metric is undefined.
    """
    found: dict[str, float | str] = {}

    def put(key: str, function: Callable[[], float]) -> None:
        try:
            value = function()
        except Undefined as reason:
            found[key] = str(reason)
            return
        found[key] = value if np.isfinite(value) else "the value is not a finite number"

    for name, metric in METRICS.items():
        if metric.kind == "region":
            for region, area in regions.items():
                put(region_key(name, region), lambda m=metric, a=area: m.function(p, a))  # type: ignore[misc]
        elif metric.kind == "trace":
            put(name, lambda m=metric: m.function(trace, spec))  # type: ignore[misc]
        else:
            put(name, lambda m=metric: m.function(p))  # type: ignore[misc]
    return found
