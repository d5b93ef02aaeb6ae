"""Intervals and separations against by-hand values and independent computations."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from audit.base.statistics import clustered_mean, mean_interval, separation


def test_an_interval_is_near_the_normal_one_for_many_values() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    found = mean_interval(list(values))
    half = 1.96 * values.std(ddof=1) / np.sqrt(400)
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.03)
    assert found.high == pytest.approx(values.mean() + half, abs=0.03)
    assert mean_interval(list(values)) == found


def test_one_value_and_equal_values_have_intervals_without_width() -> None:
    assert mean_interval([0.25]) == (0.25, 0.25, 0.25)
    assert mean_interval([2.0, 2.0]) == (2.0, 2.0, 2.0)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")]])
def test_nothing_and_what_is_not_finite_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="at least one value"):
        mean_interval(values)


def counted_by_looking_up(
    values: list[float], clusters: list[str], seed: int
) -> tuple[tuple[float, float, float], float]:
    """The mean over clusters that are found in a list, one value after the other."""
    names = list(dict.fromkeys(clusters))
    sums, counts = np.zeros(len(names)), np.zeros(len(names))
    for value, cluster in zip(values, clusters, strict=True):
        sums[names.index(cluster)] += value
        counts[names.index(cluster)] += 1
    mean = sum(values) / len(values)
    found = scipy.stats.bootstrap(
        (sums, counts), lambda s, c, axis=-1: s.sum(axis=axis) / c.sum(axis=axis), paired=True,
        n_resamples=2000, method="percentile", rng=np.random.default_rng(seed), batch=200,
    ).confidence_interval  # fmt: skip
    few, left = len(names) / (len(names) - 1), sums - mean * counts
    error = np.sqrt(few * (left**2).sum()) / len(values)
    p = 2 * scipy.stats.t.sf(abs(mean) / error, df=len(names) - 1)
    return (mean, found.low, found.high), float(p)


@pytest.mark.parametrize("seed", range(5))
def test_a_clustered_mean_is_the_one_of_clusters_looked_up_one_by_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = list(rng.normal(0.1, 1, 60))
    clusters = [f"picture-{n}" for n in rng.integers(0, 9, 60)]
    interval, p = clustered_mean(values, clusters, seed=seed)
    expected, chance = counted_by_looking_up(values, clusters, seed)
    assert tuple(interval) == pytest.approx(expected, abs=1e-12)
    assert p == pytest.approx(chance, abs=1e-12)


class Compared(str):
    """A cluster that counts how often it is compared with another."""

    __slots__ = ()
    times = 0

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return super().__eq__(other)

    __hash__ = str.__hash__


def test_the_time_of_a_clustered_mean_grows_with_the_values_and_not_with_their_square() -> None:
    clusters = [Compared(n // 2) for n in range(2000)]
    clustered_mean([1.0] * 2000, clusters)
    assert Compared.times < 10 * 2000


few = st.lists(st.integers(0, 5).map(float), min_size=1, max_size=8)


@given(few, few)
def test_separation_is_the_area_under_the_curve_of_scikit_learn(
    larger: list[float], smaller: list[float]
) -> None:
    expected = roc_auc_score([1] * len(larger) + [0] * len(smaller), [*larger, *smaller])
    assert separation(larger, smaller) == pytest.approx(expected)
