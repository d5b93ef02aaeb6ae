"""The suite-level gate: what it calls a shift, what it does not, and why."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from audit.base.settings import Limits
from audit.cases.expectations import Verdict
from audit.gate.changes import Change, changes_of
from audit.gate.drift import _Compared, _row
from audit.gate.outcomes import DriftRow, State
from audit.gate.runfiles import Results
from audit.gate.suite import Judgement, judge_suite
from audit.metrics.registry import METRICS
from tests.outcomes import outcome

CASES = 24


def steady(case: int, **changes: float) -> Change:
    allowed = {n: METRICS[n].tolerance if n in METRICS else 0.05 for n in changes}
    picture, right = f"picture-{case // 2}", (True, True)
    return Change(
        str(case), picture, False, ("yes", "yes"), right, changes, allowed,
        declared=frozenset(changes),
    )  # fmt: skip


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


def test_a_shift_for_the_better_that_nobody_asked_for_is_a_shift_and_fails() -> None:
    """Limits for mass in a single case make more mass better; without any it is a change."""
    changes = [replace(c, declared=frozenset()) for c in many(mass=0.05)]
    suite = judge_suite(changes, Limits())
    assert [shift.verdict for shift in suite.shifts] == ["shifted"]
    assert "mass moved by +0.0499" in suite.sentence
    assert suite.failed
    assert not suite.worse
    changes[3] = replace(changes[3], declared=frozenset({"mass"}))
    assert not judge_suite(changes, Limits()).failed
    worse = [replace(c, declared=frozenset()) for c in many(mass=-0.05)]
    assert "mass moved for the worse" in judge_suite(worse, Limits()).sentence


def test_cases_that_moved_for_the_better_where_nothing_was_asked_fail_and_are_named() -> None:
    changes = many(mass=0.0)
    for i in range(4):
        changes[i] = replace(changes[i], undeclared=("lift[birds]", "auc[birds]")[: i + 1])
    suite = judge_suite(changes, Limits())
    assert suite.failed
    assert (
        "4 cases moved for the better by more than a tolerance where nothing was asked: "
        "0 (lift[birds]), 1 (lift[birds], auc[birds]), 2 (lift[birds], auc[birds]) and 1 more"
    ) in suite.sentence
    assert suite.undeclared["0"] == ("lift[birds]",)


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


def flips(lost: int, gained: int, critical: bool = False, cases: int = CASES) -> list[Change]:
    """Each case on a picture of its own."""
    changes = [replace(steady(i), image=str(i)) for i in range(cases)]
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
    """Of 5 pictures all one way p is 2/32, of 6 it is 2/64."""
    suite = judge_suite(flips(lost, gained), Limits())
    assert suite.failed == failed
    assert (len(suite.lost), len(suite.gained)) == (lost, gained)
    assert len(suite.flipped) == lost + gained


def test_labels_lost_at_one_picture_are_one_vote() -> None:
    """Twelve labels lost at three pictures are three votes, p = 2/8; at twelve they are twelve."""
    together = [replace(c, image=str(int(c.case) // 4)) for c in flips(12, 0)]
    suite = judge_suite(together, Limits())
    assert (suite.labels.flipped, suite.labels.p) == (3, pytest.approx(2 / 8))
    assert not suite.failed
    assert judge_suite(flips(12, 0), Limits()).failed


def test_labels_and_metrics_are_one_family() -> None:
    """Six labels lost, p = 2/64: enough alone, not beside two metrics."""
    alone = flips(6, 0)
    assert judge_suite(alone, Limits()).failed
    beside = [
        replace(c, changes=m.changes, tolerances=m.tolerances)
        for c, m in zip(alone, many(mass=0.0, entropy=0.0), strict=True)
    ]
    suite = judge_suite(beside, Limits())
    assert suite.labels.adjusted == pytest.approx(3 * 2 / 64)
    assert not suite.failed


def test_one_lost_critical_case_is_a_veto() -> None:
    assert not judge_suite(flips(1, 0), Limits()).failed
    suite = judge_suite(flips(1, 0, critical=True), Limits())
    assert suite.failed
    assert "a critical case is wrong now: 0" in suite.sentence
    json.dumps(suite.to_dict(), allow_nan=False)


def test_nothing_that_changed_passes_and_says_what_could_have_been_found() -> None:
    suite = judge_suite([steady(i, mass=0.0) for i in range(CASES)], Limits())
    assert suite.verdict is Judgement.PASSED
    assert suite.sentence == (
        "over 24 cases on 12 pictures: no label lost, no metric shifted; a shift of 0.5 "
        "tolerances, or labels lost at 7 pictures, would show"
    )


def still(pictures: int, metrics: int = 21) -> list[Change]:
    """One case a picture, in which nothing changed."""
    names = [n for n, m in METRICS.items() if m.kind in ("map", "region")][: metrics - 1]
    zeros = dict.fromkeys(("probability", *names), 0.0)
    return [replace(steady(i, **zeros), image=str(i)) for i in range(pictures)]


def test_two_or_three_pictures_cannot_tell_and_say_what_they_could_find() -> None:
    """The error of 3 pictures that did not move is a sixth of a tolerance by the root of 3."""
    suite = judge_suite(still(3, 16), Limits())
    assert suite.verdict is Judgement.UNSURE
    assert not suite.failed
    (found,) = {round(s.findable or 0, 3) for s in suite.shifts}
    t = stats.t.ppf(1 - 0.05 / 17 / 2, 2)
    assert stats.nct.sf(t, 2, found * 6 * 3**0.5) == pytest.approx(0.8, abs=1e-3)
    assert suite.sentence == (
        "over 3 cases on 3 pictures: no label lost; too few pictures to tell: a shift of "
        f"{found:.1f} tolerances would show"
    )
    many_tolerances = judge_suite(still(2), Limits()).findable.shift or 0
    assert many_tolerances > 30
    assert judge_suite(still(5), Limits()).verdict is Judgement.PASSED
    one = judge_suite(still(1), Limits())
    assert one.verdict is Judgement.UNSURE
    assert one.sentence == (
        "over 1 case on 1 picture: no label lost; one picture is too few to tell a shift"
    )


@pytest.mark.parametrize("effect", [0.0, 0.5, 5.0, 1e6])
def test_no_smallest_effect_makes_an_unable_suite_pass(effect: float) -> None:
    """Else a user who lets large shifts pass would read that none was there."""
    assert judge_suite(still(3), Limits(effect=effect)).verdict is Judgement.UNSURE
    able = judge_suite(still(12), Limits(effect=effect))
    assert able.verdict is Judgement.PASSED
    assert able.findable.shift is not None
    assert able.findable.shift >= effect  # and its sentence says so


def test_pictures_that_scatter_widely_cannot_tell_however_many_they_are() -> None:
    scatter = np.random.default_rng(1).normal(0, 0.2, CASES)  # ten tolerances
    changes = [steady(i, mass=float(scatter[i])) for i in range(CASES)]
    suite = judge_suite(changes, Limits())
    assert suite.verdict is Judgement.UNSURE
    assert "too few pictures to tell: a shift of" in suite.sentence


def test_a_large_mean_change_that_may_be_chance_is_not_called_steady() -> None:
    """Two pictures of 24 moved by 30 tolerances: 2.5 on average, which sign flips give often."""
    changes = [steady(i, mass=-0.6 if i < 4 else 0.0, entropy=0.0) for i in range(CASES)]
    assert verdicts(changes) == {"mass": "cannot tell", "entropy": "steady"}


def test_half_of_the_metrics_decide_whether_the_suite_can_tell() -> None:
    """A metric that one case alone has does not make the whole suite uncertain, but is counted."""
    changes = still(12, 4)
    alone = dict(changes[0].changes, spread=0.0)
    changes[0] = replace(changes[0], changes=alone, tolerances=dict.fromkeys(alone, 0.02))
    suite = judge_suite(changes, Limits())
    assert suite.verdict is Judgement.PASSED
    assert "; a shift of 0.5 tolerances in 4 of 5 metrics, or labels lost at" in suite.sentence


def test_where_cases_drifted_it_is_never_said_that_nothing_shifted() -> None:
    changes = [replace(c, drifted=int(c.case) < 5) for c in many(mass=0.0)]
    suite = judge_suite(changes, Limits())
    assert suite.verdict is Judgement.PASSED
    assert "no metric shifted" not in suite.sentence
    assert (
        "no label lost, figures left their tolerances in 5 of 24 cases; a shift of"
        in suite.sentence
    )
    worse = [replace(c, drifted=True) for c in many(mass=-0.05)]
    assert judge_suite(worse, Limits()).sentence.endswith(
        "; figures left their tolerances in all 24 cases"
    )
    alone = replace(changes[0], drifted=True)
    assert (
        "figures left their tolerances in the only case" in judge_suite([alone], Limits()).sentence
    )


def test_nothing_is_found_at_a_level_of_nothing() -> None:
    suite = judge_suite(many(mass=-0.05), Limits(alpha=0))
    assert suite.verdict is Judgement.UNSURE
    assert suite.sentence.endswith("12 pictures are too few to tell a shift of any size")
    json.dumps(suite.to_dict(), allow_nan=False)


def test_the_verdict_and_its_sentence_are_in_the_json() -> None:
    for changes in (still(12), still(3), many(mass=-0.05)):
        suite = judge_suite(changes, Limits())
        data = json.loads(json.dumps(suite.to_dict(), allow_nan=False))
        assert data["verdict"] == suite.verdict.value
        assert data["failed"] == (data["verdict"] == "failed")
        assert data["sentence"] == suite.sentence
        assert Results.model_validate({"format": 1, "suite": data}).suite is not None


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
        DriftRow("rank[birds]", "0.5", "0.9", 0.4, 0.05, "improved", "", "higher"),
    ]
    values: dict[str, Any] = {
        "mass[birds]": 0.4, "mass[branch]": 0.6, "mass[mark]": 0.9, "mass[sky]": 0.9,
        "lift[birds]": "empty", "rank[birds]": 0.9,
    }  # fmt: skip
    verdicts = [Verdict(e, True, "", "", "") for e in ("label", "mass of branch", "mass of birds")]
    known = replace(
        outcome("a", State.DRIFTED), drift=rows, metrics={"m": values}, verdicts=verdicts
    )
    without = outcome("b", State.NEW)
    (change,) = changes_of([known, without])
    assert (change.case, change.image) == ("a", "d" * 64)
    assert change.right == (True, False)
    assert change.changes == pytest.approx(
        {"probability": -0.7, "mass": (-0.1 + 0.3 - 0.4) / 3, "rank": 0.4}
    )
    assert change.tolerances == {"probability": 0.05, "mass": 0.02, "rank": 0.05}
    assert (change.expected, change.tags, change.drifted) == ("yes", ("t",), True)
    assert change.declared == {"mass"}
    assert change.undeclared == ("rank[birds]",)  # mass[branch] moved too, but is asked for
