"""How well a map is placed on a region.

Throughout, ``p`` is a map (rows, cols), non-negative with sum 1; ``region`` is a fractional mask of
the same shape: each cell holds the share of its area that lies inside. N is the number of cells and
K the region's area in cells. Inputs are not changed. A metric that has no value raises
:class:`~audit.base.errors.Undefined`.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from audit.base.errors import Undefined, nearest
from audit.metrics.shape import focus, levels

Array = NDArray[np.float64]

THRESHOLD = r"(quantile|max_share|mass):(0?\.[0-9]*[1-9][0-9]*)"
"""A rule and a value between 0 and 1 that choose the cells that :func:`iou` compares."""

_ROUNDING = 1e-9
"""By how much a cell's share of a region may be off."""


def mass(p: Array, region: Array) -> float:
    """Share of the map inside the region: relevance mass accuracy (Arras et al. 2022, eq. 4).

    >>> mass(np.array([[0.5, 0.25], [0.25, 0.0]]), np.array([[1.0, 0.0], [0.0, 0.0]]))
    0.5
    """
    _area(region)
    return float((p * region).sum())


def lift(p: Array, region: Array) -> float:
    """Mass divided by the mass of a uniform map: mass · N / K.

    >>> lift(np.array([[0.5, 0.25], [0.25, 0.0]]), np.array([[1.0, 0.0], [0.0, 0.0]]))
    2.0
    """
    return float((p * region).sum() * p.size / _area(region))


def rank(p: Array, region: Array) -> float:
    """Share of the K largest cells inside the region: relevance rank accuracy (Arras et al. 2022).

    Σ t · region / K, where t is how much of each cell belongs to the K largest: cells are taken
    from the largest down until there are K, the last one in part. If tied cells do not all fit,
    they share the rest equally, which is the expected value over their orders; so a uniform map has
    K/N. A finer grid of the same map would give the same value. A region whose edge cuts through
    cells holds fewer than K whole cells, so even the best map does not reach 1.

    >>> rank(np.array([[0.5, 0.25], [0.25, 0.0]]), np.array([[1.0, 0.0], [0.0, 0.0]]))
    1.0
    >>> rank(np.array([[0.5, 0.25], [0.25, 0.0]]), np.array([[1.0, 1.0], [0.0, 0.0]]))
    0.75
    >>> rank(np.full((2, 2), 0.25), np.array([[1.0, 0.0], [0.0, 0.0]]))
    0.25
    """
    area = _area(region)
    places = levels(p)
    cells = np.bincount(places.ravel())
    above = np.cumsum(cells[::-1])[::-1] - cells
    taken = np.clip((area - above) / cells, 0.0, 1.0)[places]
    return _unit((taken * region).sum() / area)


def pointing(p: Array, region: Array, tolerance: int = 0) -> float:
    """Pointing game (Zhang et al. 2018): 1 if the maximum lies in the region or near it.

    A cell lies in the region if at least half of its area does; if no cell is that far inside, the
    cells with the largest share count. Near means at most ``tolerance`` cells away from such a
    cell, centre to centre. Tied maxima score the share of them that hit, so a uniform map scores
    the region's share of cells and the order of cells does not matter.

    >>> pointing(np.array([[0.5, 0.25], [0.25, 0.0]]), np.array([[1.0, 0.0], [0.0, 0.0]]))
    1.0
    >>> pointing(np.full((2, 2), 0.25), np.array([[1.0, 0.0], [0.0, 0.0]]))
    0.25
    >>> pointing(np.full((2, 2), 0.25), np.array([[1.0, 0.0], [0.0, 0.0]]), tolerance=1)
    0.75
    """
    _area(region)
    # A share of one half may come out of the division of areas as a little less.
    hits = region >= min(0.5, float(region.max())) - _ROUNDING
    if tolerance:
        from scipy.ndimage import distance_transform_edt  # noqa: PLC0415  cases are checked without it

        # Squared distances between cells are whole numbers, so a distance beyond the tolerance is
        # beyond it by more than this.
        hits = distance_transform_edt(~hits) <= tolerance + 1e-9
    tied = np.isclose(p, p.max(), rtol=1e-9, atol=0.0)
    return float(hits[tied].mean())


def auc(p: Array, region: Array) -> float:
    """Chance that a place inside the region has a larger value than one outside; ties count half.

    The Mann–Whitney statistic with mid-ranks, which is the area under the ROC curve (Fawcett 2006).
    A cell that the region's edge cuts counts on both sides: inside with the share m of its area
    that lies there, outside with 1 − m.

    >>> auc(np.array([[0.5, 0.25], [0.25, 0.0]]), np.array([[1.0, 0.0], [0.0, 0.0]]))
    1.0
    >>> auc(np.array([[0.5, 0.25], [0.25, 0.0]]), np.array([[0.0, 1.0], [0.0, 0.0]]))
    0.5
    """
    area = _area(region)
    # If a region covers everything, the sum of its shares may differ from N by rounding.
    if region.size - area <= 1e-9 * region.size:
        raise Undefined("the region covers the whole picture")
    places = levels(p).ravel()
    inside = np.bincount(places, weights=region.ravel())
    outside = np.bincount(places, weights=1 - region.ravel())
    below = np.cumsum(outside) - outside
    wins = (inside * (below + outside / 2)).sum()
    return _unit(wins / (area * (region.size - area)))


def iou(p: Array, region: Array, threshold: str = "max_share:0.5") -> float:
    """Intersection over union of the cells above a threshold with the region.

    Σ min(c, region) / Σ max(c, region), where c is 1 for cells at or above the threshold, else 0.
    ``max_share:V`` sets it at V times the maximum, ``quantile:V`` at that quantile of the values,
    ``mass:V`` at the largest value that leaves at least V of the map at or above it.

    >>> region = np.array([[1.0, 0.0], [0.0, 0.0]])
    >>> iou(np.array([[0.5, 0.25], [0.25, 0.0]]), region, threshold="max_share:0.6")
    1.0
    >>> iou(np.array([[0.5, 0.5], [0.0, 0.0]]), region)
    0.5
    >>> iou(np.full((2, 2), 0.25), region)
    0.25

    Raises:
        ValueError: the threshold is not written as above.
    """
    _area(region)
    rule, value = read_threshold(threshold)
    if rule == "mass":
        chosen = focus(p, value) > 1e-9
    else:
        limit = p.max() * value if rule == "max_share" else np.quantile(p, value)
        chosen = p >= limit * (1 - 1e-9)
    return float(np.minimum(chosen, region).sum() / np.maximum(chosen, region).sum())


def read_threshold(text: str) -> tuple[str, float]:
    """Rule and value of a threshold.

    >>> read_threshold("mass:0.5")
    ('mass', 0.5)

    Raises:
        ValueError: it is not a known rule with a value between 0 and 1.
    """
    match = re.fullmatch(THRESHOLD, text)
    if match:
        return match[1], float(match[2])
    rule, rules = text.partition(":")[0], ("mass", "max_share", "quantile")
    hint = "" if rule in rules else f"; {nearest(rule, rules)}"
    raise ValueError(
        f"{text!r} is not a threshold: write a rule and a number between 0 and 1, as in "
        f"{rule if rule in rules else 'mass'}:0.5{hint}"
    )


def _area(region: Array) -> float:
    area = float(region.sum())
    if area <= 0:
        raise Undefined("the region is empty")
    return area


def _unit(value: float) -> float:
    """``value`` clipped to [0, 1], which rounding may exceed."""
    return float(np.clip(value, 0.0, 1.0))
