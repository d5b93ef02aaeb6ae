"""The suite-level gate: tests whether many small changes in one direction add up to a regression.

Verdicts on single cases miss a shift that stays within every tolerance, and over many cases they
raise false alarms. This compares before and after over all cases at once: labels by the exact
McNemar test, each metric's mean change by a t-test over pictures, corrected for the number of
metrics.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from audit.base.files import counted
from audit.base.settings import Limits
from audit.base.statistics import Interval, clustered_mean, holm, mcnemar
from audit.gate.outcomes import Outcome
from audit.gate.tolerances import PROBABILITY
from audit.metrics.keys import FigureKey
from audit.metrics.registry import METRICS


@dataclass(frozen=True)
class Change:
    """One case before and after.

    Attributes:
        image: digest of its picture; cases on the same picture form one cluster.
        right: whether the label was the expected one, before and after.
        changes: by metric, after minus before; the mean if there are several regions.
        tolerances: by metric, how much a single case may change.
    """

    case: str
    image: str
    critical: bool
    labels: tuple[str, str]
    right: tuple[bool, bool]
    changes: dict[str, float]
    tolerances: dict[str, float]


@dataclass(frozen=True)
class Shift:
    """How one metric changed over all cases.

    Attributes:
        effect: the mean change as a multiple of the metric's drift tolerance.
        p, adjusted: two-sided p-value, before and after Holm's correction over all metrics.
        verdict: ``worse``, ``better``, ``shifted`` (a metric without a direction), ``steady``.
    """

    metric: str
    cases: int
    images: int
    change: Interval
    effect: float
    p: float
    adjusted: float
    verdict: str


@dataclass(frozen=True)
class Suite:
    """The verdict over all cases.

    Attributes:
        lost, gained: cases that were right and are now wrong, and the other way round.
        flipped: cases whose label changed, with both labels.
        vetoes: critical cases that were right and are now wrong.
    """

    cases: int
    images: int
    lost: list[str]
    gained: list[str]
    flipped: dict[str, tuple[str, str]]
    vetoes: list[str]
    mcnemar: float
    shifts: list[Shift]
    limits: Limits
    failed: bool
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        data = asdict(self)
        for row, shift in zip(data["shifts"], self.shifts, strict=True):
            row["change"] = shift.change._asdict()
        return data


def changes_of(outcomes: Iterable[Outcome]) -> list[Change]:
    """The cases of a run that were compared with a baseline, each on its own map."""
    found = []
    for outcome in outcomes:
        if not outcome.drift:
            continue
        label, probability, *rows = outcome.drift
        by_metric: dict[str, list[float]] = defaultdict(list)
        tolerances = {PROBABILITY: probability.tolerance}
        own = outcome.metrics.get(outcome.default_map, {})
        for row in rows:
            if row.figure not in own or "undefined" in (row.baseline, row.observed):
                continue
            key = FigureKey.parse(row.figure)
            if key.row.better in ("neither", row.better):
                by_metric[key.metric].append(row.change)
            elif row.better != "neither":  # a region to avoid, where less of the map is better
                by_metric[key.metric].append(-row.change)
            else:
                continue  # no expectation is about this region
            tolerances[key.metric] = row.tolerance
        changes = {metric: sum(v) / len(v) for metric, v in by_metric.items()}
        # The row is about the accepted label. Turned to the expected label, so that up is better.
        sign = 1.0 if label.baseline == outcome.expected else -1.0
        found.append(
            Change(
                outcome.case,
                outcome.image_digest,
                outcome.critical,
                (label.baseline, label.observed),
                (label.baseline == outcome.expected, label.observed == outcome.expected),
                {PROBABILITY: sign * probability.change, **changes},
                tolerances,
            )
        )
    return found


def judge_suite(changes: Sequence[Change], limits: Limits) -> Suite:
    """Judge all changes at once."""
    lost = [c.case for c in changes if c.right == (True, False)]
    gained = [c.case for c in changes if c.right == (False, True)]
    vetoes = [c.case for c in changes if c.critical and c.right == (True, False)]
    chance = mcnemar(len(lost), len(gained))
    shifts = _shifts(changes, limits)
    # Shifts known to be worse come first.
    bad = [s for verdict in ("worse", "shifted") for s in shifts if s.verdict == verdict]
    labels_worse = len(lost) > len(gained) and chance < limits.alpha
    images = len({c.image for c in changes})
    return Suite(
        cases=len(changes),
        images=images,
        lost=lost,
        gained=gained,
        flipped={c.case: c.labels for c in changes if c.labels[0] != c.labels[1]},
        vetoes=vetoes,
        mcnemar=chance,
        shifts=shifts,
        limits=limits,
        failed=bool(vetoes or labels_worse or bad),
        sentence=_sentence(len(changes), images, lost, gained, vetoes, labels_worse, chance, bad),
    )


def _shifts(changes: Sequence[Change], limits: Limits) -> list[Shift]:
    """The shift of every metric, largest effect first."""
    names = list(dict.fromkeys(metric for change in changes for metric in change.changes))
    measured = []
    for name in names:
        pairs = [(c.changes[name], c.image) for c in changes if name in c.changes]
        interval, p = clustered_mean(*zip(*pairs, strict=True))
        allowed = fmean(c.tolerances[name] for c in changes if name in c.changes)
        images = len({image for _, image in pairs})
        measured.append((name, len(pairs), images, interval, p, allowed))
    # One picture is too few for a test, so such metrics do not count in the correction.
    tested = {name: p for name, _, images, _, p, _ in measured if images > 1}
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))
    shifts = []
    for name, cases, images, interval, p, tolerance in measured:
        corrected = adjusted.get(name, 1.0)
        better = "higher" if name == PROBABILITY else METRICS[name].better
        # A metric without a tolerance (pointing) is a share of cases; 1 in 20 of them matters.
        effect = interval.mean / (tolerance or 0.05)
        moved = corrected < limits.alpha and abs(effect) > limits.effect
        verdict = "steady"
        if moved and better == "neither":
            verdict = "shifted"
        elif moved:
            verdict = "better" if (interval.mean > 0) == (better == "higher") else "worse"
        shifts.append(Shift(name, cases, images, interval, effect, p, corrected, verdict))
    return sorted(shifts, key=lambda s: -abs(s.effect))


def _sentence(
    cases: int,
    images: int,
    lost: list[str],
    gained: list[str],
    vetoes: list[str],
    labels_worse: bool,
    chance: float,
    bad: list[Shift],
) -> str:
    over = f"over {counted(cases, 'case')} on {counted(images, 'picture')}"
    findings = []
    if vetoes:
        findings.append(f"critical cases are wrong now: {', '.join(vetoes)}")
    if labels_worse:
        findings.append(
            f"{len(lost)} labels are wrong now that were right, {len(gained)} the other way round "
            f"(exact McNemar p = {chance:.2g})"
        )
    for shift in bad[:3]:
        moved = "moved for the worse" if shift.verdict == "worse" else "moved"
        findings.append(
            f"{shift.metric} {moved} by {shift.change.mean:+.3g} "
            f"({shift.change.low:+.3g} to {shift.change.high:+.3g}), {abs(shift.effect):.1f} times "
            f"its tolerance (p = {shift.adjusted:.2g} after correction)"
        )
    if len(bad) > 3:
        findings.append(f"{len(bad) - 3} more metrics moved")
    if findings:
        return f"{over}: {'; '.join(findings)}"
    flips = f"{len(lost)} labels lost, {len(gained)} gained" if lost or gained else "no label lost"
    shifted = "no metric shifted" if images > 1 else "one picture is too few to tell a shift"
    return f"{over}: {flips}, {shifted}"
