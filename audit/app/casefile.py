"""A case file, made from an answer and the boxes that were drawn on its picture."""

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
    """A box that a visitor drew.

    Attributes:
        box: left, top, right, bottom in pixels of the picture's file.
        wanted: whether the model must look there or must not.
    """

    name: str
    wanted: Literal["look", "avoid"]
    box: tuple[int, int, int, int]


def drawn(value: Any, size: tuple[int, int]) -> list[Drawn]:
    """Check the boxes that the page sends, and convert them to pixels.

    Args:
        value: a list of ``{"name": text, "wanted": "look" or "avoid", "box": [left, top, right,
            bottom]}``, boxes as fractions of the picture.
        size: width and height of the picture's file in pixels.

    Raises:
        ValueError: the value is something else, there are too many boxes, a box has no name, or of
            two boxes with one name the model must look at one and must not at the other.
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
            raise ValueError(f"box {number} has no name: say what it shows")
        # Even the thinnest box covers one pixel of the picture.
        left, top = min(left, size[0] - 1), min(top, size[1] - 1)
        found.append(Drawn(name, wanted, (left, top, max(right, left + 1), max(bottom, top + 1))))
    for one in found:
        if any(o.name == one.name and o.wanted != one.wanted for o in found):
            raise ValueError(
                f"of the boxes named {one.name!r} the model must look at some and must not look at "
                "others; use two names"
            )
    return found


def suggested_id(text: str) -> str:
    """A case id, made from the hypothesis.

    >>> suggested_id("There are two birds, aren't there?")
    'there-are-two-birds-aren-t-there'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:60].strip("-") or "case"


def case_yaml(answer: Answer, name: str, label: str, boxes: Sequence[Drawn]) -> str:
    """A whole case file with one case, with limits taken from the answer.

    The probability of the answer, and the mass of each region to look at, may fall by a tenth,
    rounded down to a multiple of 0.05, as in the shipped cases. A region to look at must also have
    at least the mass that a uniform map has there, and a region to avoid at most that.

    Args:
        name: the id of the case.
        label: the expected label; its probability gets a limit only if it is the model's answer.

    Raises:
        CaseError: the file would not be a valid case file; the message is the loader's.
        ValueError: the model sees nothing of a region.
    """
    text = _written(answer, name, label, boxes)
    absolute = replace(answer.picture, written=str(answer.picture.path.resolve()))
    with tempfile.TemporaryDirectory(prefix="audit-case-") as folder:
        path = Path(folder) / "case.yaml"
        checked = _written(replace(answer, picture=absolute), name, label, boxes)
        write_atomically(path, checked.encode())
        try:
            load_cases(path)
        except CaseError as error:
            # The visitor sees the page's fields, not the lines of a temporary file.
            place = rf"(?m)^{re.escape(str(path))}:\d+:\d+: (cases\[0\]\.)?"
            raise CaseError(re.sub(place, "", str(error))) from None
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
        map=_map_keys(answer.found.spec),
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


def _map_keys(spec: MapSpec) -> dict[str, Any]:
    """The keys with which a case file asks for a map; none for the default map."""
    if spec == MapSpec():
        return {}
    return {"method": spec.method, **spec.model_dump(exclude_defaults=True)}
