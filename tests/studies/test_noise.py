"""The noise floor is what figures move by under harmless conditions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from audit import load_model
from audit.base.errors import ModelError, RunError
from audit.base.instructions import INSTRUCTIONS
from audit.cases.loading import load_cases
from audit.commands import main as cli
from audit.gate.tolerances import load_noise, noise_path
from audit.models.kit.stack import stack
from audit.runs.runner import audit_cases
from audit.studies import answers
from audit.studies.answers import Answered, Asking, Named
from audit.studies.conditions import Condition, Machine, conditions
from audit.studies.noise import measure_noise
from tests.checkpoints import make_checkpoint
from tests.toy_model import ToyModel

ROOT = Path(__file__).parents[2]


def quietly(items: Any, _total: int, _title: str) -> Any:
    return iter(items)


def test_conditions_are_those_that_the_machine_has() -> None:
    small, missing = conditions(Machine(cuda=False, threads=1, capability="NO AVX"))
    assert small[0] == Condition()
    assert {c.device for c in small} == {"cpu"}
    assert {c.threads for c in small} == {None, 2}
    assert {c.dtype for c in small} == {"float32", "bfloat16"}
    assert {c.instructions for c in small} == {""}
    assert set(missing.values()) == {
        "this machine has no CUDA device",
        *(f"this processor cannot be held to {s} instructions" for s in INSTRUCTIONS),
    }
    large, missing = conditions(Machine(cuda=True, threads=8, capability="AVX512"), ("a", "b"))
    assert {c.threads for c in large} == {None, 1, 2}
    assert {(c.device, c.dtype) for c in large} == {
        (d, t) for d in ("cpu", "cuda") for t in ("float32", "bfloat16")
    }
    assert {c.engine for c in large} == {"", "b"}
    assert {c.instructions for c in large} == {"", "sse4", "avx2", "avx512"}
    assert missing == {}
    older, missing = conditions(Machine(cuda=False, threads=2, capability="AVX2"))
    assert {c.instructions for c in older} == {"", "sse4", "avx2"}
    assert "this processor cannot be held to avx512 instructions" in missing.values()


@pytest.mark.parametrize("machine", [Machine(False, 1), Machine(True, 64, "AVX512")])
def test_every_condition_is_another_and_has_a_title_of_its_own(machine: Machine) -> None:
    asked, missing = conditions(machine, ("fast", "reference"))
    titles = [each.title for each in asked]
    assert len({*titles, *missing}) == len(titles) + len(missing)
    assert len(set(asked)) == len(asked)


@pytest.mark.slow
def test_the_floor_is_the_largest_deviation_from_how_baselines_are_made(tmp_path: Path) -> None:
    source = str(make_checkpoint(tmp_path / "tiny", seed=3))
    cases = load_cases(ROOT / "cases" / "guide.yaml")[:2]
    asked = (Condition(), Condition(batch_size=1), Condition(dtype="bfloat16"))
    found = measure_noise(source, cases, asked, quietly)
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
    full, half = found["kinds"]
    assert (full["dtype"], half["dtype"]) == ("float32", "bfloat16")
    assert full["floors"]["probability"]["probability"]["deviations"] == 2
    assert full["floors"]["probability"]["probability"]["floor"] < largest / 10
    # Two deviations make no floor, and without one there is nothing to measure all moves by.
    assert full["harmless"] == {}
    assert half["floors"] == {}  # its only condition is the one that others are compared with


@pytest.mark.slow
def test_each_precision_is_compared_with_itself(tmp_path: Path) -> None:
    """Sessions in bfloat16 are compared with baselines in bfloat16."""
    source = str(make_checkpoint(tmp_path / "tiny", seed=3))
    cases = load_cases(ROOT / "cases" / "guide.yaml")[:2]
    half = Condition(dtype="bfloat16")
    asked = (Condition(), half, replace(half, engine="reference"))
    found = measure_noise(source, cases, asked, quietly)
    (_, kind) = found["kinds"]
    row = kind["floors"]["probability"]["probability"]
    assert row["deviations"] == 2
    said = []
    for engine in ("fast", "reference"):
        concluded = audit_cases(cases, load_model(source, "cpu", "bfloat16", engine=engine))
        said.append([e.outcome.probabilities[e.outcome.expected] for e in concluded])
    largest = max(abs(a - b) for a, b in zip(*said, strict=True))
    assert row["floor"] == pytest.approx(largest, rel=0.01, abs=1e-12)


@pytest.mark.slow
def test_other_instructions_are_measured_in_a_process_that_is_held_to_them(tmp_path: Path) -> None:
    source = str(make_checkpoint(tmp_path / "tiny", seed=3))
    cases = load_cases(ROOT / "cases" / "guide.yaml")[:2]
    asked, not_run = conditions(Machine(False, 2, stack("cpu")["instruction set"]))
    held = [c for c in asked if c.instructions == "sse4"]
    if not held:
        pytest.skip("this processor cannot be held to other instructions")
    found = measure_noise(source, cases, (Condition(), *held), quietly, not_run)
    assert [c["title"] for c in found["conditions"][1:]] == [c.title for c in held]
    full = found["kinds"][0]
    row = full["floors"]["probability"]["probability"]
    assert row["deviations"] == 4
    assert row["floor"] < 1e-4  # 0 on a processor whose sums come out equal
    assert full["harmless"] == {}  # four deviations are no floor, whatever the processor
    assert found["not_run"] == [{"title": t, "reason": r} for t, r in not_run.items()]


class Given:
    """Answers that are given, so that what follows from them is the same on every processor."""

    def __init__(self, moved: dict[Condition, float], count: int) -> None:
        self._moved, self._count = moved, count

    def model(self, _: Condition) -> Any:
        return ToyModel()

    def answers(self, condition: Condition, _: Any) -> dict[str, Answered]:
        figure, by = Named("rollout", "mass", "mass"), self._moved.get(condition, 0.0)
        return {
            str(number): Answered("yes", {figure: 0.5 + by * (number % 2)})
            for number in range(self._count)
        }


ONE, THREE = Condition(batch_size=1), Condition(batch_size=3)


@pytest.mark.parametrize(
    ("moved", "count", "harmless"),
    [
        # Both conditions have a value, even the one that moved nothing.
        ({ONE: 0.001}, 50, {ONE.title: 0.5, THREE.title: 0.0}),
        ({ONE: 0.001}, 49, {}),  # 98 deviations are no floor
        ({}, 50, {}),  # nothing ever moved, so there is nothing to measure moves by
    ],
)
def test_a_condition_has_a_value_if_there_is_a_floor_to_measure_by(
    monkeypatch: pytest.MonkeyPatch,
    moved: dict[Condition, float],
    count: int,
    harmless: dict[str, float],
) -> None:
    monkeypatch.setattr("audit.studies.noise.Asking", lambda *_: Given(moved, count))
    found = measure_noise("toy", [], (Condition(), ONE, THREE), quietly)
    assert found["kinds"][0]["harmless"] == pytest.approx(harmless)


@pytest.mark.slow
def test_what_fails_in_the_other_process_is_told(tmp_path: Path) -> None:
    cases = load_cases(ROOT / "cases" / "guide.yaml")[:1]
    held = Condition(instructions="sse4")
    with pytest.raises(RunError, match=r"sse4 instructions: .*no such checkpoint folder"):
        Asking(str(tmp_path / "nothing"), cases).answers(held, [held])


def test_the_answers_of_the_other_process_are_read_strictly(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text('{"source": "reference", "cases": {}}')
    answers.main(tmp_path / "job.json", tmp_path / "result.json")
    said = json.loads((tmp_path / "result.json").read_text())
    assert "job.json:1" in said["error"]
    assert "this key is required" in said["error"]


def test_the_command_leaves_the_floor_beside_the_baselines_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        "format": 2, "multiple": 3.0, "floors": {"probability": {"probability": {
            "floor": 0.01, "deviations": 400, "case": "birds", "condition": "cpu"}}},
        "kinds": [{"dtype": "float32", "device": "cpu",
                   "harmless": {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.1},
                   "floors": {"probability": {"probability": {
                       "floor": 0.0002, "deviations": 300, "case": "birds", "condition": "a"}}}}],
        "not_run": [{"title": "cuda, float32, batch 8", "reason": "this machine has no CUDA"}],
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
    assert "float32 on cpu" in done.output
    assert "up to 0.3 squared floors; the limit is 1.2" in " ".join(done.output.split())
    assert "not run: cuda, float32, batch 8: this machine has no CUDA" in done.output
    noise = load_noise(tmp_path)
    assert noise.floors == {"probability": {"probability": 0.01}}
    level = noise.level("float32", ["cpu"])
    assert level is not None
    assert level.floors == {"probability": {"probability": 0.0002}}
    plain = CliRunner().invoke(cli.app, [*command, "--json"])
    assert json.loads(plain.stdout)["path"].endswith("noise.json")


def test_noise_asks_as_the_asking_file_says(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    def measure(*arguments: Any) -> Any:
        given.extend(arguments)
        raise RunError("enough")

    monkeypatch.setattr("audit.studies.noise.measure_noise", measure)
    monkeypatch.setattr("audit.models.registry.check_installed", lambda _: None)
    command = ["noise", "--cases", "cases/guide.yaml", "--asking", "a.yaml", "--no-write"]
    monkeypatch.chdir(ROOT)
    CliRunner().invoke(cli.app, [*command, "--model", "hf:org/tiny"])
    assert given[-1] == {"asking": "a.yaml"}
    given.clear()
    refused = CliRunner().invoke(cli.app, [*command, "--model", "reference"])
    assert isinstance(refused.exception, ModelError)
    assert not given
    loaded: list[dict[str, Any]] = []
    monkeypatch.setattr(answers, "load_model", lambda *_, **options: loaded.append(options))
    Asking("hf:tiny", [], options={"asking": "a.yaml"}).model(Condition(engine="fast"))
    assert loaded == [{"asking": "a.yaml", "engine": "fast"}]
