"""The shape of a map: how focused it is, where, and in how many pieces.

Throughout, ``p`` is a map (rows, cols), non-negative with sum 1, and N is the number of its cells.
Inputs are not changed. A metric that has no value raises :class:`~audit.base.errors.Undefined`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from audit.base.errors import Undefined

Array = NDArray[np.float64]

_TIE = 1e-9
"""Values with a relative difference below this are tied: it may come from rounding alone."""


def entropy(p: Array) -> float:
    """Normalised Shannon entropy, the dispersion of a map: −Σ p ln p / ln N; uniform is 1.

    >>> entropy(np.full((2, 2), 0.25))
    1.0
    >>> entropy(np.array([[1.0, 0.0], [0.0, 0.0]]))
    0.0
    """
    if p.size == 1:
        raise Undefined("the map has one cell")
    return float(np.clip(_nats(p) / np.log(p.size), 0.0, 1.0))


def effective_area(p: Array) -> float:
    """Share of cells that a uniform map of the same entropy would cover: exp(−Σ p ln p) / N.

    >>> effective_area(np.full((2, 2), 0.25))
    1.0
    >>> effective_area(np.array([[0.5, 0.5], [0.0, 0.0]]))
    0.5
    """
    return float(np.clip(np.exp(_nats(p)) / p.size, 0.0, 1.0))


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


def focus_area(p: Array, share: float = 0.5) -> float:
    """Smallest share of cells that holds half of the map; the last cell counts in part.

    ``share`` is how much they hold instead of half.

    >>> focus_area(np.array([[0.5, 0.25], [0.25, 0.0]]))
    0.25
    >>> focus_area(np.array([[0.5, 0.25], [0.25, 0.0]]), share=0.75)
    0.5
    >>> focus_area(np.full((2, 2), 0.25))
    0.5
    """
    return float(focus(p, share).mean())


def area_above(p: Array) -> float:
    """Share of cells above 0.5 after scaling the map to 0..1; a constant map has none.

    >>> area_above(np.array([[0.5, 0.25], [0.25, 0.0]]))
    0.25
    """
    spread = p.max() - p.min()
    if spread <= 0:
        return 0.0
    return float(((p - p.min()) / spread > 0.5).mean())


def peaks(p: Array) -> float:
    """Number of separate regions above half the maximum; cells that touch at a corner are joined.

    Corners join (8-connectivity) because on a coarse grid a slanting object is a chain of cells
    that touch only at corners.

    >>> peaks(np.array([[0.5, 0.0], [0.0, 0.5]]))
    1.0
    >>> peaks(np.array([[0.4, 0.2, 0.4]]))
    2.0
    """
    from scipy.ndimage import label  # noqa: PLC0415  cases are checked without it

    above = p > p.max() / 2 * (1 + _TIE)
    return float(label(above, structure=np.ones((3, 3)))[1])


def centre_x(p: Array) -> float:
    """Centre of mass from left to right, as a fraction of the width that the model sees.

    >>> centre_x(np.array([[0.0, 1.0], [0.0, 0.0]]))
    0.75
    """
    return _moments(p.sum(axis=0))[0]


def centre_y(p: Array) -> float:
    """Centre of mass from top to bottom, as a fraction of the height that the model sees.

    >>> centre_y(np.array([[0.0, 1.0], [0.0, 0.0]]))
    0.25
    """
    return _moments(p.sum(axis=1))[0]


def spread(p: Array) -> float:
    """Root mean squared distance from the centre of mass, over the diagonal of what the model sees.

    √(trace of the covariance) / √2, with x and y as fractions of the width and height that the
    model sees (:attr:`Trace.view <audit.maps.trace.Trace.view>`). The largest value is 0.5, for a
    map with half in each of two opposite corners.

    >>> spread(np.array([[0.5, 0.0], [0.0, 0.5]]))
    0.25
    >>> spread(np.array([[1.0, 0.0], [0.0, 0.0]]))
    0.0
    """
    return math.sqrt((_moments(p.sum(axis=0))[1] + _moments(p.sum(axis=1))[1]) / 2)


def intensity_mean(p: Array) -> float:
    """Mean of the map scaled to maximum 1.

    >>> intensity_mean(np.array([[0.5, 0.25], [0.25, 0.0]]))
    0.5
    """
    return float((p / p.max()).mean())


def intensity_max(p: Array) -> float:
    """Largest cell of the map, times the number of cells: how far the peak exceeds a uniform map.

    In a map scaled to maximum 1, the maximum would always be 1 and say nothing.

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


def levels(p: Array) -> NDArray[np.intp]:
    """Each cell's rank among the distinct values, 0 for the smallest; tied cells share a rank.

    >>> levels(np.array([[0.5, 0.25], [0.25, 0.0]])).tolist()
    [[2, 1], [1, 0]]
    """
    order = np.argsort(p, axis=None, kind="stable")
    values = p.ravel()[order]
    places = np.zeros(p.size, np.intp)
    places[order[1:]] = np.cumsum(values[1:] > values[:-1] * (1 + _TIE))
    return places.reshape(p.shape)


def focus(p: Array, share: float = 0.5) -> Array:
    """How much of each cell belongs to the smallest set of cells that holds ``share`` of the map.

    Cells are taken from the largest down; cells that are tied at the end share the rest equally.

    >>> focus(np.array([[0.5, 0.25], [0.25, 0.0]]), share=0.75).tolist()
    [[1.0, 0.5], [0.5, 0.0]]
    """
    places = levels(p)
    held = np.bincount(places.ravel(), weights=p.ravel())
    above = np.cumsum(held[::-1])[::-1] - held
    missing = np.clip(share - above, 0.0, held)
    member: Array = np.divide(missing, held, out=np.zeros_like(held), where=held > 0)[places]
    return member


def _nats(p: Array) -> float:
    """Shannon entropy in nats."""
    positive = p[p > 0]
    # 0 − x, because the sum for a single-cell map is 0, and its negative would print as -0.0.
    return float(0.0 - (positive * np.log(positive)).sum())


def _moments(marginal: Array) -> tuple[float, float]:
    """Mean and variance of the position along one side, in fractions of the side."""
    places = (np.arange(len(marginal)) + 0.5) / len(marginal)
    mean = float((marginal * places).sum())
    return mean, float((marginal * (places - mean) ** 2).sum())
