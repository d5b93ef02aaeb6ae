"""The cell on which a part of a picture falls is the cell that its region's mask names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from audit.base.geometry import WHOLE, Box, Grid, mask
from audit.models.hf.adapter import ChatModel
from audit.models.protocol import Query

Array = NDArray[np.float64]

SIZES = ((120, 80), (72, 132), (96, 96), (300, 60))
PLACES = ((0.42, 0.3), (0.6, 0.62), (0.3, 0.7))
SIDE = 0.14
DARK = (40, 40, 40)


def pictures(size: tuple[int, int], place: tuple[float, float]) -> tuple[Image.Image, Box]:
    """A dark picture with one bright square, and where the square is."""
    width, height = size
    left, top = round(place[0] * width), round(place[1] * height)
    right, bottom = round((place[0] + SIDE) * width), round((place[1] + SIDE) * height)
    picture = Image.new("RGB", size, DARK)
    picture.paste((255, 255, 255), (left, top, right, bottom))
    return picture, Box(left / width, top / height, right / width, bottom / height)


def brightness(family: str, inputs: dict[str, Tensor], grid: Grid) -> Array:
    """Mean brightness of each cell, from the pixels that the processor gives the model."""
    pixels = inputs["pixel_values"].float()
    if family.startswith("qwen"):  # one row for each patch, four patches of a cell together
        return pixels.mean(1).reshape(-1, 4).mean(1).reshape(grid).double().numpy()
    # Tiles and a thumbnail: the whole picture is the first of them, or the last.
    several = pixels[0] if pixels.ndim == 5 else pixels
    whole = several[-1 if family in ("smolvlm", "internvl") else 0].mean(0)
    rows, cols = (side // cells for side, cells in zip(whole.shape, grid, strict=True))
    shaped = whole.reshape(grid.rows, rows, grid.cols, cols)
    return shaped.mean((1, 3)).double().numpy()


def brighter(family: str, model: ChatModel, picture: Image.Image) -> Array:
    """By how much each cell is brighter than that of a picture without the square."""
    found = []
    for each in (picture, Image.new("RGB", picture.size, DARK)):
        prompt = model.prompt(Query(each, "a white square"))
        found.append(brightness(family, dict(prompt.inputs), prompt.grid))
    return found[0] - found[1]


def refuse_elsewhere(seen: Array, named: Array) -> None:
    """The cell that stands out must be one that the mask names as much as any other."""
    assert named.ravel()[seen.argmax()] >= 0.6 * named.max(), (seen, named)


@pytest.mark.parametrize("size", SIZES)
def test_a_bright_square_is_where_its_mask_is(
    family: str, model: ChatModel, size: tuple[int, int]
) -> None:
    for place in PLACES:
        picture, box = pictures(size, place)
        (trace,) = model.trace([Query(picture, "a white square")])
        seen, named = brighter(family, model, picture), mask([box], trace.grid, trace.view)
        if not named.any():  # cropped away
            assert abs(seen).max() < 0.01
            continue
        refuse_elsewhere(seen, named)
        # Scaling blurs the square's edges, by less than a pixel of the scaled picture.
        assert np.abs(seen / seen.sum() - named / named.sum()).max() < 0.12


@pytest.fixture
def without_mixing(model: ChatModel) -> Iterator[ChatModel]:
    """The model, whose vision part sees each patch by itself; so a token shows its own pixels."""

    def nothing(_: Any, __: Any, given: Any) -> Any:
        return (torch.zeros_like(given[0]), *given[1:]) if isinstance(given, tuple) else given * 0

    hooks = [
        module.register_forward_hook(nothing)
        for name, module in model.torch_model.named_modules()
        if "vis" in name and type(module).__name__.endswith("Attention")
    ]
    assert hooks
    yield model
    for hook in hooks:
        hook.remove()


def test_the_token_that_shows_the_square_is_the_one_of_its_cell(
    without_mixing: ChatModel,
) -> None:
    """What enters the first layer in the picture's place differs where the square is."""
    model, found = without_mixing, list[Tensor]()
    hook = model._layers[0].register_forward_pre_hook(lambda _, args: found.append(args[0][0]))
    try:
        for place in PLACES:
            picture, box = pictures((120, 80), place)
            prompt = model.prompt(Query(picture, "a square"))
            found.clear()
            for each in (picture, Image.new("RGB", picture.size, DARK)):
                model.trace([Query(each, "a square")])
            with_it, without = (each for each in found if len(each) == prompt.length)
            moved = (with_it - without)[prompt.cells].norm(dim=-1).reshape(prompt.grid)
            named = mask([box], prompt.grid, prompt.view)
            # How far a token moves is no measure of how much of its cell is bright.
            assert (moved[named > 0.05] > 0).all(), (moved, named)
            far = (moved > 0.3 * moved.max()).numpy() & (named == 0)
            assert not far.any(), (moved, named)
    finally:
        hook.remove()


def test_what_each_family_sees_of_a_wide_picture(
    family: str, model_of: Callable[[str], ChatModel]
) -> None:
    view = model_of(family).prompt(Query(Image.new("RGB", (120, 60)), "a bird")).view
    assert view == (Box(0.25, 0, 0.75, 1) if family == "llava" else WHOLE)


def test_padding_is_no_part_of_the_picture(model_of: Callable[[str], ChatModel]) -> None:
    from transformers import LlavaImageProcessor

    model = model_of("llava")
    steps = model.processor.image_processor
    padding: Any = LlavaImageProcessor(
        do_pad=True, size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}
    )
    model.processor.image_processor = padding
    try:
        picture, box = pictures((120, 60), (0.42, 0.3))
        prompt = model.prompt(Query(picture, "a white square"))
        seen = brighter("llava", model, picture)
    finally:
        model.processor.image_processor = steps
    assert prompt.view == Box(0, -0.5, 1, 1.5)
    refuse_elsewhere(seen, mask([box], prompt.grid, prompt.view))


def test_tiles_are_there_and_are_not_read(model_of: Callable[[str], ChatModel]) -> None:
    for family in ("smolvlm", "internvl", "llava_onevision"):
        prompt = model_of(family).prompt(Query(Image.new("RGB", (220, 110)), "a bird"))
        assert len(prompt.image) > len(prompt.cells) == 16
        assert len(torch.unique(prompt.cells)) == 16
