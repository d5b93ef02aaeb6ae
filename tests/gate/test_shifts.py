"""The tests behind the suite-level gate: one vote a picture, with the noise of a measurement."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import stats

from audit.base.settings import Limits
from audit.gate.changes import Change
from audit.gate.shifts import Table, means_of, run_tests, sums_of, table_of
from audit.gate.suite import judge_suite
from audit.metrics.registry import METRICS

TINY = 1e-12  # a tolerance whose noise cannot be seen


def table(values: list[float], pictures: list[int], tolerance: float = TINY) -> Table:
    column = np.array(values)[:, None]
    return Table(
        ("mass",), ("higher",), (True,), column, np.full(column.shape, tolerance),
        np.array(pictures), np.zeros(len(values), dtype=np.int64),
    )  # fmt: skip


def p_value(values: list[float], pictures: list[int], tolerance: float = TINY) -> float:
    (found,) = run_tests(sums_of(table(values, pictures, tolerance)), [], Limits())
    return float(found.metrics[0])


def test_one_case_a_picture_gives_the_t_test_and_the_interval_of_textbooks() -> None:
    values = list(np.random.default_rng(4).normal(0.3, 1, 9))
    expected = stats.ttest_1samp(values, 0)
    assert p_value(values, list(range(9))) == pytest.approx(expected.pvalue)
    mean, low, high = means_of(table(values, list(range(9)))).interval(0)
    assert mean == pytest.approx(np.mean(values))
    assert (low, high) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_a_picture_has_one_vote_however_many_cases_are_about_it() -> None:
    """Of unequal numbers of cases, the t-test is that of the pictures' means."""
    values, pictures = [0.5, 0.1, 0.3, -0.1, 0.2, 0.2, 0.2], [0, 0, 0, 1, 2, 2, 2]
    means = [0.3, -0.1, 0.2]
    assert p_value(values, pictures) == pytest.approx(stats.ttest_1samp(means, 0).pvalue)
    found = means_of(table(values, pictures))
    assert (found.cases[0], found.pictures[0]) == (7, 3)
    assert found.mean[0] == pytest.approx(0.4 / 3)


def test_the_interval_leaves_out_nothing_just_where_the_test_finds_something() -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        values, pictures = list(rng.normal(0.4, 1, 12)), list(rng.integers(0, 6, 12))
        _, low, high = means_of(table(values, pictures, 0.5)).interval(0)
        assert (p_value(values, pictures, 0.5) < 0.05) == (not low <= 0 <= high)


def test_one_picture_is_no_test() -> None:
    assert p_value([0.5, 0.4, 0.5], [0, 0, 0]) == 1.0
    assert means_of(table([0.5, 0.25], [0, 0])).interval(0) == (0.375, 0.375, 0.375)


def test_equal_changes_are_not_certain_because_each_has_the_noise_of_its_measurement() -> None:
    """By hand: a tolerance of 0.6 is a noise of 0.1, so of two pictures t = 1 / sqrt(0.01 / 2)."""
    nearly = 1e-5  # not quite equal, so no whole steps
    found = p_value([1.0 + nearly, 1.0 - nearly], [0, 1], 0.6)
    assert found == pytest.approx(2 * stats.t.sf(1 / np.sqrt(0.01 / 2), 1), rel=1e-6)


@pytest.mark.parametrize("level", [0.05, 0.01, 0.001])
def test_whole_steps_that_all_pictures_share_are_no_surer_than_coins(level: float) -> None:
    """The sign-flip test of so many equal changes has p = 2 / 2^pictures."""
    for pictures in range(2, 20):
        if p_value([1.0] * pictures, list(range(pictures))) < level:
            assert 2 / 2**pictures < level
    assert p_value([1.0] * 6, list(range(6))) < 0.05


def test_the_whole_has_half_of_the_error_whatever_number_of_slices_there_are() -> None:
    values = list(np.random.default_rng(4).normal(1, 1, 12))
    whole = table(values, list(range(12)))
    (alone,) = run_tests(sums_of(whole), [], Limits())
    parts = [whole.of(np.arange(start, start + 6)) for start in range(6)]
    beside = run_tests(sums_of(whole), [sums_of(part) for part in parts], Limits())
    assert alone.adjusted[0] == pytest.approx(2 * alone.metrics[0])  # labels and one metric
    assert beside[0].adjusted[0] == pytest.approx(2 * 2 * alone.metrics[0])


def test_a_slice_of_few_pictures_is_not_tested() -> None:
    whole = table([0.0] * 8 + [5.0, 5.1, 5.2, 5.3], list(range(12)))
    _, few = run_tests(sums_of(whole), [sums_of(whole.of(np.arange(8, 12)))], Limits())
    assert few.adjusted.tolist() == [1.0]
    _, enough = run_tests(sums_of(whole), [sums_of(whole.of(np.arange(7, 12)))], Limits())
    assert enough.adjusted[0] < 1


def test_a_figure_without_tolerance_has_its_metrics_own_or_that_of_a_share() -> None:
    changes = [
        Change("a", "p", False, ("yes", "yes"), (True, True), {"mass": 0.1, "pointing": 1.0},
               {"mass": 0.0, "pointing": 0.0})
    ]  # fmt: skip
    assert table_of(changes).tolerances.tolist() == [[0.02, 0.05]]


@pytest.mark.slow
def test_forty_thousand_cases_are_judged_in_seconds() -> None:
    rng = np.random.default_rng(1)
    allowed = dict.fromkeys(["probability", *list(METRICS)[:20]], 0.02)
    values = rng.normal(0, 0.01, (40_000, 21))
    changes = [
        Change(
            str(i), str(i % 20_000), False, ("yes", "yes"), (i % 7 > 0, i % 9 > 0),
            dict(zip(allowed, values[i].tolist(), strict=True)), allowed,
            ("yes", "no", "maybe")[i % 3], (f"tag-{i % 10}", f"tag-{10 + i % 11}"),
        )
        for i in range(40_000)
    ]  # fmt: skip
    started = time.perf_counter()
    suite = judge_suite(changes, Limits())
    assert time.perf_counter() - started < 5  # half a second on a quiet machine
    assert (suite.cases, suite.images, len(suite.slices)) == (40_000, 20_000, 24)
