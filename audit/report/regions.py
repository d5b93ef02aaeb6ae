"""The regions of a gallery: a colour for each, and what it gained and lost of a map."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.base.geometry import Box, Grid, mask
from audit.gate.outcomes import Outcome
from audit.metrics.keys import FigureKey
from audit.report.causes import masses, share_told

PALETTE: Sequence[str] = ("#d08000", "#6090f0", "#c04030", "#8040f0", "#909080", "#a060a0")
"""Chosen so that any two differ for people with any kind of colour blindness (simulated as in
Machado et al. 2009), and each stands out from the page, light and dark, by 3 to 1."""


def colours_of(cases: Iterable[Iterable[str]]) -> dict[str, int]:
    """A place in :data:`PALETTE` for each region; the names in one case differ if they can.

    Args:
        cases: the names of the regions of each case.

    >>> colours_of([["birds", "watermark"], ["dogs", "watermark"]])
    {'birds': 0, 'watermark': 1, 'dogs': 0}
    """
    found: dict[str, int] = {}
    for names in cases:
        given = list(names)
        taken = {found[name] for name in given if name in found}
        for name in given:
            if name in found:
                continue
            free = [n for n in range(len(PALETTE)) if n not in taken]
            found[name] = free[0] if free else len(found) % len(PALETTE)
            taken.add(found[name])
    return found


@dataclass(frozen=True)
class Entry:
    """A region in the legend of a case; what is not known is empty.

    Attributes:
        now, was: its share of the case's own map, and that in the baseline, in per cent.
        points: the change between the two.
    """

    name: str
    colour: str
    now: str
    was: str
    points: str


def legend(outcome: Outcome, colours: Mapping[str, str]) -> list[Entry]:
    """The regions of a case with their colours and their shares of its own map."""
    own = outcome.metrics.get(outcome.default_map, {})
    before = masses(outcome)
    found = []
    for name in outcome.regions:
        now = own.get(str(FigureKey.of("mass", name)))
        told = share_told(now) if isinstance(now, float) else ""
        was = points = ""
        if told and name in before:
            was = share_told(before[name].was)
            points = points_told(before[name].now - before[name].was)
        found.append(Entry(name, colours[name], told, was, points))
    return found


def points_told(change: float) -> str:
    """A change of a share, in points with its sign.

    >>> points_told(-0.847), points_told(0.4921), points_told(0.0001)
    ('−85', '+49', '0')
    """
    points = round(100 * change)
    return f"{points:+d}".replace("-", "−") if points else "0"


def moved_between(
    outcome: Outcome, before: NDArray[np.float64], now: NDArray[np.float64] | None
) -> dict[str, str]:
    """What each region of a case gained or lost between two maps (rows, cols), in points."""
    if now is None or now.shape != before.shape or before.ndim != 2:
        return {}
    change, grid = now - before, Grid(*before.shape)
    return {
        name: points_told(float((change * mask([Box(*b) for b in boxes], grid, view)).sum()))
        for view in [Box(*outcome.view)]
        for name, boxes in outcome.regions.items()
    }
