"""Lays out a project for `audit init`: writes what is missing, and leaves alone what is there."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from audit.base.errors import AuditError
from audit.base.files import shown_path
from audit.cases.discovery import DEFAULT, find_files, parse
from audit.cases.project import Project, project_at
from audit.commands.shipping import constraints, requirement, shipped

PATTERN = "cases/**/*.y*ml"  # .yaml and .yml: two patterns would warn where one finds nothing
_CASE = "two-birds-on-a-branch"
_IGNORED = ("audit-run/", "audit-runs/", "audit-explain/", "audit-power/", "audit.xml")
_WORKFLOW = ".github/workflows/audit.yml"


@dataclass
class LaidOut:
    """What was done in a folder; paths are relative to it.

    Attributes:
        written: new files.
        extended: files that lines were added to at their end.
        left: what was there and stays as it is, with the reason.
        by_hand: what is to be done now, one sentence each.
    """

    written: list[str] = field(default_factory=list)
    extended: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    by_hand: list[str] = field(default_factory=list)


def lay_out(folder: Path) -> LaidOut:
    """Make ``folder`` a project that ``pytest cases`` audits.

    Raises:
        AuditError: the folder, or one to be made inside it, is a file.
        ProjectError: its configuration of pytest cannot be read.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise AuditError(f"{shown_path(folder)}: is a file, and a folder is needed here") from None
    done, project = LaidOut(), project_at(folder)
    own = project if project.root.resolve() == folder.resolve() else Project(folder)
    _cases(folder, own, done)
    _configuration(folder, own, done)
    _new(folder, "model-version.txt", b"reference\n", done)
    line, wheel = requirement()
    text = f"# The pipeline's audit; [hf] instead of [ofa] for models of Hugging Face.\n{line}\n"
    written = _new(folder, "requirements-audit.txt", text.encode(), done)
    if written and wheel and not (folder / wheel).is_file():
        done.by_hand.append(
            "audit was installed from a file or folder of this machine: put its wheel there as "
            f"{wheel} (pip wheel --no-deps -w wheels SOURCE makes it), or name a git URL in "
            "requirements-audit.txt"
        )
    _new(folder, "constraints-audit.txt", constraints().encode(), done)
    _new(folder, _WORKFLOW, shipped("workflow.yml"), done)
    _ignore_file(folder, done)
    _seen_by_git(folder, done)
    return done


def _new(folder: Path, name: str, content: bytes, done: LaidOut) -> bool:
    """Write a file if there is nothing of that name; return whether it was written."""
    path = folder / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:  # fails also where a link leads nowhere
            file.write(content)
    except FileExistsError:
        if not path.parent.is_dir():
            raise _in_the_way(path.parent) from None
        done.left[name] = "is there"
        return False
    except NotADirectoryError:
        raise _in_the_way(path.parent) from None
    done.written.append(name)
    return True


def _in_the_way(path: Path) -> AuditError:
    return AuditError(f"{shown_path(path)}: is a file, and a folder is needed here")


def _cases(folder: Path, project: Project, done: LaidOut) -> None:
    there = find_files([*project.patterns(), *parse([PATTERN, *DEFAULT], folder)])
    if there:
        done.left["cases"] = "has cases, so no example was added"
        return
    files: Mapping[str, str] = {
        "cases/example.yaml": "example.yaml",
        f"cases/images/{_CASE}.png": "example.png",
        f"baselines/reference/{_CASE}.json": "baseline.json",
        f"baselines/reference/{_CASE}.npz": "baseline.npz",
    }
    for name, source in files.items():
        _new(folder, name, shipped(source), done)


def _configuration(folder: Path, project: Project, done: LaidOut) -> None:
    """Make the folder pytest's root, if nothing in it configures pytest."""
    tests = (folder / "tests").is_dir()
    pyproject = folder / "pyproject.toml"
    if project.file is None:
        lines = [
            "[pytest]",
            "# Cases are audited by name: pytest cases",
            f"audit_cases = {PATTERN}",
        ]
        lines += ["testpaths = tests"] if tests else []
        _new(folder, "pytest.ini", "".join(f"{line}\n" for line in lines).encode(), done)
        return
    if project.file.resolve() == pyproject.resolve() and not project.keys:
        lines = [
            "[tool.pytest.ini_options]",
            "# Cases are audited by name: pytest cases",
            f'audit_cases = ["{PATTERN}"]',
            *(['testpaths = ["tests"]'] if tests else []),
        ]
        if _added_to_toml(pyproject, lines):
            done.extended.append("pyproject.toml")
            return
    name = project.file.name
    done.left[name] = "configures pytest"
    if not any(
        pattern.matches(folder / "cases" / "example.yaml") for pattern in project.patterns()
    ):
        done.by_hand.append(f"{name}: add cases/*.yaml to audit_cases, which has other patterns")


def _added_to_toml(path: Path, lines: list[str]) -> bool:
    """Add a table at the end of a TOML file, unless the file would then not be one."""
    before = path.read_text(encoding="utf-8")
    added = _after(before, lines)
    try:
        tomllib.loads(before + added)
    except tomllib.TOMLDecodeError:  # the table is there, and empty
        return False
    _append(path, added)
    return True


def _after(before: str, lines: list[str]) -> str:
    gap = "" if not before else "\n" if before.endswith("\n") else "\n\n"
    return gap + "".join(f"{line}\n" for line in lines)


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def _ignore_file(folder: Path, done: LaidOut) -> None:
    path = folder / ".gitignore"
    before = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    known = {line.strip().strip("/") for line in before.splitlines()}
    missing = [line for line in _IGNORED if line.strip("/") not in known]
    lines = ["# Runs of audit.", *missing]
    if not path.exists() and not path.is_symlink():
        _new(folder, ".gitignore", "".join(f"{line}\n" for line in lines).encode(), done)
    elif missing:
        _append(path, _after(before, lines))
        done.extended.append(".gitignore")
    else:
        done.left[".gitignore"] = "has these lines"


def _seen_by_git(folder: Path, done: LaidOut) -> None:
    """Tell of written files that git ignores, and of a pipeline that GitHub does not look for."""
    if not done.written:
        return
    kept_out = _git(folder, "check-ignore", "--", *done.written)
    if kept_out:
        done.by_hand.append(
            f"git ignores {', '.join(kept_out)}: let .gitignore except them (!baselines/**)"
        )
    inside = _git(folder, "rev-parse", "--show-prefix")
    if _WORKFLOW in done.written and inside and inside[0]:
        done.by_hand.append(
            f"GitHub runs workflows only from the top of a repository: move {_WORKFLOW} there, and "
            f"let its steps and paths begin in {shown_path(inside[0])}"
        )


def _git(folder: Path, *arguments: str) -> list[str]:
    """The lines that git answers; none if it is not there or does not know."""
    git = shutil.which("git")
    if git is None:
        return []
    asked = subprocess.run(
        [git, "-C", str(folder), *arguments], capture_output=True, text=True, check=False
    )
    return asked.stdout.split("\n")[:-1] if asked.returncode == 0 else []
