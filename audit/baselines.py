"""Accepted outcomes on disk: compare with them, propose new ones, promote proposals.

``<folder>/<case>.json`` holds the figures and where they came from, ``<folder>/<case>.npz`` the
maps. A figure has an *anchor* (first accepted) and the value *accepted* last. A session writes
proposals of the same form into its run folder; only :func:`promote` touches accepted baselines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from audit.errors import BaselineError
from audit.files import (
    digest_file,
    read_arrays,
    rounded,
    write_arrays,
    write_atomically,
    write_json,
)
from audit.metrics import REGISTRY_VERSION, metric_name, metric_of
from audit.outcomes import DriftRow, Outcome

FORMAT = 1
PROBABILITY_TOLERANCE = 0.05
"""Default drift tolerance of the probability of the accepted label, absolute."""

_ROUNDING = 2e-6  # figures are stored with six decimals, so two of them differ by that much

Update = Literal["", "new", "changed", "all"]


@dataclass(frozen=True)
class Baseline:
    """An accepted outcome."""

    case: str
    case_digest: str
    label: str
    probabilities: dict[str, float]
    figures: dict[str, dict[str, float | str]]
    anchors: dict[str, dict[str, float | str]]
    provenance: dict[str, Any]
    path: Path

    def maps(self) -> dict[str, NDArray[np.float64]]:
        """The accepted maps, by map key.

        Raises:
            BaselineError: the array file is missing or not the one that was accepted.
        """
        path = self.path.with_suffix(".npz")
        if not path.exists() or digest_file(path) != self.provenance.get("maps"):
            raise BaselineError(
                f"{path}: missing, or not the maps that {self.path.name} was accepted with; "
                "restore both from version control, or accept the case anew"
            )
        return {key: value.astype(np.float64) for key, value in read_arrays(path).items()}


def load(folder: Path, case: str) -> Baseline | None:
    """The baseline of ``case``, or None if there is none.

    Raises:
        BaselineError: there is one, but it cannot be read or is of another format.
    """
    path = folder / f"{case}.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BaselineError(f"{path}: cannot be read: {error}") from None
    try:
        if data["format"] != FORMAT:
            raise BaselineError(f"{path}: format {data['format']}, and this version reads {FORMAT}")
        figures, anchors = {}, {}
        for key, values in data["figures"].items():
            figures[key] = {name: _plain(v["accepted"]) for name, v in values.items()}
            anchors[key] = {name: _plain(v["anchor"]) for name, v in values.items()}
        return Baseline(
            case=data["case"],
            case_digest=data["case_digest"],
            label=data["label"],
            probabilities=data["probabilities"],
            figures=figures,
            anchors=anchors,
            provenance=data["provenance"],
            path=path,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise BaselineError(f"{path}: not a baseline: {type(error).__name__}: {error}") from None


def _plain(value: Any) -> float | str:
    return str(value["undefined"]) if isinstance(value, dict) else float(value)


def _stored(value: float | str) -> Any:
    return {"undefined": value} if isinstance(value, str) else rounded(value)


def compare(
    outcome: Outcome, baseline: Baseline, tolerances: Mapping[str, float]
) -> list[DriftRow]:
    """Each figure of ``outcome`` beside its baseline, in a fixed order.

    Args:
        tolerances: absolute, by metric name or ``probability``; defaults come from the registry.
    """
    rows = [_label_row(outcome, baseline)]
    accepted = baseline.probabilities.get(baseline.label, 0.0)
    observed = outcome.probabilities.get(baseline.label, 0.0)
    limit = tolerances.get("probability", PROBABILITY_TOLERANCE)
    rows.append(_row(f"probability of {baseline.label}", accepted, observed, limit, "neither"))
    for key, values in outcome.metrics.items():
        before = baseline.figures.get(key, {})
        for name, value in values.items():
            if name not in before:
                continue
            metric = metric_of(name)
            tolerance = tolerances.get(metric_name(name), metric.tolerance)
            shown = name if key == outcome.default_map else f"{name} ({key})"
            rows.append(_row(shown, before[name], value, tolerance, metric.better))
    return rows


def _label_row(outcome: Outcome, baseline: Baseline) -> DriftRow:
    same = outcome.label == baseline.label
    verdict: Literal["within", "drifted"] = "within" if same else "drifted"
    return DriftRow("label", baseline.label, outcome.label, float(not same), 0.0, verdict)


def _row(
    name: str, before: float | str, now: float | str, tolerance: float, better: str
) -> DriftRow:
    if isinstance(before, str) or isinstance(now, str):
        was, found = ("undefined" if isinstance(v, str) else f"{v:.4g}" for v in (before, now))
        same = isinstance(before, str) and isinstance(now, str)
        return DriftRow(name, was, found, 0.0, tolerance, "within" if same else "drifted")
    change = now - before
    verdict: Literal["within", "drifted", "improved"] = "within"
    if abs(change) > tolerance + _ROUNDING:
        gained = (better == "higher" and change > 0) or (better == "lower" and change < 0)
        verdict = "improved" if gained else "drifted"
    return DriftRow(name, f"{before:.4g}", f"{now:.4g}", rounded(change), tolerance, verdict)


def propose(
    folder: Path,
    outcome: Outcome,
    maps: Mapping[str, NDArray[np.float64]],
    before: Baseline | None,
    provenance: Mapping[str, Any],
) -> None:
    """Write what would become the baseline of a case into ``folder`` (of a run), atomically.

    The anchor of a figure is kept from ``before`` unless the case itself changed.
    """
    same_case = before is not None and before.case_digest == outcome.case_digest
    figures: dict[str, Any] = {}
    for key, values in outcome.metrics.items():
        known = before.anchors.get(key, {}) if before is not None and same_case else {}
        figures[key] = {
            name: {"anchor": _stored(known.get(name, value)), "accepted": _stored(value)}
            for name, value in values.items()
        }
    arrays = folder / f"{outcome.case}.npz"
    write_arrays(arrays, {key: value.astype(np.float32) for key, value in maps.items()})
    write_json(
        folder / f"{outcome.case}.json",
        {
            "format": FORMAT,
            "case": outcome.case,
            "case_digest": outcome.case_digest,
            "text": outcome.text,
            "label": outcome.label,
            "probabilities": {k: rounded(v) for k, v in outcome.probabilities.items()},
            "figures": figures,
            "provenance": {
                **provenance,
                "metric_registry": REGISTRY_VERSION,
                "maps": digest_file(arrays),
            },
        },
    )


def promote(proposals: Path, folder: Path) -> list[str]:
    """Make every proposal of a run the accepted baseline; return the cases, sorted.

    Each file is replaced atomically, maps first. A crash in between leaves a baseline whose maps
    are recognised as not its own, never a mixture that passes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    promoted = []
    for source in sorted(proposals.glob("*.json")):
        for path in (source.with_suffix(".npz"), source):
            write_atomically(folder / path.name, path.read_bytes())
        promoted.append(source.stem)
    return promoted
