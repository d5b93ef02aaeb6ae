"""Statistics over cases; scipy does the work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats


class Interval(NamedTuple):
    """A mean and the bounds of its confidence interval."""

    mean: float
    low: float
    high: float


def mean_interval(values: Sequence[float], *, level: float = 0.95, seed: int = 0) -> Interval:
    """Mean of independent values with its percentile bootstrap interval (2000 resamples).

    For paired samples give the differences. A single value has no spread to resample: its bounds
    are itself.

    >>> mean_interval([1.0, 1.0, 1.0])
    Interval(mean=1.0, low=1.0, high=1.0)

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.size == 0 or not np.isfinite(data).all():
        raise ValueError("a mean needs at least one value, and all of them finite")
    mean = float(data.mean())
    if data.size == 1 or np.ptp(data) == 0:
        return Interval(mean, mean, mean)
    found = stats.bootstrap(
        (data,), np.mean, n_resamples=2000, batch=200, method="percentile",
        confidence_level=level, rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return Interval(mean, float(found.low), float(found.high))


def separation(larger: Sequence[float], smaller: Sequence[float]) -> float:
    """Chance that a value of ``larger`` exceeds one of ``smaller``, ties counting half (the AUC).

    >>> separation([2.0, 3.0], [1.0, 2.0])
    0.875
    """
    ranks = stats.rankdata([*larger, *smaller])[: len(larger)]
    least = len(larger) * (len(larger) + 1) / 2
    return float((ranks.sum() - least) / (len(larger) * len(smaller)))
