"""Compares each figure of an outcome with the one that was accepted for its case."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from audit.base.files import rounded
from audit.base.geometry import Box, same_view
from audit.gate.accepted import Baseline
from audit.gate.outcomes import DriftRow, Outcome
from audit.gate.tolerances import PROBABILITY, UNSAID, Tolerances
from audit.maps.keys import method_of
from audit.maps.spec import CONTROLS
from audit.metrics.keys import FigureKey
from audit.metrics.registry import Better

_ROUNDING = 2e-6  # figures are stored with six decimals, so two of them differ by that much


def compare(
    outcome: Outcome,
    baseline: Baseline,
    tolerances: Tolerances,
    wanted: Mapping[str, Better] | None = None,
    *,
    held: Tolerances | None = None,
) -> list[DriftRow]:
    """Compare each figure of ``outcome`` with its baseline; the rows come in a fixed order.

    If the maps cover different parts of the picture, one row says so instead of their figures.

    Args:
        tolerances: what hold for a baseline of other weights, and for creep.
        wanted: by region, whether it is better if more of the map falls there, less, or neither.
            For other regions the metric's own direction counts.
        held: what hold because the baseline is of the same weights. No move is then an improvement:
            whichever its direction, it comes from what computes.
    """
    rows = [_label_row(outcome, baseline)]
    label = baseline.label
    rows.append(
        _row(
            probability_name(label),
            _Compared(
                outcome.probabilities.get(label, 0.0),
                baseline.probabilities.get(label, 0.0),
                baseline.anchor_probabilities.get(label, 0.0),
            ),
            tolerances.probability(),
            "neither",
            held.probability() if held else None,
        )
    )
    if outcome.unsaid is not None and baseline.unsaid is not None:
        said = _Compared(outcome.unsaid, *baseline.unsaid)
        narrow = held.unsaid() if held else None
        rows.append(_row(UNSAID, said, tolerances.unsaid(), "lower", narrow))
    view = Box(*outcome.view)
    if not same_view(view, baseline.view):
        was, seen = (f"[{', '.join(f'{v:.4g}' for v in each)}]" for each in (baseline.view, view))
        return [*rows, DriftRow(VIEW, was, seen, 0.0, 0.0, "drifted")]
    for map_key, values in drifting(outcome):
        before = baseline.figures.get(map_key, {})
        for name, value in values.items():
            if name not in before:
                continue
            key = figure_key(name, map_key, outcome)
            tolerance, better = tolerances.figure(map_key, key), better_of(key, wanted or {})
            narrow = held.figure(map_key, key) if held else None
            compared = _Compared(value, before[name], baseline.anchors[map_key][name])
            rows.append(_row(str(key), compared, tolerance, better, narrow))
    return rows


def drifting(outcome: Outcome) -> Iterator[tuple[str, Mapping[str, float | str]]]:
    """The maps whose figures can drift: map keys, each with its figures by stored name."""
    for map_key, values in outcome.metrics.items():
        # A control is only there to compare other maps with; its own figures mean nothing.
        if map_key == outcome.default_map or method_of(map_key) not in CONTROLS:
            yield map_key, values


def better_of(key: FigureKey, wanted: Mapping[str, Better]) -> Better:
    """Which direction of a figure is an improvement, if ``wanted`` says it of some regions."""
    better = key.row.better
    return better if key.region is None else wanted.get(key.region, better)


LABEL = "label"
"""The name of the drift row that compares the labels."""

VIEW = "view"
"""The name of the drift row for a change in which part of the picture the maps cover."""


def probability_name(label: str) -> str:
    """The name of the drift row that compares the probability of a label."""
    return f"{PROBABILITY} of {label}"


def figure_key(name: str, map_key: str, outcome: Outcome) -> FigureKey:
    """The figure stored as ``name`` under ``map_key``, as drift rows name it.

    Raises:
        FigureError: no figure has this name.
    """
    return FigureKey.parse(name).of_map("" if map_key == outcome.default_map else map_key)


def metric_of(row: DriftRow) -> str:
    """What a row compares: a metric, the label or the probability.

    A run of another version may have figures that this one does not know; they keep their names.
    """
    if row.figure.startswith(probability_name("")):
        return PROBABILITY
    key = FigureKey.known(row.figure)
    return key.metric if key else row.figure


class _Compared(NamedTuple):
    now: float | str
    accepted: float | str
    anchor: float | str


def _label_row(outcome: Outcome, baseline: Baseline) -> DriftRow:
    same = outcome.label == baseline.label
    verdict: Literal["within", "drifted"] = "within" if same else "drifted"
    return DriftRow(LABEL, baseline.label, outcome.label, float(not same), 0.0, verdict)


def _shown(figure: _Compared) -> tuple[str, str, str]:
    """The figures in four digits, or in seven if their difference would not show else."""
    values = [v for v in figure if isinstance(v, float)]
    short = {f"{v:.4g}" for v in values}
    digits = 4 if len(short) == len(set(values)) else 7
    observed, was, first = (
        f"{v:.{digits}g}" if isinstance(v, float) else "undefined" for v in figure
    )
    return observed, was, first


def _row(
    name: str,
    figure: _Compared,
    tolerance: float,
    better: Better,
    held: float | None = None,
) -> DriftRow:
    """One figure beside its baseline; ``held`` is its tolerance if the weights are the same."""
    now, accepted, anchor = figure
    wide, tolerance = tolerance, tolerance if held is None else held
    verdict: Literal["within", "drifted", "improved", "crept"]
    observed, was, first = _shown(figure)
    if isinstance(now, str) or isinstance(accepted, str):
        same = isinstance(now, str) and isinstance(accepted, str)
        verdict = "within" if same else "drifted"
        return DriftRow(name, was, observed, 0.0, tolerance, verdict, first, better)

    def left(reference: float, by: float) -> bool:
        return abs(now - reference) > by + _ROUNDING

    def gained(reference: float) -> bool:
        up = now > reference
        return (better == "higher" and up) or (better == "lower" and not up)

    verdict = "within"
    if left(accepted, tolerance):
        verdict = "improved" if held is None and gained(accepted) else "drifted"
    elif isinstance(anchor, float) and left(anchor, wide) and not gained(anchor):
        verdict, tolerance = "crept", wide
    return DriftRow(name, was, observed, rounded(now - accepted), tolerance, verdict, first, better)
