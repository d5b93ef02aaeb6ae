"""Suggested limits: the run passes each of them, and where chance does as well there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from audit.base.errors import RunError
from audit.cases.editing import Limits
from audit.cases.expectations import Expect, Verdict, judge
from audit.gate.outcomes import Outcome, State
from audit.gate.runfolder import Run
from audit.gate.suggesting import Suggested, suggest, suggest_all, to_paste
from audit.maps.spec import MapSpec
from tests import outcomes


def outcome(
    probability: float = 0.93,
    mass: float | str = 0.62,
    box: tuple[float, float, float, float] = (0.0, 0.0, 0.5, 0.5),
    *,
    unsaid: float | None = None,
    view: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0),
) -> Outcome:
    """A case that declares nothing, with a region that covers a quarter of the picture."""
    return replace(
        outcomes.outcome("a", State.PASSED),
        probabilities={"yes": probability, "no": 1 - probability},
        regions={"birds": [box]},
        metrics={"m": {"mass[birds]": mass}},
        unsaid=unsaid,
        view=view,
    )


def limits(of: Outcome) -> Limits:
    found = suggest(of)
    assert isinstance(found, Suggested), found
    return found.limits


MASS = {"metric": "mass", "region": "birds"}


def test_limits_lie_a_tenth_below_what_was_measured_and_are_rounded_down() -> None:
    assert limits(outcome()) == Limits(0.8, [{**MASS, "min": 0.55}])  # 0.837 and 0.558
    assert limits(outcome(1.0, 1.0)) == Limits(0.9, [{**MASS, "min": 0.9}])
    small = (0.0, 0.0, 0.25, 0.25)  # a sixteenth of the picture, 0.0625
    assert limits(outcome(mass=0.15, box=small)).attention == [{**MASS, "min": 0.13}]


def test_a_figure_that_moved_over_repeats_gets_more_room() -> None:
    moved = replace(outcome(), spread={"m": {"mass[birds]": 0.1}})
    assert limits(moved).attention == [{**MASS, "min": 0.5}]  # 0.62 - 0.12


@pytest.mark.parametrize(
    ("mass", "reason"),
    [
        (0.2, "mass of birds 0.2, of a uniform map 0.25: no better than chance"),
        (0.27, "mass of birds 0.27, of a uniform map 0.25: not clearly better than chance"),
        ("the region is empty", "mass of birds undefined (the region is empty)"),
    ],
)
def test_a_map_that_is_no_better_than_chance_gets_no_limit(mass: float | str, reason: str) -> None:
    found = suggest(outcome(mass=mass))
    assert isinstance(found, Suggested)
    assert found.limits.keys == {"probability": {"min": 0.8}}
    assert found.reasons == ["probability of yes 0.93", reason]


def test_chance_is_that_of_the_part_that_the_model_sees() -> None:
    seen = outcome(mass=0.45, view=(0.0, 0.0, 0.5, 1.0))  # a half of it is the region
    assert limits(seen).attention == []
    assert limits(outcome(mass=0.45)).attention == [{**MASS, "min": 0.4}]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"label": "no"}, "the answer is no, not yes"),
        ({"label": "", "verdicts": [], "state": State.ERROR}, "not audited completely (error)"),
        ({"verdicts": [Verdict("probability of yes", True, "1", "1", "r")]}, "it declares limits"),
        ({"verdicts": [Verdict("mass of birds", False, "1", "1", "r")]}, "it declares limits"),
        ({"probabilities": {}}, "not measured"),
    ],
)
def test_a_case_without_a_sound_answer_gets_none_and_the_reason(
    changed: dict[str, object], why: str
) -> None:
    found = suggest(replace(outcome(mass=0.1), **changed))  # type: ignore[arg-type]
    assert isinstance(found, str)
    assert why in found


def test_a_probability_gets_no_limit_that_any_right_label_has_or_of_what_is_hardly_said() -> None:
    assert limits(outcome(0.55)).probability is None
    assert limits(outcome(0.93, unsaid=0.6)).probability is None
    assert limits(outcome(0.93, unsaid=0.4)).probability == 0.8


@given(st.floats(0.5, 1), st.floats(0, 1), st.floats(0.01, 1), st.floats(0.01, 1))
def test_the_run_passes_every_limit_with_a_margin_and_no_uniform_map_does(
    probability: float, mass: float, right: float, bottom: float
) -> None:
    found = suggest(outcome(probability, mass, (0.0, 0.0, right, bottom)))
    if isinstance(found, str):
        return
    lowest = found.limits.probability
    assert lowest is None or 0.5 < lowest <= probability - 0.05
    for each in found.limits.attention:
        assert right * bottom < float(each["min"]) <= mass - 0.02
    expect = Expect.model_validate({"label": "yes", **found.limits.keys})
    answers = {"yes": probability, "no": 1 - probability}
    spec = MapSpec()
    verdicts = judge(expect, "yes", answers, spec, {spec.key: {"mass[birds]": mass}})
    assert all(verdict.passed for verdict in verdicts)


def test_what_is_printed_is_yaml_to_paste_with_what_was_measured() -> None:
    found = suggest(replace(outcome(), case="no"))
    assert isinstance(found, Suggested)
    text = to_paste(found)
    assert yaml.safe_load(text) == [{"id": "no", "expect": {"label": "yes", **found.limits.keys}}]
    assert text.splitlines()[:3] == [
        "# cases/a.yaml:1",
        "# probability of yes 0.93",
        "# mass of birds 0.62, of a uniform map 0.25",
    ]


def test_variants_have_no_limits_of_their_own_and_a_case_can_be_named(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.start({"id": "r"})
    run.add(outcome(), {})
    run.add(replace(outcome(), case="a[mirror]", variant_of="a"), {})
    run.add(replace(outcome(), case="b", label="no"), {})
    found = suggest_all(run)
    assert [each.outcome.case for each in found.limits] == ["a"]
    assert found.none == {"b": "the answer is no, not yes"}
    assert suggest_all(run, ["a"]).none == {}
    with pytest.raises(RunError, match="has no case 'c'"):
        suggest_all(run, ["c"])
