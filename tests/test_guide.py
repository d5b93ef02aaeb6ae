"""The page of the guide and the notebook run as they stand, and what they claim holds."""

from __future__ import annotations

import base64
import inspect
import io
import json
import os
import re
import shlex
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

import audit
from audit.commands import main as cli

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
GUIDE = (DOCS / "guide.md").read_text()
NOTEBOOK = json.loads((DOCS / "notebook.ipynb").read_text())

STEPS = (
    "Load the model", "Attention weights", "Heatmap", "Three cases", "Layers side by side",
    "Animation", "Figures", "Scattered attention: temperature", "Blurred maps: smoothing",
    "Memory", "Web page",
)  # fmt: skip
"""The steps of the guide, in its order."""


def blocks(language: str, page: str = GUIDE) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def test_the_page_takes_the_steps_of_the_guide_in_its_order() -> None:
    numbered = re.findall(r"^## (\d+)\. (.*)$", GUIDE, re.MULTILINE)
    assert numbered == [(str(n), step) for n, step in enumerate(STEPS, 1)]
    for _, step in numbered:
        part = GUIDE.partition(f". {step}\n")[2].partition("\n## ")[0]
        assert "```" in part, step  # every step has its call


@pytest.mark.slow
def test_every_snippet_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cases").symlink_to(ROOT / "cases")
    names: dict[str, Any] = {}
    for block in blocks("python"):
        exec(block, names)
    said = capsys.readouterr().out
    # What the page says of its examples.
    assert [answer.label for answer in names["answers"]] == ["yes", "no", "yes"]
    assert [answer.metrics["entropy"] > 0.9 for answer in names["answers"]] == [False, True, False]
    assert names["found"].map.shape == (12, 12)
    assert "there are two birds on a branch -> yes" in said
    for name in ("heatmap.png", "layers.png", "two-layers.png", "sharp.png"):
        with Image.open(name) as drawn:
            assert drawn.format == "PNG"
    for name, frames in (("layers.gif", 3), ("words.gif", 7)):
        with Image.open(name) as played:
            assert (played.n_frames, played.info["duration"]) == (frames, 500)  # two a second
    explain, serve = (shlex.split(block) for block in blocks("sh"))
    assert (explain[:2], serve) == (["audit", "explain"], ["audit", "serve"])
    done = CliRunner().invoke(cli.app, explain[1:])
    assert done.exit_code == 0, done.output
    assert list(Path("audit-explain").glob("*.png"))


@pytest.mark.slow
def test_the_snippets_of_the_page_about_python_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cases").symlink_to(ROOT / "cases")
    names: dict[str, Any] = {}
    for block in blocks("python", (DOCS / "python.md").read_text()):
        exec(block, names)
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == ["yes", "yes", "no"]
    assert all(line.endswith("(12, 12)") for line in said)


def test_the_page_about_python_names_everything_that_explain_takes_and_gives() -> None:
    page = (DOCS / "python.md").read_text()
    for name in inspect.signature(audit.explain).parameters:
        assert f"`{name}`" in page, name
    given = [name for name in vars(audit.Explanation) if not name.startswith("_")]
    for name in {*given} - {"first", "spec"}:
        assert re.search(rf"`{name}[`(]", page), name


@pytest.mark.slow
def test_the_page_of_the_last_step_is_served(tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen(
        [sys.executable, "-m", "audit", "serve", f"--port={port}"], cwd=tmp_path, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as server:  # fmt: skip
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == f"page: http://127.0.0.1:{port}/\n"
        finally:
            server.terminate()


def test_modelscope_has_no_such_argument_as_the_guide_passes() -> None:
    spec = find_spec("modelscope")
    if spec is None or spec.origin is None:
        pytest.skip("modelscope is not installed")
    package = Path(spec.origin).parent
    given = "return_attention_weights"
    files = [path for path in package.rglob("*.py") if given in path.read_text(errors="replace")]
    assert files == []
    # It is handed to the last step, which takes nothing of the kind.
    base = (package / "pipelines" / "base.py").read_text()
    assert "return {}, {}, pipeline_parameters" in base
    entailment = package / "pipelines" / "multi_modal" / "visual_entailment_pipeline.py"
    assert "def postprocess(self, inputs: Dict[str, Any]) -> Dict[str, Any]:" in (
        entailment.read_text()
    )


def test_the_numbers_of_the_page_are_worked_out() -> None:
    cells = (480 // 16) ** 2
    assert cells == 900
    assert f"30 × 30 = {cells} values" in GUIDE
    assert f"{round(12 * cells * 8 / 1000)} kB for twelve layers of 30 × 30 cells" in GUIDE


def test_the_notebook_is_stored_without_outputs() -> None:
    for cell in NOTEBOOK["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)


def test_the_notebook_links_to_pages_that_exist() -> None:
    for cell in NOTEBOOK["cells"]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", "".join(cell["source"])):
            assert (DOCS / target).exists(), target


@pytest.mark.slow
def test_the_notebook_runs_and_shows_the_three_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    notebook = nbformat.read(DOCS / "notebook.ipynb", as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(DOCS)}}
    )
    client.execute()
    shown = {
        "".join(cell["source"]): output.get("data", output)
        for cell in notebook.cells
        if cell["cell_type"] == "code"
        for output in cell["outputs"]
    }
    for name, label in (("birds", "yes"), ("cat", "no"), ("animals", "yes")):
        (page,) = [data["text/html"] for source, data in shown.items()
                   if source.startswith(f"{name} = ")]  # fmt: skip
        assert f"<strong>{label}</strong>" in page
        assert page.count("<img") == 2
        assert len(page) < 40_000
    for source in ('birds.heatmap(colours="inferno")', "birds.layers()"):
        with Image.open(io.BytesIO(base64.b64decode(shown[source]["image/png"]))) as drawn:
            assert drawn.width > 1000
    assert "data:image/gif" in shown['birds.animate("words")']["text/html"]
    (table,) = [data["text/html"] for source, data in shown.items() if "pandas" in source]
    assert "a cat is sleeping on the sofa" in table
    assert len(shown) == sum(cell["cell_type"] == "code" for cell in notebook.cells) - 1
