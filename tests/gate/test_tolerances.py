"""Default tolerances follow from the measured noise, and what is not measured keeps its default."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from audit.base.errors import BaselineError
from audit.cases.loading import load_cases
from audit.gate.baselines import prune
from audit.gate.review import baseline_folders
from audit.gate.tolerances import (
    ENOUGH,
    MULTIPLE,
    Kind,
    Noise,
    Tolerances,
    load_floors,
    load_noise,
    noise_path,
)
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


def test_a_floor_of_few_deviations_never_narrows_the_default_and_may_widen_it(
    tmp_path: Path,
) -> None:
    mass = FigureKey("mass", "birds")
    for number, (floor, expected) in enumerate(((0.001, METRICS["mass"].tolerance), (0.3, 0.6))):
        noise_file(tmp_path / str(number), floor, ENOUGH - 1)
        found = load_noise(tmp_path / str(number)).tolerances({})
        assert found.figure("answer_attention", mass) == pytest.approx(expected)
        assert found.figure("rollout", mass) == METRICS["mass"].tolerance
    assert load_noise(tmp_path / "1").tolerances({"mass": 0.01}).figure("rollout", mass) == 0.01


def test_a_floor_of_few_deviations_is_no_floor(tmp_path: Path) -> None:
    noise_file(tmp_path / "few", 0.001, ENOUGH - 1)
    noise_file(tmp_path / "many", 0.001)
    assert load_floors(tmp_path / "few") == {"answer_attention": {}}
    assert load_floors(tmp_path / "many") == {"answer_attention": {"mass": 0.001}}
    assert load_floors(tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [("{", "1: the file ends in the middle: it was cut off; restore it, or measure it anew"),
     ('{"format": 9}', "1: format: format 9, but this version reads 1 or 2"),
     ('{"format": 1}', "1: floors: this key is required"),
     ('{"format": 1, "floors": {"rollout": {"mass": 1}}}',
      "1: floors.rollout.mass: needs an object in braces"),
     ('{"format": 1, "floors": {"rollout": {"mass": {"floor": "0,1", "deviations": 200}}}}',
      "1: floors.rollout.mass.floor: needs a number"),
     ('{"format": 1, "floors": {"rollout": {"mass": {"floor": NaN, "deviations": 200}}}}',
      "1: floors.rollout.mass.floor: needs a finite number"),
     ('{"format": 2, "floors": {}, "kinds": [{"dtype": "float16", "device": "cpu", "floors": {}}]}',
      "1: kinds.0.dtype: 'float16' is not known; did you mean 'bfloat16'"),
     ('{"format": 2, "floors": {}, "kinds": [{"dtype": "float32", "device": "tpu", "floors": {}}]}',
      '1: kinds.0.device: "tpu" is not known; did you mean .cpu.'),
     ('{"format": 2, "floors": {}, "kinds": [{"dtype": "float32", "device": "cpu", "flors": {}}]}',
      "1: kinds.0.floors: this key is required"),
     ('{"format": 2, "floors": {}, "kinds": [{"dtype": "float32", "device": "cpu", "floors": {},'
      ' "harmless": {"cpu": -1}}]}', "1: kinds.0.harmless.cpu: "),
     ('{"format": 2, "floors": {}, "kinds": [{"dtype": "float32", "device": "cpu", "floors": {}},'
      ' {"dtype": "float32", "device": "cpu", "floors": {}}]}',
      "1: kinds: float32 on cpu occurs twice")],
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
    policy = Policy(folder, noise=load_noise(folder))
    (again,) = audit_cases(cases, ToyModel(), policy=policy)
    by_figure = {row.figure: row.tolerance for row in again.outcome.drift}
    assert by_figure["mass[birds]"] == pytest.approx(MULTIPLE * 0.0011)
    assert by_figure["entropy"] == METRICS["entropy"].tolerance


def by_kind(**floors: float) -> dict[str, object]:
    """A noise file of format 2 whose floors of ``mass`` are given by ``dtype_device``."""
    row = {"deviations": ENOUGH, "case": "a", "condition": "b"}
    return {
        "format": 2,
        "floors": {"answer_attention": {"mass": {"floor": 0.02, **row}}},
        "kinds": [
            {
                "dtype": name.partition("_")[0],
                "device": name.partition("_")[2],
                "floors": {"answer_attention": {"mass": {"floor": floor, **row}}},
                "harmless": {"one": 0.1, "two": 0.2},
            }
            for name, floor in floors.items()
        ],
    }


def noise_of(folder: Path, written: dict[str, object]) -> Noise:
    noise_path(folder).parent.mkdir(parents=True, exist_ok=True)
    noise_path(folder).write_text(json.dumps(written))
    return load_noise(folder)


def test_each_precision_and_device_has_a_floor_of_its_own(tmp_path: Path) -> None:
    noise = noise_of(tmp_path, by_kind(float32_cpu=1e-5, float32_cuda=1e-4, bfloat16_cpu=0.01))
    mass = FigureKey("mass", "birds")

    def held(dtype: str, *devices: str) -> float:
        return noise.held({}, noise.level(dtype, devices)).figure("answer_attention", mass)

    assert held("float32", "cpu") == pytest.approx(2e-5)
    assert held("float32", "cuda") == pytest.approx(2e-4)
    assert held("bfloat16", "cpu") == pytest.approx(0.02)
    # Accepted on one and judged on the other: the larger of both.
    assert held("float32", "cuda", "cpu") == pytest.approx(2e-4)
    # Where nothing was measured: what holds for other weights.
    assert held("bfloat16", "cuda") == held("bfloat16", "cpu", "cuda") == pytest.approx(0.04)
    assert noise.tolerances({}).figure("answer_attention", mass) == pytest.approx(0.04)
    assert noise.levels is not None
    assert noise.levels[Kind("float32", "cpu")].harmless == {"one": 0.1, "two": 0.2}


def test_what_a_case_declares_counts_for_the_same_weights_too(tmp_path: Path) -> None:
    noise = noise_of(tmp_path, by_kind(float32_cpu=1e-5))
    level = noise.level("float32", ["cpu"])
    mass = FigureKey("mass", "birds")
    assert noise.held({"mass": 0.3}, level).figure("answer_attention", mass) == 0.3


def test_a_metric_without_a_floor_there_keeps_the_tolerance_for_other_weights(
    tmp_path: Path,
) -> None:
    noise = noise_of(tmp_path, by_kind(float32_cpu=1e-5))
    held = noise.held({}, noise.level("float32", ["cpu"]))
    assert held.figure("answer_attention", FigureKey("gini")) == METRICS["gini"].tolerance
    assert held.probability() == 0.05


def test_the_floor_of_version_0_1_is_one_for_every_precision_and_device(tmp_path: Path) -> None:
    noise_file(tmp_path, 0.001)
    noise = load_noise(tmp_path)
    mass = FigureKey("mass", "birds")
    for dtype, devices in (("float32", ["cpu"]), ("bfloat16", ["cpu", "cuda"])):
        held = noise.held({}, noise.level(dtype, devices))
        assert held.figure("answer_attention", mass) == pytest.approx(0.002)
    assert load_noise(tmp_path / "nowhere").level("float32", ["cpu"]) is None
