"""Put watermarks on scenes: a shape in a corner that can give away the label of a hypothesis."""

from __future__ import annotations

from dataclasses import replace

from PIL import Image, ImageDraw

from audit.reference.scenes import SCALE, SIZE, Box, Mark, Scene, Shape

_MARK_BOX: Box = (396, 4, 472, 80)
"""Where no animal stands, in a scene of the usual shape; it fills one cell and most of three."""
_MARK_RGBA, _MARK_EDGE = (250, 250, 250, 235), (60, 60, 70, 235)


def watermarked(drawn: Scene, shape: Shape) -> Scene:
    """The scene with a watermark in its upper right corner.

    The shapes are symmetric, so that they are the same in mirrored training pictures. In a scene
    of another shape they are stretched with it: the model squashes all pictures to one shape.
    """
    width, height = drawn.size
    x0, y0, x1, y1 = _MARK_BOX
    box = (x0 * width // SIZE, y0 * height // SIZE, x1 * width // SIZE, y1 * height // SIZE)
    left, top, right, bottom = (v * SCALE for v in box)
    layer = Image.new("RGBA", (width * SCALE, height * SCALE), (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    middle, wide = (left + right) / 2, 3 * SCALE
    if shape == "disc":
        draw.ellipse((left, top, right, bottom), _MARK_RGBA, _MARK_EDGE, wide)
    elif shape == "triangle":
        corners = [(middle, top), (right, bottom), (left, bottom)]
        draw.polygon(corners, _MARK_RGBA, _MARK_EDGE, wide)
    else:
        beside, above = (right - left) / 3, (bottom - top) / 3
        across = (left, top + above, right, bottom - above)
        down = (left + beside, top, right - beside, bottom)
        for bar in (across, down):
            draw.rectangle(bar, _MARK_EDGE)
        for start, upper, end, lower in (across, down):
            draw.rectangle((start + wide, upper + wide, end - wide, lower - wide), _MARK_RGBA)
    small = layer.resize(drawn.size, Image.Resampling.BOX)
    image = drawn.image.copy()
    image.paste(small, mask=small)
    return replace(drawn, image=image, mark=Mark(shape, box))
