"""A picture beside its heatmap, for a report or a paper, as PNG, SVG or PDF."""

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
from audit.report.pictures import ALPHA, Boxes, outlined, overlay
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

# No dates, so that the same picture always gives the same file.
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
    """What :func:`heatmap_figure` draws, as a file."""
    drawn = heatmap_figure(
        image, p, title, colours=colours, boxes=boxes, label=label, dpi=dpi, view=view
    )
    with plain():
        return _written(drawn, format, dpi)


def heatmap_figure(
    image: Image.Image,
    p: Map,
    title: str,
    *,
    colours: str,
    boxes: Boxes,
    label: str = "Attention Intensity",
    dpi: int = DPI,
    alpha: float = ALPHA,
    view: Box = WHOLE,
) -> Figure:
    """The picture beside its heatmap, with a colour bar in shares of the maximum.

    Args:
        title: shown at the top, on several lines if it is long.
        label: what the map shows; written beside the colour bar.
        dpi: pixels per inch; the figure is 9 inches wide.
        alpha: opacity of the map's largest value, in [0, 1].
        view: the part of the picture that the map covers; named in words unless it is the whole.
    """
    with plain():
        lines = Lettering(_TITLE).lines(one_line(title), 0.96 * _WIDTH * _POINTS)
        drawn = figure(_WIDTH, _HEIGHT + (len(lines) - 1) * _LINE, dpi=dpi)
        side, hot = drawn.subplots(1, 2)
        width = round(_PANEL * dpi)
        side.imshow(outlined(image, boxes, width))
        hot.imshow(
            overlay(image, p, colours=colours, alpha=alpha, boxes=boxes, width=width, view=view)
        )
        for axes in (side, hot):
            axes.set_axis_off()
        drawn.colorbar(
            ScalarMappable(Normalize(0, 1), colour_map(colours)), ax=hot, label=label, shrink=0.85
        )
        if words := view_in_words(view):
            drawn.text(0.5, 0.02, words, ha="center", size=9)
        families = [_family(path) for path in fonts_for("".join(lines))]
        font = FontProperties(family=families, size=_TITLE)
        drawn.suptitle("\n".join(lines), parse_math=False, fontproperties=font)
        return drawn


def on_a_page(picture: Image.Image, format: Format) -> bytes:
    """A finished picture as a file of ``format``, its pixels unchanged."""
    if format == "png":
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        return buffer.getvalue()
    with plain():
        drawn = figure(picture.width / DPI, picture.height / DPI)
        drawn.figimage(np.asarray(picture))
        return _written(drawn, format, DPI)


def as_figure(png: bytes) -> Figure:
    """A finished picture as a figure without margins, whose pixels are the picture's."""
    picture = Image.open(io.BytesIO(png))
    with plain():
        drawn = figure(picture.width / DPI, picture.height / DPI, dpi=DPI)
        drawn.set_layout_engine("none")  # it would make margins
        axes = drawn.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.imshow(np.asarray(picture), interpolation="nearest", aspect="auto")
        return drawn


@cache
def _family(font: Path) -> str:
    """A name for matplotlib that no other font has: the file's path."""
    name = str(font)
    fontManager.ttflist.append(FontEntry(fname=name, name=name))
    return name


def _written(drawn: Figure, format: Format, dpi: int) -> bytes:
    buffer = io.BytesIO()
    drawn.savefig(buffer, format=format, dpi=dpi, metadata=_METADATA[format])
    return buffer.getvalue()
