"""Decides how much a figure may differ from its baseline before it counts as drift.

The first of these that exists counts: what the case declares under ``drift``; a multiple of the
noise floor that ``audit noise`` measured and stored beside the baselines; the metric's default.
There are two kinds of floors: one for each precision and device class, for figures of the same
weights, and one over all conditions, for those of other weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from audit.base.settings import UNKNOWN
from audit.gate.noisefile import (
    ENOUGH,
    MULTIPLE,
    NOISE_FORMAT,
    PROBABILITY,
    UNSAID,
    FloorRecord,
    noise_path,
    read_noise,
)
from audit.maps.keys import method_of
from audit.maps.methods import canonical
from audit.metrics.keys import FigureKey
from audit.metrics.registry import METRICS

__all__ = ["ENOUGH", "MULTIPLE", "NOISE_FORMAT", "PROBABILITY", "UNSAID", "noise_path"]

PROBABILITY_TOLERANCE = 0.05
"""Absolute default tolerance for the probability of a label, where no noise was measured."""

UNSAID_TOLERANCE = 0.05
"""Absolute default tolerance for the probability of all that is no label's answer."""

DEVIATIONS = 3.0
"""Standard deviations in a noise floor, which is the largest of some hundred deviations."""

RESOLUTION = 1e-6
"""Baselines have six decimals, so no floor is taken to be smaller, but one of zero: a figure that
never moved at all jumps, from cell to cell or from rank to rank, or stays where it is."""

Floors = Mapping[str, Mapping[str, float]]
"""By the method of a map (``probability`` for the answer's own), then by metric."""


@dataclass(frozen=True)
class Tolerances:
    """Absolute tolerances of one case.

    Attributes:
        declared: by metric name, ``probability`` or ``unsaid``, from the case.
        floors: from ``audit noise``.
        thin: floors of fewer than :data:`ENOUGH` deviations, which can only widen the default.
    """

    declared: Mapping[str, float] = field(default_factory=dict)
    floors: Floors = field(default_factory=dict)
    thin: Floors = field(default_factory=dict)

    def probability(self) -> float:
        """The tolerance for the probability of the accepted label."""
        return self._of(PROBABILITY, PROBABILITY, PROBABILITY_TOLERANCE)

    def unsaid(self) -> float:
        """The tolerance for what a model leaves unsaid; its floor is one of the answer's."""
        return self._of(PROBABILITY, UNSAID, UNSAID_TOLERANCE)

    def figure(self, map_key: str, key: FigureKey) -> float:
        """The tolerance for a figure that was measured on the map ``map_key``."""
        return self._of(method_of(map_key), key.metric, key.row.tolerance)

    def default(self, method: str, metric: str) -> float:
        """The tolerance of a metric that the case declares nothing about."""
        other = PROBABILITY_TOLERANCE if method == PROBABILITY else METRICS[metric].tolerance
        return replace(self, declared={})._of(method, metric, other)

    def _of(self, method: str, metric: str, default: float) -> float:
        if metric in self.declared:
            return self.declared[metric]
        floor = floor_of(self.floors, method, metric)
        if floor is not None:
            return MULTIPLE * max(floor, RESOLUTION) if floor else 0.0
        return max(default, MULTIPLE * (floor_of(self.thin, method, metric) or 0.0))


def floor_of(floors: Floors, method: str, metric: str) -> float | None:
    """The noise floor of a metric on the maps of a method; None if there is none."""
    return floors.get(method, {}).get(metric)


class Kind(NamedTuple):
    """A precision, and a class of devices: ``cpu``, ``cuda``, or a server's, in none that is known.

    >>> str(Kind("float32", "cpu")), str(Kind("unknown", "server"))
    ('float32 on cpu', 'server')
    """

    dtype: str
    device: str

    def __str__(self) -> str:
        if self.dtype == UNKNOWN:
            return self.device
        return f"{self.dtype} on {self.device}"


@dataclass(frozen=True)
class Level:
    """The noise of one precision on one or two classes of devices.

    Attributes:
        title: which, in words: ``float32 on cpu``.
        floors: with at least :data:`ENOUGH` deviations.
        harmless: for each harmless condition that was measured, the mean squared move in floors;
            see :mod:`audit.gate.omnibus`.
        measured: for each thing that was varied, such as threads, the values under which the floors
            were measured; empty without floors.
    """

    title: str
    floors: Floors
    harmless: Mapping[str, float] = field(default_factory=dict)
    measured: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Noise:
    """The noise that was measured beside a folder of baselines; empty if none was.

    Attributes:
        floors, thin: over all conditions, with many deviations and with few.
        levels: for each precision and device class; None if the file is of version 0.1, which has
            one floor for all.
    """

    floors: Floors = field(default_factory=dict)
    thin: Floors = field(default_factory=dict)
    levels: Mapping[Kind, Level] | None = field(default_factory=dict)

    def tolerances(self, declared: Mapping[str, float]) -> Tolerances:
        """The tolerances of a case whose baseline is of other weights."""
        return Tolerances(declared, self.floors, self.thin)

    def level(self, dtype: str, devices: Iterable[str]) -> Level | None:
        """The noise of a precision between devices of these classes; None if not measured.

        A figure that was accepted on one class and measured on another is held to the larger floor
        of both.
        """
        if self.levels is None:
            return Level("all conditions", self.floors) if self.floors else None
        found = [self.levels.get(Kind(dtype, device)) for device in sorted({*devices})]
        known = [level for level in found if level is not None]
        if not known or len(known) < len(found):
            return None
        return known[0] if len(known) == 1 else _larger(*known)

    def held(self, declared: Mapping[str, float], level: Level | None) -> Tolerances:
        """The tolerances of a case whose baseline is of the same weights.

        A metric without a floor of its own there has the tolerance that holds for other weights.
        """
        return Tolerances(declared, self.floors_at(level), self.thin)

    def floors_at(self, level: Level | None) -> Floors:
        """The floors of a level, and those over all conditions for figures that it lacks."""
        merged = {**self.floors}
        for method, found in (level.floors if level else {}).items():
            merged[method] = {**merged.get(method, {}), **found}
        return merged


def _larger(first: Level, second: Level) -> Level:
    """The larger floor of each figure that both have."""
    floors = {
        method: {
            metric: max(floor, second.floors[method][metric])
            for metric, floor in found.items()
            if metric in second.floors[method]
        }
        for method, found in first.floors.items()
        if method in second.floors
    }
    both = {
        name: values & second.measured.get(name, frozenset())
        for name, values in first.measured.items()
    }
    # Only one of them was on a GPU, and it was compared with the processor.
    both["device"] = first.measured.get("device", frozenset()) | second.measured.get(
        "device", frozenset()
    )
    # Conditions of different floors cannot be compared, so no limit follows from them.
    return Level(f"{first.title} and {second.title}", floors, measured=both)


def load_noise(folder: Path) -> Noise:
    """The noise of a folder of baselines; empty if none was measured.

    Raises:
        BaselineError: there is one, but it cannot be read or has another format.
    """
    found = read_noise(folder)
    if found is None:
        return Noise()
    levels: dict[Kind, Level] | None = None
    if found.format > 1:
        levels = {}
        for each in found.kinds:
            kind = Kind(each.dtype, each.device)
            floors = _taken(each.floors)
            measured = found.measured(each) if any(floors.values()) else {}
            levels[kind] = Level(str(kind), floors, each.harmless, measured)
    return Noise(_taken(found.floors), _taken(found.floors, few=True), levels)


def load_floors(folder: Path) -> Floors:
    """The floors over all conditions of a folder of baselines; see :func:`load_noise`."""
    return load_noise(folder).floors


def _taken(written: Mapping[str, Mapping[str, FloorRecord]], *, few: bool = False) -> Floors:
    return {
        canonical(method): {
            metric: row.floor for metric, row in rows.items() if (row.deviations < ENOUGH) is few
        }
        for method, rows in written.items()
    }
