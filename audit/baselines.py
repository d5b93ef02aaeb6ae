"""Accepted outcomes on disk: compare with them, propose new ones, promote proposals.

``<folder>/<case>.json`` holds the figures and where they came from, ``<folder>/<case>.npz`` the
maps. A figure has an *anchor* (first accepted) and the value *accepted* last. A session writes
proposals of the same form into its run folder; only :func:`promote` and :func:`prune` touch
accepted baselines.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

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
from audit.mapspec import CONTROLS
from audit.metrics import REGISTRY_VERSION, Better, metric_of, region_of
from audit.outcomes import DriftRow, Outcome
from audit.tolerances import Tolerances

FORMAT = 2
_ROUNDING = 2e-6  # figures are stored with six decimals, so two of them differ by that much

Update = Literal["", "new", "changed", "all"]


@dataclass(frozen=True)
class Baseline:
    """An accepted outcome.

    Attributes:
        image: SHA-256 of the picture's file.
        default_map: key of the case's own map.
        figures, anchors: by map key and stored metric name, accepted last and first.
    """

    case: str
    case_digest: str
    text: str
    expected: str
    image: str
    default_map: str
    label: str
    probabilities: dict[str, float | str]
    anchor_probabilities: dict[str, float | str]
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
            figures[key], anchors[key] = _both(values)
        probabilities, anchor_probabilities = _both(data["probabilities"])
        return Baseline(
            case=data["case"],
            case_digest=data["case_digest"],
            text=data["text"],
            expected=data["expected"],
            image=data["image"],
            default_map=data["default_map"],
            label=data["label"],
            probabilities=probabilities,
            anchor_probabilities=anchor_probabilities,
            figures=figures,
            anchors=anchors,
            provenance=data["provenance"],
            path=path,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise BaselineError(f"{path}: not a baseline: {type(error).__name__}: {error}") from None


def _both(values: Mapping[str, Any]) -> tuple[dict[str, float | str], dict[str, float | str]]:
    """Of stored figures the values accepted last, and the anchors."""
    accepted = {name: _plain(v["accepted"]) for name, v in values.items()}
    return accepted, {name: _plain(v["anchor"]) for name, v in values.items()}


def _plain(value: Any) -> float | str:
    return str(value["undefined"]) if isinstance(value, dict) else float(value)


def _stored(value: float | str) -> Any:
    return {"undefined": value} if isinstance(value, str) else rounded(value)


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
    said = baseline.label
    rows.append(
        _row(
            _said(said),
            _Compared(
                outcome.probabilities.get(said, 0.0),
                baseline.probabilities.get(said, 0.0),
                baseline.anchor_probabilities.get(said, 0.0),
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


def _said(label: str) -> str:
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


def propose(
    folder: Path,
    outcome: Outcome,
    maps: Mapping[str, NDArray[np.float64]],
    before: Baseline | None,
    provenance: Mapping[str, Any],
    *,
    anew: bool = False,
) -> None:
    """Write what would become the baseline of a case into ``folder`` (of a run), atomically.

    The anchor of a figure is kept from ``before``, unless the case itself changed, or the figure
    left its tolerance: that was shown, and who accepts it accepts the whole step. So anchors tell
    what steps that were each too small to be shown add up to.

    Args:
        anew: move all anchors: what is accepted now is where creep is measured from.
    """
    kept = before is not None and before.case_digest == outcome.case_digest and not anew
    seen = {row.figure for row in outcome.drift if row.verdict in ("drifted", "improved")}

    def first(values: Mapping[str, float | str], name: Callable[[str], str]) -> dict[str, Any]:
        return {figure: v for figure, v in values.items() if kept and name(figure) not in seen}

    def anchors(key: str) -> dict[str, Any]:
        values = before.anchors.get(key, {}) if before is not None else {}
        return first(values, lambda figure: shown(figure, key, outcome))

    probabilities = before.anchor_probabilities if before is not None else {}
    arrays = folder / f"{outcome.case}.npz"
    stored = {key: value.astype(np.float32) for key, value in maps.items()}
    write_arrays(arrays, stored, durable=False)
    write_json(
        folder / f"{outcome.case}.json",
        {
            "format": FORMAT,
            "case": outcome.case,
            "case_digest": outcome.case_digest,
            "text": outcome.text,
            "expected": outcome.expected,
            "image": outcome.image_digest,
            "default_map": outcome.default_map,
            "label": outcome.label,
            "probabilities": _anchored(outcome.probabilities, first(probabilities, _said)),
            "figures": {
                key: _anchored(values, anchors(key)) for key, values in outcome.metrics.items()
            },
            "provenance": {
                **provenance,
                "metric_registry": REGISTRY_VERSION,
                "maps": digest_file(arrays),
            },
        },
        durable=False,  # a proposal; promoting it makes it last
    )


def _anchored(
    values: Mapping[str, float | str] | Mapping[str, float], anchors: Mapping[str, float | str]
) -> dict[str, Any]:
    return {
        name: {"anchor": _stored(anchors.get(name, value)), "accepted": _stored(value)}
        for name, value in values.items()
    }


_STAGED = ".accepting-"
_COMMITTED = "committed"


def promote(proposals: Path, folder: Path) -> list[str]:
    """Make every proposal of a folder the accepted baseline, all or none; return the cases, sorted.

    All files are first written beside the baselines; a mark then says that they are whole, and only
    after it they are renamed into place. A process that dies before the mark has changed nothing;
    what one that dies after it left to do, :func:`recover` does.
    """
    recover(folder)
    sources = sorted(proposals.glob("*.json"))
    if not sources:
        return []
    staged = folder / f"{_STAGED}{secrets.token_hex(4)}"
    for source in sources:
        for path in (source.with_suffix(".npz"), source):
            write_atomically(staged / path.name, path.read_bytes(), durable=False)
    os.sync()  # all of them at once, before the mark says that they are there
    write_atomically(staged / _COMMITTED, b"")
    _finish(staged, folder)
    return [source.stem for source in sources]


def recover(folder: Path) -> None:
    """Finish what a process that died had committed to this folder, clear what it had not.

    What is younger than an hour and not committed may belong to a process that is at work.
    """
    for staged in folder.glob(f"{_STAGED}*"):
        if (staged / _COMMITTED).exists():
            _finish(staged, folder)
        elif time.time() - staged.stat().st_mtime > 3600:
            shutil.rmtree(staged, ignore_errors=True)


def _finish(staged: Path, folder: Path) -> None:
    # Maps first. Another process may be finishing the same: what it has moved is done.
    for suffix in ("npz", "json"):
        for path in sorted(staged.glob(f"*.{suffix}")):
            with suppress(FileNotFoundError):
                path.replace(folder / path.name)
    shutil.rmtree(staged, ignore_errors=True)


def refuse_other_dtype(folder: Path, dtype: str) -> None:
    """Refuse to mix precisions: their figures differ by more than the tolerances.

    One baseline tells for all, since nothing is added to a folder that this refuses.

    Raises:
        BaselineError: the folder's baselines were accepted in another precision than ``dtype``.
    """
    for path in sorted(folder.glob("*.json")):
        try:
            one = load(folder, path.stem)
        except BaselineError:
            continue  # costs its own case only
        held = one.provenance.get("model", {}).get("dtype", dtype) if one else dtype
        if held != dtype:
            raise BaselineError(
                f"{folder} holds baselines in {held}, and this run is in {dtype}, whose figures "
                f"differ: audit it against a folder of its own, such as "
                f"--audit-baselines {folder}-{dtype}"
            )
        return


def prune(folder: Path, cases: Iterable[str], *, delete: bool = False) -> list[str]:
    """Baselines of no case, sorted; with ``delete`` they are removed."""
    known = set(cases)
    orphans = sorted(p.stem for p in folder.glob("*.json") if p.stem not in known)
    if delete:
        for name in orphans:
            for suffix in ("json", "npz"):
                (folder / f"{name}.{suffix}").unlink(missing_ok=True)
    return orphans
