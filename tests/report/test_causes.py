"""What the gallery says first: the causes in plain words, worst first, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from audit.cases.expectations import Verdict
from audit.gate.outcomes import DriftRow, Outcome, State
from audit.report.causes import Story, story
from audit.report.voice import ENGLISH
from audit.report.wording import ADVICE
from tests.outcomes import outcome

GATE: Mapping[str, Any] = {"failed": True, "sentence": "", "verdict": "failed", "cases": 40}


def moved(
    name: str, shares: Mapping[str, tuple[float, float]], state: State = State.BROKEN, **more: Any
) -> Outcome:
    """A case in which regions had these shares of the map, before and now."""
    rows = [
        DriftRow(f"mass[{r}]", f"{was}", f"{now}", now - was, 0.02, "drifted")
        for r, (was, now) in shares.items()
    ]
    wanted = {r: "lower" if r == "watermark" else "higher" for r in shares}
    figures = {f"mass[{r}]": now for r, (_, now) in shares.items()}
    label = DriftRow("label", "yes", "yes", 0.0, 0.0, "within")
    made = replace(
        outcome(name, state), drift=[label, *rows], metrics={"m": figures}, wanted=wanted
    )
    return replace(made, **more)


def sentences(told: Story) -> list[str]:
    said = [str(ENGLISH.say(cause.sentence)) for cause in told.causes]
    return [each.replace("\N{NO-BREAK SPACE}", " ") for each in said]


def test_no_line_ends_between_a_number_and_its_per_cent_sign() -> None:
    told = story([moved("a", {"birds": (0.8, 0.5)}, State.DRIFTED)], None, None)
    said = str(ENGLISH.say(told.causes[0].sentence))
    assert "50\N{NO-BREAK SPACE}% of its attention, was 80\N{NO-BREAK SPACE}%" in said


def test_where_the_model_looks_now_and_where_it_looked_is_one_sentence() -> None:
    cases = [
        moved("a", {"birds": (0.80, 0.06), "watermark": (0.02, 0.52)}),
        moved("b", {"dogs": (0.84, 0.02), "watermark": (0.02, 0.52)}),
        moved("c", {"watermark": (0.02, 0.46)}),
    ]
    told = story(cases, None, None)
    assert (str(told.title), told.tone) == ("Failed: 3 of 3 cases", "bad")
    assert sentences(told) == [
        "3 of 3 answers are right, but in 3 cases the model looks at <em>watermark</em> (50 % of "
        "its attention, was 2 %), in 2 of them no longer at what the sentence names (4 %, was "
        "82 %)."
    ]
    assert told.causes[0].advice == ADVICE["wrong reason"]
    assert list(told.causes[0].named) == ["a", "b", "c"]
    assert sentences(story(cases[:2], None, None)) == [
        "2 of 2 answers are right, but in 2 cases the model looks at <em>watermark</em> (52 % of "
        "its attention, was 2 %) and no longer at what the sentence names (4 %, was 82 %)."
    ]


def test_a_single_thing_that_lost_attention_is_named() -> None:
    told = story([moved("a", {"birds": (0.8, 0.5)}, State.DRIFTED)], None, None)
    assert sentences(told) == [
        "1 of 1 answers are right, but in 1 case the model looks less at <em>birds</em> (50 % of "
        "its attention, was 80 %), and at nothing else that has a name."
    ]
    assert told.causes[0].tone == "warn"


def test_the_worst_comes_first_and_no_failing_case_is_left_out() -> None:
    lost = DriftRow("label", "yes", "no", 0.0, 0.0, "drifted")
    limit = Verdict("entropy", False, "0.1", "at least 0.5", "")
    cases = [
        replace(outcome("new", State.NEW)),
        replace(outcome("stale", State.STALE)),
        replace(outcome("crept", State.CREPT)),
        replace(outcome("stack", State.STACK)),
        replace(outcome("drifted", State.DRIFTED)),
        replace(outcome("broken", State.BROKEN), verdicts=[limit]),
        moved("looks", {"birds": (0.8, 0.1)}),
        replace(outcome("lost", State.BROKEN), label="no", drift=[lost], critical=True),
        replace(outcome("undefined", State.UNDEFINED)),
        replace(outcome("error", State.ERROR), label=""),
        replace(outcome("known", State.BROKEN), xfail="later"),
        replace(outcome("fine", State.PASSED)),
    ]
    told = story(cases, None, None)
    assert str(told.title) == "Failed: 10 of 12 cases"
    assert [list(cause.cases) for cause in told.causes] == [
        ["error"], ["undefined"], ["lost"], ["lost"], ["looks"], ["broken"], ["drifted"],
        ["stack"], ["crept"], ["stale"], ["new"], ["known"],
    ]  # fmt: skip
    assert "1 answer of 12 wrong, 1 of them right before." in sentences(told)
    assert any("most often <em>entropy</em>" in each for each in sentences(told))
    assert all(cause.advice for cause in told.causes)


def test_too_few_pictures_are_told_and_pass() -> None:
    suite = {"failed": False, "sentence": "", "verdict": "cannot tell", "images": 3}
    told = story([outcome("a", State.PASSED)], suite, {"passed": True, "sentence": "passed"})
    assert str(told.title) == "Passed, with too few pictures to tell a small shift"
    assert sentences(told)[-1].startswith("Too few pictures to tell: on 3 pictures, ")


def test_what_only_all_cases_together_show_is_told_unless_single_cases_did() -> None:
    shift = {"metric": "mass", "effect": -1.0, "adjusted": 0.001, "verdict": "worse"}
    cases = [outcome(f"c{i}", State.PASSED) for i in range(40)]
    told = story(cases, {**GATE, "shifts": [shift]}, None)
    assert str(told.title) == "Failed: not one case by itself, but all together"
    assert sentences(told) == [
        "Over all cases together <em>mass</em> moved by more than chance explains, though few "
        "single cases show it."
    ]
    drifted = [o.case for o in cases[:30]]
    assert not any(
        "Over all" in each
        for each in sentences(story(cases, {**GATE, "shifts": [shift], "drifted": drifted}, None))
    )


@pytest.mark.parametrize(
    ("compared", "said"),
    [
        (True, "1 of 1 answers are right, and the model looks where it looked before."),
        (False, "1 of 1 answers are right, and all that the cases ask for holds."),
    ],
)
def test_a_run_in_which_nothing_failed_says_so(compared: bool, said: str) -> None:
    case = outcome("a", State.PASSED)
    drift = [DriftRow("label", "yes", "yes", 0.0, 0.0, "within")] if compared else []
    told = story([replace(case, drift=drift)], None, None)
    assert (str(told.title), told.tone, sentences(told)) == ("Passed: 1 case", "good", [said])


def test_variants_are_counted_beside_the_answers_so_that_both_give_the_title() -> None:
    case = outcome("a", State.PASSED)
    mirrored = replace(outcome("a[mirror]", State.PASSED), variant_of="a")
    told = story([case, mirrored], None, None)
    assert str(told.title) == "Passed: 2 cases"
    assert sentences(told) == [
        "1 of 1 answers are right, 1 of 1 variants hold, and all that the cases ask for holds."
    ]


def test_cases_that_are_known_to_fail_are_not_counted_as_passed() -> None:
    known = replace(outcome("b", State.BROKEN), xfail="it takes the dog's colour for the cat's")
    told = story([outcome("a", State.PASSED), known], None, None)
    assert (str(told.title), told.tone) == ("Passed: 1 of 2 cases", "good")
    assert sentences(told)[-1] == "Known to fail, and failed: 1 case."


def test_a_session_that_did_not_finish_says_so_first() -> None:
    session = {
        "passed": False, "sentence": "failed: interrupted, 12 of 53 audited", "audited": 12,
        "selected": 53,
    }  # fmt: skip
    told = story([outcome("a", State.PASSED)], None, session)
    assert str(told.title) == "Failed: interrupted, 12 of 53 audited"
    assert sentences(told)[0] == "The audit did not finish: interrupted, 12 of 53 audited."


def test_names_in_a_sentence_are_escaped() -> None:
    told = story([moved("a", {"<b>{to}*": (0.8, 0.1)})], None, None)
    assert "<em>&lt;b&gt;{to}*</em>" in sentences(told)[0]
