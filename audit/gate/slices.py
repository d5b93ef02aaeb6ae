"""The slices of a suite: the cases of each tag and of each expected label.

A suite can stand as a whole while one kind of question falls.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from audit.gate.changes import Change


class Members(NamedTuple):
    """A slice's name, and the places of its cases in the list of changes."""

    name: str
    rows: NDArray[np.int64]


def slices_of(changes: Sequence[Change]) -> list[Members]:
    """Every slice that is not the whole suite, in the order of their first cases.

    Slices with the same cases are one, which has both names, so that no test is made twice.
    """
    found: dict[str, list[int]] = defaultdict(list)
    for place, change in enumerate(changes):
        for name in _names(change):
            found[name].append(place)
    merged: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for name, places in found.items():
        if len(places) < len(changes):
            merged[tuple(places)].append(name)
    return [Members(", ".join(names), np.array(places)) for places, names in merged.items()]


def _names(change: Change) -> list[str]:
    expected = [f"expected {change.expected}"] if change.expected else []
    return [*expected, *(f"tag {tag}" for tag in change.tags)]
