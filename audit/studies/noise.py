"""Measures the noise floor: how much every figure moves when nothing that matters changes.

The same cases are audited with other numbers of threads, batch sizes, engines, instruction sets and
precisions, and on a GPU if the machine has one. There are two kinds of floors. One over all
conditions compares each with the way baselines are made: in float32, in batches of eight cases. One
for each precision and device class compares its conditions with the first of that precision, which
is what a session of the same weights is compared with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from audit.base.console import Progress
from audit.base.files import rounded, write_json
from audit.base.settings import UNKNOWN
from audit.cases.loading import Case
from audit.gate.noisefile import ENOUGH, MULTIPLE, NOISE_FORMAT, noise_path
from audit.gate.omnibus import Move, mean_square
from audit.gate.tolerances import Kind
from audit.models.kit.stack import stack
from audit.studies.answers import Answers, Asking
from audit.studies.conditions import NO_OPTIONS, Condition, conditions_of_server


def measure_noise(
    source: str,
    cases: Sequence[Case],
    asked: Sequence[Condition],
    progress: Progress,
    not_run: Mapping[str, str] | None = None,
    heads: Sequence[str] = (),
    options: Mapping[str, str] = NO_OPTIONS,
) -> dict[str, Any]:
    """Audit ``cases`` under each condition and compare.

    Args:
        asked: the conditions; a model behind a server has its own instead.
        not_run: conditions that this machine cannot run, each with the reason.
        heads: the chosen heads, for cases that ask for them.
        options: of the model's own kind, such as the asking file of chat models.

    Returns:
        Plain data for JSON: ``floors`` by method and metric (the largest deviation, the number of
        deviations, and the case and condition of the largest); ``kinds``, the same for each
        precision and device class, with the mean squared move under each condition (``harmless``);
        ``flips`` (labels that changed), ``undefined`` (figures with a value in some conditions
        only), ``conditions``, ``not_run``, ``model``, ``stack``.

    Raises:
        RunError: a case could not be audited.
        ModelError: the model cannot be loaded on a device.
    """
    asking = Asking(source, cases, heads, options)
    about = asking.model(asked[0]).fingerprint
    if about.dtype == UNKNOWN:
        asked, not_run = conditions_of_server()
    found: dict[Condition, Answers] = {}
    for condition in progress(asked, len(asked), "conditions"):
        found[condition] = asking.answers(condition, asked)
    moved = _Moved()
    for condition in asked[1:]:
        moved.add(found[asked[0]], found[condition], condition)
    return {
        "format": NOISE_FORMAT,
        "model": about.to_dict(),
        "stack": stack(asked[0].device),
        "date": datetime.now(UTC).date().isoformat(),
        "cases": len(cases),
        "multiple": MULTIPLE,
        "conditions": [condition.to_dict() for condition in asked],
        "not_run": [{"title": title, "reason": why} for title, why in (not_run or {}).items()],
        "floors": moved.sorted(),
        "kinds": [_kind(kind, found) for kind in dict.fromkeys(map(_kind_of, asked))],
        "flips": moved.flips,
        "undefined": moved.undefined,
    }


def _kind_of(condition: Condition) -> Kind:
    return Kind(condition.dtype, condition.device)


def _kind(kind: Kind, found: Mapping[Condition, Answers]) -> dict[str, Any]:
    """The floors of one precision on one class of devices, and how far each condition moved all."""
    # Baselines are accepted on any machine, so a GPU is compared with the processor, too.
    base = next(each for each in found if each.dtype == kind.dtype)
    mine = [each for each in found if _kind_of(each) == kind and each != base]
    moved = _Moved()
    for condition in mine:
        moved.add(found[base], found[condition], condition)
    floors = moved.sorted()
    plain = {
        method: {m: row["floor"] for m, row in rows.items() if row["deviations"] >= ENOUGH}
        for method, rows in floors.items()
    }
    return {
        **kind._asdict(),
        "floors": floors,
        # Without a floor there is nothing to measure moves by, and 0 would be no measurement.
        "harmless": {
            each.title: value
            for each in mine
            for value, figures in [mean_square(_moves(found[base], found[each]), plain)]
            if figures
        },
    }


def _moves(before: Answers, after: Answers) -> list[Move]:
    """What a session would see: the values of a baseline are rounded."""
    return [
        Move(figure.method, figure.metric, rounded(now - rounded(was)))
        for case, answered in before.items()
        for figure, was in answered.figures.items()
        if not isinstance(was, str) and not isinstance(now := after[case].figures[figure], str)
    ]


@dataclass
class _Moved:
    """What moved in all cases under some conditions; see :func:`measure_noise`."""

    floors: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    flips: list[dict[str, Any]] = field(default_factory=list)
    undefined: list[dict[str, str]] = field(default_factory=list)

    def add(self, before: Answers, after: Answers, condition: Condition) -> None:
        """Compare every case of one condition."""
        for case, was in before.items():
            now, place = after[case], {"case": case, "condition": condition.title}
            if was.label != now.label:
                self.flips.append({**place, "labels": [was.label, now.label]})
            for figure, first in was.figures.items():
                second = now.figures[figure]
                if not (isinstance(first, str) or isinstance(second, str)):
                    self._deviated(figure.method, figure.metric, abs(second - first), place)
                elif not (isinstance(first, str) and isinstance(second, str)):
                    self.undefined.append({**place, "figure": figure.name})

    def _deviated(self, method: str, metric: str, by: float, place: Mapping[str, str]) -> None:
        held = self.floors.setdefault(method, {}).setdefault(
            metric, {"floor": -1.0, "deviations": 0}
        )
        held["deviations"] += 1
        if by > held["floor"]:
            held |= {"floor": float(f"{by:.3g}"), **place}

    def sorted(self) -> dict[str, dict[str, dict[str, Any]]]:
        """The floors, methods and metrics by name."""
        return {m: dict(sorted(rows.items())) for m, rows in sorted(self.floors.items())}


def write_noise(folder: Path, found: Mapping[str, Any]) -> Path:
    """Write a noise floor beside the baselines that it belongs to."""
    path = noise_path(folder)
    write_json(path, found)
    return path
