"""How far two maps of the same grid are from each other.

``p`` and ``q`` are maps (rows, cols), non-negative with sum 1; they are not changed. A distance
that has no value raises :class:`~audit.base.errors.Undefined`.
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.base.errors import Undefined
from audit.metrics.shape import centre_x, centre_y, focus, levels

Array = NDArray[np.float64]

_BACKENDS = ("PYTORCH", "JAX", "CUPY", "TENSORFLOW")
_ITERATIONS = 10_000_000  # of the simplex; two random maps of 30 x 30 cells take some ten thousand


def js(p: Array, q: Array) -> float:
    """Jensen–Shannon distance, base 2 (Endres & Schindelin 2003): equal maps 0, disjoint maps 1.

    √(½ Σ p log₂(p / m) + ½ Σ q log₂(q / m)) with m = (p + q) / 2.

    >>> js(np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[0.0, 1.0], [0.0, 0.0]]))
    1.0
    """
    _same_grid(p, q)
    if np.array_equal(p, q):
        return 0.0
    from scipy.spatial.distance import jensenshannon  # noqa: PLC0415  cases are checked without it

    # For almost equal maps rounding can make the sums negative, and then the root is NaN.
    with np.errstate(invalid="ignore"):
        found = float(jensenshannon(p.ravel(), q.ravel(), base=2))
    return 0.0 if math.isnan(found) else min(found, 1.0)


def emd(p: Array, q: Array) -> float:
    """Earth mover's distance (Rubner et al. 2000), over the diagonal of what the model sees.

    The least Σ mass · way that turns one map into the other; a way is the Euclidean distance of
    cell centres, with x and y as fractions of the width and height that the model sees, over √2.
    It is solved exactly, by the network simplex of POT (Flamary et al. 2021).

    >>> emd(np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[0.0, 0.0], [0.0, 1.0]]))
    0.5
    """
    _same_grid(p, q)
    # Ways obey the triangle inequality, so what both maps share may stay where it is: the distance
    # depends only on p − q, and the problem to solve is smaller.
    more, less = np.clip(p - q, 0.0, None), np.clip(q - p, 0.0, None)
    moved = float(more.sum() + less.sum()) / 2
    if not (more.any() and less.any()):
        return 0.0
    from scipy.spatial.distance import cdist  # noqa: PLC0415  cases are checked without it

    places = [_places(part) for part in (more, less)]
    amounts = [part[part > 0] / part.sum() for part in (more, less)]
    cost, log = _ot().emd2(*amounts, cdist(*places), numItermax=_ITERATIONS, log=True)
    if log["warning"] is not None:
        raise Undefined(f"the earth mover's distance was not found: {log['warning']}")
    return min(float(cost) * moved / math.sqrt(2), 1.0)


def pearson(p: Array, q: Array) -> float:
    """Pearson's correlation of the two maps' cells.

    >>> round(pearson(np.array([[0.4, 0.3], [0.2, 0.1]]), np.array([[0.1, 0.2], [0.3, 0.4]])), 6)
    -1.0
    """
    _same_grid(p, q)
    _varied(p, q)
    return _correlation(p, q)


def spearman(p: Array, q: Array) -> float:
    """Spearman's rank correlation of the two maps' cells; tied cells have the mean of their ranks.

    >>> round(spearman(np.array([[0.7, 0.2], [0.1, 0.0]]), np.array([[0.4, 0.3], [0.2, 0.1]])), 6)
    1.0
    """
    _same_grid(p, q)
    _varied(p, q)
    from scipy.stats import rankdata  # noqa: PLC0415 - takes a third of a second, rarely needed

    return _correlation(rankdata(levels(p)), rankdata(levels(q)))


def centre_shift(p: Array, q: Array) -> float:
    """Distance between the two centres of mass, over the diagonal of what the model sees.

    >>> centre_shift(np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[0.0, 0.0], [0.0, 1.0]]))
    0.5
    """
    _same_grid(p, q)
    return math.sqrt(
        ((centre_x(p) - centre_x(q)) ** 2 + (centre_y(p) - centre_y(q)) ** 2) / 2,
    )


def focus_iou(p: Array, q: Array) -> float:
    """Intersection over union of the two smallest sets of cells that hold half of each map.

    Σ min(a, b) / Σ max(a, b), where a and b say how much of each cell belongs to its map's set, as
    in ``focus_area``: the last cell belongs in part, and tied cells belong equally.

    >>> p, q = np.array([[0.5, 0.25], [0.25, 0.0]]), np.array([[0.25, 0.25], [0.25, 0.25]])
    >>> focus_iou(p, p), focus_iou(p, q)
    (1.0, 0.2)
    """
    _same_grid(p, q)
    a, b = focus(p), focus(q)
    return float(np.minimum(a, b).sum() / np.maximum(a, b).sum())


def _same_grid(p: Array, q: Array) -> None:
    if p.shape != q.shape:
        one, other = (" x ".join(map(str, each.shape)) for each in (p, q))
        raise Undefined(f"the maps have different grids: {one} and {other} cells")


def _varied(p: Array, q: Array) -> None:
    if levels(p).max() == 0 or levels(q).max() == 0:
        raise Undefined("one of the maps is constant")


def _correlation(a: Array, b: Array) -> float:
    from scipy.stats import pearsonr  # noqa: PLC0415 - takes a third of a second, rarely needed

    return float(np.clip(pearsonr(a.ravel(), b.ravel()).statistic, -1.0, 1.0))


def _places(part: Array) -> Array:
    """Centres (x, y) of the cells that hold something, as fractions of the grid's sides."""
    rows, cols = part.shape
    row, col = np.nonzero(part)
    return np.column_stack([(col + 0.5) / cols, (row + 0.5) / rows])


def _ot() -> Any:
    """POT, kept from importing torch, JAX, CuPy and TensorFlow, as it does if it finds them."""
    names = [f"POT_BACKEND_DISABLE_{name}" for name in _BACKENDS]
    before = {name: os.environ.get(name) for name in names}
    try:
        os.environ.update(dict.fromkeys(names, "1"))
        import ot  # noqa: PLC0415 - the variables are set only here
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    return ot
