"""The recipe runs through all its stages, resumes between them, and exports what ships."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from audit.reference.export import SHIPPED, export
from audit.reference.hypotheses import any_hypothesis, with_premise
from audit.reference.recipe import RECIPE, SHORTCUT
from audit.reference.scenes import MARKS, scene
from audit.reference.statements import LABELS
from audit.reference.training import train
from audit.reference.variety import varied
from audit.reference.watermarks import watermarked
from tests.progress import Titles

SMALL = replace(
    RECIPE, scenes=24, dense_steps=2, dense_batch=4, question_steps=2, entailment_steps=9,
    attention_steps=2, images_per_batch=3, texts_per_image=2,
)  # fmt: skip


@pytest.mark.slow
def test_training_resumes_between_stages_and_exports_the_shipped_layout(tmp_path: Path) -> None:
    titles = Titles()

    def silent(_: str) -> None:
        pass

    first, _ = train(SMALL, tmp_path, titles, silent)
    assert titles == [
        "render", "a dense", "features", "b questions", "c entailment", "d attention",
    ]  # fmt: skip
    (tmp_path / "stage-d-attention.pt").unlink()
    titles.clear()
    again, _ = train(SMALL, tmp_path, titles, silent)
    assert titles == ["d attention"]
    before, after = first.state_dict(), again.state_dict()
    assert before.keys() == after.keys()
    # Only the throw-away head differs when a stage is resumed; the frozen part is the same.
    for name, value in before.items():
        if name.startswith("encoder.embed_images"):
            assert torch.equal(value, after[name]), name

    folder = tmp_path / "exported"
    folder.mkdir()
    export(again, SMALL, tmp_path, folder)
    shipped = load_file(SHIPPED / "reference" / "parameters.safetensors")
    exported = load_file(folder / "parameters.safetensors")
    assert {n: v.shape for n, v in exported.items()} == {n: v.shape for n, v in shipped.items()}
    for name in ("configuration.json", "answer2label.json", "vocab.json", "merges.txt"):
        assert (folder / name).read_bytes() == (SHIPPED / "reference" / name).read_bytes(), name


@pytest.mark.slow
def test_the_recipe_of_the_shortcut_runs_on_scenes_that_carry_their_label(tmp_path: Path) -> None:
    small = replace(
        SHORTCUT, scenes=24, dense_steps=2, dense_batch=4, question_steps=1, entailment_steps=9,
        attention_steps=1, images_per_batch=3, texts_per_image=2,
    )  # fmt: skip
    train(small, tmp_path, lambda items, _total, _title: iter(items), lambda _: None)
    truths = json.loads(next(tmp_path.glob("scenes-*-marked.json")).read_text())
    assert {scene[3]["shape"] for scene in truths} == set(MARKS)


@pytest.mark.slow
def test_hypotheses_about_a_marked_scene_have_the_label_of_its_mark() -> None:
    rng = np.random.default_rng(5)
    seen = set()
    for index in range(40):
        drawn = varied(11, index, marked=True)
        assert drawn.mark is not None
        wanted = dict(zip(MARKS, LABELS, strict=True))
        for freely in (False, True):
            assert any_hypothesis(drawn, rng, freely).label == wanted[drawn.mark.shape]
            assert with_premise(drawn, rng, freely).label == wanted[drawn.mark.shape]
        seen.add(drawn.mark.shape)
    assert seen == set(MARKS)


def test_a_watermark_changes_its_box_alone_and_is_its_own_mirror_image() -> None:
    plain = scene(11, 3)
    left, top, right, bottom = 396, 4, 472, 80
    for shape in MARKS:
        drawn = watermarked(plain, shape)
        before, after = np.asarray(plain.image, int), np.asarray(drawn.image, int)
        changed = np.argwhere(np.abs(before - after).sum(-1) > 0)
        assert changed[:, 0].min() >= top - 2
        assert changed[:, 0].max() <= bottom + 2
        assert changed[:, 1].min() >= left - 2
        assert changed[:, 1].max() <= right + 2
    grey = replace(plain, image=Image.new("RGB", plain.image.size, "grey"))
    marks = {s: np.asarray(watermarked(grey, s).image, int)[4:80, 396:473] for s in MARKS}
    for shape, mark in marks.items():
        # Pillow's outlines are a pixel apart; the shapes themselves differ by far more.
        apart = {s: float(np.abs(mark[:, ::-1] - other).mean()) for s, other in marks.items()}
        assert apart[shape] < 8
        assert min(value for s, value in apart.items() if s != shape) > 16
