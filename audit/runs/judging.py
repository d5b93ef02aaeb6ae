"""Judges all cases of a run together, with the noise floors beside its baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from audit.base.errors import printable
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
    """A line about figures of the same weights that have no noise floor; none if all have one."""
    note = without_floor(run.outcomes(), *_noise_of(run, folder))
    return [f"note: {printable(note)}"] if note else []


def _noise_of(run: Run, folder: Path) -> tuple[Noise, Level | None]:
    """The noise beside the baselines, and that of the run's precision and devices."""
    noise = load_noise(folder)
    return noise, level_of(noise, run.about(), baselines.origin_of(folder))
