"""Judges all cases of a run together, with the noise floors beside its baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audit.base.errors import printable
from audit.base.files import counted
from audit.base.names import stem_of
from audit.base.settings import Limits
from audit.gate import baselines
from audit.gate.changes import changes_of
from audit.gate.omnibus import judge_omnibus, without_floor
from audit.gate.review import rejected
from audit.gate.runfolder import Run
from audit.gate.suite import Suite, judge_suite
from audit.gate.tolerances import Level, Noise, load_noise
from audit.gate.verdict import level_of


def judged(run: Run, folder: Path, limits: Limits) -> Suite | None:
    """The verdict over all cases; None if none of them has a baseline.

    Args:
        folder: the baselines that the run was compared with. Moves together are measured by the
            noise floors there.
    """
    outcomes = run.outcomes()
    changes = changes_of(outcomes)
    if not changes:
        return None
    _, level = _noise_of(run, folder)
    return judge_suite(changes, limits, judge_omnibus(outcomes, level, limits.omnibus))


def rejected_in(run: Run, folder: Path) -> list[dict[str, Any]]:
    """The rejections of this run's cases that stand, for its gallery to show.

    Args:
        folder: the baselines that the run was compared with.
    """
    audited = {outcome.case for outcome in run.outcomes()}
    return [entry.to_dict() for entry in rejected(folder) if entry.case in audited]


def notes_on(run: Run, folder: Path) -> list[str]:
    """Lines about what the verdict could not use: baselines elsewhere, and missing noise floors."""
    floors = without_floor(run.outcomes(), *_noise_of(run, folder))
    return [f"note: {printable(note)}" for note in (*elsewhere(run, folder), floors) if note]


def elsewhere(run: Run, folder: Path) -> list[str]:
    """A sentence about baselines beside a folder that has none; nothing if there are none either.

    A model whose name changes with its version looks for its baselines under the new name. Then
    every case is new, and nothing else says that the last version's baselines were not looked at.

    Args:
        folder: the baselines that the run was compared with.
    """
    outcomes = run.outcomes()
    if any(outcome.drift for outcome in outcomes) or any(folder.glob("*.json")):
        return []
    names = {f"{stem_of(outcome.case)}.json" for outcome in outcomes}
    found = {
        beside: sum((beside / name).is_file() for name in names)
        for beside in (folder.parent.iterdir() if folder.parent.is_dir() else ())
        if beside.is_dir()
    }
    most = max(found, key=lambda each: (found[each], each.name), default=None)
    if most is None or not found[most]:
        return []
    place = (Path(run.about()["baselines"]).parent / most.name).as_posix()
    return [
        f"{run.about()['baselines']} has no baselines, so nothing was compared; {place} has those "
        f"of {counted(found[most], 'case')}. If they are of an earlier version of this model, say "
        f"so in pytest's configuration: audit_baselines = {place}"
    ]


def _noise_of(run: Run, folder: Path) -> tuple[Noise, Level | None]:
    """The noise beside the baselines, and that of the run's precision and devices."""
    noise = load_noise(folder)
    return noise, level_of(noise, run.about(), baselines.origin_of(folder))
