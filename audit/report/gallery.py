"""The gallery of a run: one HTML file that opens from disk, failures first."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from numpy.typing import NDArray
from PIL import Image

from audit.files import write_atomically
from audit.outcomes import Outcome, Run, totals
from audit.report.pictures import bytes_uri, data_uri, difference, outlined, overlay
from audit.report.strips import Scale, animation

_SMALL = 220
_PANEL = 140


@dataclass(frozen=True)
class Picture:
    """One picture of a case: where it comes from, what it shows, and how to say it in words."""

    title: str
    source: str
    alt: str


@dataclass(frozen=True)
class Shown:
    """A strip of a case: every panel, and the same panels one after the other."""

    title: str
    panels: list[Picture]
    played: Picture | None


def write_gallery(run: Run) -> Path:
    """Draw ``gallery.html`` of a run from its folder alone, and return its path.

    Raises:
        RunError: the folder is not a run.
    """
    about = run.about()
    outcomes = run.outcomes()
    page = template("gallery.html.j2").render(
        about=about,
        model=about.get("model", {}),
        totals=totals(outcomes),
        failed=[(o, _pictures(run, o, 400), _strips(run, o)) for o in outcomes if o.failed],
        known=[(o, _pictures(run, o, _SMALL)[:2]) for o in outcomes if o.state.failed and o.xfail],
        passed=[(o, _pictures(run, o, _SMALL)[:2]) for o in outcomes if not o.state.failed],
        count=len(outcomes),
        suite=run.results().get("suite") if (run.folder / "results.json").exists() else None,
    )
    target = run.folder / "gallery.html"
    write_atomically(target, page.encode())
    return target


def template(name: str) -> Template:
    """A page's template: everything put into it is escaped, and nothing may be missing."""
    environment = Environment(
        loader=PackageLoader("audit.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def _image(run: Run, outcome: Outcome) -> Image.Image | None:
    path = run.image_path(outcome.image_digest)
    if not path.exists():
        return None
    with Image.open(path) as stored:
        return stored.convert("RGB")


def _pictures(run: Run, outcome: Outcome, width: int) -> list[Picture]:
    image = _image(run, outcome)
    return _drawn(image, outcome, run.maps(outcome.case), width) if image else []


def _strips(run: Run, outcome: Outcome) -> list[Shown]:
    """Layers and words of a case."""
    image = _image(run, outcome)
    if image is None:
        return []
    found = []
    for strip, panels in run.strips(outcome.case).items():
        title, scale = _STRIPS[strip]
        top = max(float(p.max()) for _, p in panels) if scale == "shared" else None
        drawn = [
            Picture(
                f"{name}, peak {p.max():.0%}",
                data_uri(overlay(image, p, boxes=outcome.regions, top=top, width=_PANEL)),
                f"heatmap of {outcome.case}, {name}",
            )
            for name, p in panels
        ]
        played = None
        if len(panels) > 1:
            moving = animation(image, panels, scale=scale, boxes=outcome.regions, format="WEBP")
            words = f"{outcome.case}: one {strip.removesuffix('s')} after the other"
            played = Picture(f"{strip}, played", bytes_uri(moving, "image/webp"), words)
        found.append(Shown(title, drawn, played))
    return found


_STRIPS: dict[str, tuple[str, Scale]] = {
    "layers": ("Layer by layer, one colour scale", "shared"),
    "words": ("Word by word: where the encoder looks from each, each its own scale", "each"),
}


def _drawn(
    image: Image.Image, outcome: Outcome, maps: Mapping[str, NDArray[np.float64]], width: int
) -> list[Picture]:
    key, regions = outcome.default_map, outcome.regions
    pictures = [
        Picture(
            "picture and regions",
            data_uri(outlined(image, regions, width)),
            f"the picture of {outcome.case}, regions: {', '.join(regions) or 'none'}",
        )
    ]
    now, before = maps.get(key), maps.get(f"baseline:{key}")
    if now is None:
        return pictures
    # One scale for both heatmaps, so that a paler one is a weaker one.
    top = float(max(now.max(), before.max() if before is not None else 0.0))

    def heat(p: NDArray[np.float64], title: str, words: str) -> Picture:
        drawn = overlay(image, p, boxes=regions, top=top, width=width)
        return Picture(
            title, data_uri(drawn), f"{words} of {outcome.case}: {key}; {outcome.sentence}"
        )

    pictures.append(heat(now, key, "heatmap"))
    if before is not None:
        pictures.append(heat(before, "baseline", "accepted heatmap"))
        changed = difference(image, now, before, boxes=regions, width=width)
        words = f"difference of {outcome.case} to its baseline, red is more attention now"
        pictures.append(Picture("now − baseline", data_uri(changed), words))
    return pictures


def thumbnail_html(run: Run, outcome: Outcome) -> str:
    """A fragment with small pictures of one case and its sentence, for pytest-html."""
    return _fragment(_pictures(run, outcome, _SMALL), f"{outcome.state.value}: {outcome.sentence}")


def asked_html(image: Image.Image, p: NDArray[np.float64], sentence: str) -> str:
    """A fragment for a question that a Python test asked."""
    pictures = [
        Picture("picture", data_uri(outlined(image, {}, _SMALL)), "the picture"),
        Picture("heatmap", data_uri(overlay(image, p, width=_SMALL)), "the heatmap"),
    ]
    return _fragment(pictures, sentence)


def _fragment(pictures: list[Picture], sentence: str) -> str:
    shown = "".join(
        f'<img src="{p.source}" alt="{html.escape(p.alt)}" title="{html.escape(p.title)}" '
        'style="margin-right:4px">'
        for p in pictures
    )
    return f"<div><p>{html.escape(sentence)}</p>{shown}</div>"
