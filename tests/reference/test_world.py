"""The embedded models know drawn scenes alone, and what is none of them is told."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images
from typer.testing import CliRunner

from audit.base.images import open_image
from audit.commands import main as cli
from audit.reference.scenes import scene
from audit.reference.variety import varied
from audit.reference.world import is_foreign, note_on_picture

CASES = Path(__file__).parents[2] / "cases" / "images"


def photographs() -> dict[str, Image.Image]:
    samples = load_sample_images()
    names = [Path(name).stem for name in samples.filenames]
    found = {n: Image.fromarray(i) for n, i in zip(names, samples.images, strict=True)}
    portrait = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    return {**found, "portrait": Image.open(portrait)}


def test_photographs_are_told_from_scenes_at_any_size() -> None:
    for name, photograph in photographs().items():
        small = photograph.convert("RGB").resize((160, 160))
        assert is_foreign(photograph), name
        assert is_foreign(small), name


@pytest.mark.parametrize("colour", ["white", "black", "grey", "red"])
def test_an_empty_picture_is_no_scene(colour: str) -> None:
    assert is_foreign(Image.new("RGB", (480, 480), colour))


def test_noise_is_no_scene() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 480, 3), dtype=np.uint8)
    assert is_foreign(Image.fromarray(noise))


@pytest.mark.slow
def test_scenes_of_a_third_seed_raise_no_alarm() -> None:
    # The scenes that were measured have the seeds 4242 and 5151; one of 600 may be so far out.
    assert [number for number in range(30) if is_foreign(scene(31, number).image)] == []
    others = (varied(31, number) for number in range(30))
    assert [drawn.size for drawn in others if drawn.animals and is_foreign(drawn.image)] == []


def test_the_shipped_pictures_are_scenes() -> None:
    paths = [path for path in CASES.iterdir() if path.suffix in (".png", ".jpg")]
    assert len(paths) > 20
    assert [path.name for path in paths if is_foreign(open_image(path))] == []


def test_a_scene_stays_one_smaller_mirrored_or_as_a_poor_jpeg() -> None:
    drawn = scene(31, 0).image
    buffer = io.BytesIO()
    drawn.save(buffer, "JPEG", quality=30)
    poor = Image.open(buffer)
    mirrored = drawn.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for changed in (drawn.resize((200, 200)), mirrored, poor):
        assert not is_foreign(changed)


def test_other_models_are_not_spoken_of() -> None:
    photograph = photographs()["portrait"]
    assert note_on_picture("iic/ofa_visual-entailment_snli-ve_large_en", photograph) == ""
    assert note_on_picture("shortcut", photograph).startswith("the model shortcut knows only")


@pytest.mark.slow
def test_explain_notes_a_photograph_and_answers_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "portrait.png"
    photographs()["portrait"].save(path)
    asked = ["explain", str(path), "there are two birds", "--out", str(tmp_path), "--json"]
    result = CliRunner().invoke(cli.app, asked)
    assert result.exit_code == 0
    assert result.stderr.count("audit: note: the model reference knows only drawn scenes") == 1
    assert result.stdout.startswith("{")
