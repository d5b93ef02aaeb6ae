"""``audit init`` and ``audit constraints``: what another repository begins with."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.testing import CliRunner

from audit.base.files import digest_file
from audit.cases.project import project_at
from audit.commands import main as cli
from audit.commands.shipping import requirement

ROOT = Path(__file__).parents[2]

ALL = [
    ".github/workflows/audit.yml",
    ".gitignore",
    "baselines/reference/two-birds-on-a-branch.json",
    "baselines/reference/two-birds-on-a-branch.npz",
    "cases/example.yaml",
    "cases/images/two-birds-on-a-branch.png",
    "constraints-audit.txt",
    "model-version.txt",
    "pytest.ini",
    "requirements-audit.txt",
]


def said(*arguments: str) -> str:
    done = CliRunner().invoke(cli.app, [*arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def content(folder: Path) -> dict[str, str]:
    """Every file below a folder, with its digest."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): digest_file(path) for path in files}


def test_an_empty_folder_becomes_a_project(tmp_path: Path) -> None:
    told = said("init", str(tmp_path / "new"))
    assert sorted(content(tmp_path / "new")) == ALL
    assert told.endswith(f"next: cd {tmp_path / 'new'} && pytest cases\n")


@pytest.mark.slow
def test_its_cases_pass_with_the_embedded_model(tmp_path: Path) -> None:
    said("init", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "cases", "--audit-min-cases", "1"], cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "audit passed: 1 of 1 audited" in done.stdout


def test_the_second_time_nothing_changes(tmp_path: Path) -> None:
    said("init", str(tmp_path))
    before = content(tmp_path)
    told = said("init", str(tmp_path))
    assert content(tmp_path) == before
    assert "wrote" not in told
    assert "left alone: cases, which has cases, so no example was added\n" in told
    assert "left alone: pytest.ini, which configures pytest\n" in told


@pytest.mark.parametrize("name", [name for name in ALL if name not in (".gitignore", "pytest.ini")])
def test_no_file_is_overwritten(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True) if not path.parent.exists() else None
    path.write_text("mine\n")
    told = said("init", str(tmp_path))
    assert path.read_text() == "mine\n"
    assert f"left alone: {name}, which is there\n" in told


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "model-version.txt").symlink_to(tmp_path / "elsewhere")
    said("init", str(tmp_path / "project"))
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_where_a_folder_is_needed_is_a_users_error(tmp_path: Path) -> None:
    (tmp_path / ".github").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "audit", "init", str(tmp_path)], check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "is a file, and a folder is needed here" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_pyproject_without_pytest_gets_its_table_at_the_end(tmp_path: Path) -> None:
    before = '[project]\nname = "other"\nversion = "1"\n'
    (tmp_path / "pyproject.toml").write_text(before)
    (tmp_path / "tests").mkdir()
    told = said("init", str(tmp_path))
    after = (tmp_path / "pyproject.toml").read_text()
    assert after.startswith(before)
    assert "added lines to pyproject.toml\n" in told
    assert not (tmp_path / "pytest.ini").exists()
    keys = project_at(tmp_path).keys
    assert keys == {"audit_cases": ["cases/**/*.y*ml"], "testpaths": ["tests"]}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pyproject.toml", '[tool.pytest.ini_options]\naddopts = "-q"\n'),
        ("pyproject.toml", "[tool.pytest.ini_options]\n"),
        ("setup.cfg", "[tool:pytest]\naddopts = -q\n"),
        ("tox.ini", "[pytest]\n"),
    ],
)
def test_a_configuration_of_pytest_is_left_alone(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    told = said("init", str(tmp_path))
    assert (tmp_path / name).read_text() == text
    assert f"left alone: {name}, which configures pytest\n" in told
    assert not (tmp_path / "pytest.ini").exists()


def test_patterns_that_miss_the_example_are_told(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\naudit_cases = audits/*.yaml\n")
    told = said("init", str(tmp_path))
    assert "to do: pytest.ini: add cases/*.yaml to audit_cases, which has other patterns" in told


def test_a_folder_inside_another_project_becomes_its_own(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    said("init", str(tmp_path / "inner"))
    assert project_at(tmp_path / "inner").root.resolve() == (tmp_path / "inner").resolve()


def test_cases_that_are_there_stay_alone(tmp_path: Path) -> None:
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "mine.yml").write_text("cases: []\n")
    said("init", str(tmp_path))
    assert sorted(path.name for path in (tmp_path / "cases").iterdir()) == ["mine.yml"]
    assert not (tmp_path / "baselines").exists()


def test_lines_that_git_needs_are_added_to_its_file(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*.pyc\n/audit-runs\naudit.xml")
    told = said("init", str(tmp_path))
    lines = (tmp_path / ".gitignore").read_text().splitlines()
    assert lines[:3] == ["*.pyc", "/audit-runs", "audit.xml"]
    assert lines[-3:] == ["audit-run/", "audit-explain/", "audit-power/"]
    assert "added lines to .gitignore\n" in told


def test_a_workflow_that_github_would_not_run_is_told(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    inside = tmp_path / "models" / "ours"
    assert "GitHub" not in said("init", str(tmp_path))
    told = said("init", str(inside))
    assert "to do: GitHub runs workflows only from the top of a repository: move " in told
    assert "let its steps and paths begin in models/ours/\n" in told


def test_files_that_git_ignores_are_told(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("*.npz\n")
    told = said("init", str(tmp_path))
    assert "to do: git ignores baselines/reference/two-birds-on-a-branch.npz" in told


def test_programs_are_told_as_well(tmp_path: Path) -> None:
    about = json.loads(said("init", str(tmp_path), "--json"))
    assert sorted(about["written"]) == ALL
    assert about["left"] == {}


def test_the_workflow_puts_no_expression_into_a_shell(tmp_path: Path) -> None:
    said("init", str(tmp_path))
    workflow = yaml.safe_load((tmp_path / ".github" / "workflows" / "audit.yml").read_text())
    steps = workflow["jobs"]["audit"]["steps"]
    assert all("${{" not in step.get("run", "") for step in steps)
    assert workflow["permissions"] == {"contents": "read"}


class Installed:
    """What pip recorded about the package."""

    version = "0.1.0"

    def __init__(self, origin: object) -> None:
        self.origin = origin

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return None if self.origin is None else json.dumps(self.origin)


@pytest.mark.parametrize(
    ("origin", "line"),
    [
        (None, "ofa-audit[ofa]==0.1.0"),
        (
            {"url": "https://git.example/a.git", "vcs_info": {"vcs": "git", "commit_id": "abc123"}},
            "ofa-audit[ofa] @ git+https://git.example/a.git@abc123",
        ),
        (
            {"url": "https://files.example/ofa_audit-0.1.0-py3-none-any.whl", "archive_info": {}},
            "ofa-audit[ofa] @ https://files.example/ofa_audit-0.1.0-py3-none-any.whl",
        ),
    ],
)
def test_a_pipeline_installs_what_wrote_its_files(
    origin: object, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "distribution", lambda _: Installed(origin))
    assert requirement() == (line, "")
    assert Requirement(line).name == "ofa-audit"


def test_what_came_from_this_machine_needs_a_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = {"url": "file:///home/me/audit", "dir_info": {"editable": True}}
    monkeypatch.setattr(metadata, "distribution", lambda _: Installed(origin))
    wheel = "wheels/ofa_audit-0.1.0-py3-none-any.whl"
    assert requirement() == (f"./{wheel}[ofa]", wheel)
    told = "audit was installed from a file or folder of this machine: put its wheel there as "
    assert f"to do: {told}{wheel} (" in said("init", str(tmp_path))


def test_a_wheel_that_lies_in_the_repository_is_what_its_pipeline_installs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "ofa_audit-0.1.0-py3-none-any.whl"
    origin = {"url": (tmp_path / "wheels" / name).as_uri(), "archive_info": {}}
    monkeypatch.setattr(metadata, "distribution", lambda _: Installed(origin))
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / name).touch()
    assert "to do" not in said("init", str(tmp_path))
    assert f"./wheels/{name}[ofa]" in (tmp_path / "requirements-audit.txt").read_text()


def test_what_comes_next_is_the_extra_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit.base.extras.lacking", lambda _: "needs torch")
    install = "pip install -c constraints-audit.txt -r requirements-audit.txt && "
    assert said("init", str(tmp_path)).endswith(f" && {install}pytest cases\n")


def pins(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    found = {canonicalize_name(Requirement(line).name): line.partition("==")[2] for line in lines}
    assert len(found) == len(lines)  # no package twice
    return found


def test_the_tested_constraints_are_printed_as_they_are() -> None:
    assert said("constraints") == (ROOT / "constraints.txt").read_text()


def test_those_with_transformers_5_replace_what_differs() -> None:
    four, five = pins(said("constraints")), pins(said("constraints", "--transformers", "5"))
    differs = pins((ROOT / "constraints-transformers5.txt").read_text())
    assert five == four | differs
    assert re.match(r"5\.", five["transformers"])
