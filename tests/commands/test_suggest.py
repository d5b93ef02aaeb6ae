"""The command suggest: what it prints, and what it writes into which case files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from audit.cases.loading import load_cases
from audit.commands.main import app
from audit.gate.outcomes import State
from audit.gate.runfolder import Run
from tests import outcomes
from tests.source_files import picture

FILE = """\
cases:
  - id: birds  # mine
    image: a.png
    text: there are birds
    regions: {birds: [0.0, 0.0, 0.5, 0.5]}
    expect:
      label: yes
"""


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project with one case, and a run of it."""
    monkeypatch.chdir(tmp_path)
    Path("pytest.ini").write_text("[pytest]\n")
    picture(tmp_path / "cases" / "a.png")
    Path("cases/a.yaml").write_text(FILE.replace("[0.0, 0.0, 0.5, 0.5]", "[[0.0, 0.0, 0.5, 0.5]]"))
    (case,) = load_cases(Path("cases/a.yaml"))
    run = Run(Path("run"))
    run.start({"id": "r", "baselines": "baselines/toy"})
    about = replace(
        outcomes.outcome("birds", State.PASSED), case_digest=case.digest, file="cases/a.yaml",
        metrics={"m": {"mass[birds]": 0.5}},
    )  # fmt: skip
    run.add(about, {})
    run.add(replace(about, case="wrong", label="no"), {})


def suggest(*options: str) -> tuple[int, str, str]:
    found = CliRunner().invoke(app, ["suggest", "run", *options])
    return found.exit_code, found.stdout, found.stderr


EXPECT = {
    "label": "yes",
    "probability": {"min": 0.65},
    "attention": [{"metric": "mass", "region": "birds", "min": 0.45}],
}


def test_it_prints_yaml_to_paste_and_what_has_no_limits_apart_from_it() -> None:
    code, said, told = suggest()
    assert code == 0
    assert yaml.safe_load(said) == [{"id": "birds", "expect": EXPECT}]
    assert "no limits: wrong: the answer is no, not yes" in told
    assert "limits for 1 case, none for 1" in told
    assert "margin: a limit lies below what was measured by a tenth" in told


def test_the_json_says_the_same() -> None:
    code, said, _ = suggest("--json")
    found = json.loads(said)
    assert (code, found["none"]) == (0, {"wrong": "the answer is no, not yes"})
    assert found["limits"]["birds"]["probability"] == {"min": 0.65}


def test_it_writes_into_the_case_file_and_does_not_change_the_case() -> None:
    before, (case,) = Path("cases/a.yaml").read_text(), load_cases(Path("cases/a.yaml"))
    code, said, _ = suggest("birds", "--write")
    after, (limited,) = Path("cases/a.yaml").read_text(), load_cases(Path("cases/a.yaml"))
    assert (code, said) == (0, "cases/a.yaml: limits added to 1 case\n")
    assert after == before + (
        "      probability: {min: 0.65}\n"
        "      attention:\n"
        "        - {metric: mass, region: birds, min: 0.45}\n"
    )
    assert limited.digest == case.digest  # so its baseline stays valid
    again = CliRunner().invoke(app, ["suggest", "run", "birds", "--write"])
    assert isinstance(again.exception, Exception)
    assert "birds: it declares limits by now" in str(again.exception)


def test_nothing_is_written_for_a_case_that_changed_or_is_not_in_the_project() -> None:
    path = Path("cases/a.yaml")
    for written, why in (
        (path.read_text().replace("are birds", "are no birds"), "the case changed since the run"),
        (path.read_text().replace("id: birds", "id: other"), "no case file of the project has it"),
    ):
        path.write_text(written)
        failed = CliRunner().invoke(app, ["suggest", "run", "--write"]).exception
        assert why in str(failed)
        assert path.read_text() == written
