"""Statistics over cases, computed with scipy."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats


class Interval(NamedTuple):
    """A mean and the bounds of its confidence interval."""

    mean: float
    low: float
    high: float


def mean_interval(values: Sequence[float], *, level: float = 0.95, seed: int = 0) -> Interval:
    """Mean of independent values with its percentile bootstrap interval (2000 resamples).

    For paired samples, pass the differences. With a single value there is nothing to resample:
    both bounds equal it.

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
    """Chance that a value of ``larger`` exceeds one of ``smaller``; ties count half (the AUC).

    >>> separation([2.0, 3.0], [1.0, 2.0])
    0.875
    """
    ranks = stats.rankdata([*larger, *smaller])[: len(larger)]
    least = len(larger) * (len(larger) + 1) / 2
    return float((ranks.sum() - least) / (len(larger) * len(smaller)))


def clustered_mean(
    values: Sequence[float], clusters: Sequence[Hashable], *, level: float = 0.95, seed: int = 0
) -> tuple[Interval, float]:
    """Mean of paired changes with its interval, and the p-value of a mean so far from 0.

    Values of one cluster (cases about one picture) are not independent: the bootstrap draws whole
    clusters, and the t-test has cluster-robust standard errors and one degree of freedom less than
    there are clusters (Cameron & Miller 2015, eq. 11 with the correction for few clusters). A
    sign-flip test would not need a normal distribution, but with six pictures it could not find
    even the largest change.

    >>> clustered_mean([1.0, 1.0, 1.0], ["a", "b", "c"])
    (Interval(mean=1.0, low=1.0, high=1.0), 0.0)

    Returns:
        The mean with its percentile bootstrap interval, and the two-sided p-value, which is 1 if
        there is one cluster or nothing changed.

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.size == 0 or not np.isfinite(data).all():
        raise ValueError("a mean needs at least one value, and all of them finite")
    numbers: dict[Hashable, int] = {}
    member = np.asarray([numbers.setdefault(cluster, len(numbers)) for cluster in clusters])
    sums, counts = np.bincount(member, weights=data), np.bincount(member).astype(np.float64)
    mean = float(data.mean())
    if len(numbers) == 1 or np.ptp(sums / counts) == 0:
        interval = Interval(mean, mean, mean)
    else:

        def ratio(total: Any, count: Any, axis: int = -1) -> Any:
            return total.sum(axis=axis) / count.sum(axis=axis)

        found = stats.bootstrap(
            (sums, counts), ratio, paired=True, n_resamples=2000, batch=200, method="percentile",
            confidence_level=level, rng=np.random.default_rng(seed),
        ).confidence_interval  # fmt: skip
        interval = Interval(mean, float(found.low), float(found.high))
    if len(numbers) == 1 or not sums.any():
        return interval, 1.0
    left = sums - mean * counts
    error = math.sqrt(len(numbers) / (len(numbers) - 1) * float((left**2).sum())) / counts.sum()
    if error <= 1e-12 * abs(mean):
        return interval, 0.0
    return interval, float(2 * stats.t.sf(abs(mean) / error, df=len(numbers) - 1))


def mcnemar(lost: int, gained: int) -> float:
    """Exact two-sided p-value of McNemar's test, computed from the discordant pairs.

    >>> mcnemar(5, 0), mcnemar(3, 3)
    (0.0625, 1.0)
    """
    if lost + gained == 0:
        return 1.0
    return float(stats.binomtest(lost, lost + gained).pvalue)


def holm(values: Sequence[float]) -> list[float]:
    """P-values adjusted for testing several at once (Holm 1979), in the order given.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(values, kind="stable")
    adjusted = [0.0] * len(values)
    largest = 0.0
    for place, index in enumerate(order):
        largest = max(largest, (len(values) - place) * values[index])
        adjusted[index] = min(largest, 1.0)
    return adjusted
