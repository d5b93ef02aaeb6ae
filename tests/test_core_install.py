"""What ``pip install ofa-audit`` gives: a core without torch that handles runs and baselines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.projects import audited, made

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
LIMIT = 400 * 2**20
NEEDED = "needs modelscope, torch, torchvision, transformers: pip install 'ofa-audit[ofa]'"


def pip(*arguments: str | Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment with the wheel of this checkout and what it depends on, nothing else."""
    folder = tmp_path_factory.mktemp("core")
    probe = subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, "iniconfig"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if probe.returncode:
        last = (probe.stderr.strip().splitlines() or ["nothing was said"])[-1]
        pytest.skip(f"pip reaches no package index: {last}")
    pip("wheel", "-q", "--no-deps", "-w", folder, ROOT)
    (wheel,) = folder.glob("ofa_audit-*.whl")
    made = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", made], check=True)
    python = made / "bin" / "python"
    pip("--python", python, "install", "-q", "-c", ROOT / "constraints.txt", wheel)
    return made


@dataclass
class Core:
    """The environment, and a project to use it in."""

    environment: Path
    root: Path

    def run(self, *command: str, exits: int = 0) -> str:
        """What a program of the environment says, in the project."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST", "CI"))}
        program, *arguments = command
        done = subprocess.run(
            [self.environment / "bin" / program, *arguments], cwd=self.root, check=False,
            env={**kept, "COLUMNS": "200", "HOME": str(self.environment)},
            capture_output=True, text=True,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert done.returncode == exits, said
        assert "Traceback" not in said
        return said


@pytest.fixture
def core(environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Core:
    """Baselines of two cases, a run of the model that gave them, and one of a model that moved."""
    (tmp_path / "pytest.ini").write_text("[pytest]\naudit_baselines = baselines/toy\n")
    monkeypatch.chdir(tmp_path)
    file = made(tmp_path)
    audited(file, Path("first"), Path("baselines/toy"), "all")
    monkeypatch.setenv("TOY_LEAN", "0.3")
    audited(file, Path("second"), Path("baselines/toy"))
    return Core(environment, tmp_path)


def test_the_core_takes_less_than_400_megabytes(environment: Path) -> None:
    files = [path for path in (environment / "lib").rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)  # with the bytecode that pip compiles
    assert 100 * 2**20 < size < LIMIT, f"{size / 2**20:.0f} MiB"


def test_the_core_has_no_torch_and_no_models(core: Core) -> None:
    code = (
        "from importlib.metadata import distributions\n"
        "print(*sorted(each.name.lower() for each in distributions()))"
    )
    installed = set(core.run("python", "-c", code).split())
    assert {"ofa-audit", "numpy", "pytest"} <= installed
    assert not installed & {
        "torch", "torchvision", "modelscope", "transformers", "tokenizers", "safetensors", "timm",
        "opencv-python-headless", "gradio", "datasets", "huggingface-hub", "pandas",
    }  # fmt: skip


def test_baselines_are_reviewed_and_accepted(core: Core) -> None:
    assert "2 accepted, 0 missing, 0 stale" in core.run("audit", "status")
    said = core.run("audit", "accept", "second", "birds", "--reason", "looked at it")
    assert "1 baseline accepted" in said
    assert "0 orphans" in core.run("audit", "status")
    core.run("audit", "prune")


def test_a_run_is_drawn_again_with_its_heatmaps(core: Core) -> None:
    core.run("audit", "report", "second", "--all")
    assert "data:image/" in (core.root / "second" / "gallery.html").read_text()


def test_two_runs_are_compared(core: Core) -> None:
    assert "page: audit-compare.html" in core.run("audit", "compare", "first", "first")
    # Two cases are too few to tell, and both moved: nothing else would judge them.
    said = core.run("audit", "compare", "first", "second", "--json", exits=1)
    assert json.loads(said)["cases"]


def test_the_schema_is_that_of_the_project(core: Core) -> None:
    core.run("audit", "schema", "--out", "schema.json")
    shipped = ROOT / "cases" / "schema.json"
    assert (core.root / "schema.json").read_bytes() == shipped.read_bytes()


def test_models_are_listed_with_what_they_need(core: Core) -> None:
    said = core.run("audit", "model", "--list")
    assert f"not to be loaded here: reference, shortcut, folder, modelscope {NEEDED}" in said


@pytest.mark.parametrize(
    ("command", "needed"),
    [
        (["explain", "cases/images/a.png", "two birds"], f"reference {NEEDED}"),
        (["model", "reference"], f"reference {NEEDED}"),
        (["model", "iic/some"], f"iic/some {NEEDED}"),
        (["compare", "first", "reference"], f"reference {NEEDED}"),
        (["noise"], f"reference {NEEDED}"),
        (["power"], f"audit power {NEEDED}"),
        (["validity"], f"audit validity {NEEDED}"),
        (["serve"], "audit serve needs gradio: pip install 'ofa-audit[app]'"),
    ],
)
def test_a_command_that_needs_an_extra_is_a_users_error(
    command: list[str], needed: str, core: Core
) -> None:
    assert core.run("audit", *command, exits=2) == f"audit: error: {needed}\n"


def test_python_is_told_what_to_install(core: Core) -> None:
    code = (
        "import audit\n"
        "try:\n    audit.load_model('reference')\n"
        "except audit.ModelError as error:\n    print(error)"
    )
    assert core.run("python", "-c", code) == f"reference {NEEDED}\n"


def test_a_session_without_cases_runs_with_the_plugin(core: Core) -> None:
    (core.root / "test_other.py").write_text("def test_other(): pass\n")
    assert "1 passed" in core.run("pytest", "test_other.py")


@pytest.mark.parametrize("more", [[], ["--audit-threads=1"], ["--audit-dtype=bfloat16"]])
def test_a_session_with_cases_is_a_usage_error(more: list[str], core: Core) -> None:
    said = core.run("pytest", "cases", *more, exits=4)
    assert f"ERROR: reference {NEEDED}\n" in said


def test_cases_are_collected_and_checked(core: Core) -> None:
    said = core.run("pytest", "cases", "--collect-only", "-q")
    assert "cases/birds.yaml::birds\n" in said
    assert "cases/birds.yaml::hungry\n" in said
