"""Small pictures for pytest-html: of a case, or of a question that a Python test asked."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from audit.base.geometry import WHOLE, Box
from audit.gate.outcomes import Outcome
from audit.gate.runfolder import Run
from audit.report.pictures import data_uri, difference, outlined, overlay

_SMALL = 220


@dataclass(frozen=True)
class Picture:
    """One picture of a case: its title, its address, and its description in words."""

    title: str
    source: str
    alt: str


def thumbnail_html(run: Run, outcome: Outcome, gallery: str) -> str:
    """HTML for pytest-html: one case's sentence, small pictures, and a link to the gallery.

    Args:
        gallery: the gallery's address, relative to the report.
    """
    sentence = f"{outcome.state.value}: {outcome.sentence}"
    fragment = _fragment(_pictures(run, outcome, _SMALL), sentence)
    link = html.escape(f"{quote(gallery)}#case-{outcome.case}")
    return f'{fragment}<p><a href="{link}">in the gallery</a></p>'


def asked_html(
    image: Image.Image, p: NDArray[np.float64] | None, sentence: str, view: Box = WHOLE
) -> str:
    """HTML for a question that a Python test asked: its sentence and small pictures.

    Args:
        p: the map that the test looked at; without one, only the picture is shown.
        view: the part of the picture that the map covers.
    """
    pictures = [Picture("picture", data_uri(outlined(image, {}, _SMALL)), "the picture")]
    if p is not None:
        heat = data_uri(overlay(image, p, width=_SMALL, view=view))
        pictures.append(Picture("heatmap", heat, "the heatmap"))
    return _fragment(pictures, sentence)


def _fragment(pictures: list[Picture], sentence: str) -> str:
    shown = "".join(
        f'<img src="{p.source}" alt="{html.escape(p.alt)}" title="{html.escape(p.title)}" '
        'style="margin-right:4px">'
        for p in pictures
    )
    return f"<div><p>{html.escape(sentence)}</p>{shown}</div>"


def _pictures(run: Run, outcome: Outcome, width: int) -> list[Picture]:
    image = run.image(outcome.image_digest)
    return _drawn(image, outcome, run.maps(outcome.case), width) if image else []


def _drawn(
    image: Image.Image, outcome: Outcome, maps: Mapping[str, NDArray[np.float64]], width: int
) -> list[Picture]:
    key, regions, view = outcome.default_map, outcome.regions, Box(*outcome.view)
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
    # Both heatmaps share one scale, so that paler means weaker.
    top = float(max(now.max(), before.max() if before is not None else 0.0))

    def heat(p: NDArray[np.float64], title: str, words: str) -> Picture:
        drawn = overlay(image, p, boxes=regions, top=top, width=width, view=view)
        return Picture(
            title, data_uri(drawn), f"{words} of {outcome.case}: {key}; {outcome.sentence}"
        )

    pictures.append(heat(now, key, "heatmap"))
    if before is not None:
        pictures.append(heat(before, "baseline", "baseline heatmap"))
        changed = difference(image, now, before, boxes=regions, width=width, view=view)
        alt = f"difference of {outcome.case} to its baseline: red where attention grew"
        pictures.append(Picture("now − baseline", data_uri(changed), alt))
    return pictures
