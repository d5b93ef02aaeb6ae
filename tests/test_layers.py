"""The contracts in ``pyproject.toml`` about what imports what see what they are there to see."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CIRCLE = ("checkpoint", "sources", "embedded", "adapter", "checkpoint")
"""It was there, unseen, while these modules were one layer."""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """This project's code and contracts."""
    shutil.copytree(ROOT / "audit", tmp_path / "audit", ignore=lambda folder, names: [
        name for name in names if not (Path(folder) / name).is_dir() and not name.endswith(".py")
    ])  # fmt: skip
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def broken(copy: Path) -> list[str]:
    """The contracts that do not hold, in a process of its own: it imports what it checks."""
    found = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache", "--no-logo"], cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "COLUMNS": "200"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = found.stdout.splitlines()
    assert any(line.endswith(" KEPT") for line in lines), found.stdout + found.stderr
    return [line.removesuffix(" BROKEN") for line in lines if line.endswith(" BROKEN")]


def test_a_circle_inside_one_folder_is_seen(copy: Path) -> None:
    assert broken(copy) == []
    ofa = copy / "audit" / "models" / "ofa"
    for importer, imported in itertools.pairwise(CIRCLE):
        with (ofa / f"{importer}.py").open("a") as file:
            file.write(f"\nfrom audit.models.ofa import {imported}\n")
    assert broken(copy) == ["no modules of a folder import each other in a circle"]


def test_a_study_that_knows_an_adapter_is_seen(copy: Path) -> None:
    with (copy / "audit" / "studies" / "noise.py").open("a") as file:
        file.write("\nfrom audit.models.ofa import ENGINES\n")
    assert broken(copy) == ["adapters are known to models and reference alone"]
