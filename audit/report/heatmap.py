"""A picture beside its heatmap, for a report or a paper; and what is written as SVG or PDF."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from audit.base.geometry import WHOLE, Box, view_in_words
from audit.maps.reading import Map
from audit.report.lettering import Lettering, fonts_for, one_line
from audit.report.pictures import Boxes, outlined, overlay
from audit.report.plotting import (
    Figure,
    FontEntry,
    FontProperties,
    Normalize,
    ScalarMappable,
    colour_map,
    figure,
    fontManager,
    plain,
)

Format = Literal["png", "svg", "pdf"]
FORMATS: dict[str, Format] = {"png": "png", "svg": "svg", "pdf": "pdf"}

DPI = 120
_WIDTH, _HEIGHT, _PANEL = 9.0, 4.6, 4.0
_TITLE, _LINE, _POINTS = 12, 0.2, 72

# Without dates, the same picture is the same file.
_METADATA: dict[Format, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}


def heatmap(
    image: Image.Image,
    p: Map,
    title: str,
    *,
    colours: str,
    boxes: Boxes,
    label: str = "Attention Intensity",
    format: Format = "png",
    dpi: int = DPI,
    view: Box = WHOLE,
) -> bytes:
    """The picture beside its heatmap, and a colour bar in shares of the maximum.

    Args:
        title: stands on top; broken into lines where it is long.
        label: says on the colour bar what the map is a map of.
        dpi: pixels to the inch, of which there are 9 from left to right.
        view: the part of the picture that the map covers; said in words if it is not the whole.
    """
    with plain():
        lines = Lettering(_TITLE).lines(one_line(title), 0.96 * _WIDTH * _POINTS)
        drawn = figure(_WIDTH, _HEIGHT + (len(lines) - 1) * _LINE)
        side, hot = drawn.subplots(1, 2)
        width = round(_PANEL * dpi)
        side.imshow(outlined(image, boxes, width))
        hot.imshow(overlay(image, p, colours=colours, boxes=boxes, width=width, view=view))
        for axes in (side, hot):
            axes.set_axis_off()
        drawn.colorbar(
            ScalarMappable(Normalize(0, 1), colour_map(colours)), ax=hot, label=label, shrink=0.85
        )
        if words := view_in_words(view):
            drawn.text(0.5, 0.02, words, ha="center", size=9)
        families = [_family(font) for font in fonts_for("".join(lines))]
        said = FontProperties(family=families, size=_TITLE)
        drawn.suptitle("\n".join(lines), parse_math=False, fontproperties=said)
        return _written(drawn, format, dpi)


def on_a_page(picture: Image.Image, format: Format) -> bytes:
    """A finished picture as a file of ``format``: its pixels as they are."""
    if format == "png":
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        return buffer.getvalue()
    with plain():
        drawn = figure(picture.width / DPI, picture.height / DPI)
        drawn.figimage(np.asarray(picture))
        return _written(drawn, format, DPI)


@cache
def _family(font: Path) -> str:
    """A name by which matplotlib finds this font, and no other that calls itself the same."""
    name = str(font)
    fontManager.ttflist.append(FontEntry(fname=name, name=name))
    return name


def _written(drawn: Figure, format: Format, dpi: int) -> bytes:
    buffer = io.BytesIO()
    drawn.savefig(buffer, format=format, dpi=dpi, metadata=_METADATA[format])
    return buffer.getvalue()
