"""The measurement of the gate: what is made of the outcomes, and a cut-off one goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from audit.base.errors import RunError
from audit.cases.loading import load_cases
from audit.commands import main as cli
from audit.gate.outcomes import DriftRow, State
from audit.report import power_page
from audit.report.power_page import write_page
from audit.studies.power import measure
from audit.studies.power.judging import by_family, judged
from audit.studies.power.measure import Asked, measure_power
from tests.outcomes import outcome

ROOT = Path(__file__).parents[2]


def with_rows(state: State, *rows: DriftRow, label: str = "yes") -> Any:
    return replace(outcome("a", state), drift=list(rows), label=label, expected="yes")


LABEL = DriftRow("label", "yes", "yes", 0.0, 0.0, "within")
PROBABILITY = DriftRow("probability of yes", "0.9", "0.9", 0.0, 0.02, "within", "", "neither")
MASS = DriftRow("mass[birds]", "0.5", "0.5", 0.0009, 0.002, "within", "", "higher")
FLOORS = {"m": {"mass": 0.001}, "probability": {"probability": 0.01}}


def made_of(state: State, *rows: DriftRow, label: str = "yes") -> dict[str, Any]:
    found = replace(
        outcome("a", state), drift=list(rows), label=label, expected="yes", default_map="m",
        metrics={"m": {"mass[birds]": 0.5, "entropy": 0.5}},
    )  # fmt: skip
    return judged([found], FLOORS)


def test_what_moves_less_than_its_noise_floor_alters_nothing_measurable() -> None:
    found = made_of(State.PASSED, LABEL, PROBABILITY, MASS)
    assert not found["measurable"]
    assert found["caught"] == {"full": False, "labels": False, "probabilities": False}
    assert found["largest"] == {
        "noises": 0.9, "case": "a", "figure": "mass[birds]", "change": 0.0009, "floor": 0.001,
    }  # fmt: skip
    assert made_of(State.PASSED, LABEL, PROBABILITY, replace(MASS, change=0.0011))["measurable"]
    unsure = replace(PROBABILITY, change=-0.011)
    assert made_of(State.PASSED, LABEL, unsure)["largest"]["noises"] == 1.1


def test_a_figure_that_no_noise_moves_is_told_by_its_own_change() -> None:
    steady = replace(MASS, figure="mass[birds]", change=1.0)
    found = replace(
        outcome("a", State.PASSED), drift=[LABEL, PROBABILITY, steady], default_map="m",
        metrics={"m": {"mass[birds]": 0.5}},
    )  # fmt: skip
    largest = judged([found], {"m": {"mass": 0.0}})["largest"]
    assert (largest["change"], largest["floor"]) == (1.0, 0.0)
    assert power_page._moved(largest) == "mass[birds] by 1"
    assert power_page._moved({**largest, "noises": 2e4, "floor": 5e-5}) == (
        "mass[birds] by 1, more than 1,000 noise floors"
    )
    earlier = {"noises": 500000.0, "case": "a", "figure": "peaks"}
    assert power_page._moved(earlier) == "more than 1,000 noise floors (peaks)"


def test_a_figure_without_a_floor_counts_once_it_leaves_its_tolerance() -> None:
    inside = DriftRow("entropy", "0.5", "0.519", 0.019, 0.02, "within")
    assert not made_of(State.PASSED, LABEL, PROBABILITY, inside)["measurable"]
    outside = replace(inside, change=0.021, verdict="drifted")
    assert made_of(State.DRIFTED, LABEL, PROBABILITY, outside)["measurable"]
    gone = replace(inside, observed="undefined", change=0.0)
    assert made_of(State.PASSED, LABEL, PROBABILITY, gone)["measurable"]


def test_a_change_that_leaves_no_answer_is_caught_by_all_gates_that_compare() -> None:
    found = judged([outcome("a", State.ERROR)], FLOORS)
    assert found["measurable"]
    assert found["caught"] == {"full": True, "labels": False, "probabilities": True}


def test_each_gate_sees_what_it_can() -> None:
    drifted = replace(MASS, change=-0.4, verdict="drifted")
    found = made_of(State.DRIFTED, LABEL, PROBABILITY, drifted)
    assert found["caught"] == {"full": True, "labels": False, "probabilities": False}
    unsure = replace(PROBABILITY, change=-0.3, verdict="drifted")
    found = made_of(State.DRIFTED, LABEL, unsure)
    assert found["caught"] == {"full": True, "labels": False, "probabilities": True}
    flipped = replace(LABEL, observed="no", verdict="drifted")
    found = made_of(State.BROKEN, flipped, PROBABILITY, label="no")
    assert found["caught"] == {"full": True, "labels": True, "probabilities": True}


# --- the whole, on a few changes ------------------------------------------------------------------


def quiet(items: Iterable[Any], _total: int, _title: str) -> Iterator[Any]:
    return iter(items)


@pytest.mark.slow
def test_a_small_measurement_catches_what_is_planted_and_goes_on_where_it_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = load_cases(ROOT / "cases" / "guide.yaml")
    noise = ROOT / "baselines" / "reference"
    only = ("noise-40", "mirrored", "casing-lost", "batch-1", "safetensors", "xdist")
    asked = Asked("reference", cases, tmp_path / "work", noise, 1, only)
    real = measure._measured

    def dies(change: Any, *more: Any) -> Any:
        if change.id == "safetensors":
            raise KeyboardInterrupt
        return real(change, *more)

    monkeypatch.setattr(measure, "_measured", dies)
    with pytest.raises(KeyboardInterrupt):
        measure_power(asked, quiet)
    done = {path.stem: path.stat().st_mtime_ns for path in (tmp_path / "work/changes").iterdir()}
    assert set(done) == {"noise-40", "mirrored", "casing-lost", "batch-1"}
    monkeypatch.setattr(measure, "_measured", real)
    (tmp_path / "work" / "baselines" / f"{cases[0].id}.json").unlink()  # cut off while accepting
    found = measure_power(asked, quiet)
    after = {path.stem: path.stat().st_mtime_ns for path in (tmp_path / "work/changes").iterdir()}
    assert {name: after[name] for name in done} == done
    by_id = {result["id"]: result for result in found["changes"]}
    assert set(by_id) == set(only)
    assert by_id["noise-40"]["caught"]["full"]
    assert by_id["mirrored"]["caught"]["full"]
    assert not by_id["mirrored"]["caught"]["labels"]
    assert not by_id["casing-lost"]["measurable"]
    for harmless in ("batch-1", "safetensors", "xdist"):
        assert not by_id[harmless]["caught"]["full"], by_id[harmless]
        assert by_id[harmless]["states"] == {"passed": len(cases)}
    counts = by_family(found["changes"])
    assert counts["harmless"]["planted"] == 3
    assert counts["text"] == {
        "planted": 1, "measurable": 0, "full": 0, "labels": 0, "probabilities": 0,
    }  # fmt: skip
    page = tmp_path / "power.md"
    write_page(page, found)
    text = page.read_text()
    assert "Of 3 planted regressions 2 alter something measurable. The full gate catches 2" in text
    assert "- `casing-lost`" in text
    with pytest.raises(RunError, match="holds a measurement of another model"):
        measure_power(replace(asked, seed=2), quiet)


KEY = """
from pathlib import Path
from audit.cases.loading import load_cases
from audit.studies.power.measure import Asked, _key
from tests.toy_model import ToyModel
cases = load_cases(Path("cases/relations.yaml"))
print(_key(Asked("toy", cases, Path("work"), Path("baselines/reference")), ToyModel()))
"""


def test_a_measurement_is_known_again_by_every_process() -> None:
    keys = {
        subprocess.run(
            [sys.executable, "-c", KEY], env={**os.environ, "PYTHONHASHSEED": seed}, cwd=ROOT,
            check=True, capture_output=True, text=True,
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(keys) == 1


def test_other_limits_are_another_measurement(tmp_path: Path) -> None:
    cases = load_cases(ROOT / "cases" / "guide.yaml")[:1]
    only, limits = (
        ("batch-1",),
        cases[0].expect.model_copy(update={"attention": (), "probability": None}),
    )
    asked = Asked("reference", cases, tmp_path / "work", tmp_path, 1, only)
    measure_power(asked, quiet)
    with pytest.raises(RunError, match="other cases or limits"):
        measure_power(replace(asked, cases=[replace(cases[0], expect=limits)]), quiet)
    (tmp_path / "work" / "about.json").write_text("[")
    with pytest.raises(RunError, match=r"about\.json: damaged"):
        measure_power(asked, quiet)


def test_an_unknown_change_is_an_error_with_the_nearest(tmp_path: Path) -> None:
    cases = load_cases(ROOT / "cases" / "guide.yaml")[:1]
    asked = Asked("reference", cases, tmp_path / "work", tmp_path, 1, ("mirorred",))
    with pytest.raises(ValueError, match=r"no change 'mirorred'.*mirrored"):
        measure_power(asked, quiet)


def test_a_model_that_does_not_pass_its_cases_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    picture = ROOT / "cases" / "images" / "two-birds-on-a-branch.png"
    path.write_text(
        f"cases:\n  - id: wrong\n    image: {picture}\n    text: there are two birds on a branch\n"
        "    expect: {label: no}\n"
    )
    asked = Asked("reference", load_cases(path), tmp_path / "work", tmp_path)
    with pytest.raises(RunError, match="the intact model fails wrong"):
        measure_power(asked, quiet)


@pytest.mark.slow
def test_the_command_writes_the_page_and_prints_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = {
        "id": "bgr", "family": "preprocessing", "about": "channels", "measurable": True,
        "caught": {"full": True, "labels": False, "probabilities": False}, "states": {},
        "wrong_labels": 0, "moved_cases": 1, "suite": False,
        "largest": {"noises": 4.0, "case": "a", "figure": "entropy"},
    }  # fmt: skip
    found = {
        "model": {"name": "reference", "digest": "d" * 64}, "cases": 3, "known": 1, "images": 1,
        "seed": 1,
        "multiple": 3.0, "changes": [result], "facts": [], "depends": {},
    }  # fmt: skip
    monkeypatch.setattr("audit.studies.power.measure.measure_power", lambda *_: found)
    monkeypatch.chdir(ROOT)
    page = tmp_path / "power.md"
    done = CliRunner().invoke(cli.app, ["power", "--out", str(page)])
    assert done.exit_code == 0, done.output
    assert "preprocessing" in done.output
    text = page.read_text()
    assert "`bgr`" in text
    assert "1 more case, which this model is known to fail" in text
    plain = CliRunner().invoke(cli.app, ["power", "--out", str(page), "--json"])
    assert json.loads(plain.stdout)["changes"] == [result]
