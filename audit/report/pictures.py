"""Maps drawn over pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from audit.base.geometry import WHOLE, Box
from audit.report.plotting import colour_map

Array = NDArray[np.float64]
Boxes = Mapping[str, Sequence[Sequence[float]]]
"""Boxes (left, top, right, bottom) as fractions of the image, by region."""

WIDTH = 400

ALPHA = 0.8
"""Opacity of a map's largest value; the picture shows through smaller ones."""

_TALLEST = 1600
"""The largest height of a drawing, in pixels."""

_NARROWEST = 16
"""The smallest shorter side of a drawing, in pixels: on fewer, nothing can be seen."""

_WEBP_SIDE = 16_383


def fitted(size: tuple[int, int], width: int) -> tuple[int, int]:
    """Size in pixels of a drawing ``width`` wide, in the proportions of a picture of ``size``.

    A drawing that would be taller than 1600 pixels is made narrower instead. The shorter side is
    at least 16 pixels, or ``width`` if that is less, even if this changes the proportions.

    >>> fitted((300, 200), 600), fitted((10, 100), 400), fitted((1, 3000), 400)
    ((600, 400), (160, 1600), (16, 1600))
    """
    scale = min(width / size[0], _TALLEST / size[1])
    least = min(_NARROWEST, width)
    return max(least, round(scale * size[0])), max(least, round(scale * size[1]))


def outlined(image: Image.Image, boxes: Boxes, width: int = WIDTH) -> Image.Image:
    """The picture at its :func:`fitted` size, its regions outlined in white within black."""
    plain = image if image.mode == "RGB" else image.convert("RGB")
    scaled = plain.resize(fitted(image.size, width), Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(scaled)
    for region in boxes.values():
        for left, top, right, bottom in region:
            # A box thinner than a pixel is drawn as a line; Pillow refuses corners out of order.
            x, y = left * scaled.width, top * scaled.height
            corners = [
                x,
                y,
                max(x, right * scaled.width - 1),
                max(y, bottom * scaled.height - 1),
            ]
            pen.rectangle(corners, outline=(0, 0, 0), width=4)
            inner = [corners[0] + 1, corners[1] + 1, corners[2] - 1, corners[3] - 1]
            if inner[2] > inner[0] and inner[3] > inner[1]:
                pen.rectangle(inner, outline=(255, 255, 255), width=2)
    return scaled


def overlay(
    image: Image.Image,
    p: Array,
    *,
    colours: str = "viridis",
    alpha: float = ALPHA,
    boxes: Boxes | None = None,
    top: float | None = None,
    width: int = WIDTH,
    view: Box = WHOLE,
) -> Image.Image:
    """The map (rows, cols) over the picture: the larger a value, the more opaque.

    Args:
        view: the part of the picture that the map covers. The rest, which the model does not see,
            is pale and hatched, with a thin line between. Cells beyond the picture are not drawn.
        colours: name of a matplotlib colour map.
        alpha: opacity of the largest value; the picture shows through smaller ones.
        top: the value that gets the last colour; by default the map's maximum. Pass the same value
            for pictures to be compared.

    Raises:
        ValueError: ``colours`` is not a colour map.
    """
    ground = _hatched(outlined(image, {}, width), view)
    peak = top or float(p.max()) or 1.0
    strength = _upsampled(np.clip(p / peak, 0.0, 1.0), ground.size, view)
    rgb = colour_map(colours)(strength)[..., :3]
    # Nearly linear: a root would draw a hard-edged halo around cells with very small values.
    opacity = (alpha * strength**0.8)[..., None]
    return outlined(_blend(ground, rgb, opacity), boxes or {}, width)


def difference(
    image: Image.Image,
    p: Array,
    q: Array,
    *,
    boxes: Boxes | None = None,
    width: int = WIDTH,
    view: Box = WHOLE,
) -> Image.Image:
    """``p`` − ``q`` over a grey picture: red where ``p`` is larger, blue where ``q`` is.

    The scale is symmetric, and never finer than a tenth of the larger map's maximum: otherwise
    noise would look like a change.

    Args:
        view: the part of the picture that both maps cover; see :func:`overlay`.
    """
    ground = _hatched(outlined(image.convert("L").convert("RGB"), {}, width), view)
    change = p - q
    scale = max(float(np.abs(change).max()), 0.1 * float(max(p.max(), q.max())), 1e-12)
    signed = _upsampled(change / scale, ground.size, view)
    rgb = colour_map("RdBu_r")(0.5 + 0.5 * signed)[..., :3]
    return outlined(_blend(ground, rgb, np.abs(signed)[..., None] * 0.85), boxes or {}, width)


def _span(low: float, high: float, pixels: int) -> tuple[int, int]:
    """The first pixel between two fractions of a side, and the one after the last."""
    first = min(max(round(low * pixels), 0), pixels - 1)
    return first, min(max(round(high * pixels), first + 1), pixels)


def _upsampled(values: Array, size: tuple[int, int], view: Box) -> Array:
    """The cells (rows, cols) as pixels (height, width); pixels outside ``view`` are zero."""
    rows, cols = values.shape
    (left, right), (top, bottom) = _places(size, view)
    box_x = _cells(left, right, size[0], (view.left, view.right), cols)
    box_y = _cells(top, bottom, size[1], (view.top, view.bottom), rows)
    # Pillow's bilinear resize keeps cell centres where they are.
    drawn = Image.fromarray(values.astype(np.float32)).resize(
        (right - left, bottom - top),
        Image.Resampling.BILINEAR,
        box=(box_x[0], box_y[0], box_x[1], box_y[1]),
    )
    pixels = np.zeros((size[1], size[0]))
    pixels[top:bottom, left:right] = np.asarray(drawn)
    return pixels


def _places(size: tuple[int, int], view: Box) -> tuple[tuple[int, int], tuple[int, int]]:
    return _span(view.left, view.right, size[0]), _span(view.top, view.bottom, size[1])


def _cells(
    first: int, end: int, pixels: int, view: tuple[float, float], cells: int
) -> tuple[float, float]:
    """Where pixels ``first`` to ``end`` of a side lie, in cells of the view's grid."""
    wide = view[1] - view[0]
    low, high = (cells * (at / pixels - view[0]) / wide for at in (first, end))
    # Pillow refuses an empty box, and whole pixels may reach a little beyond the view.
    low = min(max(low, 0.0), cells - _THINNEST)
    return low, min(max(high, low + _THINNEST), cells)


_THINNEST = 1e-3
"""The least part of a cell to draw; a picture that covers so little has one colour anyway."""

_NOT_SEEN, _HATCH, _EDGE = 226, 165, (70, 70, 70)


def _hatched(ground: Image.Image, view: Box) -> Image.Image:
    """``ground``, pale and hatched outside ``view``: that cannot be taken for part of a map."""
    (left, right), (top, bottom) = _places(ground.size, view)
    if (left, top, right, bottom) == (0, 0, *ground.size):
        return ground
    grey = np.asarray(ground.convert("L"), dtype=np.float64)
    shade = 0.3 * grey + 0.7 * _NOT_SEEN
    down, across = (np.arange(side) for side in shade.shape)
    shade[np.add.outer(down, across) % max(6, ground.width // 40) == 0] = _HATCH
    pale = Image.fromarray(np.round(shade).astype(np.uint8)).convert("RGB")
    pale.paste(ground.crop((left, top, right, bottom)), (left, top))
    ImageDraw.Draw(pale).rectangle((left - 1, top - 1, right, bottom), outline=_EDGE)
    return pale


def _blend(ground: Image.Image, rgb: Array, opacity: Array) -> Image.Image:
    below = np.asarray(ground, dtype=np.float64) / 255
    mixed = below * (1 - opacity) + rgb * opacity
    return Image.fromarray(np.round(mixed * 255).astype(np.uint8))


def data_uri(image: Image.Image) -> str:
    """A picture as a small WebP data URI, scaled down if it is too large for WebP."""
    if max(image.size) > _WEBP_SIDE:
        image = image.copy()
        image.thumbnail((_WEBP_SIDE, _WEBP_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", quality=80, method=2)
    return bytes_uri(buffer.getvalue(), "image/webp")


def bytes_uri(data: bytes, media_type: str) -> str:
    """A file's content as a data URI."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
