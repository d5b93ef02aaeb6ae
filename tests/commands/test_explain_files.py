"""What ``audit explain`` writes: names that tell questions apart, formats, several maps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from audit import load_model
from audit.commands import main as cli
from audit.explaining import ExplainedMap, NoMap, explain_maps
from audit.maps.spec import MapSpec
from audit.models import registry as models

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "cases" / "images" / "two-birds-on-a-branch.png"
TEXT = "two birds on a branch"


def explained(tmp_path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli.app, ["explain", *arguments, "--out", str(tmp_path / "out")])


@pytest.fixture(scope="module")
def model() -> Any:
    return load_model("reference")


def asked(
    model: Any, image: Path, text: str = TEXT, premise: str | None = None, *maps: str
) -> list[ExplainedMap | NoMap]:
    specs = [MapSpec.parse(each) for each in maps or ("answer_attention",)]
    return explain_maps(model, image, text, premise, specs, words=True)


def drawn(found: ExplainedMap, folder: Path, name: str, text: str = TEXT) -> set[Path]:
    return set(found.draw(folder, name, text, colours="viridis", scale="", animate=False).values())


@pytest.mark.slow
def test_another_question_gets_other_files_and_the_same_one_its_own(
    model: Any, tmp_path: Path
) -> None:
    white = Image.new("RGB", (64, 64), "white")
    for name in ("x.png", "x.jpg", "y/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        white.save(tmp_path / name)
    Image.new("RGB", (64, 64), "black").save(tmp_path / "y" / "x.png")
    questions = {
        "x.png": asked(model, tmp_path / "x.png"),
        "x.jpg": asked(model, tmp_path / "x.jpg"),
        "y/x.png": asked(model, tmp_path / "y" / "x.png"),
        "another map": asked(model, tmp_path / "x.png", TEXT, None, "rollout"),
        "another number": asked(model, tmp_path / "x.png", TEXT, None, "rollout temperature=0.5"),
        "a premise": asked(model, tmp_path / "x.png", TEXT, "birds"),
        "the premise None": asked(model, tmp_path / "x.png", TEXT, "None"),
        "another model": asked(load_model("shortcut"), tmp_path / "x.png"),
        "another engine": asked(load_model("reference", engine="reference"), tmp_path / "x.png"),
    }
    out = tmp_path / "out"
    written = {
        question: drawn(found, out, Path(question).name if "x." in question else "x.png")
        for question, (found,) in questions.items()
    }
    for text in ("Two birds on a branch", "two birds on a branch!", "two birds", "鸟", "🐦", "🐈"):
        (found,) = asked(model, tmp_path / "x.png", text)
        written[text] = drawn(found, out, "x.png", text)
    heatmaps_and_pages = [path for paths in written.values() for path in paths]
    # The words of a text are where they are whichever map is asked for besides.
    shared = written["x.png"] & written["another map"] & written["another number"]
    assert len(shared) == 1
    assert len(set(heatmaps_and_pages)) == len(heatmaps_and_pages) - 2
    assert set(out.iterdir()) == set(heatmaps_and_pages)
    (again,) = asked(model, tmp_path / "x.png")
    assert drawn(again, out, "x.png") == written["x.png"]


def test_a_name_says_picture_text_and_map(tmp_path: Path) -> None:
    done = explained(tmp_path, str(PICTURE), "The birds' nest?", "--map", "rollout layers=last")
    assert done.exit_code == 0, done.output
    (heatmap,) = (tmp_path / "out").glob("*.png")
    picture, text, asked_for, digest, kind = heatmap.name.split(".")
    assert (picture, text) == ("two-birds-on-a-branch", "The-birds-nest")
    assert (asked_for, len(digest), kind) == ("rollout-layers-last", 8, "png")


@pytest.mark.parametrize(
    "name",
    ["a" * 240, "鸟" * 80, "ก็" * 40, "--out=x\n$(y)", ".hidden", "…"],
    ids=["long", "Chinese", "Thai", "like an option", "hidden", "without a letter"],
)
def test_a_picture_of_any_name_can_be_explained(name: str, tmp_path: Path) -> None:
    picture = tmp_path / f"{name}.png"
    Image.open(PICTURE).save(picture)
    text = "antidisestablishmentarianism antidisestablishmentarianism"
    done = explained(tmp_path, str(picture), text, "--words", "--animate", "--json")
    assert done.exit_code == 0, done.output
    written = list((tmp_path / "out").iterdir())
    assert len(written) == len(json.loads(done.stdout)["files"]) + 1
    for path in written:
        assert len(path.name.encode()) <= 130
        assert not path.name.startswith((".", "-"))
        assert path.name.isprintable()


def test_a_picture_whose_name_is_not_utf_8_can_be_explained(tmp_path: Path) -> None:
    picture = tmp_path / os.fsdecode(b"caf\xe9.png")
    picture.write_bytes(PICTURE.read_bytes())
    done = explained(tmp_path, str(picture), TEXT, "--json")
    assert done.exit_code == 0, done.exception
    assert Path(json.loads(done.stdout)["heatmap"]).name.startswith("caf")


@pytest.mark.parametrize(
    "command",
    [
        ("explain", str(PICTURE), TEXT, "--out"),
        ("compare", "before", "after", "--out"),
        ("validity", "--out"),
        ("power", "--out"),
        ("power", "--work"),
        ("schema", "--out"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("", "it is empty: name a place to write to"),
        (" ", "it is empty: name a place to write to"),
        (os.fsdecode(b"caf\xe9"), "is not in UTF-8"),
    ],
    ids=["empty", "blank", "not UTF-8"],
)
def test_a_place_to_write_that_is_none_is_refused_at_once(
    command: tuple[str, ...], place: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli.app, [*command, place], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert f"Invalid value for '{command[-1]}'" in done.output
    assert said in done.output
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_refused_before_the_model_is_loaded(
    tmp_path: Path,
) -> None:
    (tmp_path / "out").write_text("a file")
    done = explained(tmp_path, str(PICTURE), TEXT, "--model", str(tmp_path / "no model"))
    assert str(done.exception) == f"{tmp_path / 'out'}: nothing can be written there: File exists"
    beyond = tmp_path / ("x" * 300)
    done = explained(beyond, str(PICTURE), TEXT, "--model", str(tmp_path / "no model"))
    assert "File name too long" in str(done.exception)


def test_what_a_map_has_not_is_refused_before_the_model_is_loaded(tmp_path: Path) -> None:
    asked_for = ["--map", "uniform", "--layers", "--model", str(tmp_path / "no model")]
    done = explained(tmp_path, str(PICTURE), TEXT, *asked_for)
    assert "uniform is not read layer by layer" in str(done.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_several_maps_are_read_from_one_model_loaded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []
    load = models.load_model

    def counted(*arguments: Any) -> Any:
        loaded.append(arguments)
        return load(*arguments)

    monkeypatch.setattr(models, "load_model", counted)
    maps = ["occlusion window=6 stride=6", "word_attention word=birds", "centre"]
    arguments = [part for each in maps for part in ("--map", each)]
    done = explained(tmp_path, str(PICTURE), TEXT, *arguments, "--layers", "--json")
    assert done.exit_code == 0, done.output
    assert len(loaded) == 1
    found = json.loads(done.stdout)["maps"]
    assert [each["method"] for each in found] == maps
    assert ["layers" in each for each in found] == [False, True, False]
    assert len({each["heatmap"] for each in found}) == 3
    alone = explained(tmp_path, str(PICTURE), TEXT, "--map", maps[0], "--json")
    one = json.loads(alone.stdout)
    assert set(one) == set(found[0])
    np.testing.assert_allclose(one["map"], found[0]["map"], atol=1e-6)
    assert one["heatmap"] == found[0]["heatmap"]


def test_a_map_that_is_asked_for_twice_is_drawn_once(tmp_path: Path) -> None:
    twice = ["--map", "centre", "--map", "centre"]
    done = explained(tmp_path, str(PICTURE), TEXT, *twice, "--json")
    assert [each["method"] for each in json.loads(done.stdout)["maps"]] == ["centre"]


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A picture of one colour: hiding any part of it changes nothing, so occlusion is undefined."""
    Image.new("RGB", (64, 64), (128, 128, 128)).save(tmp_path / "plain.png")
    return tmp_path / "plain.png"


WHY = "hiding any part of the picture does not lower the answer's probability"
BOTH = ("--map", "occlusion window=6 stride=6", "--map", "answer_attention", "--words")


def test_an_undefined_map_keeps_no_other_back(plain: Path, tmp_path: Path) -> None:
    done = explained(tmp_path, str(plain), TEXT, *BOTH, "--json")
    assert done.exit_code == 0, done.output
    undefined, found = json.loads(done.stdout)["maps"]
    assert undefined["method"] == "occlusion window=6 stride=6"
    assert undefined["undefined"] == WHY
    assert undefined["probabilities"] == found["probabilities"]
    assert not {"map", "files", "heatmap"} & undefined.keys()
    written = {found["heatmap"], *found["files"].values()}
    assert set(map(str, (tmp_path / "out").iterdir())) == written
    assert found["words"]
    assert np.sum(found["map"]) == pytest.approx(1)


def test_an_undefined_map_is_told_by_its_key(plain: Path, tmp_path: Path) -> None:
    done = explained(tmp_path, str(plain), TEXT, *BOTH)
    assert done.exit_code == 0, done.output
    assert f"\nocclusion window=6 stride=6: undefined: {WHY}\n" in done.stdout
    assert "\nanswer_attention, " in done.stdout


@pytest.mark.parametrize("as_json", [False, True])
def test_the_answer_is_printed_even_where_no_map_can_be_drawn(
    plain: Path, tmp_path: Path, as_json: bool
) -> None:
    command = [sys.executable, "-m", "audit", "explain", str(plain), TEXT, *BOTH[:2]]
    command += ["--out", str(tmp_path / "out"), *(["--json"] if as_json else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    said = f"audit: error: no map can be drawn: occlusion window=6 stride=6: undefined: {WHY}\n"
    assert done.stderr.endswith(said)
    if as_json:
        found = json.loads(done.stdout)
        assert found["undefined"] == WHY
        assert found["label"] in found["probabilities"]
    else:
        label, _, share = done.stdout.splitlines()[0].partition(" ")
        assert label in ("yes", "no", "maybe")
        assert share.endswith("%)")


@pytest.mark.parametrize("format", ["svg", "pdf"])
def test_heatmap_and_sheets_are_written_in_the_format_that_is_asked_for(
    format: str, tmp_path: Path
) -> None:
    done = explained(tmp_path, str(PICTURE), TEXT, "--words", "--format", format, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert {Path(found["heatmap"]).suffix, Path(found["files"]["words"]).suffix} == {f".{format}"}
    assert all(path.stat().st_size > 10_000 for path in (tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--format", "pgn"], "did you mean 'png'?"),
        (["--dpi", "9999"], "600"),
        (["--dpi", "0"], "30"),
    ],
)
def test_a_format_or_a_resolution_that_cannot_be_is_refused(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    done = explained(tmp_path, str(PICTURE), TEXT, *arguments)
    assert done.exit_code != 0
    assert said in f"{done.output}{done.exception}"
    assert not (tmp_path / "out").exists()
