"""Reads the maps of a case from its trace and measures them, or the mean over repeats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from audit.base.errors import AuditError, MapError, Undefined
from audit.base.geometry import Box, mask
from audit.cases.expectations import AttentionExpectation, Verdict
from audit.cases.loading import Case
from audit.gate.runfolder import Strip
from audit.maps.reading import Map, UndefinedMap, layer_maps, read_map, word_maps
from audit.maps.spec import RANDOM, MapSpec
from audit.maps.trace import EACH_WORD, Evidence, Trace
from audit.metrics.keys import FigureKey
from audit.metrics.measuring import measure, measure_curves, measure_one
from audit.metrics.registry import METRICS
from audit.runs.evidence import Curves

_OUTSIDE = "the region lies outside of what the model sees"

Figures = dict[str, float | str]
"""By stored metric name: the value, or the reason why it is undefined."""


@dataclass(frozen=True)
class Measured:
    """A model's answer to a case, with its maps and figures.

    Attributes:
        labels: the label of every repeat.
        probabilities: by answer, the mean over repeats.
        maps: by map key, without undefined ones.
        metrics: by map key; undefined if a repeat has no value.
        spread: largest minus smallest value over repeats; empty if the model was asked once.
        unsaid: what a model that talks leaves unsaid, the mean over repeats.
    """

    labels: tuple[str, ...]
    probabilities: dict[str, float]
    maps: dict[str, Map]
    metrics: dict[str, Figures]
    spread: dict[str, dict[str, float]] = field(default_factory=dict)
    unsaid: float | None = None

    @property
    def label(self) -> str:
        """The most frequent label; if several are, the one that came first."""
        return Counter(self.labels).most_common(1)[0][0]

    def disagreement(self) -> list[Verdict]:
        """A failed verdict if repeats gave different labels."""
        if len(set(self.labels)) == 1:
            return []
        counts = ", ".join(f"{label} {n}" for label, n in Counter(self.labels).most_common())
        reason = f"asked {len(self.labels)} times, the label differs: {counts}"
        return [Verdict("the same label in every repeat", False, counts, "one label", reason)]


def measure_case(case: Case, evidence: Evidence, curves_of: Mapping[str, Curves]) -> Measured:
    """Read and measure every map of a case, and the further figures that its expectations need.

    Raises:
        AuditError: the model does not have the expected label, or cannot give one of the maps.
    """
    trace = evidence.trace
    if case.expect.label not in trace.probabilities:
        raise AuditError(
            f"the model has no label {case.expect.label!r}; it has {', '.join(trace.probabilities)}"
        )
    regions, outside = _masks(case.regions, trace)
    maps, metrics, missing = measure_maps(case.maps, case.regions, evidence)
    for wanted in case.expect.attention:
        if wanted.on_request:
            spec = wanted.map or case.map
            needed = [spec, *([wanted.against] if wanted.against else [])]
            reasons = [missing[s.key] for s in needed if s.key in missing]
            if wanted.region in outside:
                reasons.append(_OUTSIDE)
            metrics[spec.key][wanted.key] = (
                reasons[0] if reasons else _requested(wanted, spec, maps, regions, curves_of)
            )
    probabilities = dict(trace.probabilities)
    return Measured((trace.label,), probabilities, maps, metrics, unsaid=trace.unsaid)


def _masks(
    regions: Mapping[str, Sequence[Box]], trace: Trace
) -> tuple[dict[str, NDArray[np.float64]], set[str]]:
    """The cells of each region, and the names of those that were cropped away."""
    masks = {name: mask(boxes, trace.grid, trace.view) for name, boxes in regions.items()}
    # Nobody can write an empty region, so one with an empty mask was cropped away.
    return masks, {name for name, area in masks.items() if not area.any()}


def measure_maps(
    specs: Iterable[MapSpec], boxes: Mapping[str, Sequence[Box]], evidence: Evidence
) -> tuple[dict[str, Map], dict[str, Figures], dict[str, str]]:
    """Read maps from a trace and measure them: the maps, their figures, and why a map is missing.

    Each is by map key; the first lacks undefined maps, whose figures are undefined, too.

    Args:
        boxes: of the regions, by name.

    Raises:
        MapError: the model cannot give one of the maps.
    """
    trace = evidence.trace
    regions, outside = _masks(boxes, trace)
    maps: dict[str, Map] = {}
    metrics: dict[str, Figures] = {}
    missing: dict[str, str] = {}
    for spec in specs:
        try:
            maps[spec.key] = read_map(evidence, spec)
        except UndefinedMap as reason:
            missing[spec.key] = str(reason)
            nothing = np.full(trace.grid, 1 / (trace.grid.rows * trace.grid.cols))
            figures = measure(nothing, regions, evidence, spec)
            metrics[spec.key] = dict.fromkeys(figures, str(reason))
        except MapError as error:
            raise MapError(f"no map {spec.key!r}: {error}") from None
        else:
            figures = measure(maps[spec.key], regions, evidence, spec)
            cut = [name for name in figures if outside and FigureKey.parse(name).region in outside]
            metrics[spec.key] = figures | dict.fromkeys(cut, _OUTSIDE)
    return maps, metrics, missing


def _requested(
    wanted: AttentionExpectation,
    spec: MapSpec,
    maps: Mapping[str, Map],
    regions: Mapping[str, NDArray[np.float64]],
    curves_of: Mapping[str, Curves],
) -> float | str:
    """A figure that is measured only if an expectation asks for it, or why it is undefined."""
    if METRICS[wanted.metric].kind == "model":
        return measure_curves(curves_of[spec.key], curves_of[RANDOM.key])[wanted.metric]
    try:
        return measure_one(
            wanted.metric,
            maps[spec.key],
            region=regions[wanted.region] if wanted.region else None,
            other=maps[wanted.against.key] if wanted.against else None,
            options=wanted.options,
        )
    except Undefined as reason:
        return str(reason)


def merged(repeats: Sequence[Measured]) -> Measured:
    """The mean over the repeats of one case; a single one is returned as it is."""
    first = repeats[0]
    if len(repeats) == 1:
        return first
    metrics: dict[str, Figures] = {}
    spread: dict[str, dict[str, float]] = {}
    for key, figures in first.metrics.items():
        metrics[key], spread[key] = {}, {}
        for name in figures:
            values = [measured.metrics[key][name] for measured in repeats]
            reasons = [value for value in values if isinstance(value, str)]
            numbers = [value for value in values if isinstance(value, float)]
            metrics[key][name] = reasons[0] if reasons else float(np.mean(numbers))
            if not reasons:
                spread[key][name] = max(numbers) - min(numbers)
    everywhere = [key for key in first.maps if all(key in m.maps for m in repeats)]
    return Measured(
        tuple(label for measured in repeats for label in measured.labels),
        {a: float(np.mean([m.probabilities[a] for m in repeats])) for a in first.probabilities},
        {key: np.mean([m.maps[key] for m in repeats], axis=0) for key in everywhere},
        metrics,
        spread,
        None if first.unsaid is None else float(np.mean([m.unsaid or 0.0 for m in repeats])),
    )


def strips_of(case: Case, evidence: Evidence) -> dict[str, Strip]:
    """The maps that the gallery shows side by side, if the model's traces have them."""
    strips: dict[str, Strip] = {}
    if case.map.per_layer:
        strips["layers"] = [(f"layer {n}", p) for n, p in layer_maps(evidence, case.map)]
    if EACH_WORD._replace(word=0) in evidence.trace.readings:
        strips["words"] = word_maps(evidence.trace)
    return {name: panels for name, panels in strips.items() if panels}
