"""Counts what each gate catches of the outcomes of one change, and how far figures moved.

The states of cases come from the policy of a session, and the suite is judged by the same functions
as at its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from audit.base.settings import Limits
from audit.gate.changes import changes_of
from audit.gate.drift import drifting, figure_key
from audit.gate.omnibus import judge_omnibus
from audit.gate.outcomes import Outcome, State
from audit.gate.suite import judge_suite
from audit.gate.tolerances import PROBABILITY, UNSAID, Floors, Level, floor_of
from audit.maps.keys import method_of

GATES = ("full", "labels", "probabilities")

_STORED = 2e-6
"""Figures are stored with six decimals, so two of them differ by that much without having moved."""


def judged(
    outcomes: Sequence[Outcome], floors: Floors, level: Level | None = None
) -> dict[str, Any]:
    """Which gates catch the outcomes, and which figure moved most.

    Args:
        floors: by which single moves are measured.
        level: by which all moves together are judged.
    """
    changes = changes_of(outcomes)
    together = judge_omnibus(outcomes, level)
    shifted = bool(changes) and judge_suite(changes, Limits(), together).failed
    states = {s.value: sum(o.state is s for o in outcomes) for s in State}
    wrong = [o.case for o in outcomes if o.expected and o.label != o.expected]
    likely = [o.case for o in outcomes if len(o.drift) > 1 and o.drift[1].verdict == "drifted"]
    moves = [(move.noises, o.case, move) for o in outcomes for move in _moves(o, floors)]
    left = any(row.verdict in ("drifted", "improved") for o in outcomes for row in o.drift)
    broken = [o.case for o in outcomes if not o.drift]
    redefined = any(
        ("undefined" in (row.baseline, row.observed)) and row.baseline != row.observed
        for o in outcomes
        for row in o.drift
    )
    moved, case, move = max(moves, default=(0.0, "", Move(0.0, "", 0.0, 0.0)))
    return {
        "caught": {
            "full": any(o.failed for o in outcomes) or shifted,
            "labels": bool(wrong),
            "probabilities": bool(wrong or likely or broken),
        },
        "measurable": bool(left or redefined or broken or moved > 1),
        "states": {state: count for state, count in states.items() if count},
        "wrong_labels": len(wrong),
        "moved_cases": sum(o.state.failed for o in outcomes),
        "suite": shifted,
        "largest": {
            "noises": round(moved, 2),
            "case": case,
            "figure": move.figure,
            "change": round(move.change, 6),
            "floor": move.floor,
        },
    }


class Move(NamedTuple):
    """How far a figure moved.

    Attributes:
        noises: in noise floors; a floor counts as no less than the last decimal that is stored.
        change: in the figure's own unit.
        floor: the noise floor in that unit; 0 if it is less than the last decimal that is stored.
    """

    noises: float
    figure: str
    change: float
    floor: float


def _moves(outcome: Outcome, floors: Floors) -> list[Move]:
    """The figures that have a noise floor, and how far each moved."""
    known = {
        str(key): floor_of(floors, method_of(map_key), key.metric)
        for map_key, values in drifting(outcome)
        for key in (figure_key(name, map_key, outcome) for name in values)
    }
    known[UNSAID] = floor_of(floors, PROBABILITY, UNSAID)
    found = []
    for number, row in enumerate(outcome.drift):
        floor = floor_of(floors, PROBABILITY, PROBABILITY) if number == 1 else known.get(row.figure)
        if floor is not None:
            change = abs(row.change)
            above = floor if floor > _STORED else 0.0
            found.append(Move(change / (above or _STORED), row.figure, change, above))
    return found


def by_family(results: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Counts by family: planted, measurable, and caught by each gate."""
    counts: dict[str, dict[str, int]] = {}
    for result in results:
        if "skipped" in result:
            continue
        row = counts.setdefault(
            result["family"], dict.fromkeys(("planted", "measurable", *GATES), 0)
        )
        row["planted"] += 1
        row["measurable"] += result["measurable"]
        for gate in GATES:
            row[gate] += result["caught"][gate]
    return counts
