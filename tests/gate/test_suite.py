"""The suite-level gate: what it calls a shift, what it does not, and why."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from audit.base.settings import Limits
from audit.base.statistics import clustered_mean, holm, mcnemar
from audit.gate.drift import _Compared, _row
from audit.gate.outcomes import DriftRow, State
from audit.gate.suite import Change, changes_of, judge_suite
from audit.metrics.registry import METRICS
from tests.outcomes import outcome

CASES = 24


def steady(case: int, **changes: float) -> Change:
    allowed = {n: METRICS[n].tolerance if n in METRICS else 0.05 for n in changes}
    picture, right = f"picture-{case // 2}", (True, True)
    return Change(str(case), picture, False, ("yes", "yes"), right, changes, allowed)


def many(**means: float) -> list[Change]:
    """Cases over twelve pictures whose changes scatter a little around the given means."""
    rng = np.random.default_rng(3)
    scatter = rng.normal(0, 0.002, (CASES, len(means)))
    return [
        steady(
            i, **{name: mean + float(scatter[i, k]) for k, (name, mean) in enumerate(means.items())}
        )
        for i in range(CASES)
    ]


def verdicts(changes: list[Change]) -> dict[str, str]:
    return {shift.metric: shift.verdict for shift in judge_suite(changes, Limits()).shifts}


def test_a_small_shift_that_every_case_shares_fails_although_each_is_within_its_tolerance() -> None:
    suite = judge_suite(many(mass=-0.012, entropy=0.0), Limits())  # the tolerance of mass is 0.02
    assert suite.failed
    assert "mass moved for the worse by -0.012" in suite.sentence
    assert "0.6 times its tolerance" in suite.sentence
    assert (suite.cases, suite.images) == (24, 12)


def test_what_moved_for_the_worse_is_told_before_larger_shifts_of_no_direction() -> None:
    suite = judge_suite(many(entropy=0.4, mass=-0.03), Limits())
    assert [s.metric for s in suite.shifts] == ["entropy", "mass"]  # the larger effect first
    assert suite.sentence.index("mass moved for the worse") < suite.sentence.index("entropy moved")


def test_a_shift_for_the_better_is_told_and_does_not_fail() -> None:
    suite = judge_suite(many(mass=0.05, deletion=-0.1), Limits())
    assert {s.metric: s.verdict for s in suite.shifts} == {"mass": "better", "deletion": "better"}
    assert not suite.failed


def test_a_metric_without_direction_fails_whichever_way_it_moves() -> None:
    for change in (0.05, -0.05):
        assert verdicts(many(entropy=change)) == {"entropy": "shifted"}
        assert judge_suite(many(entropy=change), Limits()).failed


def test_a_significant_change_below_the_stated_effect_does_not_fail() -> None:
    suite = judge_suite(many(mass=-0.005), Limits())
    (shift,) = suite.shifts
    assert shift.adjusted < 0.01
    assert shift.effect == pytest.approx(-0.25, abs=0.05)
    assert not suite.failed
    assert judge_suite(many(mass=-0.005), Limits(effect=0.1)).failed


def test_cases_of_one_picture_are_no_evidence_of_their_own() -> None:
    """Half of the cases moved: all those of one picture in twelve, or one of each picture."""
    for pictures, failed in ((2, False), (12, True)):
        changes = [
            replace(steady(i, mass=-0.05 * (i % 2) + 0.001 * (i % 5)), image=str(i % pictures))
            for i in range(CASES)
        ]
        if pictures == 12:
            changes = [replace(c, image=str(int(c.case) // 2)) for c in changes]
        assert judge_suite(changes, Limits()).failed == failed, pictures


def test_creep_is_a_way_from_the_anchor_that_is_not_for_the_better() -> None:
    """Within 0.02 of the accepted mass, 0.03 from the anchor: down is creep, up is not."""
    for now, verdict in ((0.47, "crept"), (0.53, "within"), (0.49, "within")):
        row = _row("mass[birds]", _Compared(now, (now + 0.5) / 2, 0.5), 0.02, "higher")
        assert row.verdict == verdict, now
        assert row.anchor == "0.5"


def flips(lost: int, gained: int, critical: bool = False) -> list[Change]:
    changes = [steady(i) for i in range(CASES)]
    for i in range(lost):
        changes[i] = replace(changes[i], labels=("yes", "no"), right=(True, False))
    for i in range(lost, lost + gained):
        changes[i] = replace(changes[i], labels=("no", "yes"), right=(False, True))
    changes[0] = replace(changes[0], critical=critical)
    return changes


@pytest.mark.parametrize(
    ("lost", "gained", "failed"), [(5, 0, False), (6, 0, True), (8, 2, False), (0, 8, False)]
)
def test_lost_labels_fail_where_the_exact_test_says_so(
    lost: int, gained: int, failed: bool
) -> None:
    """Of 5 discordant pairs all one way p is 2/32, of 6 it is 2/64."""
    suite = judge_suite(flips(lost, gained), Limits())
    assert suite.failed == failed
    assert (len(suite.lost), len(suite.gained)) == (lost, gained)
    assert len(suite.flipped) == lost + gained


def test_one_lost_critical_case_is_a_veto() -> None:
    assert not judge_suite(flips(1, 0), Limits()).failed
    suite = judge_suite(flips(1, 0, critical=True), Limits())
    assert suite.failed
    assert "critical cases are wrong now: 0" in suite.sentence
    json.dumps(suite.to_dict(), allow_nan=False)


def test_nothing_that_changed_passes_and_says_so() -> None:
    suite = judge_suite([steady(i, mass=0.0) for i in range(4)], Limits())
    assert not suite.failed
    assert suite.sentence == "over 4 cases on 2 pictures: no label lost, no metric shifted"


def test_changes_are_read_from_the_outcomes_own_map_and_labels() -> None:
    rows = [
        DriftRow("label", "yes", "no", 1.0, 0.0, "drifted"),
        DriftRow("probability of yes", "0.9", "0.2", -0.7, 0.05, "drifted"),
        DriftRow("mass[birds]", "0.5", "0.4", -0.1, 0.02, "drifted", "", "higher"),
        DriftRow("mass[branch]", "0.5", "0.6", 0.3, 0.02, "improved", "", "higher"),
        # A region that the map shall avoid, and one that nothing is asked of.
        DriftRow("mass[mark]", "0.5", "0.9", 0.4, 0.02, "drifted", "", "lower"),
        DriftRow("mass[sky]", "0.5", "0.9", 0.4, 0.02, "drifted", "", "neither"),
        DriftRow("lift[birds]", "undefined", "undefined", 0.0, 0.2, "within"),
        DriftRow("mass[birds] (rollout)", "0.5", "0.4", -9.0, 0.02, "drifted"),
    ]
    values: dict[str, Any] = {
        "mass[birds]": 0.4, "mass[branch]": 0.6, "mass[mark]": 0.9, "mass[sky]": 0.9,
        "lift[birds]": "empty",
    }  # fmt: skip
    known = replace(outcome("a", State.DRIFTED), drift=rows, metrics={"m": values})
    without = outcome("b", State.NEW)
    (change,) = changes_of([known, without])
    assert (change.case, change.image) == ("a", "d" * 64)
    assert change.right == (True, False)
    assert change.changes == pytest.approx({"probability": -0.7, "mass": (-0.1 + 0.3 - 0.4) / 3})
    assert change.tolerances == {"probability": 0.05, "mass": 0.02}


# --- the statistics behind it ---------------------------------------------------------------------


def test_one_case_a_picture_gives_the_t_test_of_textbooks() -> None:
    values = list(np.random.default_rng(4).normal(0.3, 1, 9))
    interval, p = clustered_mean(values, list("abcdefghi"))
    assert p == pytest.approx(ttest_1samp(values, 0).pvalue)
    assert interval.mean == pytest.approx(np.mean(values))


def test_a_picture_counts_once_however_many_cases_are_about_it() -> None:
    """Equal cases of one picture change neither mean nor p; cases alone would lower p."""
    values = [0.5, 0.1, -0.1, 0.3]
    expected = clustered_mean(values, list("abcd"))[1]
    interval, p = clustered_mean(values * 5, list("abcd") * 5)
    assert p == pytest.approx(expected)
    assert interval.low < interval.mean < interval.high
    assert clustered_mean(values * 5, range(20))[1] < p / 2  # type: ignore[arg-type]
    alone, chance = clustered_mean(values, "aaaa")
    assert alone == pytest.approx((0.2, 0.2, 0.2))
    assert chance == 1.0


def test_a_clustered_interval_is_wider_than_one_that_takes_every_value_alone() -> None:
    rng = np.random.default_rng(0)
    shared = np.repeat(rng.normal(0, 1, 20), 10)
    together, _ = clustered_mean(list(shared), list(np.repeat(np.arange(20), 10)))
    alone, _ = clustered_mean(list(shared), list(range(200)))
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_holm_multiplies_by_the_number_that_is_left_and_never_falls() -> None:
    assert holm([0.04, 0.001, 0.03]) == pytest.approx([0.06, 0.003, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_mcnemar_counts_discordant_pairs_alone() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(6, 0) == pytest.approx(2 / 64)
    assert mcnemar(1, 2) == pytest.approx(1.0)
