"""docs/own-repository.md as it stands: its commands run in a repository, with the wheel's code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "own-repository.md"

CASE = "two-birds-on-a-branch"

STUB = """\
#!/bin/bash
printf '%s|' "{name}" "$@" >> "{notes}"
echo >> "{notes}"
"""
OURS = """\
#!/bin/bash
exec env PYTHONPATH="{site}" "{python}" -m {name} "$@"
"""


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    return found


def test_its_workflow_uses_inputs_and_outputs_that_the_action_has() -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    (text,) = (block for block in blocks("yaml") if "jobs:" in block)
    steps = yaml.safe_load(text)["jobs"]["audit"]["steps"]
    (used,) = (step for step in steps if step.get("uses", "").startswith("OWNER/audit@"))
    assert used.get("with", {}).keys() <= action["inputs"].keys()
    named = set(re.findall(rf"steps\.{used['id']}\.outputs\.([\w-]+)", text))
    assert named
    assert named <= action["outputs"].keys()
    assert all("${{" not in step.get("run", "") for step in steps)


def test_its_hook_is_one_that_the_repository_has() -> None:
    hooks = {hook["id"] for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
    (text,) = (block for block in blocks("yaml") if "repos:" in block)
    asked = yaml.safe_load(text)["repos"][0]["hooks"]
    assert {hook["id"] for hook in asked} <= hooks


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        pytest.skip(f"pip builds no wheel here: {last}")
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture
def path(wheel: Path, tmp_path: Path) -> str:
    """A PATH on which audit is the wheel's, and what needs the network only notes its call."""
    site, programs = tmp_path / "site", tmp_path / "programs"
    zipfile.ZipFile(wheel).extractall(site)
    programs.mkdir()
    told = {"site": site, "python": sys.executable, "notes": tmp_path / "notes"}
    for name in ("pip", "docker"):
        (programs / name).write_text(STUB.format(name=name, **told))
    for name in ("audit", "pytest"):
        (programs / name).write_text(OURS.format(name=name, **told))
    for each in programs.iterdir():
        each.chmod(0o755)
    return f"{programs}:{os.environ['PATH']}"


@pytest.mark.slow
def test_the_wheel_carries_what_audit_constraints_and_init_need(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    here = {f"audit/commands/project/{path.name}" for path in
            (ROOT / "audit" / "commands" / "project").iterdir()}  # fmt: skip
    copied = ("constraints.txt", "constraints-transformers5.txt", "example.png",
              "baseline.json", "baseline.npz")  # fmt: skip
    assert here | {f"audit/commands/project/{name}" for name in copied} <= names


@pytest.mark.slow
def test_its_commands_work_in_a_new_repository(path: str, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    kept = {
        k: v for k, v in os.environ.items()
        if not k.startswith(("PYTHON", "PYTEST", "CI", "GITHUB", "AUDIT"))
    }  # fmt: skip
    identity = {f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER")
                for what in ("NAME", "EMAIL")}  # fmt: skip
    env = {**kept, **identity, "PATH": path, "HOME": str(tmp_path)}

    def run(script: str) -> str:
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-exo", "pipefail", "-c", script], cwd=repository,
            env=env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    run("git init -q")
    said = ""
    for block in blocks("sh"):
        if "audit report audit-run" in block:  # what the pipeline would have left
            run('pytest cases --audit-model "$(cat model-version.txt)" --audit-run-dir audit-run')
            run("git add . && git commit -qm begin")
            # Nothing moved, so nothing is accepted; a case that is named is, all the same.
            said += run(block.replace("accept audit-run", f"accept audit-run {CASE}"))
        else:
            said += run(block)
    assert said.count("audit passed: 1 of 1 audited") == 2
    assert "1 case in 1 file: no mistake" in said
    assert "1 baseline accepted" in said
    assert "page: audit-run/evidence.html" in said
    shipped = (ROOT / "constraints.txt").read_text()
    assert (repository / "constraints-audit.txt").read_text() == shipped
    calls = (tmp_path / "notes").read_text().splitlines()
    assert calls[0] == "pip|install|wheels/ofa_audit-0.1.0-py3-none-any.whl|"
    assert "pip|install|-c|constraints-audit.txt|-r|requirements-audit.txt|" in calls
    assert re.search(r"\|torch==[\d.]+\|torchvision==[\d.]+\|$", textwrap.dedent(calls[2]))
    tracked = run("git ls-files").splitlines()
    assert "baselines/reference/two-birds-on-a-branch.npz" in tracked
    assert not [name for name in tracked if name.startswith("audit-run")]
