"""Decides how much a figure may differ from its baseline before it counts as drift.

The first of these that exists counts: what the case declares under ``drift``; a multiple of the
noise floor that ``audit noise`` measured and stored beside the baselines; the metric's default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, JsonValue, TypeAdapter

from audit.base.errors import BaselineError
from audit.base.records import EDITED, WRITTEN, Count, ModelRecord, Positive, read_record
from audit.maps.methods import canonical
from audit.maps.spec import method_of
from audit.metrics.keys import FigureKey

PROBABILITY = "probability"
PROBABILITY_TOLERANCE = 0.05
"""Absolute default tolerance for the probability of a label, where no noise was measured."""

MULTIPLE = 2.0
"""The tolerance is this many noise floors. A floor is the largest of some hundred deviations,
which is about three standard deviations; six leave room for larger ones."""

DEVIATIONS = 3.0
"""Standard deviations in a noise floor, which is the largest of some hundred deviations."""

ENOUGH = 100
"""A floor counts only if it was taken from at least this many deviations."""

NOISE_FORMAT = 1

Floors = Mapping[str, Mapping[str, float]]
"""By the method of a map (``probability`` for the answer's own), then by metric."""


@dataclass(frozen=True)
class Tolerances:
    """Absolute tolerances of one case.

    Attributes:
        declared: by metric name or ``probability``, from the case.
        floors: from ``audit noise``.
    """

    declared: Mapping[str, float] = field(default_factory=dict)
    floors: Floors = field(default_factory=dict)

    def probability(self) -> float:
        """The tolerance for the probability of the accepted label."""
        return self._of(PROBABILITY, PROBABILITY, PROBABILITY_TOLERANCE)

    def figure(self, map_key: str, key: FigureKey) -> float:
        """The tolerance for a figure that was measured on the map ``map_key``."""
        return self._of(method_of(map_key), key.metric, key.row.tolerance)

    def _of(self, method: str, metric: str, default: float) -> float:
        if metric in self.declared:
            return self.declared[metric]
        floor = floor_of(self.floors, method, metric)
        return default if floor is None else MULTIPLE * floor


def floor_of(floors: Floors, method: str, metric: str) -> float | None:
    """The noise floor of a metric on the maps of a method; None if there is none."""
    return floors.get(method, {}).get(metric)


def noise_path(folder: Path) -> Path:
    """The file with the noise floor of a folder of baselines."""
    return folder / "provenance" / "noise.json"


def load_floors(folder: Path) -> Floors:
    """The noise floor of a folder of baselines; empty if none was measured.

    Raises:
        BaselineError: there is one, but it cannot be read or has another format.
    """
    try:
        found = read_record(noise_path(folder), _schema(), BaselineError)
    except FileNotFoundError:
        return {}
    except BaselineError as error:
        raise BaselineError(f"{error}; restore it, or measure it anew with audit noise") from None
    return {
        canonical(method): {
            metric: row.floor for metric, row in by_metric.items() if row.deviations >= ENOUGH
        }
        for method, by_metric in found.floors.items()
    }


class _Floor(BaseModel):
    """The largest deviation of one metric, and where it was seen."""

    model_config = EDITED

    floor: Positive
    deviations: Count
    case: str = ""
    condition: str = ""


class _Noise(BaseModel):
    """The format of ``noise.json``; everything but the floors is there for people to read."""

    model_config = WRITTEN
    __pydantic_extra__: dict[str, JsonValue]

    format: Literal[1]
    floors: dict[str, dict[str, _Floor]]
    multiple: Positive = MULTIPLE
    cases: Count = 0
    date: str = ""
    model: ModelRecord = ModelRecord()
    conditions: list[dict[str, JsonValue]] = []
    flips: list[dict[str, JsonValue]] = []
    undefined: list[dict[str, JsonValue]] = []


@cache
def _schema() -> TypeAdapter[_Noise]:
    return TypeAdapter(_Noise)
