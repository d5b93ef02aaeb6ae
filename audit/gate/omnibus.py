"""The omnibus figure: how far all figures moved together, in noise floors.

Each figure of each case may stay within its tolerance and all of them may still have moved further
than they do when nothing that matters changes. So the moves are divided by their noise floors,
squared and averaged, and the mean is compared with those of the harmless conditions under which
``audit noise`` measured the floors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from audit.base.files import counted, share
from audit.gate.drift import drifting, figure_key
from audit.gate.outcomes import Outcome
from audit.gate.tolerances import (
    ENOUGH,
    MULTIPLE,
    PROBABILITY,
    RESOLUTION,
    UNSAID,
    Floors,
    Level,
    Noise,
    floor_of,
)
from audit.maps.keys import method_of

CAP = 10.0
"""A figure counts with at most so many floors. One that jumps from cell to cell moves by many of
them or not at all, and should not speak for all others; that it moved, its own case says."""

STEP = 4.0
"""The limit is so many times the largest mean of a harmless condition: the mean of figures that
all move twice as far, as the tolerance of one figure is two floors."""

FEWEST = 4
"""So many harmless conditions must have been measured before a limit follows from them. With floors
and limit from every four of the reference's thirteen in float32, the others exceeded it in 36 of
6,435 trials, where the four were such that move next to nothing; from sets of six in none of 420,
and with one left out in none of 13."""


class Move(NamedTuple):
    """How far one figure moved, and by which floor that is measured.

    ``allowed`` is its tolerance if its baseline is of the same weights, else None.
    """

    method: str
    metric: str
    change: float
    allowed: float | None = None


@dataclass(frozen=True)
class Omnibus:
    """The verdict on all moves together.

    Attributes:
        level: precision and device class whose floors were used.
        figures: number of figures that have a floor.
        value: their mean squared move, in floors; a figure counts with at most :data:`CAP`.
        largest: the largest value of a harmless condition.
        conditions: number of harmless conditions.
        limit: the largest value that passes; None if there is nothing to compare with.
        given: whether the limit is the user's.
    """

    level: str
    figures: int
    value: float
    largest: float
    conditions: int
    limit: float | None
    given: bool
    failed: bool
    sentence: str

    @property
    def verdict(self) -> str:
        """In words: ``passed``, ``failed`` or ``cannot tell``."""
        if self.limit is None:
            return "cannot tell"
        return "failed" if self.failed else "passed"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "verdict": self.verdict}


def moves_of(outcomes: Iterable[Outcome]) -> Iterator[Move]:
    """Every move of a figure that was compared with a baseline and is defined on both sides."""
    for outcome in outcomes:
        known = {
            str(key): (method_of(map_key), key.metric)
            for map_key, values in drifting(outcome)
            for key in (figure_key(name, map_key, outcome) for name in values)
        }
        known[UNSAID] = (PROBABILITY, UNSAID)
        for number, row in enumerate(outcome.drift):
            # The second row is the probability of the accepted label.
            place = (PROBABILITY, PROBABILITY) if number == 1 else known.get(row.figure)
            if place is not None and "undefined" not in (row.baseline, row.observed):
                same = outcome.weights == "same"
                yield Move(*place, row.change, row.tolerance if same else None)


def without_floor(outcomes: Iterable[Outcome], noise: Noise, level: Level | None) -> str:
    """A sentence about figures of the same weights for which no noise was measured; empty if none.

    They are held to the tolerances for other weights, far wider than what the same weights need.
    What a case declares needs no floor.

    Args:
        level: the noise of the session's precision and devices.
    """
    own, held = level.floors if level else {}, noise.held({}, level)
    total, missing, wide = 0, 0, 0
    for move in moves_of(outcomes):
        if move.allowed is None or move.allowed != held.default(move.method, move.metric):
            continue
        total += 1
        if floor_of(own, move.method, move.metric) is None:
            missing += 1
            wide += floor_of(noise.floors, move.method, move.metric) is not None
    if not missing:
        return ""
    has, it = ("has", "is") if missing == 1 else ("have", "are")
    return (
        f"the weights are the baselines', but {share(missing, total, 'figure')} {has} no noise "
        f"floor from at least {ENOUGH} deviations and {it} held to "
        f"{'the wider tolerances for other weights' if wide else 'default tolerances'}: "
        f"measure {'more cases' if noise != Noise() else 'it'} with audit noise"
    )


def mean_square(moves: Iterable[Move], floors: Floors) -> tuple[float, int]:
    """Mean squared move in floors, and the number of figures; those without a floor are left out.

    A floor of zero is none: such a figure did not move in any harmless condition, and its own
    tolerance finds it. A figure of the same weights with a wider tolerance than its floor gives is
    left out too, because its case declared that it may move.

    >>> floors = {"rollout": {"mass": 0.01}}
    >>> mean_square([Move("rollout", "mass", 0.01), Move("rollout", "mass", -0.03)], floors)
    (5.0, 2)
    """
    total, count = 0.0, 0
    for move in moves:
        floor = floor_of(floors, move.method, move.metric)
        if floor and not _declared(move, floor):
            total += min(abs(move.change) / max(floor, RESOLUTION), CAP) ** 2
            count += 1
    return (round(total / count, 6) if count else 0.0), count


def _declared(move: Move, floor: float) -> bool:
    measured = MULTIPLE * max(floor, RESOLUTION)
    return move.allowed is not None and move.allowed > measured * (1 + 1e-9)


def harmless_limit(values: Mapping[str, float]) -> float | None:
    """The limit that follows from harmless conditions; None if they are too few."""
    if len(values) < FEWEST:
        return None
    return STEP * max(values.values())


def judge_omnibus(
    outcomes: Sequence[Outcome], level: Level | None, given: float | None = None
) -> Omnibus | None:
    """Judge all moves of a session together; None if there is no floor to measure them by.

    Args:
        level: the noise of the session's precision and devices.
        given: the user's limit. It holds where a case's baseline is of other weights, which move
            figures on purpose; the same weights are held to what is harmless.
    """
    other = any(outcome.weights == "other" for outcome in outcomes)
    hint = (
        "--audit-update=all accepts a deliberate update, --audit-omnibus-limit lets it pass"
        if other
        else "if what computes was changed on purpose, --audit-update=all accepts it"
    )
    return judge_moves(moves_of(outcomes), level, given, other=other, hint=hint)


def judge_moves(
    moves: Iterable[Move], level: Level | None, given: float | None = None, *,
    other: bool, hint: str = "",
) -> Omnibus | None:  # fmt: skip
    """As :func:`judge_omnibus`, for moves that were read from elsewhere.

    Args:
        other: whether some of them are of other weights than their baselines.
        hint: what can be done about too large moves.
    """
    if level is None:
        return None
    value, figures = mean_square(moves, level.floors)
    if not figures:
        return None
    limit = given if other and given is not None else harmless_limit(level.harmless)
    largest = max(level.harmless.values(), default=0.0)
    failed = limit is not None and value > limit
    chosen = other and given is not None
    sentence = _sentence(level, figures, value, limit, given=chosen, failed=failed, hint=hint)
    if given is not None and not other:
        sentence += f"; the limit of {given:g} that was set is not for the baselines' own weights"
    return Omnibus(
        level.title, figures, value, largest, len(level.harmless), limit, chosen, failed, sentence
    )


def _sentence(
    level: Level, figures: int, value: float, limit: float | None, *,
    given: bool, failed: bool, hint: str,
) -> str:  # fmt: skip
    mean = f"{value:.0f}" if value >= 10 else f"{value:.2g}"  # and never 1e+02
    moved = (
        f"{counted(figures, 'figure')} moved by {mean} squared noise floors ({level.title}) "
        "on average"
    )
    if limit is None:
        few = len(level.harmless)
        number = counted(few, "harmless condition") if few else "no harmless condition"
        were = "was" if few < 2 else "were"
        return f"{moved}; {number} {were} measured, too few for a limit"
    if given:
        return f"{moved}, {'more than' if failed else 'within'} the limit of {limit:g} that was set"
    whose = f"the {limit:.2g} that {len(level.harmless)} harmless conditions allow"
    if not failed:
        return f"{moved}, within {whose}"
    return f"{moved}, more than {whose}{f'; {hint}' if hint else ''}"
