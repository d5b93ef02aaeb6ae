"""A person can set a suite's limits on maps aside for one model; labels stay judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.base.errors import BaselineError
from audit.cases.loading import Case, load_cases
from audit.cases.variants import FOLLOWED
from audit.gate.outcomes import State
from audit.gate.verdict import Policy
from audit.gate.waived import Waived, load_waived, waived_path
from audit.runs.runner import audit_cases
from tests.toy_model import ToyModel

ROOT = Path(__file__).parents[2]
WAIVED = Waived(attention="its attention was not taught")


def cases(folder: Path, label: str = "yes") -> list[Case]:
    """A case whose limit on the map the toy breaks, and variants with and without one."""
    path = folder / "cases.yaml"
    path.write_text(
        f"""
cases:
  - id: a
    image: {ROOT / "cases/images/two-birds-on-a-branch.png"}
    text: there are two birds
    regions: {{corner: [[0.9, 0.9, 1.0, 1.0]]}}
    expect:
      label: {label}
      attention: [{{metric: mass, region: corner, min: 0.99}}]
    variants:
      - {{mirror: true, attention: [{{metric: mass, region: corner, min: 0.99}}]}}
      - {{swap: {ROOT / "cases/images/two-rabbits-on-a-sofa.png"}, label: same}}
      - {{brightness: 1.1, follows: true, js: 0.3}}
"""
    )
    return load_cases(path)


def states(folder: Path, policy: Policy, label: str = "yes") -> list[State]:
    return [
        each.outcome.state for each in audit_cases(cases(folder, label), ToyModel(), policy=policy)
    ]


def test_limits_on_maps_that_are_set_aside_do_not_fail_a_case_or_a_variant(tmp_path: Path) -> None:
    assert states(tmp_path, Policy(tmp_path / "b")) == [
        State.BROKEN,
        State.BROKEN,
        State.NEW,
        State.NEW,
    ]
    assert states(tmp_path, Policy(tmp_path / "b", waived=WAIVED)) == [State.NEW] * 4


def test_whether_a_map_follows_is_judged_only_with_limits_on_maps(tmp_path: Path) -> None:
    for waived, judged in ((Waived(), True), (WAIVED, False)):
        policy = Policy(tmp_path / "b", waived=waived)
        *_, last = audit_cases(cases(tmp_path), ToyModel(), policy=policy)
        assert (FOLLOWED in {v.expectation for v in last.outcome.verdicts}) is judged


def test_maps_are_still_measured_and_held_to_the_baselines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "b"
    for found in audit_cases(
        cases(tmp_path), ToyModel(), policy=Policy(folder, "all", waived=WAIVED)
    ):
        assert found.proposal is not None
        if found.case.regions:
            assert "mass[corner]" in found.outcome.metrics["answer_attention"]
        found.proposal.write(folder)
    assert states(tmp_path, Policy(folder, waived=WAIVED)) == [State.PASSED] * 4
    monkeypatch.setenv("TOY_CELL", "0")
    assert State.DRIFTED in states(tmp_path, Policy(folder, waived=WAIVED))


def test_labels_are_judged_all_the_same(tmp_path: Path) -> None:
    assert states(tmp_path, Policy(tmp_path / "b", waived=WAIVED), "no")[0] is State.BROKEN


def test_a_case_that_the_model_is_known_to_fail_is_one_for_this_model_alone(tmp_path: Path) -> None:
    known = Waived(cases={"a": "it takes a for b"})
    first, *others = audit_cases(
        cases(tmp_path, "no"), ToyModel(), policy=Policy(tmp_path / "b", waived=known)
    )
    assert first.outcome.state is State.BROKEN
    assert not first.outcome.failed
    assert first.outcome.xfail == "it takes a for b"
    assert not any(each.outcome.xfail for each in others)


def test_nothing_is_set_aside_unless_a_file_says_why(tmp_path: Path) -> None:
    assert load_waived(tmp_path).attention is None
    path = waived_path(tmp_path)
    path.parent.mkdir()
    path.write_text('{"attention": "it looks elsewhere"}')
    assert load_waived(tmp_path).attention == "it looks elsewhere"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"atention": "because"}', "json:1: atention: unknown key"),
        ('{"attention": ""}', "attention"),
        ('{"attention": true}', "attention"),
        ("[]", "waived.json"),
        ('{"cases": {"a": ""}}', "cases.a"),
        ('{"cases": ["a"]}', "cases"),
    ],
)
def test_a_file_that_says_something_else_is_refused(
    tmp_path: Path, content: str, said: str
) -> None:
    path = waived_path(tmp_path)
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(BaselineError, match=said):
        load_waived(tmp_path)
