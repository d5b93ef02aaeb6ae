"""The gallery of a run: one HTML file that opens from disk, failures first.

All words are in the page itself, so it can be searched, printed and read without a script. Maps are
stored as 8-bit cells, and the browser draws them over the picture, which is stored once.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from audit.base.files import write_atomically
from audit.base.geometry import Box, view_in_words
from audit.base.languages import LANGUAGES, NAMES, TAGS, Choice, Message, message, plural
from audit.cases.variants import FOLLOWED
from audit.gate.drift import metric_of
from audit.gate.outcomes import Outcome, State, labels_told, totals
from audit.gate.review import ACCEPTABLE
from audit.gate.runfiles import BASELINE, FOLLOWS, ORIGINAL
from audit.gate.runfolder import Run, Strip
from audit.maps.spec import MapSpec
from audit.metrics.keys import FigureKey
from audit.report.causes import story
from audit.report.glossary import glossary
from audit.report.pictures import data_uri
from audit.report.plotting import colour_map
from audit.report.regions import PALETTE, colours_of, legend, moved_between
from audit.report.templates import template
from audit.report.voice import Voice

Array = NDArray[np.float64]

Content = Literal["failed", "all"]
"""Which cases get all their maps and strips and a large picture."""

_PARTS = ("languages", "drawing", "cases", "choosing", "review", "plots", "terms", "keys")
_LARGE, _THUMBNAIL = 640, 220
_COLOURS = ("viridis", "inferno", "cividis", "jet")
_SAID = re.compile(r'\b(?:t|many)\("([^"]+)"(?:, "([^"]+)")?')
_STEEP = 1e9  # the largest drift, in tolerances: a tolerance near 0 would give infinity


@dataclass(frozen=True)
class Shown:
    """A case to show; its maps, strips and picture are read only when it is drawn.

    Attributes:
        maps: by map key.
        strips: by name.
        picture: None if there is none; the caller may change it.
        original: the picture of the case that a variant is made from; None if there is none.
    """

    outcome: Outcome
    maps: Callable[[], Mapping[str, Array]]
    strips: Callable[[], Mapping[str, Strip]]
    picture: Callable[[], Image.Image | None]
    original: Callable[[], Image.Image | None] = lambda: None


def write_gallery(run: Run, content: Content = "failed", language: Choice = "auto") -> Path:
    """Write ``gallery.html`` into a run's folder, from that folder alone, and return its path.

    Args:
        content: which cases are shown in full; the others get one small picture.
        language: of the page; ``auto`` is that of the browser which opens it.

    Raises:
        RunError: the folder is not a run.
    """
    about, run = run.about(), run.settled()
    shown = [
        Shown(
            o,
            partial(run.maps, o.case),
            partial(run.strips, o.case),
            partial(run.image, o.image_digest),
            partial(run.image, o.variant_of_image),
        )
        for o in run.outcomes()
    ]
    # Missing while a session is running, and after one that crashed.
    results = run.results() if (run.folder / "results.json").exists() else {}
    target = run.folder / "gallery.html"
    write_atomically(
        target, gallery_page(shown, about, results, content, language=language).encode()
    )
    return target


def gallery_page(
    shown: Sequence[Shown],
    about: Mapping[str, Any],
    results: Mapping[str, Any],
    content: Content,
    headline: str = "",
    language: Choice = "auto",
) -> str:
    """The gallery as HTML.

    Args:
        about: what was run, as in ``run.json``.
        results: how the session ended, as in ``results.json``; empty if it has not ended.
        content: which cases are shown in full; the others get one small picture.
        headline: the title of a page that does not show a session; such a page has no review.
        language: of the page; ``auto`` is that of the browser which opens it.
    """
    voice = Voice(language)
    outcomes = [each.outcome for each in shown]
    hues = {name: PALETTE[n] for name, n in colours_of(o.regions for o in outcomes).items()}
    images: dict[str, str] = {}
    known = {each.outcome.case for each in shown}
    cases = [
        _case(each, place, images, content == "all" or each.outcome.state.failed)
        | _original(each, known, images)
        for place, each in enumerate(shown)
    ]
    script = _script()
    figures = list(dict.fromkeys(name for case in cases for name in case["figures"]))
    data = {
        "run": about.get("id", ""),
        "language": language,
        "session": not headline,
        "images": images,
        "regions": hues,
        "colours": {name: _table(name) for name in _COLOURS},
        "asked": {name: _asked(name) for name in figures},
        "cases": cases,
    }
    return template("gallery.html.j2").render(
        **voice.words,
        tag=voice.tag,
        title=_cases(len(outcomes)).said(voice.language),
        languages=[(each, NAMES[each], TAGS[each]) for each in LANGUAGES if language == "auto"],
        headline=headline,
        story=story(outcomes, results.get("suite"), results.get("session")),
        rejected=_rejections(r for r in results.get("rejected", ()) if r["case"] in known),
        legends={
            o.case: legend(o, hues)
            for o, case in zip(outcomes, cases, strict=True)
            if case["full"] and o.regions
        },
        glossary=glossary([*figures, *(row.figure for o in outcomes for row in o.drift)]),
        about=about,
        model=about.get("model", {}),
        totals=totals(outcomes),
        lists=[
            (voice.t("Failed"), "failed", [o for o in outcomes if o.failed]),
            (
                voice.t("Known to fail"),
                "known",
                [o for o in outcomes if o.known],
            ),
            (voice.t("Passed"), "passed", [o for o in outcomes if not o.state.failed]),
        ],
        whole={case["id"] for case in cases if case["full"]},
        decidable={case["id"] for case in cases if case["decidable"]},
        count=len(outcomes),
        labels_told=labels_told(outcomes),
        variants=_families(outcomes),
        follows=FOLLOWED,
        known=known,
        alone={case["id"] for case in cases if "original" in case},
        moved={c["id"] for c in cases if any(m.get("strip") == FOLLOWS for m in c["maps"])},
        suite=results.get("suite"),
        session=results.get("session"),
        seen={o.case: view_in_words(Box(*o.view)) for o in outcomes},
        colours=_COLOURS,
        labels=sorted({o.expected for o in outcomes if o.expected}),
        tags=sorted({tag for o in outcomes for tag in o.tags}),
        metrics=sorted({metric for case in cases for metric in case["moved"]}),
        figures=figures,
        # Both are safe unescaped: the script is this package's own, and the data has no "<".
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        # Called when all words above it are written: only then it is known which texts there are.
        data=lambda: Markup(_embedded({**data, "texts": _texts(voice)})),
    )


def _texts(voice: Voice) -> list[tuple[str, str]]:
    """The texts of the page, by number, and then those of the script, in both languages."""
    if voice.choice == "en":
        return []
    for pair in _SAID.findall(_script()):
        for text in filter(None, pair):
            voice.number(text)
    # The script names pictures by these; a page in one language has them in no other text.
    for state in (*State, "the case, asked only for its variant"):
        voice.number(str(state))
    return voice.table()


def _script() -> str:
    """The page's script, whose parts share one scope."""
    folder = resources.files("audit.report").joinpath("script")
    parts = [folder.joinpath(f"{name}.js").read_text(encoding="utf-8") for name in _PARTS]
    return "".join(['"use strict";\n(() => {\n', *parts, "})();\n"])


def _cases(number: int) -> Message:
    return plural("{number} case", "{number} cases", number)


def _rejections(records: Iterable[Mapping[str, Any]]) -> dict[str, list[Message]]:
    """By case, what each reviewer rejected it for."""
    found: dict[str, list[Message]] = {}
    for record in records:
        found.setdefault(record["case"], []).append(_rejection(record))
    return found


def _rejection(record: Mapping[str, Any]) -> Message:
    """Who rejected a case when and why, as far as the record says."""
    values = {"date": record.get("time", "")[:10]}
    values |= {key: record[key] for key in ("reviewer", "reason") if record.get(key)}
    if len(values) == 3:
        return message("{date} by {reviewer}: {reason}", **values)
    if "reviewer" in values:
        return message("{date} by {reviewer}", **values)
    if "reason" in values:
        return message("{date}: {reason}", **values)
    return message("{date}", **values)


def _embedded(data: Any) -> str:
    """JSON that cannot close the script element around it."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _table(name: str) -> str:
    """A colour map as 256 RGB triples of bytes, in base64."""
    colours = np.asarray(colour_map(name)(np.arange(256), bytes=True))[:, :3]
    return base64.b64encode(np.ascontiguousarray(colours).tobytes()).decode()


def _case(each: Shown, place: int, images: dict[str, str], full: bool) -> dict[str, Any]:
    """What the browser needs to know about a case; adds its picture to ``images``, once."""
    outcome, maps = each.outcome, each.maps()
    own = outcome.metrics.get(outcome.default_map, {})
    ratios = {
        row.figure: round(max(-_STEEP, min(_STEEP, row.change / row.tolerance)), 3)
        for row in outcome.drift
        if row.tolerance and row.figure in own
    }
    strips = dict(each.strips()) if full or outcome.variant_of else {}
    strips.pop(ORIGINAL, None)
    if not full:
        strips = {name: panels for name, panels in strips.items() if name == FOLLOWS}
    drawn = _maps(outcome, maps, strips)
    left = [row for row in outcome.drift if row.verdict != "within"]
    return {
        "id": outcome.case,
        "place": place,
        "state": outcome.state.value,
        "failed": outcome.failed,
        "decidable": (outcome.state in ACCEPTABLE or outcome.state is State.BROKEN)
        and not outcome.undefined,
        "broken": outcome.state is State.BROKEN,
        "full": full,
        "text": outcome.text,
        "premise": outcome.premise,
        "expected": outcome.expected,
        "tags": outcome.tags,
        "size": list(outcome.image_size),
        "regions": outcome.regions,
        "grid": list(outcome.grid),
        "view": list(outcome.view),
        "image": _picture(each, images, _LARGE if full else _THUMBNAIL),
        "maps": [m for n, m in enumerate(drawn) if full or n == 0 or m.get("strip") == FOLLOWS],
        "baselines": [
            {
                "of": key.removeprefix(BASELINE),
                **_cells(p),
                "moved": moved_between(outcome, p, maps.get(key.removeprefix(BASELINE))),
            }
            for key, p in (maps.items() if full else ())
            if key.startswith(BASELINE)
        ],
        "figures": {k: round(v, 6) for k, v in own.items() if isinstance(v, float)},
        "ratios": ratios,
        "moved": sorted({metric_of(row) for row in left}),
        "drift": max((abs(ratio) for ratio in ratios.values()), default=0.0),
    }


def _original(each: Shown, known: Collection[str], images: dict[str, str]) -> dict[str, Any]:
    """What is drawn beside a variant for its case, where that is not shown itself."""
    outcome = each.outcome
    if not outcome.variant_of or outcome.variant_of in known:
        return {}
    panels, picture = each.strips().get(ORIGINAL), each.original()
    if not panels or picture is None:
        return {}
    (_, p), *_ = panels
    key = _kept(picture, f"{outcome.variant_of_image[:16]}-{_THUMBNAIL}", images, _THUMBNAIL)
    return {
        "original": {
            "id": outcome.variant_of, "state": "the case, asked only for its variant", "image": key,
            "size": list(picture.size), "grid": list(p.shape), "regions": {},
            "view": list(outcome.variant_of_view), "maps": [{"name": "its map", **_cells(p)}],
        }
    }  # fmt: skip


def _families(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """The variants of each case, in the order of the file."""
    found: dict[str, list[Outcome]] = {}
    for outcome in sorted(outcomes, key=lambda o: (o.file, o.line)):
        if outcome.variant_of:
            found.setdefault(outcome.variant_of, []).append(outcome)
    return found


def _asked(name: str) -> dict[str, Any]:
    """The keys with which an expectation asks for the figure that is stored as ``name``."""
    key = FigureKey.known(name)
    if key is None:
        return {"metric": name}
    region = {} if key.region is None else {"region": key.region}
    asked: dict[str, Any] = {"metric": key.metric, **region, **dict(key.options)}
    if "against" in asked:
        with suppress(ValueError):  # a run of another version may name maps that are unknown here
            asked["against"] = MapSpec.parse(asked["against"]).model_dump(exclude_unset=True)
    return asked


def _maps(
    outcome: Outcome, maps: Mapping[str, Array], strips: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The case's own map first, then its other maps, then layers and words."""
    now = {key: p for key, p in maps.items() if not key.startswith(BASELINE)}
    order = sorted(now, key=lambda key: key != outcome.default_map)
    found: list[dict[str, Any]] = [{"name": key, **_cells(now[key])} for key in order]
    for strip, panels in strips.items():
        # Layers share one colour scale. Words differ in strength, so each has its own.
        top = max(float(p.max()) for _, p in panels) if strip == "layers" else None
        found += [
            {"name": f"word {name}" if strip == "words" else name, "strip": strip, **_cells(p)}
            | ({"top": round(top, 8)} if top else {})
            for name, p in panels
        ]
    return found


def _cells(p: Array) -> dict[str, Any]:
    """A map as bytes, 255 for its largest value, and that value."""
    peak = float(p.max())
    scaled = np.round(np.clip(p, 0, None) / peak * 255) if peak > 0 else np.zeros(p.shape)
    return {
        "data": base64.b64encode(scaled.astype(np.uint8).tobytes()).decode(),
        "peak": round(peak, 8),
    }


def _picture(each: Shown, images: dict[str, str], width: int) -> str:
    """The key of the case's picture in ``images``; empty if there is none."""
    key = f"{each.outcome.image_digest[:16]}-{width}"
    if key in images:
        return key
    small = each.picture()
    return "" if small is None else _kept(small, key, images, width)


def _kept(small: Image.Image, key: str, images: dict[str, str], width: int) -> str:
    """Add a picture to ``images`` under its key, and return that; the picture is made small."""
    if key not in images:
        small.thumbnail((width, width), Image.Resampling.LANCZOS, reducing_gap=2.0)
        images[key] = data_uri(small)
    return key
