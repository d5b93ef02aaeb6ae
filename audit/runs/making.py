"""Makes the pictures of variants, in memory.

The same picture gives the same pixels, except for JPEG: its pixels depend on the version of the
JPEG library that Pillow was built with, by a step or two of 255. So the digest of a variant covers
how its picture is made, and not its pixels.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from audit.base.images import identity, open_image
from audit.cases.case import Case
from audit.gate.runfolder import KEPT
from audit.runs.evidence import GREY


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


_MAKERS: dict[str, Callable[[Image.Image, Any], Image.Image]] = {
    "mirror": lambda image, _: ImageOps.mirror(image),
    "crop": lambda image, box: image.crop(box),
    "brightness": lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
    "jpeg": _jpeg,
    "blur": lambda image, radius: image.filter(ImageFilter.GaussianBlur(radius)),
    "blank": lambda image, _: Image.new("RGB", image.size, GREY),
}
"""The makers that change pixels; they get the picture and the variant's value."""


@dataclass(frozen=True)
class Made:
    """A picture that was made, for the run.

    Attributes:
        digest: its identity, from its pixels.
        shown: the picture, as large as a run keeps it.
    """

    digest: str
    shown: Image.Image


def picture_to_ask(case: Case) -> Path | Image.Image:
    """The picture of a case as a model is asked about it: its file, or the picture that is made.

    Raises:
        ImageError: the file can no longer be read.
    """
    variant = case.variant
    make = _MAKERS.get(variant.maker) if variant is not None else None
    if variant is None or make is None:
        return case.image
    return make(open_image(case.image), variant.value)


def kept(image: Image.Image) -> Made:
    """What a run keeps of a picture that was made."""
    shown = image.copy()
    shown.thumbnail(KEPT, Image.Resampling.LANCZOS)
    return Made(identity(image), shown)
