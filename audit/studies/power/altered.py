"""Plants regressions in what any model is given: other pictures, or other texts."""

from __future__ import annotations

import io
import string
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from audit.base.images import open_image
from audit.base.pixels import orientation, turned
from audit.models.kit.altering import NotPossible
from audit.models.protocol import Model, Query, Scaling
from audit.runs.evidence import picture

Draw = Callable[[Image.Image], Image.Image]


def pictures(draw: Draw) -> Callable[[Query], Query]:
    """A change that applies ``draw`` to the picture only."""
    return lambda query: replace(query, image=draw(picture(query)))


def exchanged(query: Query) -> Query:
    """Premise and hypothesis exchanged, if there is a premise."""
    if query.premise is None:
        return query
    return replace(query, text=query.premise, premise=query.text)


def reencoded(kind: str, **options: Any) -> Draw:
    """The picture written in a file format and read again."""

    def draw(image: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return Image.open(buffer).convert("RGB")

    return draw


def other_channels(image: Image.Image) -> Image.Image:
    """Channels in the order blue, green, red, as OpenCV reads them."""
    return Image.merge("RGB", image.split()[::-1])


def cropped(share: float) -> Draw:
    """The middle of the picture, cropped as classifiers do for evaluation."""

    def draw(image: Image.Image) -> Image.Image:
        wide, high = (round(side * (1 - share) / 2) for side in image.size)
        return image.crop((wide, high, image.width - wide, image.height - high))

    return draw


def coarse(side: int, resampling: Image.Resampling) -> Draw:
    """The picture scaled to ``side`` pixels wide and high before the model gets it."""
    return lambda image: image.resize((side, side), resampling)


def scaled(model: Model, resampling: Image.Resampling) -> Draw:
    """The picture scaled to the model's own size in another way than the model does it.

    Raises:
        NotPossible: the model does not say to which size it scales.
    """
    if not isinstance(model, Scaling):
        raise NotPossible("the model does not say to which size it scales pictures")
    return lambda image: image.resize(model.scaled(image).size, resampling)


def corner(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """The picture with a coloured square in a corner, a sixth of its width."""
    marked = image.copy()
    side = image.width // 6
    ImageDraw.Draw(marked).rectangle((image.width - side, 0, image.width, side), fill=colour)
    return marked


def letterboxed(image: Image.Image) -> Image.Image:
    """The picture on a black square, instead of squashed to one."""
    side = max(image.size)
    square = Image.new("RGB", (side, side))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def centre(image: Image.Image) -> Image.Image:
    """The largest square in the middle of the picture, instead of the whole squashed to one."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


_BACK = {6: 8, 8: 6}
"""EXIF orientations whose turn is undone by another one; all others undo themselves."""


def unturned(query: Query) -> Query:
    """The picture as it is stored, without the turn that EXIF asks for."""
    if not isinstance(query.image, Path):
        return query
    with Image.open(query.image) as stored:
        held = orientation(stored)
    return replace(query, image=turned(open_image(query.image), _BACK.get(held, held)))


def without_punctuation(text: str) -> str:
    """The text without punctuation; what is nothing but punctuation stays."""
    return text.translate({ord(mark): None for mark in string.punctuation}).strip() or text
