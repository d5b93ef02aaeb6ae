"""Regions of a row: what a column of them may hold, and names that a case file takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from unicodedata import category

from audit.base.strictjson import loads
from audit.base.yamlfile import shortened
from audit.cases.schema import region_name
from audit.sources.rows import Box

FORMS = ("xyxy", "xywh")
"""How a column may write boxes in pixels, besides the way of case files."""

_SHOWN = 80

LARGEST = 1e9
"""No side of a box is longer; sums of larger whole numbers would not fit a float."""


def legal_region(written: str) -> str:
    """``written`` as the name of a region: without the characters that it may not have.

    >>> legal_region("the dog"), legal_region("*two* [birds]"), legal_region("?")
    ('the dog', 'two birds', 'region')
    """
    kept = "".join(c if category(c)[0] in "LMN" or c in "_-.,'’&+/()" else " " for c in written)
    words = " ".join(kept.split())
    while words and not words[0].isalnum():
        words = words[1:].lstrip()
    return words[:60].rstrip() or "region"


def read_regions(given: object, form: str) -> dict[str, list[Box]]:
    """What a column of regions holds: by name a box or a list of them; a text of it is JSON.

    Args:
        form: see :attr:`audit.sources.rows.Options.boxes`.

    Raises:
        ValueError: it is something else, or a name is not that of a region.

    >>> read_regions('{"bird": [0.25, 0.5, 0.75, 1.0]}', "")
    {'bird': [[0.25, 0.5, 0.75, 1.0]]}
    >>> read_regions({"bird": [[10.2, 20.0, 30.0, 40.6]]}, "xywh")
    {'bird': [[10, 20, 40, 61]]}
    """
    if given is None or (isinstance(given, str) and not given.strip()):
        return {}
    if isinstance(given, str):
        try:
            given = loads(given)
        except ValueError as error:
            raise ValueError(f"the regions are not JSON: {error}") from None
    if isinstance(given, list) and all(isinstance(e, tuple) and len(e) == 2 for e in given):
        given = dict(given)  # a map of Arrow
    if not isinstance(given, Mapping):
        raise ValueError('regions are written {"NAME": [left, top, right, bottom]}')
    found: dict[str, list[Box]] = {}
    for name, boxes in given.items():
        if boxes is None:
            continue  # a struct of Arrow has all names in every row
        region_name(str(name))
        several = isinstance(boxes, list) and boxes and isinstance(boxes[0], list)
        listed = boxes if several else [boxes]
        found[str(name)] = [_box(box, str(name), form) for box in listed]
    return found


def _box(given: Any, name: str, form: str) -> Box:
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != 4:
        raise ValueError(f"a box of {name!r} is four numbers, not {shortened(repr(given))}")
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in given):
        raise ValueError(f"a box of {name!r} is four numbers, not {shortened(repr(given))}")
    if not all(abs(v) <= LARGEST for v in given):
        shown = str(list(given))[:_SHOWN]
        raise ValueError(f"the box {shown} of {name!r} has a side that is not a number of pixels")
    left, top, right, bottom = given
    if form == "xywh":
        right, bottom = left + right, top + bottom
    sides = [left, top, right, bottom]
    return [round(v) for v in sides] if form else sides
