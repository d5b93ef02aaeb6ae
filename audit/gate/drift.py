"""Drift: each figure of an outcome beside the one that was accepted for its case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from audit.base.files import rounded
from audit.gate.accepted import Baseline
from audit.gate.outcomes import DriftRow, Outcome
from audit.gate.tolerances import Tolerances
from audit.maps.spec import CONTROLS
from audit.metrics.registry import Better, metric_of, region_of

_ROUNDING = 2e-6  # figures are stored with six decimals, so two of them differ by that much


def compare(
    outcome: Outcome,
    baseline: Baseline,
    tolerances: Tolerances,
    wanted: Mapping[str, Better] | None = None,
) -> list[DriftRow]:
    """Each figure of ``outcome`` beside its baseline, in a fixed order.

    Args:
        wanted: by region, whether more of the map there is better, less, or neither; regions that
            are missing here have the direction of the metric.
    """
    rows = [_label_row(outcome, baseline)]
    label = baseline.label
    rows.append(
        _row(
            said(label),
            _Compared(
                outcome.probabilities.get(label, 0.0),
                baseline.probabilities.get(label, 0.0),
                baseline.anchor_probabilities.get(label, 0.0),
            ),
            tolerances.probability(),
            "neither",
        )
    )
    for key, values in outcome.metrics.items():
        if key != outcome.default_map and key.split()[0] in CONTROLS:
            continue  # measured to compare another map with; it says nothing of its own
        before = baseline.figures.get(key, {})
        for name, value in values.items():
            if name not in before:
                continue
            tolerance, better = tolerances.figure(key, name), _better(name, wanted or {})
            compared = _Compared(value, before[name], baseline.anchors[key][name])
            rows.append(_row(shown(name, key, outcome), compared, tolerance, better))
    return rows


def _better(name: str, wanted: Mapping[str, Better]) -> Better:
    better, region = metric_of(name).better, region_of(name)
    return better if region is None else wanted.get(region, better)


def said(label: str) -> str:
    """The probability of a label as rows of drift name it."""
    return f"probability of {label}"


def shown(figure: str, key: str, outcome: Outcome) -> str:
    """A stored figure as rows of drift name it."""
    return figure if key == outcome.default_map else f"{figure} ({key})"


class _Compared(NamedTuple):
    now: float | str
    accepted: float | str
    anchor: float | str


def _label_row(outcome: Outcome, baseline: Baseline) -> DriftRow:
    same = outcome.label == baseline.label
    verdict: Literal["within", "drifted"] = "within" if same else "drifted"
    return DriftRow("label", baseline.label, outcome.label, float(not same), 0.0, verdict)


def _row(name: str, figure: _Compared, tolerance: float, better: Better) -> DriftRow:
    now, accepted, anchor = figure
    verdict: Literal["within", "drifted", "improved", "crept"]
    found, was, first = (f"{v:.4g}" if isinstance(v, float) else "undefined" for v in figure)
    if isinstance(now, str) or isinstance(accepted, str):
        same = isinstance(now, str) and isinstance(accepted, str)
        verdict = "within" if same else "drifted"
        return DriftRow(name, was, found, 0.0, tolerance, verdict, first, better)

    def left(reference: float) -> bool:
        return abs(now - reference) > tolerance + _ROUNDING

    def gained(reference: float) -> bool:
        up = now > reference
        return (better == "higher" and up) or (better == "lower" and not up)

    verdict = "within"
    if left(accepted):
        verdict = "improved" if gained(accepted) else "drifted"
    elif isinstance(anchor, float) and left(anchor) and not gained(anchor):
        verdict = "crept"
    return DriftRow(name, was, found, rounded(now - accepted), tolerance, verdict, first, better)
