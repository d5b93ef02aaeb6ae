"""Cases through a model: what is measured on request, and what has no value."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audit.cases.loading import load_cases
from audit.gate import baselines
from audit.gate.outcomes import Outcome, State
from audit.gate.runfolder import Run
from audit.gate.verdict import Policy
from tests.projects import stored_in
from tests.toy_model import ToyModel


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (40, 40), "white").save(tmp_path / "white.png")
    return tmp_path


def audited(
    folder: Path, attention: str, text: str = "a bird", policy: Policy | None = None
) -> Outcome:
    path = folder / "case.yaml"
    label = "no" if "cat" in text else "yes"
    path.write_text(
        f"cases:\n  - id: one\n    image: white.png\n    text: {text}\n"
        "    regions: {corner: [[0.0, 0.0, 0.5, 0.5]]}\n"
        f"    expect:\n      label: {label}\n      attention:\n        - {attention}\n"
    )
    (found,) = stored_in(Run(folder / "run"), load_cases(path), ToyModel(), policy)
    return found


def test_a_map_without_a_value_makes_its_expectations_undefined_with_its_reason(
    folder: Path,
) -> None:
    found = audited(folder, "{map: {subtract: blank}, metric: entropy, min: 0.1}")
    assert found.state is State.UNDEFINED
    assert "the same over a grey picture, so nothing is left" in found.sentence
    values = found.metrics["answer_attention subtract=blank"]
    assert {type(value) for value in values.values()} == {str}
    assert "mass[corner]" in values
    assert set(Run(folder / "run").maps("one")) == {"answer_attention"}
    # The default map of the same case is measured all the same.
    assert isinstance(found.metrics["answer_attention"]["entropy"], float)


def test_a_relative_map_is_measured_named_and_stored_under_its_key(folder: Path) -> None:
    # The toy looks at one cell whenever it says yes, also where nothing is asked.
    spec = "map: {relative: generic, drop: sinks}"
    found = audited(folder, f"{{{spec}, metric: entropy, min: 0.97}}")
    key = "answer_attention relative=generic drop=sinks"
    assert found.state is State.PASSED
    assert found.metrics[key]["entropy"] == pytest.approx(np.log(15) / np.log(16))
    stored = Run(folder / "run").maps("one")
    assert set(stored) == {"answer_attention", key}
    expected = np.full((4, 4), 1 / 15)
    expected[1, 1] = 0
    np.testing.assert_allclose(stored[key], expected, rtol=1e-6)


@pytest.mark.parametrize("metric", ["js", "deletion_margin", "pointing"])
def test_what_is_asked_of_an_undefined_map_has_the_same_reason(folder: Path, metric: str) -> None:
    more = {"js": "against: {method: uniform}", "pointing": "region: corner, tolerance: 1"}
    spec = f"map: {{subtract: blank}}, metric: {metric}"
    found = audited(folder, f"{{{spec}, {more[metric]}, min: 0}}" if metric in more
                    else f"{{{spec}, min: 0}}")  # fmt: skip
    assert found.state is State.UNDEFINED
    assert "nothing is left" in found.sentence


@pytest.mark.parametrize(
    ("asked", "key", "expected"),
    [
        # Cell 5 of 16 is (1, 1); the corner is the first two rows and columns.
        ("metric: pointing, region: corner, tolerance: 1", "pointing[corner] tolerance=1", 1.0),
        # Both layers of the toy are alike.
        (
            "metric: js, against: {method: answer_attention, layers: last}",
            "js against=(answer_attention layers=last)",
            0.0,
        ),
        # Of the toy's map 0.8 lies on cell (1, 1) and 0.2/15 on each other: all but 16 x 0.2/15 of
        # it is moved by an eighth of each side.
        (
            "metric: centre_shift, against: {method: uniform}",
            "centre_shift against=(uniform)",
            (0.8 - 0.2 / 15) / 8,
        ),
        # The toy's probabilities depend on the text alone.
        ("metric: deletion, max: 1", "deletion", 0.9),
        ("metric: insertion_margin", "insertion_margin", 0.0),
    ],
)
def test_a_figure_on_request_is_measured_stored_and_compared(
    folder: Path, asked: str, key: str, expected: float
) -> None:
    limit = "" if "max" in asked else ", min: 0"
    policy = Policy(folder / "baselines", "all")
    first = audited(folder, f"{{{asked}{limit}}}", policy=policy)
    value = first.metrics["answer_attention"][key]
    assert value == pytest.approx(expected)
    baselines.promote(folder / "run" / "proposals", folder / "baselines")
    second = audited(folder, f"{{{asked}{limit}}}", policy=Policy(folder / "baselines"))
    assert second.state is State.PASSED
    assert key in [row.figure for row in second.drift]


@pytest.mark.parametrize(
    ("limit", "better", "verdict"),
    [
        # The corner is to be sought, to be avoided, and nothing is asked of it.
        ("{metric: mass, region: corner, min: 0.1}", "higher", "improved"),
        ("{metric: mass, region: corner, max: 0.99}", "lower", "drifted"),
        ("{metric: entropy, min: 0}", "neither", "drifted"),
    ],
)
def test_what_a_case_asks_of_a_region_says_whether_more_of_the_map_there_is_better(
    folder: Path, monkeypatch: pytest.MonkeyPatch, limit: str, better: str, verdict: str
) -> None:
    monkeypatch.setenv("TOY_LEAN", "0.2")  # half of what lies on the cell moves below the corner
    audited(folder, limit, policy=Policy(folder / "baselines", "all"))
    baselines.promote(folder / "run" / "proposals", folder / "baselines")
    monkeypatch.setenv("TOY_LEAN", "0")
    found = audited(folder, limit, policy=Policy(folder / "baselines"))
    row = next(row for row in found.drift if row.figure == "mass[corner]")
    assert row.change > 0.3
    assert (row.better, row.verdict) == (better, verdict)


def repeated(folder: Path, times: int) -> Outcome:
    path = folder / "case.yaml"
    path.write_text(
        f"cases:\n  - id: one\n    image: white.png\n    text: a bird\n    repeat: {times}\n"
        "    expect: {label: yes, probability: {min: 0.6}}\n"
    )
    (found,) = stored_in(Run(folder / "run"), load_cases(path), ToyModel())
    return found


def test_a_case_that_repeats_is_judged_by_the_mean_and_its_spread_is_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = repeated(folder, 1)
    assert once.spread == {}
    steady = repeated(folder, 3)
    assert steady.state is State.PASSED
    assert steady.metrics["answer_attention"] == pytest.approx(once.metrics["answer_attention"])
    assert set(steady.spread["answer_attention"].values()) == {0.0}
    # One answer in three is "maybe", with 0.05 instead of 0.9 for "yes".
    monkeypatch.setenv("TOY_UNSTEADY", "3")
    unsteady = repeated(folder, 3)
    assert unsteady.state is State.BROKEN
    assert unsteady.label == "yes"
    assert unsteady.probabilities["yes"] == pytest.approx((0.9 + 0.9 + 0.05) / 3)
    assert [v.passed for v in unsteady.verdicts] == [True, True, False]
    assert "asked 3 times, the label differs: yes 2, maybe 1" in unsteady.sentence


def test_the_run_keeps_the_maps_of_layers_in_order_beside_those_that_are_measured(
    folder: Path,
) -> None:
    audited(folder, "{metric: entropy, max: 1}")
    run = Run(folder / "run")
    strip = run.strips("one")["layers"]
    assert [name for name, _ in strip] == ["layer 1", "layer 2"]
    for _, p in strip:  # both layers of the toy are alike
        np.testing.assert_allclose(p, run.maps("one")["answer_attention"], atol=1e-3)
