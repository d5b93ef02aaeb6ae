"""A model that fails at one picture, as a session tells it."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

FAILING = """
import audit.runs.session
from tests.toy_model import ToyModel

class Failing(ToyModel):
    def _one(self, query, need):
        if "cat" in query.text:
            {what}
        return super()._one(query, need)

audit.runs.session.load_model = lambda *_: Failing()
"""


@pytest.mark.parametrize("more", [[], ["-n1"]])
@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("raise RuntimeError('mat1 and mat2')", "RuntimeError: mat1 and mat2"),
        (
            "from dataclasses import replace; found = super()._one(query, need); "
            "return replace(found, probabilities=dict.fromkeys(self.labels, float('nan')))",
            "the model's answers are not numbers: its probabilities are not finite: "
            "no nan, yes nan, maybe nan",
        ),
    ],
)
def test_a_failure_at_one_picture_is_an_error_of_its_case_in_every_report(
    accepted: pytest.Pytester, what: str, kind: str, more: list[str]
) -> None:
    accepted.makeconftest(FAILING.format(what=what))
    result = accepted.runpytest("cases", "--junitxml=junit.xml", *more)
    result.assert_outcomes(passed=2, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"error: {kind}"])
    assert "Traceback" not in result.stdout.str()
    results = json.loads((accepted.path / "run" / "results.json").read_text())
    assert results["totals"] == {"error": 1, "passed": 2}
    (told,) = [o["sentence"] for o in results["outcomes"] if o["state"] == "error"]
    assert told == kind
    (failure,) = ElementTree.parse(accepted.path / "junit.xml").getroot().iter("failure")
    assert kind in (failure.text or "")
    assert kind.replace("'", "&#39;") in (accepted.path / "run" / "gallery.html").read_text()


def test_the_traceback_of_a_failure_is_shown_to_who_asks_for_it(
    accepted: pytest.Pytester,
) -> None:
    accepted.makeconftest(FAILING.format(what="raise RuntimeError('mat1 and mat2')"))
    result = accepted.runpytest("cases", "--log-level=debug", "-k", "no-cat")
    result.stdout.fnmatch_lines(["Traceback (most recent call last):"])
