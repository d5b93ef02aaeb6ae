"""Which cells of a picture the image tokens of each family stand for.

A family's rule says how many rows and columns of image tokens make a grid, with which image token
it begins, and which part of the picture it covers. Families that cut a picture into tiles also see
a thumbnail of the whole picture; its grid is read, and the tiles are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from audit.base.errors import ModelError, nearest
from audit.base.geometry import WHOLE, Box, Grid
from audit.models.hf.matchers import MATCHERS


class Layout(NamedTuple):
    """Where the cells are among the image tokens of a prompt.

    Attributes:
        grid: rows and columns of cells.
        view: the part of the picture that they cover.
        start: which of the prompt's image tokens is the first cell, from 0; the others follow it,
            row by row.
    """

    grid: Grid
    view: Box
    start: int


class Seen(NamedTuple):
    """What a layout is found from.

    Attributes:
        size: width and height of the picture.
        tokens: number of image tokens in the prompt.
        inputs: what the processor made of picture and prompt.
        processor, config: of the model.
    """

    size: tuple[int, int]
    tokens: int
    inputs: Mapping[str, Any]
    processor: Any
    config: Any


@dataclass(frozen=True)
class Family:
    """A family of models.

    Attributes:
        title: its name, for people.
        layout: finds the cells.
        by_rows: whether positions count the picture's rows and columns instead of its tokens, so
            that the text behind it begins where the longer of the two ends.
        frame: for a family without chats, what the question becomes, with its picture's mark.
        ending: what its processor writes behind a prompt.
        decoder: whether an encoder reads the prompt and a decoder answers, looking at it.
    """

    title: str
    layout: Callable[[Seen], Layout]
    by_rows: bool = False
    frame: str = ""
    ending: str = ""
    decoder: bool = False


def _square(tokens: int) -> Grid:
    side = math.isqrt(tokens)
    if side * side != tokens:
        raise ModelError(f"{tokens} image tokens are no square, as they are for this family")
    return Grid(side, side)


def _qwen(seen: Seen) -> Layout:
    """As many patches as the picture has, merged by twos; the size is rounded, nothing is cut."""
    _, rows, cols = seen.inputs["image_grid_thw"][0].tolist()
    merged = seen.config.vision_config.spatial_merge_size
    return Layout(Grid(rows // merged, cols // merged), WHOLE, 0)


def _llava(seen: Seen) -> Layout:
    """The shorter side is scaled and the middle cut out; a class token may come first."""
    height, width = seen.inputs["pixel_values"].shape[-2:]
    patch = seen.config.vision_config.patch_size
    grid = Grid(height // patch, width // patch)
    return Layout(grid, view_of(seen), seen.tokens - grid.rows * grid.cols)


def _squashed(seen: Seen) -> Layout:
    """The whole picture, squashed to a square."""
    return Layout(_square(seen.tokens), WHOLE, 0)


def _first(seen: Seen) -> Layout:
    """The picture squashed to a square comes first; crops of it may follow."""
    grid = _square(seen.config.mm_tokens_per_image)
    return Layout(grid, WHOLE, 0)


def _behind_summary(seen: Seen) -> Layout:
    """One token that sums up the picture comes first, then its cells."""
    return Layout(_square(seen.tokens - 1), view_of(seen), 1)


def _last_of_tiles(length: Callable[[Seen], int]) -> Callable[[Seen], Layout]:
    """The thumbnail comes last, after the tiles; a small picture is the thumbnail alone."""

    def layout(seen: Seen) -> Layout:
        grid = _square(length(seen))
        return Layout(grid, WHOLE, seen.tokens - grid.rows * grid.cols)

    return layout


def _base(seen: Seen) -> Layout:
    """The picture squashed to a square comes first, then its tiles, with marks at their ends."""
    vision = seen.config.vision_config
    side = vision.image_size // vision.patch_size
    return Layout(Grid(side, side), WHOLE, 0)


def view_of(seen: Seen) -> Box:
    """The part of a picture that is left when its processor has padded, scaled and cropped it."""
    steps = seen.processor.image_processor
    width, height = seen.size
    left, top, right, bottom = 0.0, 0.0, float(width), float(height)  # pixels of the picture
    w, h = width, height  # pixels of what it has become
    if getattr(steps, "do_pad", False):
        side = max(w, h)
        left, top = left - (side - w) // 2, top - (side - h) // 2
        right, bottom, w, h = left + side, top + side, side, side
    if steps.do_resize:
        shortest, whole = _of(steps.size, "shortest_edge"), min(w, h)
        if shortest is None:
            w, h = _of(steps.size, "width"), _of(steps.size, "height")
        else:
            w, h = int(shortest * w / whole), int(shortest * h / whole)
    if getattr(steps, "do_center_crop", False):
        for_crop = _of(steps.crop_size, "width"), _of(steps.crop_size, "height")
        x, y = (right - left) / w, (bottom - top) / h
        cut_left, cut_top = (w - for_crop[0]) // 2, (h - for_crop[1]) // 2
        left, top = left + cut_left * x, top + cut_top * y
        right, bottom = left + for_crop[0] * x, top + for_crop[1] * y
    return Box(left / width, top / height, right / width, bottom / height)


def _of(size: Any, name: str) -> Any:
    """A side of a size, which is a dictionary or an object; None if it does not say it."""
    return size.get(name) if isinstance(size, Mapping) else getattr(size, name, None)


FAMILIES: Mapping[str, Family] = {
    "qwen2_5_vl": Family("Qwen2.5-VL", _qwen, by_rows=True),
    "qwen3_vl": Family("Qwen3-VL", _qwen, by_rows=True),
    "llava": Family("LLaVA-1.5", _llava),
    "llava_onevision": Family("LLaVA-OneVision", _base),
    "internvl": Family("InternVL", _last_of_tiles(lambda s: s.config.image_seq_length)),
    "smolvlm": Family("SmolVLM", _last_of_tiles(lambda s: s.processor.image_seq_len)),
    "paligemma": Family("PaliGemma", _squashed, frame="<image>{}", ending="\n"),
    "gemma3": Family("Gemma-3", _first),
    "florence2": Family("Florence-2", _behind_summary, frame="{}", decoder=True),
}
"""By ``model_type`` of ``config.json``."""


def family_of(model_type: object, where: object) -> Family:
    """The family of a ``model_type``.

    Raises:
        ModelError: it is not one whose image tokens are known; the message lists those that are.
    """
    found = FAMILIES.get(model_type) if isinstance(model_type, str) else None
    if found is None:
        raise ModelError(
            f"{where}: model_type is {model_type!r}, and it is not known which part of a picture "
            f"its image tokens stand for; {nearest(str(model_type), [*FAMILIES, *MATCHERS])}"
        )
    return found
