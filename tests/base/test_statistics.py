"""Intervals and separations against by-hand values and independent computations."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from audit.base import statistics
from audit.base.statistics import mean_interval, separation


def test_the_worked_examples_in_the_docstrings_hold() -> None:
    result = doctest.testmod(statistics)
    assert (result.attempted, result.failed) == (5, 0)


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


few = st.lists(st.integers(0, 5).map(float), min_size=1, max_size=8)


@given(few, few)
def test_separation_is_the_area_under_the_curve_of_scikit_learn(
    larger: list[float], smaller: list[float]
) -> None:
    expected = roc_auc_score([1] * len(larger) + [0] * len(smaller), [*larger, *smaller])
    assert separation(larger, smaller) == pytest.approx(expected)
