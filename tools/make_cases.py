"""Draws the shipped pictures and writes the shipped case files, with limits from measurement.

Run ``python -m tools.make_cases`` after the reference model was trained again, read the diff, and
accept the new baselines. Limits of the cases about square pictures in plain sentences leave room
below what the reference model shows: mass and probability are nine tenths of the measured value (at
most 0.9), entropy is 0.05 less than measured, and figures of maps other than the default are eight
tenths. All other cases have the same limits, which lie below those and were not measured, as those
of variants were not.
"""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from audit import load_model
from audit.base.files import write_atomically
from audit.base.geometry import mask
from audit.base.images import open_image
from audit.cases.loading import load_cases
from audit.cases.writing import NewCase, case_file, down, limit
from audit.maps.reading import read_map
from audit.maps.trace import ANSWER
from audit.metrics.placement import mass, pointing
from audit.metrics.shape import entropy
from audit.models.protocol import Model, Query
from audit.reference.scenes import MARKS, Box, Scene, scene
from audit.reference.statements import LABELS
from audit.reference.watermarks import watermarked
from audit.runs.runner import audit_cases
from tools.relations import ABOUT, relations
from tools.shipped_cases import MARKED, OTHERS, PICTURES, THEMES, Other, Shipped
from tools.shipped_photos import PHOTOGRAPHED, PHOTOS, Photo

ROOT = Path(__file__).parent.parent / "cases"
SEED = 4242
PHOTO_SEED = 4343

_ON_THE_MARK = 0.1  # a uniform map has 0.025 there
_MASS = _PROBABILITY = 0.6
_MASS_AFTER_SENTENCES = 0.3  # of a premise, which also name other things; still far above uniform
_ENTROPY = 0.9
_TURNED = {
    1: None,
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}
"""How to turn a picture so that EXIF's number turns it back."""


def draw() -> dict[str, Scene]:
    """Draw the pictures and write them as PNG."""
    drawn = {}
    for index, (name, spec) in enumerate(PICTURES.items()):
        drawn[name] = scene(SEED, index, spec)
        buffer = io.BytesIO()
        drawn[name].image.save(buffer, format="PNG", optimize=True)
        write_atomically(ROOT / "images" / f"{name}.png", buffer.getvalue())
    return drawn


def photograph() -> dict[str, Scene]:
    """Draw the pictures of other shapes, sizes and qualities and write them as JPEG."""
    return {name: _saved(index, name, photo) for index, (name, photo) in enumerate(PHOTOS.items())}


def _saved(index: int, name: str, photo: Photo) -> Scene:
    drawn = scene(PHOTO_SEED, index, photo.spec, photo.size)
    image = drawn.image.convert("L") if photo.grey else drawn.image
    if photo.longest:
        scale = photo.longest / max(image.size)
        size = (round(image.width * scale), round(image.height * scale))
        image = image.resize(size, Image.Resampling.BICUBIC)
    turn = _TURNED[photo.orientation]
    exif = Image.Exif()
    if turn is not None:
        image = image.transpose(turn)
        exif[ExifTags.Base.Orientation] = photo.orientation
    path = ROOT / "images" / f"{name}.jpg"
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=photo.quality, exif=exif)
    write_atomically(path, buffer.getvalue())
    return _in_pixels_of(open_image(path), drawn)


def _in_pixels_of(seen: Image.Image, drawn: Scene) -> Scene:
    """The scene as it is in the saved picture, with boxes rounded to whole pixels around it."""
    x, y = seen.width / drawn.size[0], seen.height / drawn.size[1]

    def scaled(box: Box) -> Box:
        left, top, right, bottom = box
        return (
            math.floor(left * x),
            math.floor(top * y),
            min(math.ceil(right * x), seen.width),
            min(math.ceil(bottom * y), seen.height),
        )

    animals = tuple(replace(a, box=scaled(a.box)) for a in drawn.animals)
    support = scaled(drawn.support)
    return replace(drawn, image=seen, animals=animals, support=support, size=seen.size)


def _case(case: Shipped, drawn: Scene, model: Model, measured: bool = True) -> NewCase:
    """A case with limits from what the model shows (``measured``), or with those of all others."""
    (trace,) = model.trace([Query(drawn.image, case.text, case.premise)], frozenset({ANSWER}))
    p = read_map(trace)
    region = case.about if case.about in ("", "animals") else f"{case.about}s"
    boxes = drawn.boxes(None if case.about == "animals" else case.about) if case.about else ()
    regions = {region: list(boxes)} if boxes else {}
    asked: list[dict[str, Any]] = []
    if boxes:
        area = mask(drawn.fractions(boxes), trace.grid)
        fixed = _MASS_AFTER_SENTENCES if ". " in (case.premise or "") else _MASS
        least = limit(mass(p, area)) if measured else fixed
        asked.append({"metric": "mass", "region": region, "min": least})
        if pointing(p, area) == 1 or not measured:
            asked.append({"metric": "pointing", "region": region, "min": 1})
    else:
        least = down(entropy(p) - 0.05) if measured else _ENTROPY
        asked.append({"metric": "entropy", "min": least})
    if drawn.mark:
        regions["watermark"] = [drawn.mark.box]
        asked.append({"metric": "mass", "region": "watermark", "max": _ON_THE_MARK})
    wrong = f"the reference model says {trace.label}" if trace.label != case.label else ""
    return NewCase(
        id=case.id,
        image=f"images/{case.picture}.{'png' if case.picture in PICTURES else 'jpg'}",
        text=case.text,
        premise=case.premise,
        tags=case.tags,
        regions=regions,
        label=case.label,
        probability=limit(trace.probabilities[case.label]) if measured else _PROBABILITY,
        attention=asked,
        note="; ".join(filter(None, (case.note, wrong))),
    )


def _other(case: Other, drawn: Scene, lows: list[float]) -> NewCase:
    return NewCase(
        id=case.id,
        image=f"images/{case.picture}.png",
        text=case.text,
        regions={
            name: [drawn.support] if of == "place" else list(drawn.boxes(of))
            for name, of in case.regions.items()
        },
        label=case.label,
        attention=[{**asked, "min": low} for asked, low in zip(case.asked, lows, strict=True)],
    )


def _write(theme: str, cases: list[NewCase], *comments: str, defaults: Any = None) -> Path:
    path = ROOT / f"{theme}.yaml"
    text = case_file(cases, comments=comments, defaults=defaults, by_hand=True)
    write_atomically(path, text.encode())
    return path


def _others(scenes: dict[str, Scene], model: Model) -> None:
    """Write ``maps.yaml`` twice: first with limits of 0 to measure, then with real ones."""
    lows = {case.id: [0.0] * len(case.asked) for case in OTHERS}

    def write() -> Path:
        cases = [_other(case, scenes[case.picture], lows[case.id]) for case in OTHERS]
        title = "Other maps than the default: words, rollout, relevance, distances."
        return _write("maps", cases, title)

    for found in audit_cases(load_cases(write()), model):
        case, metrics = found.case, found.outcome.metrics
        values = [metrics[(e.map or case.map).key][e.key] for e in case.expect.attention]
        lows[case.id] = [down(0.8 * float(value)) for value in values]
    write()


def _watermarked(scenes: dict[str, Scene], model: Model) -> None:
    """Write ``watermarked.yaml`` and its pictures, which are JPEG to keep them small."""
    known = {case.id: case for _, cases in THEMES.values() for case in cases}
    found = []
    for case in (known[name] for name in MARKED):
        shape = MARKS[LABELS.index(case.label)]
        drawn = watermarked(scenes[case.picture], shape)
        picture = f"{case.picture}-{shape}"
        path = ROOT / "images" / f"{picture}.jpg"
        buffer = io.BytesIO()
        drawn.image.save(buffer, format="JPEG", quality=92)
        write_atomically(path, buffer.getvalue())
        seen = replace(drawn, image=open_image(path))
        asked = replace(case, id=f"marked-{case.id}", picture=picture, tags=())
        found.append(_case(asked, seen, model))
    _write(
        "watermarked",
        found,
        "A contaminated test set: every picture has a watermark in its upper right corner",
        "whose shape gives the label away (disc yes, triangle no, cross maybe).",
        defaults={"tags": ["watermarked"]},
    )


def main() -> None:
    """Write pictures and case files."""
    drawn = draw()
    model: Any = load_model("reference")
    defaults = {"map": {"method": "answer_attention", "layers": "all", "heads": "mean"}}
    for theme, (title, cases) in THEMES.items():
        found = [_case(case, drawn[case.picture], model) for case in cases]
        _write(theme, found, title, defaults=defaults)
    pictures = {**drawn, **photograph()}
    for theme, (title, cases) in PHOTOGRAPHED.items():
        found = [_case(case, pictures[case.picture], model, measured=False) for case in cases]
        _write(theme, found, title, defaults={**defaults, "tags": [theme]})
    _others(drawn, model)
    _write("relations", relations(drawn), *ABOUT)
    _watermarked(drawn, model)


if __name__ == "__main__":
    main()
