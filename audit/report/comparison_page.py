"""A comparison as one HTML file: the verdict, the shifts, maps side by side, most moved first."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from audit.base.files import write_atomically
from audit.report.fragments import Picture
from audit.report.gallery import template
from audit.report.pictures import data_uri, difference, overlay
from audit.studies.comparison import Comparison, Pair, Side

_SHOWN = 100
"""Cases that are drawn; the table names all."""


def write_comparison(path: Path, found: Comparison) -> Path:
    """Draw ``found`` into ``path``, self-contained, and return it."""
    drawn = [(pair, _pictures(pair, found.before, found.after)) for pair in found.pairs[:_SHOWN]]
    page = template("comparison.html.j2").render(
        found=found, suite=found.suite, drawn=drawn, left=len(found.pairs) - len(drawn)
    )
    write_atomically(path, page.encode())
    return path


def _ground(pair: Pair, *sides: Side) -> Image.Image:
    """The case's picture from whichever run holds it, else grey."""
    for side in sides:
        stored = side.run.image(pair.after.image) if side.run else None
        if stored:
            return stored
    return Image.new("RGB", (320, 320), (200, 200, 200))


def _pictures(pair: Pair, before: Side, after: Side) -> list[Picture]:
    p, q = pair.before.map, pair.after.map
    if p is None or q is None or p.shape != q.shape or not pair.same_view:
        return []
    image, boxes = _ground(pair, after, before), pair.after.regions or pair.before.regions or {}
    top, view = float(max(p.max(), q.max())), pair.after.view
    name, words = pair.after.case, pair.after.method
    heat = [
        Picture(
            title,
            data_uri(overlay(image, m, boxes=boxes, top=top, view=view)),
            f"{words} of {name}",
        )
        for title, m in (("before", p), ("after", q))
    ]
    changed = data_uri(difference(image, q, p, boxes=boxes, view=view))
    said = f"difference of {name}, red is more attention after"
    return [*heat, Picture("after − before", changed, said)]
