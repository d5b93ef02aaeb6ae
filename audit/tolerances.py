"""How much a figure may differ from its baseline before it counts as drift.

In this order: what the case declares under ``drift``; a multiple of the noise floor that ``audit
noise`` measured and left beside the baselines; the metric's own default.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from audit.errors import BaselineError
from audit.metrics import METRICS, metric_name

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

    def figure(self, key: str, name: str) -> float:
        """Of the figure stored as ``name``, measured on the map ``key``."""
        metric = metric_name(name)
        return self._of(key.split(maxsplit=1)[0], metric, METRICS[metric].tolerance)

    def _of(self, method: str, metric: str, default: float) -> float:
        if metric in self.declared:
            return self.declared[metric]
        floor = self.floors.get(method, {}).get(metric)
        return default if floor is None else MULTIPLE * floor


def floor_of(floors: Floors, key: str, name: str) -> float | None:
    """The floor of the figure stored as ``name`` on the map ``key``; None if it has none."""
    return floors.get(key.split(maxsplit=1)[0], {}).get(metric_name(name))


def noise_path(folder: Path) -> Path:
    """Where the noise floor of a folder of baselines lies."""
    return folder / "provenance" / "noise.json"


def load_floors(folder: Path) -> Floors:
    """The noise floor of a folder of baselines; empty if none was measured.

    Raises:
        BaselineError: there is one, but it cannot be read or is of another format.
    """
    path = noise_path(folder)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BaselineError(f"{path}: cannot be read: {error}") from None
    try:
        if data["format"] != NOISE_FORMAT:
            raise BaselineError(
                f"{path}: format {data['format']}, and this version reads {NOISE_FORMAT}; "
                "measure it anew with audit noise"
            )
        return {
            method: {
                metric: float(found["floor"])
                for metric, found in by_metric.items()
                if found["deviations"] >= ENOUGH
            }
            for method, by_metric in data["floors"].items()
        }
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BaselineError(f"{path}: not a noise floor: {type(error).__name__}: {error}") from None
