"""The Dockerfile: rules that hadolint has, and its commands run one by one where no docker is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]


class Instruction(NamedTuple):
    """One instruction of a Dockerfile."""

    name: str
    rest: str


def instructions() -> list[Instruction]:
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    kept = [line for line in lines if line.strip() and not line.startswith("#")]
    return [Instruction(*line.split(None, 1)) for line in kept]


def all_of(name: str) -> list[str]:
    return [each.rest for each in instructions() if each.name == name]


def copied() -> list[tuple[list[str], str]]:
    """What is copied from the checkout, and where to."""
    pairs = [rest.split() for rest in all_of("COPY") if not rest.startswith("--from")]
    return [(words[:-1], words[-1]) for words in pairs]


def test_images_have_a_version() -> None:
    assert all(re.match(r"python:3\.\d+-slim-\w+( AS \w+)?$", rest) for rest in all_of("FROM"))


def test_it_ends_as_a_user_who_is_not_root_with_a_command_in_exec_form() -> None:
    assert all_of("USER")[-1] == "1000"
    assert json.loads(all_of("CMD")[-1]) == ["pytest", "cases"]
    last = [each.name for each in instructions()]
    assert last.index("USER") > max(n for n, name in enumerate(last) if name == "RUN")


def test_packages_have_the_tested_versions_and_leave_no_cache() -> None:
    installs = [run for run in all_of("RUN") if "pip install" in run]
    assert len(installs) == 2
    assert all("--no-cache-dir" in run for run in installs)
    assert all("-c /opt/constraints.txt" in run or "-r /opt/torch.txt" in run for run in installs)


def test_nothing_is_fetched_but_by_pip() -> None:
    assert not all_of("ADD")
    assert not re.search(r"\b(curl|wget|sudo|apt-get)\b", (ROOT / "Dockerfile").read_text())


def test_what_is_copied_is_there_and_not_ignored() -> None:
    let_in = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    ]
    for sources, _ in copied():
        for source in sources:
            assert (ROOT / source).exists(), source
            assert source in let_in, source


def test_arguments_are_declared_in_the_stage_that_uses_them() -> None:
    declared: set[str] = set()
    for each in instructions():
        if each.name == "FROM":
            declared = set()
        elif each.name == "ARG":
            declared.add(each.rest.partition("=")[0])
        elif each.name == "RUN":
            used = set(re.findall(r"\$\{?([A-Z_]+)", each.rest))
            assert used <= declared, each.rest


@pytest.mark.slow
def test_its_commands_build_an_environment_that_checks_cases(tmp_path: Path) -> None:
    """Without torch, which is 200 MB from elsewhere, and without a new user of this machine."""
    probe = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        "-d",
        tmp_path,
        "iniconfig",
    ]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("pip reaches no package index")
    build = tmp_path / "build"
    for sources, target in copied():
        if not target.startswith("/"):
            for source in sources:
                place = build / target / (Path(source).name if target.endswith("/") else "")
                place.parent.mkdir(parents=True, exist_ok=True)
                copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
                copy(ROOT / source, place)
    (tmp_path / "opt").mkdir()
    shutil.copy(ROOT / "constraints.txt", tmp_path / "opt")
    done = []
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    for run in all_of("RUN"):
        if "useradd" in run:
            continue
        here = re.sub(r"/(opt|wheels)\b", rf"{tmp_path}/\1", run)
        if "TORCH_INDEX" in run:
            here = here.partition("&&")[0]
        ended = subprocess.run(
            ["sh", "-ec", here], cwd=build, env={**kept, "EXTRA": ""}, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, f"{run}\n{ended.stderr[-2000:]}"
        done.append(run)
    assert len(done) == 4
    assert len((tmp_path / "opt" / "torch.txt").read_text().split()) == 2
    bin_ = tmp_path / "opt" / "audit" / "bin"
    for command in (["init", "."], ["check"], ["constraints"]):
        ended = subprocess.run(
            [bin_ / "audit", *command], cwd=tmp_path / "wheels",
            env={**kept, "HOME": str(tmp_path)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
    assert ended.stdout == (ROOT / "constraints.txt").read_text()
