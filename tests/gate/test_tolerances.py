"""Default tolerances follow from the measured noise, and what is not measured keeps its default."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from audit.base.errors import BaselineError
from audit.cases.loading import load_cases
from audit.gate.baselines import prune
from audit.gate.review import baseline_folders
from audit.gate.tolerances import ENOUGH, MULTIPLE, Tolerances, load_floors, noise_path
from audit.gate.verdict import Policy
from audit.metrics.keys import FigureKey
from audit.metrics.registry import METRICS
from audit.runs.runner import audit_cases
from tests.toy_model import ToyModel

ROOT = Path(__file__).parents[2]


def noise_file(folder: Path, floor: float, deviations: int = ENOUGH) -> None:
    path = noise_path(folder)
    path.parent.mkdir(parents=True)
    row = {"floor": floor, "deviations": deviations}
    path.write_text(json.dumps({"format": 1, "floors": {"answer_attention": {"mass": row}}}))


def test_a_declared_tolerance_comes_before_the_noise_and_the_noise_before_the_default() -> None:
    floors = {"answer_attention": {"mass": 0.001, "entropy": 0.002}, "rollout": {"mass": 0.01},
              "probability": {"probability": 0.004}}  # fmt: skip
    found = Tolerances({"entropy": 0.5}, floors)
    mass = FigureKey("mass", "birds")
    assert found.figure("answer_attention layers=last", mass) == pytest.approx(0.002)
    assert found.figure("rollout", mass) == pytest.approx(0.02)
    assert found.figure("relevance", mass) == METRICS["mass"].tolerance
    assert found.figure("answer_attention", FigureKey("entropy")) == 0.5
    assert found.probability() == pytest.approx(0.008)
    assert Tolerances({"probability": 0.3}, floors).probability() == 0.3
    assert Tolerances().probability() == 0.05


def test_a_floor_of_few_deviations_is_not_used(tmp_path: Path) -> None:
    noise_file(tmp_path / "few", 0.001, ENOUGH - 1)
    noise_file(tmp_path / "many", 0.001)
    assert load_floors(tmp_path / "few") == {"answer_attention": {}}
    assert load_floors(tmp_path / "many") == {"answer_attention": {"mass": 0.001}}
    assert load_floors(tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [("{", "1:1: Invalid JSON"), ('{"format": 9}', "1: format: format 9, but this version reads 1"),
     ('{"format": 1}', "1: floors: this key is required"),
     ('{"format": 1, "floors": {"m": {"mass": 1}}}', "1: floors.m.mass: needs an object in braces"),
     ('{"format": 1, "floors": {"m": {"mass": {"floor": "0,1", "deviations": 200}}}}',
      "1: floors.m.mass.floor: needs a number"),
     ('{"format": 1, "floors": {"m": {"mass": {"floor": NaN, "deviations": 200}}}}',
      "1: floors.m.mass.floor: needs a finite number")],
)  # fmt: skip
def test_a_damaged_noise_file_is_an_error_that_names_it(
    tmp_path: Path, content: str, said: str
) -> None:
    path = noise_path(tmp_path)
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(BaselineError, match=f"noise.json:{said}"):
        load_floors(tmp_path)


def test_a_noise_file_is_no_baseline(tmp_path: Path) -> None:
    noise_file(tmp_path / "model", 0.001)
    (tmp_path / "model" / "a.json").write_text("{}")
    assert prune(tmp_path / "model", ["a"]) == []
    assert baseline_folders(tmp_path) == [tmp_path / "model"]


def test_the_gate_compares_with_the_tolerance_of_the_noise(tmp_path: Path) -> None:
    cases = load_cases(ROOT / "cases" / "guide.yaml")[:1]
    folder = tmp_path / "accepted"
    (first,) = audit_cases(cases, ToyModel(), policy=Policy(folder, "all"))
    assert first.proposal is not None
    first.proposal.write(folder)
    noise_file(folder, 0.0011)
    policy = Policy(folder, floors=load_floors(folder))
    (again,) = audit_cases(cases, ToyModel(), policy=policy)
    by_figure = {row.figure: row.tolerance for row in again.outcome.drift}
    assert by_figure["mass[birds]"] == pytest.approx(MULTIPLE * 0.0011)
    assert by_figure["entropy"] == METRICS["entropy"].tolerance
