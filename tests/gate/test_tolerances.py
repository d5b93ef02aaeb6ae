"""Default tolerances follow from the measured noise, and what is not measured keeps its default."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from audit import load_model
from audit.base.errors import BaselineError
from audit.cases.loading import load_cases
from audit.commands import main as cli
from audit.gate.baselines import prune
from audit.gate.outcomes import Run
from audit.gate.review import baseline_folders
from audit.gate.tolerances import ENOUGH, MULTIPLE, Tolerances, load_floors, noise_path
from audit.metrics.keys import FigureKey
from audit.metrics.registry import METRICS
from audit.runs.runner import Gate, audit_cases
from audit.studies.noise import Condition, conditions, measure_noise
from tests.checkpoints import make_checkpoint
from tests.toy_model import ToyModel

ROOT = Path(__file__).parents[2]


def noise_file(folder: Path, floor: float, deviations: int = ENOUGH) -> None:
    path = noise_path(folder)
    path.parent.mkdir(parents=True)
    row = {"floor": floor, "deviations": deviations}
    path.write_text(json.dumps({"format": 1, "floors": {"cross_attention": {"mass": row}}}))


def test_a_declared_tolerance_comes_before_the_noise_and_the_noise_before_the_default() -> None:
    floors = {"cross_attention": {"mass": 0.001, "entropy": 0.002}, "rollout": {"mass": 0.01},
              "probability": {"probability": 0.004}}  # fmt: skip
    found = Tolerances({"entropy": 0.5}, floors)
    mass = FigureKey("mass", "birds")
    assert found.figure("cross_attention layers=last", mass) == pytest.approx(0.002)
    assert found.figure("rollout", mass) == pytest.approx(0.02)
    assert found.figure("relevance", mass) == METRICS["mass"].tolerance
    assert found.figure("cross_attention", FigureKey("entropy")) == 0.5
    assert found.probability() == pytest.approx(0.008)
    assert Tolerances({"probability": 0.3}, floors).probability() == 0.3
    assert Tolerances().probability() == 0.05


def test_a_floor_of_few_deviations_is_not_used(tmp_path: Path) -> None:
    noise_file(tmp_path / "few", 0.001, ENOUGH - 1)
    noise_file(tmp_path / "many", 0.001)
    assert load_floors(tmp_path / "few") == {"cross_attention": {}}
    assert load_floors(tmp_path / "many") == {"cross_attention": {"mass": 0.001}}
    assert load_floors(tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [("{", "1:1: Invalid JSON"), ('{"format": 9}', "1: format: format 9, and this version reads 1"),
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
    from audit.gate import baselines

    run = Run(tmp_path / "run")
    list(audit_cases(cases, ToyModel(), run, gate=Gate(folder, "all")))
    baselines.promote(run.folder / "proposals", folder)
    noise_file(folder, 0.0011)
    gate = Gate(folder, floors=load_floors(folder))
    (found,) = audit_cases(cases, ToyModel(), Run(tmp_path / "again"), gate=gate)
    by_figure = {row.figure: row.tolerance for row in found.drift}
    assert by_figure["mass[birds]"] == pytest.approx(MULTIPLE * 0.0011)
    assert by_figure["entropy"] == METRICS["entropy"].tolerance


def test_conditions_are_those_that_the_machine_has() -> None:
    small = conditions(cuda=False, threads=1)
    assert small[0] == Condition()
    assert {c.device for c in small} == {"cpu"}
    assert {c.threads for c in small} == {None, 2}
    assert {c.dtype for c in small} == {"float32", "bfloat16"}
    large = conditions(cuda=True, threads=8)
    assert {c.threads for c in large} == {None, 1, 2}
    assert {(c.device, c.dtype) for c in large} == {
        (d, t) for d in ("cpu", "cuda") for t in ("float32", "bfloat16")
    }


def test_the_floor_is_the_largest_deviation_from_how_baselines_are_made(tmp_path: Path) -> None:
    source = str(make_checkpoint(tmp_path / "tiny", seed=3))
    cases = load_cases(ROOT / "cases" / "guide.yaml")[:2]
    asked = (Condition(), Condition(batch_size=1), Condition(dtype="bfloat16"))
    found = measure_noise(source, cases, asked, lambda items, _total, _title: iter(items))
    said = {}
    for dtype in ("float32", "bfloat16"):
        outcomes = audit_cases(cases, load_model(source, "cpu", dtype), Run(tmp_path / dtype))
        said[dtype] = [o.probabilities[o.expected] for o in outcomes]
    largest = max(abs(a - b) for a, b in zip(said["float32"], said["bfloat16"], strict=True))
    assert largest > 0
    row = found["floors"]["probability"]["probability"]
    # Two conditions besides the first, two cases each; batches of one move it by far less.
    assert row["deviations"] == 4
    assert row["floor"] == pytest.approx(largest, rel=0.01)
    assert "bfloat16" in row["condition"]
    json.dumps(found, allow_nan=False)


def test_the_command_leaves_the_floor_beside_the_baselines_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        "format": 1, "multiple": 3.0, "floors": {"probability": {"probability": {
            "floor": 0.01, "deviations": 400, "case": "birds", "condition": "cpu"}}},
        "flips": [{"case": "birds", "condition": "cpu", "labels": ["yes", "no"]}],
        "undefined": [],
    }  # fmt: skip
    monkeypatch.setattr("audit.studies.noise.measure_noise", lambda *_: given)
    command = ["noise", "--cases", str(ROOT / "cases" / "guide.yaml"),
               "--baselines", str(tmp_path)]  # fmt: skip
    monkeypatch.chdir("/")
    command[2] = str(ROOT / "cases" / "guide.yaml").lstrip("/")
    none = CliRunner().invoke(cli.app, [*command, "--no-write"])
    assert none.exit_code == 0, none.output
    assert not noise_path(tmp_path).exists()
    done = CliRunner().invoke(cli.app, command)
    assert "0.03" in done.output
    assert "label not stable: birds (cpu): yes → no" in done.output
    assert load_floors(tmp_path) == {"probability": {"probability": 0.01}}
    plain = CliRunner().invoke(cli.app, [*command, "--json"])
    assert json.loads(plain.stdout)["path"].endswith("noise.json")
