"""Several maps of one picture: side by side on a sheet, or one after the other in an animation."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from audit.base.errors import nearest
from audit.base.geometry import WHOLE, Box, view_in_words
from audit.maps.reading import Map
from audit.report import heatmap
from audit.report.lettering import Ink, Lettering, isolated, one_line
from audit.report.pictures import Boxes, outlined, overlay
from audit.report.plotting import colour_map, plain

Scale = Literal["shared", "each"]
"""One colour scale for all panels, or one for each, up to its own maximum."""

Format = Literal["GIF", "WEBP"]

_PAPER, _INK, _SOFT, _LINE = (255, 255, 255), (20, 20, 20), (90, 90, 90), (222, 222, 222)
_SHEET_WIDTH = 1280
_PANEL_WIDTH, _PANEL_HEIGHT = 480, 560
_MARGIN, _GAP = 24, 14
_BAR = (220, 12)
_NARROWEST_SHEET, _NARROWEST_CELL, _NARROWEST_FRAME = 440, 120, 320

_GIF_BYTES = 80_000
"""Bytes per frame of a GIF; while there are more, the picture's noise is flattened further."""


@plain()
def sheet(
    image: Image.Image,
    panels: Sequence[tuple[str, Map]],
    *,
    title: str,
    scale: Scale,
    colours: str = "viridis",
    boxes: Boxes | None = None,
    format: heatmap.Format = "png",
    view: Box = WHOLE,
) -> bytes:
    """One panel per map, in reading order, with the map's name and peak share above it.

    The sheet is at most 1280 pixels wide and says in words which colour scale it uses.

    Args:
        panels: name and map (rows, cols) of each; the maps need not have the same grid.
        title: shown at the top, on several lines if it is long.
        format: the file's format; in an SVG or a PDF, too, the sheet is made of pixels.
        view: the part of the picture that the maps cover; named in words unless it is the whole.

    Raises:
        ValueError: there are no panels, one is not a map, or ``colours`` is not a colour map.
    """
    top = _top(panels, scale, colours)
    regions = boxes or {}
    columns = _columns(len(panels), image.height / image.width)
    room = (_SHEET_WIDTH - 2 * _MARGIN - (columns - 1) * _GAP) // columns
    ground = _ground(image, room)
    cell = max(ground.width, _NARROWEST_CELL)
    width = max(columns * (cell + _GAP) - _GAP, _NARROWEST_SHEET)

    headings = _headings([(one_line(name), _peak(p)) for name, p in panels], cell)
    draw = partial(
        overlay, ground, colours=colours, boxes=regions, top=top, width=ground.width, view=view
    )
    drawn = [
        _column([heading, draw(p)], gap=4) for heading, (_, p) in zip(headings, panels, strict=True)
    ]
    rows = [_row(drawn[i : i + columns], _GAP) for i in range(0, len(drawn), columns)]
    scale_note = _scale_in_words(top, "panel", len(panels), regions, view)
    head = [_paragraph(scale_note, Lettering(13), width, _SOFT)]
    if one_line(title):
        head.insert(0, _paragraph(one_line(title), Lettering(18, bold=True), width, _INK))
    legend = _legend(colours, "0 %", "the panel's peak" if top is None else _share(top))
    page = _column([_column(head, gap=4), _column(rows, gap=_GAP), legend], gap=_GAP)
    return heatmap.on_a_page(_framed(page, width + 2 * _MARGIN, _MARGIN), format)


@plain()
def animation(
    image: Image.Image,
    panels: Sequence[tuple[str, Map]],
    *,
    scale: Scale,
    colours: str = "viridis",
    boxes: Boxes | None = None,
    seconds: float = 0.5,
    format: Format,
    view: Box = WHOLE,
) -> bytes:
    """One frame per map, each shown for ``seconds``, in a loop; a single map gives a still picture.

    A frame is at most 480 pixels wide. Name, number and peak share are below the picture.

    Args:
        panels: name and map (rows, cols) of each; the maps need not have the same grid.
        view: the part of the picture that the maps cover; named in words unless it is the whole.

    Raises:
        ValueError: there are no panels, one is not a map, ``colours`` is not a colour map,
            ``format`` is neither GIF nor WEBP, or ``seconds`` is outside 0.02 to 600.
    """
    if format not in get_args(Format):
        raise ValueError(f"{format!r} is not a format; {nearest(format, get_args(Format))}")
    # Browsers slow down faster frames, and a GIF stores hundredths of a second in two bytes.
    if not 0.02 <= seconds <= 600:
        raise ValueError(f"a frame lasts 0.02 to 600 seconds, not {seconds}")
    top = _top(panels, scale, colours)
    regions = boxes or {}
    ground = _ground(image, _PANEL_WIDTH)
    width = max(ground.width, _NARROWEST_FRAME)
    scale_note = _scale_in_words(top, "frame", len(panels), regions, view)
    captions = _captions([(one_line(name), _peak(p)) for name, p in panels], scale_note, width)
    draw = partial(
        overlay, ground, colours=colours, boxes=regions, top=top, width=ground.width, view=view
    )
    pictures = [draw(p) for _, p in panels]
    frames = [
        _column([_framed(picture, width, 0), caption], gap=0)
        for picture, caption in zip(pictures, captions, strict=True)
    ]
    duration = round(seconds * 100) * 10
    if format == "GIF":
        return _gif(frames, pictures, duration)
    return _encoded(frames, format="WEBP", duration=duration, loop=0, quality=75, method=4)


def _top(panels: Sequence[tuple[str, Map]], scale: Scale, colours: str) -> float | None:
    """The value that gets full colour in every panel; None where each has its own."""
    if not panels:
        raise ValueError("there are no panels to draw")
    for name, p in panels:
        if p.ndim != 2 or not p.size or not np.isfinite(p).all():
            raise ValueError(f"{name!r} is not a map: it must be (rows, cols) of finite numbers")
    if scale not in get_args(Scale):
        raise ValueError(f"{scale!r} is not a scale; {nearest(scale, get_args(Scale))}")
    colour_map(colours)
    return max(float(p.max()) for _, p in panels) if scale == "shared" else None


def _columns(count: int, aspect: float) -> int:
    """The number of columns that makes a sheet of about 8 to 5 with few empty places."""
    aspect = min(max(aspect, 0.25), 4.0)

    def badness(columns: int) -> float:
        rows = math.ceil(count / columns)
        shape = columns / (rows * aspect)
        return abs(math.log(shape * 5 / 8)) + 2.5 * (1 - count / (rows * columns))

    return min(range(1, min(count, 8) + 1), key=badness)


def _ground(image: Image.Image, room: int) -> Image.Image:
    """The picture at the size of a panel: scaled once, not again for every map."""
    tallest = round(_PANEL_HEIGHT * image.width / image.height)
    ground = outlined(image, {}, max(1, min(room, _PANEL_WIDTH, tallest)))
    if ground.height > _PANEL_HEIGHT:  # one pixel wide already, and still too tall for WebP
        ground = ground.resize((ground.width, _PANEL_HEIGHT))
    return ground


# Words


def _share(value: float) -> str:
    percent = 100 * value
    return f"{percent:.1f} %" if percent >= 1 else f"{percent:.2f} %"


def _peak(p: Map) -> str:
    return f"peak {_share(float(p.max()))}"


def _scale_in_words(top: float | None, noun: str, count: int, boxes: Boxes, view: Box) -> str:
    """The colour scale, what is outlined, and what the model sees unless it is the whole."""
    if top is not None:
        full = f"full colour is {_share(top)} of the map in one cell."
        scale = f"One colour scale for all {noun}s: {full}" if count > 1 else full.capitalize()
    elif count > 1:
        scale = f"Each {noun} has its own scale: full colour is its peak, the largest cell."
    else:
        scale = "Full colour is the peak, the largest cell."
    named = ", ".join(isolated(region) for region, drawn in boxes.items() if drawn)
    outline = f" Outlined: {named}." if named else ""
    words = view_in_words(view)
    return f"{scale}{outline}{f' {words}.' if words else ''}"


Words = tuple[str, Lettering]


def _height(letters: Lettering, texts: Iterable[str]) -> tuple[int, int]:
    """Pixels above and below the baseline that are enough for each of ``texts``."""
    above, below = zip(*map(letters.extent, ("", *texts)), strict=True)
    return max(above), max(below)


def _line(
    width: int,
    left: Words,
    right: Words | None = None,
    ink: Ink = _INK,
    height: tuple[int, int] | None = None,
) -> Image.Image:
    """One line of text, with another text in a softer ink at its right end.

    Args:
        height: pixels above and below the baseline; by default what the text needs.
    """
    (text, letters), space = left, width
    above, below = height or letters.extent(text)
    strip = Image.new("RGB", (width, above + below), _PAPER)
    if right is not None:
        room = math.ceil(right[1].width(right[0]))
        right[1].draw(strip, width - room, above, right[0], _SOFT)
        space -= room + _GAP
    letters.draw(strip, 0, above, letters.shortened(text, space), ink)
    return strip


def _paragraph(text: str, letters: Lettering, width: int, ink: Ink) -> Image.Image:
    lines = letters.lines(text, width)
    return _column([_line(width, (line, letters), ink=ink) for line in lines], gap=0)


def _headings(texts: list[tuple[str, str]], width: int) -> list[Image.Image]:
    """Name and peak for each panel, in one size; beside each other if every pair fits."""
    small = Lettering(12)
    names = [name for name, _ in texts]
    for size in (15, 14, 13):
        letters = Lettering(size, bold=True)
        if all(letters.width(name) + _GAP + small.width(peak) <= width for name, peak in texts):
            height = _height(letters, names)
            return [
                _line(width, (name, letters), (peak, small), height=height) for name, peak in texts
            ]
    letters = _fitting(names, range(15, 10, -1), width)
    height = _height(letters, names)
    return [
        _column(
            [
                _line(width, (name, letters), height=height),
                _line(width, (peak, small), ink=_SOFT),
            ],
            gap=0,
        )
        for name, peak in texts
    ]


def _fitting(texts: Iterable[str], sizes: Sequence[int], width: float) -> Lettering:
    """The largest size of bold letters for all texts; those that never fit are not counted."""
    letters = [Lettering(size, bold=True) for size in sizes]
    able = [text for text in texts if letters[-1].width(text) <= width]
    return next(each for each in letters if all(each.width(text) <= width for text in able))


def _captions(texts: list[tuple[str, str]], scale_note: str, width: int) -> list[Image.Image]:
    """What is below each frame, all of one height."""
    inner = width - 2 * _GAP
    count = len(texts)
    names = [name for name, _ in texts]
    ends = [
        f"{n} of {count}  ·  {peak}" if count > 1 else peak
        for n, (_, peak) in enumerate(texts, start=1)
    ]
    small = Lettering(13)
    letters = _fitting(names, range(17, 11, -1), inner - _GAP - max(map(small.width, ends)))
    height = _height(letters, names)
    scale = _paragraph(scale_note, Lettering(12), inner, _SOFT)
    captions = []
    for n, (name, end) in enumerate(zip(names, ends, strict=True), start=1):
        line = _line(inner, (name, letters), (end, small), height=height)
        parts = [_framed(_column([line, scale], gap=2), width, 8)]
        if count > 1:
            progress = Image.new("RGB", (width, 4), _LINE)
            progress.paste(_SOFT, (0, 0, round(width * n / count), 4))
            parts.append(progress)
        captions.append(_column(parts, gap=0))
    return captions


def _legend(colours: str, low: str, high: str) -> Image.Image:
    letters = Lettering(13)
    steps = np.linspace(0, 1, _BAR[0])
    ramp = np.round(255 * np.asarray(colour_map(colours)(steps))[:, :3]).astype(np.uint8)
    bar = Image.fromarray(np.repeat(ramp[None], _BAR[1], axis=0))
    words = ["Attention Intensity", low, high]
    starts = [0.0]
    for word in words[:2]:
        starts.append(starts[-1] + letters.width(word) + _GAP)
    starts[2] += _BAR[0]
    above, below = letters.extent()
    width = math.ceil(starts[2] + letters.width(words[2]))
    strip = Image.new("RGB", (width, above + below), _PAPER)
    for start, word in zip(starts, words, strict=True):
        letters.draw(strip, start, above, word, _INK)
    strip.paste(bar, (round(starts[2]) - _GAP // 2 - _BAR[0], (strip.height - _BAR[1]) // 2))
    return strip


# Putting together


def _column(parts: Sequence[Image.Image], gap: int) -> Image.Image:
    height = sum(part.height + gap for part in parts) - gap
    whole = Image.new("RGB", (max(part.width for part in parts), height), _PAPER)
    y = 0
    for part in parts:
        whole.paste(part, (0, y))
        y += part.height + gap
    return whole


def _row(parts: Sequence[Image.Image], gap: int) -> Image.Image:
    width = sum(part.width + gap for part in parts) - gap
    whole = Image.new("RGB", (width, max(part.height for part in parts)), _PAPER)
    x = 0
    for part in parts:
        whole.paste(part, (x, 0))
        x += part.width + gap
    return whole


def _framed(part: Image.Image, width: int, above: int) -> Image.Image:
    """``part`` centred on paper ``width`` wide, with ``above`` pixels of margin above and below."""
    whole = Image.new("RGB", (width, part.height + 2 * above), _PAPER)
    whole.paste(part, ((width - part.width) // 2, above))
    return whole


def _encoded(frames: Sequence[Image.Image], *, format: str, **options: int | bytes) -> bytes:
    buffer = io.BytesIO()
    if len(frames) > 1:
        frames[0].save(buffer, format, save_all=True, append_images=frames[1:], **options)
    else:
        frames[0].save(buffer, format, **options)
    return buffer.getvalue()


def _gif(frames: Sequence[Image.Image], pictures: Sequence[Image.Image], duration: int) -> bytes:
    """An animation with one palette for all frames, so that nothing flickers."""
    # The octree splits colours, not pixels: it keeps the few hot colours that median cut loses.
    shown = np.concatenate([np.asarray(picture)[::2, ::2] for picture in pictures])
    reduced = Image.fromarray(shown).quantize(248, method=Image.Quantize.FASTOCTREE)
    greys = np.linspace(_INK, _PAPER, 8).round().astype(int).ravel().tolist()  # of the caption
    palette = (reduced.getpalette() or [])[: 3 * 248] + greys
    swatch = Image.new("P", (1, 1))
    swatch.putpalette(palette)
    # Dithering would shimmer from frame to frame, and its noise would cost bytes.
    indexed = [frame.quantize(palette=swatch, dither=Image.Dither.NONE) for frame in frames]
    data = b""
    for slack in (8, 11, 14, 20, 28):
        flattened = _flattened(indexed, frames, palette, slack)
        # Unless it is passed here, Pillow writes the palette again with every frame.
        data = _encoded(flattened, format="GIF", duration=duration, loop=0, palette=bytes(palette))
        if len(data) <= _GIF_BYTES * len(frames):
            break
    return data


def _flattened(
    indexed: Sequence[Image.Image],
    frames: Sequence[Image.Image],
    palette: Sequence[int],
    slack: int,
) -> list[Image.Image]:
    """Give each pixel its left neighbour's colour if the two differ by ``slack`` at most.

    GIF packs runs of one colour; otherwise most of the bytes would go into the picture's noise.
    Without this, Pillow's files are 1.6 to 2.7 times as large with this palette, and 2 to 6 times
    with its own.
    """
    table = np.array(palette, dtype=np.int16).reshape(-1, 3)
    wanted = np.stack([np.asarray(frame) for frame in frames]).astype(np.int16)
    chosen: NDArray[np.uint8] = np.stack([np.asarray(frame) for frame in indexed])
    for before, here in pairwise(range(chosen.shape[2])):
        left = chosen[:, :, before]
        near = np.abs(wanted[:, :, here] - table[left]).max(axis=-1) <= slack
        chosen[:, :, here] = np.where(near, left, chosen[:, :, here])
    flattened = [Image.fromarray(pixels) for pixels in chosen]
    for frame in flattened:
        frame.putpalette(palette)
    return flattened
