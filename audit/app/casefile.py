"""A case, made of an answer and the boxes that were drawn on its picture."""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from audit.app.desk import Answer
from audit.base.errors import CaseError
from audit.base.files import write_atomically
from audit.base.geometry import Box, mask
from audit.cases.loading import load_cases
from audit.cases.writing import NewCase, case_file, limit
from audit.maps.spec import MapSpec
from audit.metrics.placement import mass

MOST_BOXES = 50


@dataclass(frozen=True)
class Drawn:
    """A box that was drawn.

    Attributes:
        box: left, top, right, bottom in pixels of the picture's file.
        wanted: whether the model must look there, or must not.
    """

    name: str
    wanted: Literal["look", "avoid"]
    box: tuple[int, int, int, int]


def drawn(value: Any, size: tuple[int, int]) -> list[Drawn]:
    """Check what the page sends and count it in pixels.

    Args:
        value: a list of ``{"name": text, "wanted": "look" or "avoid", "box": [left, top, right,
            bottom]}``, boxes as fractions of the picture.
        size: width and height of the picture's file in pixels.

    Raises:
        ValueError: it is something else, there are too many boxes, one has no name, or boxes of
            one name are wanted both ways.
    """
    if not isinstance(value, list) or len(value) > MOST_BOXES:
        raise ValueError(f"the boxes cannot be read: a list of at most {MOST_BOXES} is needed")
    found = []
    for number, given in enumerate(value, start=1):
        try:
            name, wanted = str(given["name"]).strip(), given["wanted"]
            sides = [min(max(float(side), 0.0), 1.0) for side in given["box"]]
            left, top, right, bottom = (
                round(side * size[axis % 2]) for axis, side in enumerate(sides)
            )
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"box {number} cannot be read") from None
        if wanted not in ("look", "avoid"):
            raise ValueError(f"box {number} cannot be read")
        if not name:
            raise ValueError(f"box {number} has no name: name what it shows")
        # A box that is thinner than a pixel on the screen is still one pixel of the picture.
        left, top = min(left, size[0] - 1), min(top, size[1] - 1)
        found.append(Drawn(name, wanted, (left, top, max(right, left + 1), max(bottom, top + 1))))
    for one in found:
        if any(o.name == one.name and o.wanted != one.wanted for o in found):
            raise ValueError(
                f"the boxes named {one.name!r} are to be looked at and to be avoided; use two names"
            )
    return found


def suggested_id(text: str) -> str:
    """An id for a case from its hypothesis.

    >>> suggested_id("There are two birds, aren't there?")
    'there-are-two-birds-aren-t-there'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:60].strip("-") or "case"


def case_yaml(answer: Answer, name: str, label: str, boxes: Sequence[Drawn]) -> str:
    """A whole case file with one case, limits taken from what the model showed.

    The probability of the given answer and the mass of each region that must be looked at may fall
    by a tenth, rounded down to 0.05, as in the shipped cases; a region must have more than an even
    map puts there, and one to avoid no more.

    Args:
        name: the id of the case.
        label: the expected label; a limit on its probability is written if it is the given answer.

    Raises:
        CaseError: the file that would be written is none: what is wrong, in the words of the
            loader.
    """
    text = _written(answer, name, label, boxes)
    whole = replace(answer.picture, written=str(answer.picture.path.resolve()))
    with tempfile.TemporaryDirectory(prefix="audit-case-") as folder:
        path = Path(folder) / "case.yaml"
        checked = _written(replace(answer, picture=whole), name, label, boxes)
        write_atomically(path, checked.encode())
        try:
            load_cases(path)
        except CaseError as error:
            # The visitor sees fields, not lines of a temporary file.
            said = re.sub(rf"(?m)^{re.escape(str(path))}:\d+:\d+: (cases\[0\]\.)?", "", str(error))
            raise CaseError(said) from None
    return text


def _written(answer: Answer, name: str, label: str, boxes: Sequence[Drawn]) -> str:
    trace = answer.found.trace
    regions = {box.name: [b.box for b in boxes if b.name == box.name] for box in boxes}
    case = NewCase(
        id=name,
        image=answer.picture.written,
        text=answer.text,
        premise=answer.premise,
        regions=regions,
        map=_told(answer.found.spec),
        label=label,
        probability=limit(trace.probabilities[label]) if label == trace.label else None,
        attention=[
            {"metric": "mass", "region": region, **_limit(answer, region, boxes)}
            for region in regions
        ],
    )
    return case_file([case])


def _limit(answer: Answer, region: str, boxes: Sequence[Drawn]) -> dict[str, float]:
    width, height = answer.picture.size
    mine = [box for box in boxes if box.name == region]
    parts = [
        Box(left / width, top / height, right / width, bottom / height)
        for left, top, right, bottom in (each.box for each in mine)
    ]
    trace = answer.found.trace
    area = mask(parts, trace.grid, trace.view)
    if not area.any():
        raise ValueError(f"the region {region!r} lies outside of what the model sees")
    even = math.ceil(100 * float(np.mean(area)) - 1e-9) / 100
    if mine[0].wanted == "avoid":
        return {"max": even}
    return {"min": max(limit(mass(answer.found.map, area)), even)}


def _told(spec: MapSpec) -> dict[str, Any]:
    """A map as a case file asks for it; nothing where it is the default one."""
    if spec == MapSpec():
        return {}
    return {"method": spec.method, **spec.model_dump(exclude_defaults=True)}
