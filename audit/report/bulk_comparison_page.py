"""The comparison of two bulk folders as one HTML file: verdict, slices, worst rows, a sample."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from audit.base.errors import ImageError
from audit.base.files import write_atomically
from audit.base.images import identity, open_image
from audit.bulk.format import BulkRecord
from audit.data.columns import probability_column
from audit.gate.stack import device_class
from audit.report.fragments import Picture
from audit.report.pictures import data_uri, difference, overlay
from audit.report.templates import template
from audit.studies.bulk.choosing import Seen, Shown
from audit.studies.bulk.comparison import BulkComparison

_WIDE = (480, 480)
_PARTS = ("name", "source", "revision", "digest", "dtype", "engine", "asking")


def write_bulk_comparison(path: Path, found: BulkComparison) -> Path:
    """Write the comparison to ``path`` as one self-contained HTML file, and return ``path``."""
    places = [
        (Path(record.root), Path(title))
        for title, record in zip(found.titles, found.records, strict=True)
    ]
    page = template("bulk_comparison.html.j2").render(
        found=found,
        suite=found.suite,
        models=_models(*found.records),
        flips=sorted(
            ((*labels, rows) for labels, rows in found.flips.items()), key=lambda f: -f[2]
        ),
        galleries=[
            (title, key, [(pair, _pictures(pair, places)) for pair in pairs])
            for title, key, pairs in (
                ("The rows that got worst", "worst", found.worst),
                ("A sample of all rows", "sample", found.sample),
            )
        ],
        probabilities=_probabilities,
        one_sided=_one_sided,
    )
    write_atomically(path, page.encode())
    return path


def _models(before: BulkRecord, after: BulkRecord) -> list[tuple[str, str, str]]:
    """What is known of both models, and of the stack where it differs."""
    sides = (before, after)
    rows = [(part, *(str(getattr(r.model, part)) for r in sides)) for part in _PARTS]
    rows.append(("device", *(device_class(r.model.device) for r in sides)))
    rows.append(("rows in a batch", *(str(r.batch) for r in sides)))
    known = [{**r.model.packages, **r.stack} for r in sides]
    for name in {**known[0], **known[1]}:
        was, now = (each.get(name, "") for each in known)
        if was != now:
            rows.append((name, was, now))
    return [(name, _brief(was), _brief(now)) for name, was, now in rows if was or now]


def _brief(value: str) -> str:
    """A digest by its beginning; anything else as it is."""
    return value[:12] if re.fullmatch("[0-9a-f]{64}", value) else value


def _one_sided(drawn: Sequence[tuple[Shown, list[Picture]]]) -> bool:
    """Whether some row has a map of one side only."""
    return any(bool(was) != bool(now) for was, now in (pair.maps for pair, _ in drawn))


def _probabilities(pair: Shown) -> tuple[float, float] | None:
    """Of the expected label on both sides, or of the first side's label; None if not known."""
    column = probability_column(pair.after["expected"] or pair.before["label"])
    was, now = pair.before.get(column), pair.after.get(column)
    return None if was is None or now is None else (was, now)


def _pictures(pair: Shown, places: Sequence[Sequence[Path]]) -> list[Picture]:
    """The maps that were kept, and their difference if both were; else the picture alone.

    A side keeps the maps of its wrong answers, so of a lost label often only the second has one.
    """
    image, name = _picture(pair, places), pair.after["id"]
    key = next(iter([key for key in pair.maps[1] if key in pair.maps[0]] or pair.maps[1]), "")
    p, q = (each.get(key) for each in pair.maps)
    found = [] if image is None else [Picture("the picture", data_uri(image), f"of {name}")]
    if q is None:
        return found
    ground = image or Image.new("RGB", (320, 320), (200, 200, 200))
    both = p is not None and p.cells.shape == q.cells.shape and p.view == q.view
    top = float(max(p.cells.max(), q.cells.max())) if p is not None and both else None

    def drawn(title: str, seen: Seen) -> Picture:
        heat = overlay(ground, seen.cells, top=top, view=seen.view)
        return Picture(title, data_uri(heat), f"{key} of {name}, {title}")

    if p is None or not both:
        return [*found, drawn("after", q)]
    changed = data_uri(difference(ground, q.cells, p.cells, view=q.view))
    return [
        drawn("before", p), drawn("after", q),
        Picture("after − before", changed, f"difference for {name}"),
    ]  # fmt: skip


def _picture(pair: Shown, places: Sequence[Sequence[Path]]) -> Image.Image | None:
    """The picture that both were asked about, from where either found it; None if it is gone.

    A folder may be a stranger's and name any file, so a picture is shown only if its pixels are
    those that its row tells.

    Args:
        places: for each side the folder of its pictures, and its own, which has those of a source
            that held them in itself.
    """
    for row, folders in zip((pair.after, pair.before), places[::-1], strict=True):
        for folder in folders:
            try:
                found = open_image(folder / str(row["picture"]))
            except (ImageError, OSError, ValueError):
                continue
            if identity(found) == row["picture.digest"]:
                found.thumbnail(_WIDE)
                return found
    return None
