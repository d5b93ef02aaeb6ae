"""Intervals and separations against by-hand values and independent computations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from audit.base.statistics import (
    above_zero,
    holm,
    least_noncentrality,
    mean_interval,
    separation,
    sign_flip,
    t_interval,
)


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


@given(st.lists(st.integers(-3, 3), max_size=9))
def test_a_sign_flip_test_counts_all_ways_to_give_signs(values: list[int]) -> None:
    ways = [
        sum(sign * value for sign, value in zip(signs, values, strict=True))
        for signs in itertools.product((1, -1), repeat=len(values))
    ]
    expected = sum(abs(way) >= abs(sum(values)) for way in ways) / len(ways)
    assert sign_flip(values) == pytest.approx(expected, abs=1e-12)


@given(st.integers(0, 60), st.integers(0, 60))
def test_a_sign_flip_test_of_single_cases_is_the_exact_mcnemar_test(lost: int, gained: int) -> None:
    expected = scipy.stats.binomtest(lost, lost + gained).pvalue if lost + gained else 1.0
    assert sign_flip([1] * lost + [-1] * gained) == pytest.approx(expected, abs=1e-12)


def test_a_sign_flip_test_of_many_pictures_agrees_with_scipys_random_draws() -> None:
    values = np.random.default_rng(2).integers(-4, 6, 500)
    drawn = scipy.stats.permutation_test(
        (values,), np.sum, permutation_type="samples", n_resamples=5000, vectorized=True,
        rng=np.random.default_rng(0),
    ).pvalue  # fmt: skip
    assert sign_flip(list(values)) == pytest.approx(drawn, abs=3 * np.sqrt(0.25 / 5000))


@pytest.mark.parametrize(("pictures", "level"), [(2, 0.01), (5, 0.05 / 22), (30, 0.05 / 22)])
def test_a_mean_of_the_least_noncentrality_is_found_in_four_of_five_samples(
    pictures: int, level: float
) -> None:
    least = least_noncentrality(pictures - 1, level)
    rng = np.random.default_rng(7)
    samples = rng.normal(least / np.sqrt(pictures), 1, (4000, pictures))
    found = (scipy.stats.ttest_1samp(samples, 0, axis=1).pvalue < level).mean()
    assert found == pytest.approx(0.8, abs=3 * np.sqrt(0.8 * 0.2 / 4000))


def test_holm_multiplies_by_the_number_that_is_left_and_never_falls() -> None:
    assert holm([0.04, 0.001, 0.03]) == pytest.approx([0.06, 0.003, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_gives_a_test_of_more_weight_more_of_the_error() -> None:
    """By hand: 0.02 at 3/4 of the error is 0.0267; then 0.03 has all that is left to itself."""
    assert holm([0.02, 0.03], [3, 1]) == pytest.approx([0.02 * 4 / 3, 0.03])
    assert holm([0.02, 0.03], [1, 1]) == holm([0.02, 0.03])


few = st.lists(st.integers(0, 5).map(float), min_size=1, max_size=8)


@given(few, few)
def test_separation_is_the_area_under_the_curve_of_scikit_learn(
    larger: list[float], smaller: list[float]
) -> None:
    expected = roc_auc_score([1] * len(larger) + [0] * len(smaller), [*larger, *smaller])
    assert separation(larger, smaller) == pytest.approx(expected)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=20))
def test_the_t_interval_is_scipys(values: list[float]) -> None:
    found = t_interval(values)
    if np.ptp(values) > 1e-9:
        error = scipy.stats.sem(values)
        expected = scipy.stats.t.interval(0.95, len(values) - 1, np.mean(values), error)
        assert (found.low, found.high) == pytest.approx(expected)
    assert found.low <= found.mean <= found.high


@pytest.mark.parametrize("values", [[], [1.0], [1.0, np.nan]])
def test_one_value_has_no_t_interval(values: list[float]) -> None:
    with pytest.raises(ValueError, match="at least two values"):
        t_interval(values)


@given(st.lists(st.integers(-4, 4), min_size=2, max_size=8))
def test_a_mean_above_zero_is_as_likely_as_the_signs_that_give_as_much(values: list[int]) -> None:
    signs = itertools.product((1, -1), repeat=len(values))
    sums = [sum(s * v for s, v in zip(each, values, strict=True)) for each in signs]
    expected = np.mean([total >= sum(values) for total in sums])
    assert above_zero([float(v) for v in values]) == pytest.approx(expected)


def test_many_values_are_tested_with_random_signs_the_same_each_time() -> None:
    values = list(np.random.default_rng(0).normal(0.5, 1, 40))
    assert above_zero(values) == above_zero(values) < 0.02
    assert above_zero([-value for value in values]) > 0.98
