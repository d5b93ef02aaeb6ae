"""Maps over pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from audit.report.plotting import colour_map

Array = NDArray[np.float64]
Boxes = Mapping[str, Sequence[Sequence[float]]]
"""Boxes (left, top, right, bottom) as fractions of the image, by region."""

WIDTH = 400

_TALLEST = 1600
"""Pixels of a drawing's height."""

_NARROWEST = 16
"""Pixels of a drawing's shorter side: a line of one pixel shows neither picture nor map."""

_WEBP_SIDE = 16_383


def fitted(size: tuple[int, int], width: int) -> tuple[int, int]:
    """Size of a drawing ``width`` pixels wide of a picture of ``size``, in its own proportions.

    A drawing that would be too tall is made narrower instead. The shorter side is at least 16
    pixels, if ``width`` is; only there the proportions are lost.

    >>> fitted((300, 200), 600), fitted((10, 100), 400), fitted((1, 3000), 400)
    ((600, 400), (160, 1600), (16, 1600))
    """
    scale = min(width / size[0], _TALLEST / size[1])
    least = min(_NARROWEST, width)
    return max(least, round(scale * size[0])), max(least, round(scale * size[1]))


def outlined(image: Image.Image, boxes: Boxes, width: int = WIDTH) -> Image.Image:
    """The picture with its regions outlined, white within black; see :func:`fitted`."""
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
    alpha: float = 0.8,
    boxes: Boxes | None = None,
    top: float | None = None,
    width: int = WIDTH,
) -> Image.Image:
    """The map (rows, cols) over the picture, opacity growing with the value.

    Args:
        colours: name of a matplotlib colour map.
        alpha: opacity of the largest value; weak values let the picture through.
        top: the value that gets the last colour; default the map's maximum. Give the same one to
            pictures that are to be compared.

    Raises:
        ValueError: ``colours`` is not a colour map.
    """
    ground = outlined(image, {}, width)
    peak = top or float(p.max()) or 1.0
    strength = _upsampled(np.clip(p / peak, 0.0, 1.0), ground.size)
    rgb = colour_map(colours)(strength)[..., :3]
    # Nearly linear: a root would draw a hard-edged halo around cells that have next to nothing.
    opacity = (alpha * strength**0.8)[..., None]
    return outlined(_blend(ground, rgb, opacity), boxes or {}, width)


def difference(
    image: Image.Image, p: Array, q: Array, *, boxes: Boxes | None = None, width: int = WIDTH
) -> Image.Image:
    """``p`` − ``q`` over a grey picture: red where ``p`` is larger, blue where ``q`` is.

    The scale is symmetric, and never finer than a tenth of the larger map's maximum, so that
    noise is not blown up to look like a change.
    """
    ground = outlined(image.convert("L").convert("RGB"), {}, width)
    change = p - q
    scale = max(float(np.abs(change).max()), 0.1 * float(max(p.max(), q.max())), 1e-12)
    signed = _upsampled(change / scale, ground.size)
    rgb = colour_map("RdBu_r")(0.5 + 0.5 * signed)[..., :3]
    return outlined(_blend(ground, rgb, np.abs(signed)[..., None] * 0.85), boxes or {}, width)


def _upsampled(values: Array, size: tuple[int, int]) -> Array:
    # Pillow's bilinear resize keeps cell centres where they are: (rows, cols) -> (height, width).
    field = Image.fromarray(values.astype(np.float32))
    return np.asarray(field.resize(size, Image.Resampling.BILINEAR), dtype=np.float64)


def _blend(ground: Image.Image, rgb: Array, opacity: Array) -> Image.Image:
    below = np.asarray(ground, dtype=np.float64) / 255
    mixed = below * (1 - opacity) + rgb * opacity
    return Image.fromarray(np.round(mixed * 255).astype(np.uint8))


def data_uri(image: Image.Image) -> str:
    """A picture as a small WebP data URI; one that is too long for WebP is made smaller."""
    if max(image.size) > _WEBP_SIDE:
        image = image.copy()
        image.thumbnail((_WEBP_SIDE, _WEBP_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", quality=80, method=2)
    return bytes_uri(buffer.getvalue(), "image/webp")


def bytes_uri(data: bytes, media_type: str) -> str:
    """A file's content as a data URI."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
