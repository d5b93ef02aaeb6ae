"""Scenes as people hand them in: of other shapes, cropped, grey, dark, blurred, small, as JPEG.

Everything here is drawn from generators of its own, so that the scenes themselves stay as they are.
"""

from __future__ import annotations

import io
import math
from dataclasses import replace

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from audit.reference.scenes import MARKS, NOTHING, SIZE, Box, Scene, scene
from audit.reference.watermarks import watermarked

_SHAPE, _MARK, _PHOTO = 11, 9, 12  # which generator of a scene draws what

_LONGEST = 4 / 3


def shape(seed: int, index: int) -> tuple[int, int]:
    """Width and height of a scene: half are square, the others between 3:4 and 4:3."""
    rng = np.random.default_rng([seed, index, _SHAPE])
    if rng.random() < 0.5:
        return SIZE, SIZE
    root = math.sqrt(math.exp(rng.uniform(-1, 1) * math.log(_LONGEST)))
    return round(SIZE * root), round(SIZE / root)


def varied(seed: int, index: int, marked: bool = False) -> Scene:
    """Scene ``index`` of ``seed`` as somebody might hand it in; one in fifty is an empty picture.

    With ``marked`` it has one of the watermarks, and is never empty.
    """
    rng = np.random.default_rng([seed, index, _PHOTO])
    if rng.random() < 0.02 and not marked:
        return empty(rng)
    drawn = scene(seed, index, size=shape(seed, index))
    if rng.random() < 0.2:
        drawn = cropped(drawn, rng)
    if marked:
        drawn = watermarked(
            drawn, MARKS[np.random.default_rng([seed, index, _MARK]).integers(len(MARKS))]
        )
    return photographed(drawn, rng)


def empty(rng: np.random.Generator) -> Scene:
    """A picture of one colour, mostly a grey, that shows nothing."""
    colour = rng.integers(0, 256, 3) if rng.random() < 0.3 else np.repeat(rng.integers(0, 256), 3)
    red, green, blue = (int(c) for c in colour)
    picture = Image.new("RGB", (SIZE, SIZE), (red, green, blue))
    return Scene(picture, NOTHING, (), (0, 0, SIZE, SIZE))


def cropped(drawn: Scene, rng: np.random.Generator) -> Scene:
    """The scene without up to a tenth of each side; every animal stays whole."""
    width, height = drawn.size
    boxes = drawn.boxes()
    nearest = (
        min(b[0] for b in boxes),
        min(b[1] for b in boxes),
        width - max(b[2] for b in boxes),
        height - max(b[3] for b in boxes),
    )
    limits = (width / 10, height / 10, width / 10, height / 10)
    left, top, right, bottom = (
        int(min(near, rng.uniform(0, most))) for near, most in zip(nearest, limits, strict=True)
    )
    frame = (left, top, width - right, height - bottom)

    def moved(box: Box) -> Box:
        x0, y0, x1, y1 = box
        return (
            max(x0, frame[0]) - left,
            max(y0, frame[1]) - top,
            min(x1, frame[2]) - left,
            min(y1, frame[3]) - top,
        )

    return replace(
        drawn,
        image=drawn.image.crop(frame),
        animals=tuple(replace(a, box=moved(a.box)) for a in drawn.animals),
        support=moved(drawn.support),
        size=(frame[2] - left, frame[3] - top),
    )


def photographed(drawn: Scene, rng: np.random.Generator) -> Scene:
    """The scene in another light, out of focus, in grey, smaller or larger, or as a JPEG."""
    image, grey = drawn.image, False
    if rng.random() < 0.3:
        image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.75, 1.25))
    if rng.random() < 0.1:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.5)))
    if rng.random() < 0.06:
        image, grey = image.convert("L").convert("RGB"), True
    if rng.random() < 0.2:
        longest = math.exp(rng.uniform(math.log(90), math.log(900)))
        scale = longest / max(image.size)
        image = image.resize(
            (round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC
        )
    if rng.random() < 0.25:
        image = as_jpeg(image, int(rng.integers(20, 96)))
    return replace(drawn, image=image, grey=grey)


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    """The picture after it was saved as JPEG of this quality (1 to 95)."""
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")
