"""Every sentence that the gate writes into a run is known, so that no page leaves it in English."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.base.geometry import Box, view_in_words
from audit.base.settings import Limits
from audit.cases.expectations import Verdict, limits
from audit.cases.variants import Answered, Variant, judge_relation
from audit.gate.accepted import Held, load
from audit.gate.baselines import propose
from audit.gate.changes import Change
from audit.gate.ending import SUITE_FAILED, Ending, short_of
from audit.gate.outcomes import DriftRow, Outcome, State, labels_told
from audit.gate.stack import differences
from audit.gate.suite import judge_suite
from audit.gate.verdict import Policy, _crept, _judge_drift, _kept, _moved, judge_contract
from audit.report.phrases import PHRASES
from audit.runs.figures import Measured
from tests.outcomes import outcome

NAMES = {
    "mass", "birds", "dogs", "lift", "yes", "no", "js", "entropy", "tag", "audit", "accept",
    "update", "new", "pytest", "audit_min_cases", "torch", "threads", "rollout", "tolerance",
}  # fmt: skip


def left(sentence: str) -> set[str]:
    """The words of a sentence that stay English, besides names."""
    said = PHRASES.said(sentence, "zh")
    assert re.search("[\u3400-\u9fff]", said), said
    return set(re.findall("[A-Za-z_]{2,}", said)) - NAMES


def verdict(what: str, *, undefined: bool = False) -> Verdict:
    if undefined:
        reason = f"{what} is undefined: the region is empty"
        return Verdict(what, False, "undefined", limits(0.5, None), reason, undefined=True)
    limit = limits(0.5, None)
    return Verdict(what, False, "0.1", limit, f"{what} is 0.1, and must be {limit}")


@pytest.mark.parametrize("low_high", [(0.5, None), (None, 0.5), (0.25, 0.5)])
def test_limits(low_high: tuple[float | None, float | None]) -> None:
    assert left(limits(*low_high)) == set()


@pytest.mark.parametrize(
    "verdicts",
    [
        [verdict("mass of birds")],
        [verdict("probability of yes"), verdict("lift of dogs (tolerance 1) (rollout)")],
        [verdict("mass of birds", undefined=True)],
        [verdict("entropy"), verdict("mass of dogs"), verdict("mass of birds", undefined=True)],
    ],
)
def test_a_broken_contract(verdicts: list[Verdict]) -> None:
    _, sentence = judge_contract(replace(outcome("a", State.BROKEN), verdicts=verdicts))
    assert left(sentence) == set()


@pytest.mark.parametrize(
    "now",
    [
        {"case_digest": "e" * 64, "text": "a bird"},
        {"default_map": "rollout", "metrics": {"rollout": {"mass[birds]": 0.1}}},
    ],
    ids=["another case", "another map of the model's own"],
)
@pytest.mark.parametrize("broken", [False, True])
def test_a_stale_baseline(tmp_path: Path, now: dict[str, Any], broken: bool) -> None:
    accepted = replace(
        outcome("a", State.PASSED), default_map="answer_attention",
        metrics={"answer_attention": {"mass[birds]": 0.5}},
    )  # fmt: skip
    propose(accepted, {}, None, {}).write(tmp_path)
    found = replace(accepted, **now)
    if broken:
        found.verdicts = [verdict("entropy")]
    state, sentence = Policy(tmp_path).judge(found, Held(load(tmp_path, "a")))
    assert state is (State.BROKEN if broken else State.STALE)
    assert left(sentence) <= {"changed", "answer_attention"}  # options and names of maps


@pytest.mark.parametrize(
    "why",
    [
        "the case has no map: nothing falls on the image, so there is no map",
        "the variant has no map",
        "a map has no place there",
        "the region lies outside of what the model sees",
        "the earth mover's distance was not found: too few steps",
    ],
)
def test_why_a_figure_has_no_value(why: str) -> None:
    assert left(f"mass of birds is undefined: {why}") <= {"too", "few", "steps"}
    assert left(f"whether the map follows is undefined: {why}") <= {"too", "few", "steps"}


def test_repeats_that_disagree() -> None:
    (differs,) = Measured(("yes", "no", "yes"), {}, {}, {}).disagreement()
    for sentence in (differs.expectation, differs.limit, differs.reason):
        assert left(sentence) == set()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_contract_that_holds(count: int) -> None:
    held = replace(outcome("a", State.PASSED), verdicts=[verdict("entropy")] * count)
    assert left(_kept(held)) == set()


@pytest.mark.parametrize("figure", ["label", "mass[birds]", "probability of yes", "unsaid", "view"])
@pytest.mark.parametrize("word", ["drifted", "improved", "moved"])
@pytest.mark.parametrize("more", [0, 1, 4])
def test_what_drifted(figure: str, word: str, more: int) -> None:
    row = DriftRow(figure, "0.5", "0.1", -0.4, 0.02, "drifted", "0.6")
    assert left(_moved([row] * (1 + more), word)) == set()
    assert left(_crept([row] * (1 + more))) == set()


def test_a_new_case_and_one_that_drifted_though_all_holds() -> None:
    case = outcome("a", State.NEW)
    assert left(_judge_drift(case, None)[1]) == set()
    moved = _moved([DriftRow("mass[birds]", "0.5", "0.1", -0.4, 0.02, "drifted")])
    assert left(f"{moved}; every declared expectation holds") == set()


@pytest.mark.parametrize(
    ("now", "then"),
    [
        ({}, {}),
        ({"threads": "8"}, {"threads": "2"}),
        ({"threads": "8", "torch": "2"}, {"threads": "2", "torch": "1"}),
    ],
)
@pytest.mark.parametrize("measured", [{}, {"threads": frozenset({"2", "8"})}])
def test_what_differs_in_the_stack(
    now: Mapping[str, str], then: Mapping[str, str], measured: Mapping[str, frozenset[str]]
) -> None:
    told = differences({"stack": now}, {"stack": then}, measured)
    row = DriftRow("mass[birds]", "0.5", "0.1", -0.4, 0.02, "drifted")
    sentence = f"the weights are the baseline's, and {_moved([row], 'moved')}; {told}"
    assert left(sentence) == set()


@pytest.mark.parametrize("label", ["same", "other", "no"])
@pytest.mark.parametrize("answer", ["yes", "no"])
@pytest.mark.parametrize("moved", [0.01, 0.9, "the region is empty"])
def test_what_must_hold_between_a_case_and_its_variant(
    label: str, answer: str, moved: float | str
) -> None:
    variant = Variant("v", "mirror", True, label, js=0.05, falls=0.1)
    answers = [Answered(each, {"yes": 0.5, "no": 0.5}) for each in ("yes", answer)]
    about_the_case = "the case itself is answered no, and must be answered yes"
    for found in judge_relation(variant, "yes", answers[0], answers[1], moved):
        assert left(f"{found.reason}; {about_the_case}") == set()
        assert left(found.expectation) == set()


def changes(**mean: float) -> list[Change]:
    return [
        Change(
            f"c{i}", f"p{i}", i == 3, ("yes", "yes" if i % 7 or "lost" not in mean else "no"),
            (True, bool(i % 7) or "lost" not in mean),
            {k: v + 0.001 * (-1) ** i for k, v in mean.items() if k != "lost"},
            {k: 0.02 for k in mean if k != "lost"}, "yes" if i % 2 else "no",
            ("birds",) if i % 3 else ("dogs",), frozenset({"mass"}), i % 5 == 0,
            ("mass[birds]",) if "entropy" in mean and i == 9 else (),
        )
        for i in range(60)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "made",
    [
        changes(mass=0.0), changes(mass=-0.04), changes(mass=0.04), changes(mass=-0.04, lost=1.0),
        changes(mass=0.0, entropy=0.2), changes(mass=0.0)[:1], changes(mass=0.0)[:3],
        changes(mass=0.0)[:8], changes(mass=-0.04, lost=1.0)[:20],
    ],
)  # fmt: skip
def test_the_verdict_over_all_cases_and_the_slices(made: list[Change]) -> None:
    suite = judge_suite(made, Limits())
    assert {word for word in left(suite.sentence) if not re.fullmatch("c[0-9]*", word)} == set()
    for part in suite.slices:
        assert part.name.startswith("tag ") or left(part.name) == set()
        assert not part.verdict or left(part.verdict) == set()


def endings() -> Iterable[Ending]:
    yield Ending(0, 53, 53)
    yield Ending(0, 53, 50, skipped=3)
    yield Ending(2, 53, 12, reasons=("interrupted",))
    yield Ending(1, 53, 53, 3, (short_of(1, 53), SUITE_FAILED), 2)
    yield Ending(3, 53, 53)
    yield Ending(0, 53, 50)
    yield Ending(1, 5, 5, 1, ("2 other tests failed (birds, dogs)",))
    yield Ending(1, 3, 3, 0, ("the run could not be read", "the results could not be written"))
    yield Ending(1, 3, 3, 0, ("the baselines could not be accepted",))
    yield Ending(1, 3, 3, 0, ("a plugin failed at the end (torch)",))


@pytest.mark.parametrize("ending", list(endings()))
def test_how_a_session_ended(ending: Ending) -> None:
    assert left(ending.sentence) == set()


SIDE = st.sampled_from([-0.25, 0.0, 0.1, 0.125])


@given(SIDE, SIDE, SIDE, SIDE)
def test_what_a_model_sees(left_side: float, top: float, right: float, bottom: float) -> None:
    told = view_in_words(Box(left_side, top, 1 - right, 1 - bottom))
    assert not told or left(told) == set()


def test_how_many_labels_are_right() -> None:
    def made(**more: Any) -> Outcome:
        return replace(outcome("a", State.PASSED), **more)

    assert left(labels_told([made()])) == set()
    assert left(labels_told([made(), made(variant_of="a")])) == set()


@pytest.mark.parametrize("state", State)
def test_every_state(state: State) -> None:
    assert left(state.value) == set()


def test_what_is_not_known_stays_as_it_is() -> None:
    for sentence in ("a.png: no such picture", "KeyError: 'head'", "x and y, and more; so on"):
        assert PHRASES.said(sentence, "zh") == sentence
