"""``audit explain``, ``schema`` and errors on the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from audit.commands import main as cli

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "cases" / "images" / "two-birds-on-a-branch.png"


@pytest.mark.slow
def test_explain_prints_one_json_object_with_the_whole_map(tmp_path: Path) -> None:
    text = "there are two birds on a branch"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "audit.commands.main",
            "explain",
            str(PICTURE),
            text,
            "--json",
            "--out",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["label"] == "yes"
    assert set(found["probabilities"]) == {"yes", "no", "maybe"}
    assert found["prompt"] == f' does the image describe " {text} "?'
    rows, cols = found["grid"]
    assert [len(found["map"]), {len(row) for row in found["map"]}] == [rows, {cols}]
    assert sum(map(sum, found["map"])) == pytest.approx(1.0, abs=1e-6)
    assert {"entropy", "gini", "focus_area", "centre_x", "image_share"} <= set(found["metrics"])
    assert len(found["model"]["digest"]) == 64
    with Image.open(found["heatmap"]) as picture:
        assert picture.width > 800


def test_explain_prints_verdict_and_figures(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        cli.app,
        [
            "explain",
            str(PICTURE),
            "the birds are hungry",
            "--map",
            "answer_attention layers=last",
            "--out",
            str(tmp_path),
        ],
    )
    assert result.exit_code == 0, result.output
    assert "maybe" in result.output.splitlines()[0]
    assert "answer_attention layers=last, 12 x 12 cells" in result.output
    assert "reference, float32, fast engine" in result.output
    (heatmap,) = tmp_path.glob("two-birds-on-a-branch.*.png")
    assert ".answer_attention-layers-last." in heatmap.name


@pytest.mark.slow
def test_layers_and_words_are_drawn_told_and_played(tmp_path: Path) -> None:
    asked = ["explain", str(PICTURE), "two birds on a branch", "--layers", "--words", "--animate"]
    result = CliRunner().invoke(cli.app, [*asked, "--json", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [panel["layer"] for panel in found["layers"]] == [1, 2, 3]
    assert [panel["word"] for panel in found["words"]] == ["two", "birds", "on", "a", "branch"]
    for panel in (*found["layers"], *found["words"]):
        assert sum(map(sum, panel["map"])) == pytest.approx(1.0, abs=1e-6)
    # The map is the mean of the layers' shares of the image, so it lies between them.
    assert found["map"][0][0] <= max(panel["map"][0][0] for panel in found["layers"])
    assert set(found["files"]) == {
        "page",
        "layers", "layers gif", "layers webp", "words", "words gif", "words webp",
    }  # fmt: skip
    for name, panels in (("layers", 3), ("words", 5)):
        for kind in ("gif", "webp"):
            with Image.open(found["files"][f"{name} {kind}"]) as played:
                assert played.n_frames == panels
    with Image.open(found["files"]["words"]) as sheet:
        assert sheet.width > 400


def test_the_folder_and_labels_of_a_model_are_told() -> None:
    found = json.loads(CliRunner().invoke(cli.app, ["model", "--json"]).stdout)
    assert found["labels"] == ["no", "yes", "maybe"]
    assert (Path(found["folder"]) / "configuration.json").exists()
    assert f"folder: {found['folder']}" in CliRunner().invoke(cli.app, ["model"]).output


@pytest.mark.parametrize(
    "asked",
    [
        "rollout",
        pytest.param("relevance variant=paper", marks=pytest.mark.slow),
        pytest.param("occlusion window=6 stride=6", marks=pytest.mark.slow),
        pytest.param("blank", marks=pytest.mark.slow),
    ],
)
def test_any_map_can_be_explained(asked: str, tmp_path: Path) -> None:
    text = "there are two birds on a branch"
    arguments = ["explain", str(PICTURE), text, "--map", asked, "--json", "--out", str(tmp_path)]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["method"] == asked
    assert sum(map(sum, found["map"])) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["explain", "nowhere.png", "text"], "nowhere.png: no such picture"),
        (["explain", str(PICTURE), "text", "--map", "rollout layers=9"], "the model has 3"),
        (
            ["explain", str(PICTURE), "text", "--map", "rollout layers=lots"],
            "needs all, last, last:N",
        ),
        (["explain", str(PICTURE), "text", "--map", "rolout"], "did you mean 'rollout'?"),
        (["explain", str(PICTURE), "text", "--map", "word_attention"], "needs a word"),
        (["explain", str(PICTURE), "text", "--map", "word_attention word=test"], "'text'"),
        (["explain", str(PICTURE), "text", "--map", "uniform", "--layers"], "layer by layer"),
        (["explain", str(PICTURE), "text", "--colours", "mauve"], "mauve"),
        (["explain", str(PICTURE), "text", "--scale", "shard"], "did you mean 'shared'?"),
        (["explain", str(PICTURE), " "], "the hypothesis is empty"),
        (["explain", str(PICTURE), "text", "--premise", "\n"], "the premise is empty"),
        (["explain", str(PICTURE), "text " * 90], "and 80 fit"),
        (["report", "nowhere"], "not a run"),
    ],
)
def test_errors_are_one_message_and_exit_code_two(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "audit", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_schema_accepts_the_shipped_cases_and_refuses_a_misspelt_key() -> None:
    schema = json.loads(CliRunner().invoke(cli.app, ["schema"]).output)
    assert json.loads((ROOT / "cases" / "schema.json").read_text()) == schema
    validator = jsonschema.Draft202012Validator(schema)
    for path in (ROOT / "cases").glob("*.yaml"):
        data = yaml.load(path.read_text(), Loader=yaml.BaseLoader)  # labels stay texts
        labels = [case["expect"]["label"] for case in data["cases"]]
        assert all(isinstance(label, str) for label in labels)
        assert not [e for e in validator.iter_errors(data) if e.validator == "additionalProperties"]
        data["cases"][0]["expect"]["lable"] = "yes"
        assert [e for e in validator.iter_errors(data) if e.validator == "additionalProperties"]
