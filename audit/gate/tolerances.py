"""How much a figure may differ from its baseline before it counts as drift.

In this order: what the case declares under ``drift``; a multiple of the noise floor that ``audit
noise`` measured and left beside the baselines; the metric's own default.
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
"""Default tolerance of the probability of a label, absolute, where no noise was measured."""

MULTIPLE = 2.0
"""Noise floors in a tolerance. A floor is the largest of some hundred deviations, about three
standard deviations of one; six leave room for what was not seen."""

ENOUGH = 100
"""Deviations that a floor must be the largest of; of fewer, the default is kept."""

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
        """Of the probability of the accepted label."""
        return self._of(PROBABILITY, PROBABILITY, PROBABILITY_TOLERANCE)

    def figure(self, map_key: str, key: FigureKey) -> float:
        """Of a figure that was measured on the map ``map_key``."""
        return self._of(method_of(map_key), key.metric, key.row.tolerance)

    def _of(self, method: str, metric: str, default: float) -> float:
        if metric in self.declared:
            return self.declared[metric]
        floor = floor_of(self.floors, method, metric)
        return default if floor is None else MULTIPLE * floor


def floor_of(floors: Floors, method: str, metric: str) -> float | None:
    """The floor of a metric on the maps of a method; None if it has none."""
    return floors.get(method, {}).get(metric)


def noise_path(folder: Path) -> Path:
    """Where the noise floor of a folder of baselines lies."""
    return folder / "provenance" / "noise.json"


def load_floors(folder: Path) -> Floors:
    """The noise floor of a folder of baselines; empty if none was measured.

    Raises:
        BaselineError: there is one, but it cannot be read or is of another format.
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
    """The form of ``noise.json``; what it says besides its floors is for people."""

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
