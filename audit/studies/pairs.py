"""One case on both sides of a comparison: what moved, and by how much it may."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from audit.base.errors import RunError, Undefined
from audit.base.files import rounded
from audit.base.geometry import same_view
from audit.cases.expectations import LABEL
from audit.gate.changes import declares
from audit.gate.omnibus import Move
from audit.gate.stack import are_unseen, asked_otherwise, same_weights
from audit.gate.tolerances import PROBABILITY, Noise, Tolerances, floor_of
from audit.gate.verdict import level_of
from audit.metrics.distances import centre_shift, emd, js
from audit.metrics.keys import FigureKey
from audit.studies.sides import Subject

DISTANCES = {"js": js, "emd": emd, "centre_shift": centre_shift}

_MANY_CELLS = 64 * 64
"""On finer grids the earth mover's distance would take minutes and gigabytes."""

_ROUNDING = 2e-6  # figures of baselines are stored with six decimals


@dataclass(frozen=True)
class Pair:
    """One case on both sides.

    Attributes:
        probability: of the label that the second side expects, on each side; of the first side's
            label, if it expects none.
        changes: by figure, the value on each side.
        distances: between the two maps, or the reason why there is none.
        tolerances: from the noise floor of either side's baselines, or else the defaults; for the
            same weights, the floor of their precision and devices.
        same: whether both sides are of the same weights, or are said to be, and were asked by the
            same asking file.
        measured: what the noise floors of such a pair were measured over; see :class:`Level`.
    """

    before: Subject
    after: Subject
    probability: tuple[float, float]
    changes: dict[FigureKey, tuple[float | str, float | str]]
    distances: dict[str, float | str]
    tolerances: Tolerances
    same: bool = False
    measured: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def floored(self) -> int:
        """How many of its moves are held to a measured noise floor."""
        floors = self.tolerances.floors
        return sum(floor_of(floors, m.method, m.metric) is not None for m in self.moves)

    @property
    def same_view(self) -> bool:
        """Whether both maps cover the same part of the picture, so that they can be compared."""
        return same_view(self.before.view, self.after.view)

    @property
    def beyond(self) -> bool:
        """Whether the label flipped, or a figure changed by more than its tolerance."""
        return bool(self.metrics_beyond)

    @property
    def metrics_beyond(self) -> frozenset[str]:
        """The metrics that changed by more than their tolerance, and ``label`` if it flipped."""
        first, second = self.probability
        moved = {key.metric for key, values in self.changes.items() if self._left(key, *values)}
        if abs(second - first) > self.tolerances.probability() + _ROUNDING:
            moved.add(PROBABILITY)
        if self.before.label != self.after.label:
            moved.add(LABEL)
        return frozenset(moved)

    @property
    def said(self) -> frozenset[str] | None:
        """The expectations of the case; None if neither side knows them."""
        return self.after.said if self.after.said is not None else self.before.said

    @property
    def undeclared(self) -> tuple[str, ...]:
        """Figures that left their tolerance for the better though nothing was asked of them."""
        return tuple(
            str(key)
            for key, (was, now) in self.changes.items()
            if self._left(key, was, now)
            and isinstance(was, float) and isinstance(now, float)
            and key.row.better == ("higher" if now > was else "lower")
            and self.said is not None and not declares(self.said, str(key))
        )  # fmt: skip

    def _left(self, key: FigureKey, before: float | str, after: float | str) -> bool:
        if isinstance(before, str) or isinstance(after, str):
            return isinstance(before, str) != isinstance(after, str)
        allowed = self.tolerances.figure(self.after.method, key)
        return abs(after - before) > allowed + _ROUNDING

    @property
    def moves(self) -> list[Move]:
        """What moved, for the verdict on all moves together."""
        method, tolerances = self.after.method, self.tolerances

        def move(of: str, metric: str, first: float, second: float, allowed: float) -> Move:
            by = rounded(second - rounded(first))  # as baselines are stored
            return Move(of, metric, by, allowed if self.same else None)

        return [
            move(PROBABILITY, PROBABILITY, *self.probability, tolerances.probability()),
            *(
                move(method, key.metric, first, second, tolerances.figure(method, key))
                for key, (first, second) in self.changes.items()
                if not isinstance(first, str) and not isinstance(second, str)
            ),
        ]

    @property
    def undefined(self) -> str:
        """Which distances have no value, and why; empty if all have one."""
        reasons: dict[str, list[str]] = {}
        for name, value in self.distances.items():
            if isinstance(value, str):
                reasons.setdefault(value, []).append(name)
        return "; ".join(f"{', '.join(names)}: {why}" for why, names in reasons.items())

    @property
    def moved(self) -> float:
        """How far the map moved, for sorting; a missing map counts as the largest move."""
        found = self.distances["js"]
        return found if isinstance(found, float) else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "case": self.after.case,
            "text": self.after.text,
            "expected": self.after.expected,
            "weights": "same" if self.same else "other",
            "labels": [self.before.label, self.after.label],
            "probability": list(self.probability),
            "metrics": {str(k): [_plain(v) for v in pair] for k, pair in self.changes.items()},
            "distances": {k: _plain(v) for k, v in self.distances.items()},
        }


def paired(before: Subject, after: Subject, noise: Noise, stated: bool) -> Pair:
    """Two answers to one case, with what moved between them.

    Args:
        noise: the floors that their figures are held to.
        stated: whether somebody says that weights which nobody can see are the same.

    Raises:
        RunError: it is said of weights that can be seen.
    """
    if stated and not (are_unseen(before.origin) or are_unseen(after.origin)):
        raise RunError(
            f"{after.case}: --same-weights is for weights that cannot be seen, behind a server; "
            "here it is known whether they are the same"
        )
    same = stated or same_weights(after.origin, before.origin)
    same = same and not asked_otherwise(after.origin, before.origin)
    tolerances, level = noise.tolerances({}), level_of(noise, after.origin, before.origin)
    if same:
        tolerances = noise.held({}, level)
    shared = {name: FigureKey.known(name) for name in after.figures if name in before.figures}
    if _other_maps(before, after) or (same and not _same_grid(before, after)):
        shared = {}  # figures of other maps, and of the same weights on another grid, say nothing
    if are_unseen(before.origin) or are_unseen(after.origin):  # a server shows no attention
        shared = {n: key for n, key in shared.items() if key and key.row.kind != "trace"}
    label = after.expected or before.label
    first, second = (float(s.probabilities.get(label, 0.0)) for s in (before, after))
    return Pair(
        before,
        after,
        (first, second),
        {key: (before.figures[name], after.figures[name]) for name, key in shared.items() if key},
        {name: _distance(function, before, after) for name, function in DISTANCES.items()},
        tolerances,
        same,
        level.measured if level else {},
    )


def _other_maps(before: Subject, after: Subject) -> bool:
    """Whether the two have maps of different methods, because their models have other defaults."""
    return before.method != after.method


def _same_grid(before: Subject, after: Subject) -> bool:
    return before.map is None or after.map is None or before.map.shape == after.map.shape


def _distance(function: Any, before: Subject, after: Subject) -> float | str:
    if before.map is None or after.map is None:
        return "one side has no map"
    if _other_maps(before, after):
        return "the maps are of different methods"
    if not same_view(before.view, after.view):
        return "the maps cover different parts of the picture"
    if function is emd and before.map.size > _MANY_CELLS:
        return "the grid is too fine"
    try:
        return float(function(before.map, after.map))
    except Undefined as reason:
        return str(reason)


def _plain(value: float | str) -> Any:
    return {"undefined": value} if isinstance(value, str) else value
