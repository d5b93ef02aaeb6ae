"""Measures the noise floor: how much every figure moves when nothing that matters changes.

The same cases are audited with other numbers of threads, batch sizes, precisions, and devices if
the machine has them. Every figure is compared with the way baselines are made: in float32, in
batches of eight cases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from audit.base.console import Progress
from audit.base.errors import RunError
from audit.base.files import write_json
from audit.cases.loading import Case
from audit.gate.drift import drifting, figure_key
from audit.gate.outcomes import Outcome
from audit.gate.tolerances import MULTIPLE, NOISE_FORMAT, PROBABILITY, noise_path
from audit.maps.spec import method_of
from audit.models.kit.hardware import threads_set
from audit.models.protocol import Model
from audit.models.registry import load_model
from audit.runs.runner import audit_cases


@dataclass(frozen=True)
class Condition:
    """A harmless way to audit; ``threads`` None means unchanged, ``batch_size`` 0 all cases."""

    device: str = "cpu"
    dtype: str = "float32"
    threads: int | None = None
    batch_size: int = 8

    @property
    def title(self) -> str:
        """The condition in words."""
        batch = f"batch {self.batch_size}" if self.batch_size else "all in one batch"
        threads = f", threads {self.threads}" if self.threads else ""
        return f"{self.device}, {self.dtype}, {batch}{threads}"


def conditions(*, cuda: bool, threads: int) -> tuple[Condition, ...]:
    """The conditions that a machine can run; the first is the way baselines are made."""
    others = sorted({1, 2, threads} - {threads})
    found = [
        Condition(),
        Condition(batch_size=1),
        Condition(batch_size=3),
        Condition(batch_size=0),
        *(Condition(threads=n) for n in others),
        *(Condition(threads=n, batch_size=1) for n in others),
        Condition(dtype="bfloat16"),
        Condition(dtype="bfloat16", batch_size=1),
    ]
    if cuda:
        found += [
            Condition(device="cuda", dtype=d, batch_size=b)
            for d in ("float32", "bfloat16")
            for b in (8, 1)
        ]
    return tuple(found)


def measure_noise(
    source: str, cases: Sequence[Case], asked: Sequence[Condition], progress: Progress
) -> dict[str, Any]:
    """Audit ``cases`` under each condition and compare with the first.

    Returns:
        Plain data for JSON: ``floors`` by method and metric (the largest deviation, the number of
        deviations, and the case and condition of the largest), ``flips`` (labels that changed),
        ``undefined`` (figures with a value in some conditions only), ``conditions``, ``model``.

    Raises:
        RunError: a case could not be audited.
        ModelError: the model cannot be loaded on a device.
    """
    models: dict[tuple[str, str], Model] = {}
    base: dict[str, Outcome] = {}
    moved = _Moved()
    for condition in progress(asked, len(asked), "conditions"):
        kind = (condition.device, condition.dtype)
        if kind not in models:
            models[kind] = load_model(source, *kind)
        found = _audited(models[kind], cases, condition)
        if base:
            for name, outcome in found.items():
                moved.add(base[name], outcome, condition)
        else:
            base = found
    model = models[asked[0].device, asked[0].dtype]
    return {
        "format": NOISE_FORMAT,
        "model": model.fingerprint.to_dict(),
        "date": datetime.now(UTC).date().isoformat(),
        "cases": len(cases),
        "multiple": MULTIPLE,
        "conditions": [{"title": c.title, **asdict(c)} for c in asked],
        "floors": {m: dict(sorted(found.items())) for m, found in sorted(moved.floors.items())},
        "flips": moved.flips,
        "undefined": moved.undefined,
    }


@dataclass
class _Moved:
    """What moved in all cases under all conditions; see :func:`measure_noise`."""

    floors: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    flips: list[dict[str, Any]] = field(default_factory=list)
    undefined: list[dict[str, str]] = field(default_factory=list)

    def add(self, was: Outcome, now: Outcome, condition: Condition) -> None:
        """Compare one case."""
        place = {"case": now.case, "condition": condition.title}
        if was.label != now.label:
            self.flips.append({**place, "labels": [was.label, now.label]})
        label = was.expected or was.label
        second = _figures(now, label)
        for figure, before in _figures(was, label).items():
            after = second[figure]
            if not (isinstance(before, str) or isinstance(after, str)):
                self._deviated(figure.method, figure.metric, abs(after - before), place)
            elif not (isinstance(before, str) and isinstance(after, str)):
                self.undefined.append({**place, "figure": figure.name})

    def _deviated(self, method: str, metric: str, by: float, place: Mapping[str, str]) -> None:
        held = self.floors.setdefault(method, {}).setdefault(
            metric, {"floor": -1.0, "deviations": 0}
        )
        held["deviations"] += 1
        if by > held["floor"]:
            held |= {"floor": float(f"{by:.3g}"), **place}


def write_noise(folder: Path, found: Mapping[str, Any]) -> Path:
    """Write a noise floor beside the baselines that it belongs to."""
    path = noise_path(folder)
    write_json(path, found)
    return path


def _audited(model: Model, cases: Sequence[Case], condition: Condition) -> dict[str, Outcome]:
    with threads_set(condition.threads):
        size = condition.batch_size or len(cases)
        outcomes = [found.outcome for found in audit_cases(cases, model, batch_size=size)]
    for outcome in outcomes:
        if not outcome.label:
            raise RunError(f"{outcome.case} ({condition.title}): {outcome.sentence}")
    return {outcome.case: outcome for outcome in outcomes}


class _Figure(NamedTuple):
    """A figure that can drift: the method of its map, its metric, its name in drift rows."""

    method: str
    metric: str
    name: str


def _figures(outcome: Outcome, label: str) -> dict[_Figure, float | str]:
    """Every figure that can drift; the probability is that of ``label``."""
    found: dict[_Figure, float | str] = {
        _Figure(PROBABILITY, PROBABILITY, PROBABILITY): outcome.probabilities[label]
    }
    for map_key, values in drifting(outcome):
        for name, value in values.items():
            key = figure_key(name, map_key, outcome)
            found[_Figure(method_of(map_key), key.metric, str(key))] = value
    return found
