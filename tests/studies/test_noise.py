"""The noise floor is what figures move by under harmless conditions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from audit import load_model
from audit.cases.loading import load_cases
from audit.commands import main as cli
from audit.gate.tolerances import load_floors, noise_path
from audit.runs.runner import audit_cases
from audit.studies.noise import Condition, conditions, measure_noise
from tests.checkpoints import make_checkpoint

ROOT = Path(__file__).parents[2]


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
        concluded = audit_cases(cases, load_model(source, "cpu", dtype))
        outcomes = [each.outcome for each in concluded]
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
