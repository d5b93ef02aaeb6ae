"""What the page says and writes of a model that does not see the whole picture."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from audit.app.casefile import Drawn, case_yaml
from audit.app.desk import Answer, Desk, Question, uploaded
from audit.app.markup import verdict
from tests.looking_toys import RED, LookingToy


def answer(folder: Path, sees: str) -> Answer:
    image = Image.new("RGB", (160, 96), "navy")
    ImageDraw.Draw(image).rectangle((64, 24, 95, 55), fill=RED)
    image.save(folder / "a.png")
    desk = Desk(("toy",), lambda _: LookingToy(sees))  # type: ignore[arg-type]
    return desk.ask(
        Question(
            uploaded(folder / "a.png"), "a red patch", "", "toy", "answer_attention", {}, "",
            layers=False, words=False,
        )
    )  # fmt: skip


@pytest.mark.parametrize(("sees", "even"), [("crop", 0.12), ("pad", 0.04), ("whole", 0.07)])
def test_the_limit_of_a_box_counts_the_cells_that_lie_in_it(
    tmp_path: Path, sees: str, even: float
) -> None:
    """The patch has 1024 pixels, of 96 x 96 seen, of 160 x 160 with the padding, of 160 x 96."""
    asked = answer(tmp_path, sees)
    avoided = case_yaml(asked, "a", "yes", [Drawn("patch", "avoid", (64, 24, 96, 56))])
    assert f"region: patch, max: {even}}}" in avoided
    looked = case_yaml(asked, "a", "yes", [Drawn("patch", "look", (64, 24, 96, 56))])
    assert float(looked.partition("region: patch, min: ")[2].partition("}")[0]) >= 0.4


def test_a_box_outside_of_what_the_model_sees_is_refused(tmp_path: Path) -> None:
    box = Drawn("edge", "look", (0, 0, 16, 96))
    with pytest.raises(ValueError, match="'edge' lies outside of what the model sees"):
        case_yaml(answer(tmp_path, "crop"), "a", "yes", [box])
    assert "region: edge" in case_yaml(answer(tmp_path, "pad"), "a", "yes", [box])


def test_the_answer_says_what_the_model_sees_if_that_is_not_the_whole(tmp_path: Path) -> None:
    assert "The model sees the middle 60 % of the width" in verdict(answer(tmp_path, "crop"))
    assert "The grid reaches beyond the picture by" in verdict(answer(tmp_path, "pad"))
    whole = verdict(answer(tmp_path, "whole"))
    assert "sees" not in whole
    assert "beyond" not in whole
