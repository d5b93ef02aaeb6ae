"""A comparison as one HTML file: verdict, shifts, and maps side by side, largest change first."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from audit.base.files import write_atomically
from audit.report.fragments import Picture
from audit.report.pictures import data_uri, difference, overlay
from audit.report.templates import template
from audit.studies.comparison import Comparison
from audit.studies.pairs import Pair
from audit.studies.sides import Side

_SHOWN = 100
"""The most cases that are drawn; of the others the page gives the number."""


def write_comparison(path: Path, found: Comparison) -> Path:
    """Write the comparison to ``path`` as one self-contained HTML file, and return ``path``."""
    drawn = [(pair, _pictures(pair, found.before, found.after)) for pair in found.pairs[:_SHOWN]]
    page = template("comparison.html.j2").render(
        found=found, suite=found.suite, drawn=drawn, left=len(found.pairs) - len(drawn)
    )
    write_atomically(path, page.encode())
    return path


def _ground(pair: Pair, *sides: Side) -> Image.Image:
    """The case's picture from the first side whose run has it, otherwise plain grey."""
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
    case, method = pair.after.case, pair.after.method
    heat = [
        Picture(
            title,
            data_uri(overlay(image, m, boxes=boxes, top=top, view=view)),
            f"{method} of {case}",
        )
        for title, m in (("before", p), ("after", q))
    ]
    changed = data_uri(difference(image, q, p, boxes=boxes, view=view))
    alt = f"difference for {case}: red where attention grew"
    return [*heat, Picture("after − before", changed, alt)]
