"""What each case of a run changed against its baseline, as the suite-level gate judges it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Set
from dataclasses import dataclass
from functools import lru_cache

from audit.gate.drift import probability_name
from audit.gate.outcomes import Outcome
from audit.gate.tolerances import PROBABILITY, UNSAID
from audit.metrics.keys import FigureKey


@dataclass(frozen=True)
class Change:
    """One case before and after.

    Attributes:
        image: digest of its picture; all cases of one picture, and their variants, have one vote
            together.
        right: whether the label was the expected one, before and after; never, if none is.
        changes: by metric, after minus before; the mean if there are several regions.
        tolerances: by metric, how much a single case may change.
        expected: the expected label; empty if a variant leaves it open.
        declared: metrics with limits in this case; only these can change for the better.
        drifted: whether a figure left its tolerance, and not for the better, or the label changed.
        undeclared: figures that left their tolerance for the better though nothing was asked of
            them.
    """

    case: str
    image: str
    critical: bool
    labels: tuple[str, str]
    right: tuple[bool, bool]
    changes: dict[str, float]
    tolerances: dict[str, float]
    expected: str = ""
    tags: tuple[str, ...] = ()
    declared: frozenset[str] = frozenset()
    drifted: bool = False
    undeclared: tuple[str, ...] = ()


def changes_of(outcomes: Iterable[Outcome]) -> list[Change]:
    """The cases of a run that were compared with a baseline, each on its own map."""
    return [_change(outcome) for outcome in outcomes if outcome.drift]


def _change(outcome: Outcome) -> Change:
    label, probability, *rows = outcome.drift
    by_metric: dict[str, list[float]] = defaultdict(list)
    tolerances = {PROBABILITY: probability.tolerance}
    own = outcome.metrics.get(outcome.default_map, {})
    for row in rows:
        if row.figure == UNSAID:
            by_metric[UNSAID].append(row.change)
            tolerances[UNSAID] = row.tolerance
        if row.figure not in own or "undefined" in (row.baseline, row.observed):
            continue
        key = _parsed(row.figure)
        if key.row.better in ("neither", row.better):
            by_metric[key.metric].append(row.change)
        elif row.better != "neither":  # a region to avoid, where less of the map is better
            by_metric[key.metric].append(-row.change)
        else:
            continue  # no expectation is about this region
        tolerances[key.metric] = row.tolerance
    changes = {metric: sum(v) / len(v) for metric, v in by_metric.items()}
    if outcome.expected:
        # The row is about the accepted label. Turned to the expected label, so that up is better.
        sign = 1.0 if label.baseline == outcome.expected else -1.0
        changes = {PROBABILITY: sign * probability.change, **changes}
    said = {verdict.expectation for verdict in outcome.verdicts}
    return Change(
        outcome.case,
        outcome.source_image,
        outcome.critical,
        (label.baseline, label.observed),
        (label.baseline == outcome.expected, label.observed == outcome.expected),
        changes,
        tolerances,
        outcome.expected,
        tuple(dict.fromkeys(outcome.tags)),
        declared_metrics(outcome.expected, own, said),
        any(row.verdict in ("drifted", "crept") for row in outcome.drift),
        tuple(r.figure for r in rows if r.verdict == "improved" and not declares(said, r.figure)),
    )


def declared_metrics(expected: str, figures: Iterable[str], said: Set[str]) -> frozenset[str]:
    """The metrics that a case's expectations give limits for.

    Args:
        figures: stored names of the figures of the case's own map.
        said: the expectations of its verdicts.
    """
    found = {key.metric for key in map(_known, figures) if key is not None and key.words in said}
    return frozenset(found | ({PROBABILITY} if probability_name(expected) in said else set()))


def declares(said: Set[str], figure: str) -> bool:
    """Whether an expectation gives limits for a figure, named as in drift rows."""
    key = _known(figure)
    return key is not None and key.words in said


# The figures of every case have the same names.
_parsed = lru_cache(maxsize=10_000)(FigureKey.parse)
_known = lru_cache(maxsize=10_000)(FigureKey.known)
