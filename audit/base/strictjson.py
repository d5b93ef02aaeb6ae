"""Parse JSON strictly: no repeated keys in an object, and only finite numbers."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any


def loads(text: str) -> Any:
    """The value of a JSON text.

    >>> loads('{"grid": [30, 30]}')
    {'grid': [30, 30]}
    >>> loads('{"yes": 1, "yes": 2}')
    Traceback (most recent call last):
    ValueError: the key 'yes' occurs twice

    Raises:
        ValueError: it is not JSON (then a ``json.JSONDecodeError``, which has line and column), a
            key occurs twice in an object, so that one value would be lost, a number is NaN,
            infinite or too large, or values are nested too deeply.
    """
    try:
        return json.loads(
            text,
            parse_float=_finite,
            parse_constant=_finite,
            parse_int=_whole,
            object_pairs_hook=_unique,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number[:40]} is not a number that can be computed with")
    return value


def _whole(number: str) -> int:
    try:
        return int(number)
    except ValueError:  # Python converts no more than 4,300 digits
        raise ValueError(f"not JSON to compute with: a number of {len(number):,} digits") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        short = repr(twice) if len(twice) <= 60 else f"{twice[:60]!r}…"
        raise ValueError(f"the key {short} occurs twice")
    return found
