"""What the words on a gallery mean: the metrics from their registry, and the words of the gate."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from audit.base.languages import Message, message
from audit.gate.outcomes import State
from audit.metrics.keys import FigureKey
from audit.metrics.registry import METRICS, Metric


@dataclass(frozen=True)
class Term:
    """A word and what it means.

    Attributes:
        key: its name in the addresses of the page.
    """

    key: str
    word: str
    meaning: Message


WORDS: Mapping[str, str] = {
    "attention": "Where in the picture the model looks for its answer: a share for each cell of a "
    "grid, 100 % in all.",
    "map": "The attention, or another account of what the answer rests on, drawn over the picture.",
    "region": "A named part of the picture, drawn as one or more boxes in the case's file.",
    "peak": "The largest share that a single cell of a map has.",
    "point": "One per cent of a map: from 2 % to 50 % are 48 points.",
    "baseline": "What was accepted for a case before: its answer, its map and its figures.",
    "contract": "What the case's file says must hold: the answer, and limits for figures. A broken "
    "contract fails whatever was accepted; accepting does not mend it.",
    "tolerance": "How far a figure may be from its baseline before the case fails.",
    "drift": "A figure is further from its baseline than its tolerance, though the contract holds.",
    "creep": "Accepted steps that were each within the tolerance add up to more than it. Measured "
    "from the value that was accepted first.",
    "stack": "The same weights gave other figures: software, machine or options differ.",
    "stale": "The case was changed after its baseline was accepted, so the two cannot be compared.",
    "new": "A case without a baseline.",
    "improved": "A figure left its tolerance in the direction that the case asks for.",
    "undefined": "Something is asked about a figure that has no value here.",
    "error": "The case could not be audited.",
    "suite-level gate": "A test over all cases together, which finds small moves in one direction "
    "that no single case shows.",
    "slice": "The cases of one tag, or of one expected label.",
    "p-value": "How often chance alone would give a move as large as this one; corrected for the "
    "number of tests.",
    "noise floor": "How far harmless changes, such as other threads, move a figure.",
}
"""The words of the gate and of maps."""

_OF_STATES: Mapping[State, str] = {
    State.ERROR: "error",
    State.UNDEFINED: "undefined",
    State.BROKEN: "contract",
    State.DRIFTED: "drift",
    State.STACK: "stack",
    State.CREPT: "creep",
    State.STALE: "stale",
    State.NEW: "new",
    State.IMPROVED: "improved",
}

_NAMES_K = re.compile(r"\bK\b")

METRIC = "{SUMMARY} Range: {RANGE}. {DIRECTION} Of a uniform map: {CHANCE}."
METRIC_OF_SIZES = METRIC + " K of the map's N cells lie in the region."

DIRECTIONS = {
    "higher": "Higher is better where the case wants attention.",
    "lower": "Lower is better.",
    "neither": "Neither direction is better by itself.",
}


def of_state(state: State) -> str:
    """The key of the word that explains a state; empty for ``passed``."""
    return key_of(_OF_STATES.get(state, ""))


@lru_cache(maxsize=10_000)  # the figures of every case have the same names
def of_figure(name: str) -> str:
    """The key of the metric in a figure's name or in an expectation; empty if none is known.

    >>> of_figure("mass[birds]"), of_figure("mass of birds"), of_figure("label")
    ('metric-mass', 'metric-mass', '')
    """
    key = FigureKey.known(name)
    metric = key.metric if key else re.split(r"[^a-z_]", name, maxsplit=1)[0]
    return f"metric-{metric}" if metric in METRICS else ""


def key_of(word: str) -> str:
    """A word of :data:`WORDS` in the addresses of the page.

    >>> key_of("noise floor")
    'word-noise-floor'
    """
    return f"word-{word.replace(' ', '-')}" if word else ""


def glossary(figures: Iterable[str]) -> list[Term]:
    """The words of the gate, and the metrics among ``figures``, each in the registry's words."""
    known = {of_figure(name) for name in figures}
    words = [Term(key_of(word), word, message(meaning)) for word, meaning in WORDS.items()]
    metrics = [
        Term(f"metric-{name}", name, _of_metric(row))
        for name, row in METRICS.items()
        if f"metric-{name}" in known
    ]
    return words + metrics


def _of_metric(row: Metric) -> Message:
    """What a metric measures, in the words of the registry."""
    low, _, high = row.range.partition(" to ")
    return message(
        METRIC_OF_SIZES if _NAMES_K.search(row.summary + row.chance) else METRIC,
        SUMMARY=message(row.summary),
        RANGE=message("{low} to {high}", low=low, high=high),
        DIRECTION=message(DIRECTIONS[row.better]),
        CHANCE=message(row.chance),
    )
