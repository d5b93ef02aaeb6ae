"""How an outcome stands: to what its case expects, to its baseline, and to the session's update."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import pytest

from audit.base.errors import BaselineError
from audit.base.settings import Update
from audit.cases.expectations import Verdict
from audit.gate.accepted import Baseline, Held, load
from audit.gate.baselines import propose
from audit.gate.outcomes import DriftRow, Outcome, State
from audit.gate.verdict import Policy, judge_contract
from tests.outcomes import outcome as outcome_of

KEPT = Verdict("label", True, "yes", "yes", "")
BROKEN = Verdict("mass", False, "0.1", "at least 0.5", "mass of birds is 0.1")
UNDEFINED = Verdict("mass", False, "", "at least 0.5", "the map is empty", undefined=True)

UPDATES: tuple[Update, ...] = ("", "new", "changed", "all")
Kind = Literal["within", "drifted", "improved", "crept"]


def moved(verdict: Kind) -> DriftRow:
    return DriftRow("entropy", "0.5", "0.6", 0.1, 0.02, verdict, "0.4")


def made(*verdicts: Verdict, drift: tuple[Kind, ...] = ()) -> Outcome:
    return replace(
        outcome_of("a", State.ERROR),
        verdicts=list(verdicts or (KEPT,)),
        drift=[moved(verdict) for verdict in drift],
    )


@pytest.fixture
def baseline(tmp_path: Path) -> Baseline:
    """The one that was accepted for the very case of :func:`made`."""
    propose(made(), {}, None, {}).write(tmp_path)
    found = load(tmp_path, "a")
    assert found is not None
    return found


@pytest.fixture
def stale(tmp_path: Path) -> Baseline:
    """One that was accepted for the same case with another text."""
    propose(replace(made(), case_digest="e" * 64), {}, None, {}).write(tmp_path)
    found = load(tmp_path, "a")
    assert found is not None
    return found


def judged(outcome: Outcome, held: Held, update: Update = "") -> tuple[State, str]:
    return Policy(Path("baselines"), update).judge(outcome, held)


def test_a_baseline_is_stale_if_it_was_accepted_for_another_case(
    baseline: Baseline,
) -> None:
    assert not baseline.is_stale(made().case_digest, "")
    assert baseline.is_stale("e" * 64, "")


def test_a_baseline_of_an_older_version_is_of_the_case_that_had_its_fingerprint_then(
    baseline: Baseline,
) -> None:
    assert not baseline.is_stale("e" * 64, made().case_digest)
    assert baseline.is_stale("e" * 64, "f" * 64)
    today = replace(made(), case_digest="e" * 64, former_digest=made().case_digest)
    assert judged(today, Held(baseline)) == (State.PASSED, "the expectation holds")
    assert not Policy(Path("baselines"), "changed").proposes(today, Held(baseline))
    assert propose(today, {}, baseline, {}).record["case_digest"] == "e" * 64


def test_without_baselines_a_case_passes_that_keeps_its_contract() -> None:
    assert judge_contract(made(KEPT)) == (State.PASSED, "the expectation holds")
    assert judge_contract(made(KEPT, KEPT)) == (State.PASSED, "both expectations hold")
    assert judge_contract(made(KEPT, KEPT, KEPT))[1] == "all 3 expectations hold"


def test_the_first_expectation_that_fails_is_told_and_the_others_are_counted() -> None:
    assert judge_contract(made(KEPT, BROKEN)) == (State.BROKEN, "mass of birds is 0.1")
    assert judge_contract(made(UNDEFINED)) == (State.UNDEFINED, "the map is empty")
    for both in ((BROKEN, UNDEFINED), (UNDEFINED, BROKEN)):
        said = "mass of birds is 0.1; besides, the map is empty"
        assert judge_contract(made(*both)) == (State.BROKEN, said)
    many = made(UNDEFINED, BROKEN, UNDEFINED, BROKEN, BROKEN)
    assert judge_contract(many)[1] == (
        "mass of birds is 0.1 (and 2 more expectations); besides, the map is empty (and 1 more "
        "expectation)"
    )


def test_a_broken_contract_comes_before_every_drift_and_says_that_its_baseline_is_stale(
    baseline: Baseline, stale: Baseline
) -> None:
    found = made(BROKEN, drift=("drifted",))
    assert judged(found, Held(baseline)) == (State.BROKEN, "mass of birds is 0.1")
    state, said = judged(made(BROKEN), Held(stale))
    assert state is State.BROKEN
    assert said == (
        "mass of birds is 0.1; and its baseline is stale: the picture, the premise or the boxes of "
        "a region changed"
    )


@pytest.mark.parametrize(
    ("drift", "state", "said"),
    [
        (("within",), State.PASSED, "the expectation holds"),
        (("improved", "crept", "drifted"), State.DRIFTED,
         "entropy drifted from 0.5 to 0.6, more than the tolerance of 0.02; "
         "every declared expectation holds"),
        (("improved", "crept"), State.CREPT,
         "entropy crept from 0.4, first accepted, to 0.6 in accepted steps, more than the "
         "tolerance of 0.02; review them as one change, then audit accept"),
        (("within", "improved", "improved"), State.IMPROVED,
         "entropy improved from 0.5 to 0.6, more than the tolerance of 0.02 (and 1 more figure)"),
    ],
)  # fmt: skip
def test_the_worst_that_drifted_is_told(
    baseline: Baseline, drift: tuple[Kind, ...], state: State, said: str
) -> None:
    assert judged(made(drift=drift), Held(baseline)) == (state, said)


def test_a_label_that_changed_is_told_by_both_labels(baseline: Baseline) -> None:
    row = DriftRow("label", "yes", "no", 1.0, 0.0, "drifted")
    _, said = judged(replace(made(), drift=[row]), Held(baseline))
    assert said.startswith("the label changed from yes to no;")


def test_a_case_without_a_baseline_is_new_and_one_that_changed_is_stale(stale: Baseline) -> None:
    state, said = judged(made(), Held())
    assert state is State.NEW
    assert said.endswith("; create it with audit accept, or --audit-update=new")
    state, said = judged(made(), Held(stale))
    assert state is State.STALE
    assert "--audit-update=changed" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"text": "one bird"}, "the text changed"),
        ({"image_digest": "e" * 64, "text": "one bird"}, "the picture and the text changed"),
        ({"default_map": "m layers=last", "metrics": {}}, "the map changed"),
        ({"metrics": {"m": {"mass[bird]": 0.5}}},
         "the names of regions, or the figures and maps that are asked for changed"),
        ({}, "the premise or the boxes of a region changed"),
        ({"variant_of": "a"},
         "the premise, the boxes of a region, its case or how it is made from that changed"),
    ],
)  # fmt: skip
def test_a_stale_baseline_says_what_changed(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    propose(made(), {}, None, {"stack": {"threads": "2"}}).write(tmp_path)
    now = replace(made(), case_digest="e" * 64, **changes)
    state, reason = judged(now, Held(load(tmp_path, "a")))
    assert state is State.STALE
    assert reason == (
        f"the case is not the one its baseline was accepted for: {said}; accept it with "
        "audit accept, or --audit-update=changed"
    )


def test_figures_of_another_default_map_are_no_figures_that_held(baseline: Baseline) -> None:
    """A case that names no map stays the same case where a model's own default is another one."""
    now = replace(made(), default_map="occlusion", metrics={"occlusion": {"mass[birds]": 0.1}})
    said = "its own map is occlusion now, and was m"
    assert judged(now, Held(baseline)) == (
        State.STALE,
        f"the model is not asked as it was for its baseline: {said}; accept it with audit accept, "
        "or --audit-update=changed",
    )
    assert Policy(Path("baselines")).is_stale(now, baseline)
    broken = replace(now, verdicts=[BROKEN])
    assert judged(broken, Held(baseline)) == (
        State.BROKEN, f"mass of birds is 0.1; and its baseline is stale: {said}",
    )  # fmt: skip
    assert judged(now, Held(baseline), "changed")[0] is State.PASSED


PROPOSED = {
    "nothing": ("new", "all"),
    "the same": ("all",),
    "moved": ("changed", "all"),
    "stale": ("changed", "all"),
    "damaged": ("changed", "all"),
}
"""Which updates propose an outcome, by what is held for its case."""


@pytest.mark.parametrize(("kind", "update"), list(product(PROPOSED, UPDATES)))
def test_each_update_proposes_what_it_is_named_for(
    baseline: Baseline, stale: Baseline, kind: str, update: Update
) -> None:
    kept = {
        "nothing": Held(),
        "stale": Held(stale),
        "damaged": Held(damage="a.json: cannot be read"),
    }
    held = kept.get(kind, Held(baseline))
    found = made(drift=("within", "drifted") if kind == "moved" else ("within",))
    proposes = Policy(Path("baselines"), update).proposes(found, held)
    assert proposes is (update in PROPOSED[kind])
    if proposes:
        state, said = judged(found, held, update)
        assert state is State.PASSED
        assert "; proposed as its baseline" in said


@pytest.mark.parametrize("update", UPDATES)
def test_what_is_undefined_or_crept_is_never_proposed(baseline: Baseline, update: Update) -> None:
    policy = Policy(Path("baselines"), update)
    assert not policy.proposes(made(UNDEFINED), Held())
    assert not policy.proposes(made(BROKEN, UNDEFINED), Held())
    assert not policy.proposes(made(drift=("crept", "improved")), Held(baseline))


def test_a_broken_contract_may_be_proposed_and_goes_on_failing() -> None:
    assert Policy(Path("baselines"), "new").proposes(made(BROKEN), Held())
    assert judged(made(BROKEN), Held(), "new")[0] is State.BROKEN


def test_a_damaged_baseline_is_an_error_unless_it_is_replaced(baseline: Baseline) -> None:
    lost = Held(damage="a.json: cannot be read")
    with pytest.raises(BaselineError, match=r"^a.json: cannot be read$"):
        judged(made(), lost, "new")
    with pytest.raises(BaselineError, match=r"^mass of birds is 0.1; besides, a.json: cannot be"):
        judged(made(BROKEN), lost)
    _, said = judged(made(), lost, "changed")
    assert said.endswith(
        "proposed as its baseline in place of the damaged one; its anchors are lost and begin anew"
    )
    _, said = judged(made(), Held(baseline, damage="a.npz: missing"), "changed")
    assert said.endswith("proposed as its baseline in place of the damaged one")
