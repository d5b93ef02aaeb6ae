"""action.yml: its form, and its steps run in order by bash, as GitHub's runner does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from audit.commands import main as cli

ROOT = Path(__file__).parents[1]

FORM = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "description", "inputs", "outputs", "runs"],
    "properties": {
        "name": {"type": "string"},
        "description": {"type": "string", "maxLength": 125},
        "branding": {"required": ["icon", "color"]},
        "inputs": {
            "propertyNames": {"pattern": "^[a-z][a-z-]*$"},
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "required": ["description", "default"],
                "properties": {"description": {"type": "string"}, "default": {"type": "string"}},
            },
        },
        "outputs": {
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "required": ["description", "value"],
                "properties": {"description": {"type": "string"}, "value": {"type": "string"}},
            }
        },
        "runs": {
            "additionalProperties": False,
            "required": ["using", "steps"],
            "properties": {
                "using": {"const": "composite"},
                "steps": {
                    "items": {
                        "additionalProperties": False,
                        "properties": {
                            k: {}
                            for k in ("name", "id", "if", "env", "run", "shell", "uses", "with")
                        },
                        "oneOf": [
                            {"required": ["run", "shell"], "not": {"required": ["uses"]}},
                            {"required": ["uses"], "not": {"required": ["run"]}},
                        ],
                    }
                },
            },
        },
    },
}
"""What GitHub documents of a composite action, as far as this one uses it."""


@pytest.fixture(scope="module")
def action() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
    return loaded


def test_it_has_the_form_of_a_composite_action(action: dict[str, Any]) -> None:
    assert [e.message for e in Draft202012Validator(FORM).iter_errors(action)] == []


def test_no_expression_is_written_into_a_script(action: dict[str, Any]) -> None:
    assert all("${{" not in step.get("run", "") for step in action["runs"]["steps"])


def test_every_input_is_used_and_no_other(action: dict[str, Any]) -> None:
    text = str(action["runs"])
    used = set(re.findall(r"inputs\.([a-z-]+)", text))
    assert used == set(action["inputs"])


def test_every_input_and_output_is_documented(action: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "own-repository.md").read_text()
    for name in (*action["inputs"], *action["outputs"]):
        assert f"`{name}`" in page, name


@dataclass
class Runner:
    """A job that uses the action in a repository.

    Attributes:
        outputs: of the step ``audit``.
        ended: exit code of each step, by its name.
    """

    action: dict[str, Any]
    repository: Path
    place: Path
    programs: Path
    outputs: dict[str, str] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    said: str = ""

    def run(self, **given: str) -> None:
        """Run the steps that are scripts; a step after one that failed is skipped."""
        inputs = {name: each["default"] for name, each in self.action["inputs"].items()}
        inputs |= {name.replace("_", "-"): value for name, value in given.items()}
        assert inputs.keys() == self.action["inputs"].keys()
        self.place.mkdir(exist_ok=True)
        for step in self.action["runs"]["steps"]:
            if "run" in step and not any(self.ended.values()):
                self._step(step, inputs)

    def _step(self, step: dict[str, Any], inputs: dict[str, str]) -> None:
        written = self.place / f"output-{len(self.ended)}"
        written.write_text("")
        script = self.place / "script.sh"
        script.write_text(step["run"])
        env = {name: self._value(value, inputs) for name, value in step.get("env", {}).items()}
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "AUDIT"))}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", script], cwd=self.repository,
            env={
                **kept, **env,
                "PATH": f"{self.programs}:{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
                "CI": "true",
                "GITHUB_ACTIONS": "true",
                "GITHUB_WORKSPACE": str(self.repository),
                "GITHUB_OUTPUT": str(written),
                "GITHUB_STEP_SUMMARY": str(self.place / "summary.md"),
            },
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        self.ended[step["name"]] = done.returncode
        self.said += done.stdout + done.stderr
        if step.get("id") == "audit":
            self.outputs = dict(outputs(written.read_text()))

    def _value(self, written: str, inputs: dict[str, str]) -> str:
        """The value of an expression, as far as the action uses any."""
        known = {f"inputs.{name}": value for name, value in inputs.items()}
        known["github.action_path"] = str(ROOT)
        known["steps.audit.outputs.exit-code"] = self.outputs.get("exit-code", "")
        whole = re.fullmatch(r"\$\{\{ ([\w.-]+) \}\}", written)
        assert whole, written
        return known[whole[1]]


def outputs(text: str) -> Iterator[tuple[str, str]]:
    """What a step wrote into ``$GITHUB_OUTPUT``."""
    lines = iter(text.splitlines())
    for line in lines:
        name, heredoc, end = line.partition("<<")
        if not heredoc:
            name, _, value = line.partition("=")
            yield name, value
            continue
        value_lines = []
        for each in lines:
            if each == end:
                break
            value_lines.append(each)
        yield name, "\n".join(value_lines)


@pytest.fixture
def runner(action: dict[str, Any], tmp_path: Path) -> Runner:
    """A repository that ``audit init`` laid out; pip only notes what it is asked for."""
    repository, programs = tmp_path / "repository", tmp_path / "programs"
    programs.mkdir()
    done = CliRunner().invoke(cli.app, ["init", str(repository)])
    assert done.exit_code == 0
    python = programs / "python"
    python.write_text(
        "#!/bin/bash\n"
        f'if [ "$1 $2" = "-m pip" ]; then shift 2; printf "%s|" "$@" >> "{tmp_path}/pip"; '
        f'echo >> "{tmp_path}/pip"; exit; fi\n'
        f'if [ "$1 $2" = "-m pytest" ] && [ -e "{tmp_path}/noted" ]; then shift 2; '
        f'printf "%s|" "$@" > "{tmp_path}/noted"; echo "words" >> '
        '"$GITHUB_STEP_SUMMARY"; exit; fi\n'
        f'exec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)
    return Runner(action, repository, tmp_path / "runner", programs)


def noted(runner: Runner) -> list[str]:
    """What pytest was called with, while it is replaced by a note of it."""
    return (runner.place.parent / "noted").read_text().split("|")[:-1]


def test_what_is_installed_is_the_action_itself_with_the_tested_versions(runner: Runner) -> None:
    (runner.place.parent / "noted").write_text("")
    runner.run()
    first, second = (runner.place.parent / "pip").read_text().splitlines()
    assert first.startswith("install|--no-deps|--index-url|https://download.pytorch.org/whl/cpu|")
    assert re.search(r"\|torch==[\d.]+\|torchvision==[\d.]+\|$", first)
    assert second == f"install|-c|{ROOT}/constraints.txt|--|{ROOT}[ofa]|"


def test_torch_for_gpus_comes_with_everything_else(runner: Runner) -> None:
    (runner.place.parent / "noted").write_text("")
    runner.run(torch_index="", requirement="ofa-audit[hf]==0.1.0", constraints="mine.txt")
    assert (runner.place.parent / "pip").read_text() == (
        "install|-c|mine.txt|--|ofa-audit[hf]==0.1.0|\n"
    )


def test_the_model_is_that_of_the_version_file(runner: Runner) -> None:
    (runner.place.parent / "noted").write_text("")
    (runner.repository / "model-version.txt").write_text("hf:some/where@v2")  # without a line end
    runner.run(baselines="baselines/ours", arguments="-k birds  --tb=line")
    assert noted(runner) == [
        "cases", "--audit-model=hf:some/where@v2", "--audit-baselines=baselines/ours",
        "--audit-min-cases=1", "--audit-run-dir=audit-run", "--junitxml=audit.xml",
        "-k", "birds", "--tb=line",
    ]  # fmt: skip
    assert runner.outputs["comment"].strip() == "words"


@pytest.mark.parametrize("evil", ["$(touch pwned)", "`touch pwned`", '"; touch pwned; "', "a\nb"])
def test_no_value_is_run_by_the_shell(evil: str, runner: Runner) -> None:
    (runner.place.parent / "noted").write_text("")
    names = ("model", "cases", "baselines", "min_cases", "arguments", "run_dir")
    runner.run(**dict.fromkeys(names, evil), requirement=evil, extra=evil)
    assert not (runner.repository / "pwned").exists()
    assert f"--audit-model={evil}" in noted(runner)
    assert set(runner.outputs) == {"exit-code", "gallery", "comment"}


def test_a_long_summary_is_cut_for_a_comment_and_says_so(runner: Runner) -> None:
    (runner.place.parent / "noted").write_text("")
    python = runner.programs / "python"
    long = f"{sys.executable} -c \"print('ä' * 40_000)\""
    python.write_text(python.read_text().replace('echo "words"', long))
    runner.run()
    assert runner.ended == {"Install": 0, "Audit": 0, "Verdict": 0}
    comment = runner.outputs["comment"]
    assert len(comment) < 65_536
    assert comment.rstrip().endswith("Cut off here; the step summary has the rest.")
    assert comment.startswith("äää")


@pytest.mark.slow
def test_a_repository_is_audited_by_the_embedded_model_and_fails_where_it_must(
    runner: Runner,
) -> None:
    runner.run()
    assert runner.ended == {"Install": 0, "Audit": 0, "Verdict": 0}, runner.said
    assert runner.outputs["exit-code"] == "0"
    assert runner.outputs["comment"].startswith("## Audit passed\n\n1 of 1 audited.")
    assert (runner.repository / runner.outputs["gallery"]).is_file()
    assert (runner.repository / "audit.xml").is_file()
    summary = runner.place / "summary.md"
    assert summary.read_text().strip() == runner.outputs["comment"].strip()

    case = runner.repository / "cases" / "example.yaml"
    case.write_text(case.read_text().replace("min: 0.75", "min: 0.999"))
    runner.ended.clear()
    shutil.rmtree(runner.repository / "audit-run")
    runner.run()
    assert runner.ended == {"Install": 0, "Audit": 0, "Verdict": 1}
    assert runner.outputs["exit-code"] == "1"
    assert "| `two-birds-on-a-branch` | contract broken |" in runner.outputs["comment"]
    assert "::error file=cases/example.yaml,line=4," in runner.said
