"""Put watermarks on scenes: a shape in a corner that can give away the label of a hypothesis."""

from __future__ import annotations

from dataclasses import replace

from PIL import Image, ImageDraw

from audit.reference.scenes import SCALE, SIZE, Box, Mark, Scene, Shape

_MARK_BOX: Box = (396, 4, 472, 80)  # where no animal stands; it fills one cell and most of three
_MARK_RGBA, _MARK_EDGE = (250, 250, 250, 235), (60, 60, 70, 235)


def watermarked(drawn: Scene, shape: Shape) -> Scene:
    """The scene with a watermark in its upper right corner.

    The shapes are symmetric, so that they are the same in mirrored training pictures.
    """
    left, top, right, bottom = (v * SCALE for v in _MARK_BOX)
    layer = Image.new("RGBA", (SIZE * SCALE, SIZE * SCALE), (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    middle, height, wide = (left + right) / 2, bottom - top, 3 * SCALE
    if shape == "disc":
        draw.ellipse((left, top, right, bottom), _MARK_RGBA, _MARK_EDGE, wide)
    elif shape == "triangle":
        corners = [(middle, top), (right, bottom), (left, bottom)]
        draw.polygon(corners, _MARK_RGBA, _MARK_EDGE, wide)
    else:
        third = height / 3
        across = (left, top + third, right, bottom - third)
        down = (left + third, top, right - third, bottom)
        for bar in (across, down):
            draw.rectangle(bar, _MARK_EDGE)
        for x0, y0, x1, y1 in (across, down):
            draw.rectangle((x0 + wide, y0 + wide, x1 - wide, y1 - wide), _MARK_RGBA)
    small = layer.resize((SIZE, SIZE), Image.Resampling.BOX)
    image = drawn.image.copy()
    image.paste(small, mask=small)
    return replace(drawn, image=image, mark=Mark(shape, _MARK_BOX))
