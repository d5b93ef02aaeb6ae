"""Reads the runs of many versions, and compares each with the one before and with the first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from audit.base.errors import RunError
from audit.base.files import shown_path
from audit.base.settings import Limits
from audit.base.statistics import holm
from audit.gate.findings import Shift
from audit.gate.outcomes import totals
from audit.gate.runfolder import Run
from audit.gate.suite import Suite
from audit.studies.comparison import compare
from audit.studies.history import BAD, FEWEST, History, Line, Point, Version
from audit.studies.sides import Side, side_of_run


def runs_in(places: Sequence[Path]) -> list[Path]:
    """The run folders among ``places``, and those in folders of runs.

    Raises:
        RunError: a place is neither.
    """
    found: list[Path] = []
    for place in places:
        inside = [place] if (place / "run.json").exists() else []
        if not inside and place.is_dir():
            inside = sorted(path.parent for path in place.glob("*/run.json"))
        if not inside:
            raise RunError(f"{shown_path(place)}: neither a run nor a folder of runs")
        found += inside
    return found


def history_of(folders: Sequence[Path], limits: Limits) -> History:
    """Read runs and tell what moved over all of them, in the order in which they began.

    Args:
        limits: of the suite-level gate that judges every step and the whole.

    Raises:
        RunError: there are fewer than two, one is given twice, or one does not say when it began.
    """
    runs = [(folder, Run(folder).settled(), Run(folder).about()) for folder in folders]
    _refuse_twice(runs)
    if len(runs) < 2:
        raise RunError("a history needs at least two runs")
    dated = sorted(
        ((_begun(folder, about), folder, run, about) for folder, run, about in runs),
        key=lambda each: each[0],
    )
    sides = [side_of_run(run, str(folder), maps=False) for _, folder, run, _ in dated]
    shared = _shared(sides)
    every = dict.fromkeys(case for side in sides for case in (*side.subjects, *side.failed))
    # Who corrects an expected label has not changed the model: all are held to the last run's.
    expected = {case: sides[-1].subjects[case].expected for case in shared}
    versions = [
        _version(str(folder), begun, run, about, expected) for begun, folder, run, about in dated
    ]
    left_out = [case for case in every if case not in shared]
    if not shared:
        return History(versions, [], None, [], 0, left_out)
    sides = [_of(side, expected) for side in sides]
    since = [compare(sides[0], side, limits).suite for side in sides[1:]]
    steps = [compare(before, after, limits).suite for before, after in pairwise(sides)]
    return History(versions, _lines(since, steps), since[-1], steps, len(shared), left_out)


def _refuse_twice(runs: Sequence[tuple[Path, Run, Mapping[str, Any]]]) -> None:
    seen: dict[str, Path] = {}
    for folder, _, about in runs:
        for key in (str(folder.resolve()), str(about.get("id", ""))):
            if key and key in seen:
                raise RunError(f"{shown_path(folder)}: is the same run as {shown_path(seen[key])}")
            seen[key] = folder


def _begun(folder: Path, about: Mapping[str, Any]) -> datetime:
    written = str(about.get("started", ""))
    with suppress(ValueError, OverflowError):
        begun = datetime.fromisoformat(written)
        if begun.tzinfo is not None:
            return begun.astimezone(UTC)
    where = shown_path(folder / "run.json")
    raise RunError(f"{where}: started: needs a time with its zone, but has {written[:40]!r}")


def _shared(sides: Sequence[Side]) -> set[str]:
    """The cases that every run answered, asked in the same way in every run."""
    found = set.intersection(*(set(side.subjects) for side in sides))
    first = sides[0].subjects
    return {
        case
        for case in found
        if all(first[case].digests & side.subjects[case].digests for side in sides)
        and all(
            one.subjects[case].digests & other.subjects[case].digests
            for one, other in pairwise(sides)
        )
    }


def _of(side: Side, expected: Mapping[str, str]) -> Side:
    subjects = {
        case: replace(side.subjects[case], expected=label) for case, label in expected.items()
    }
    return replace(side, subjects=subjects, failed=(), errors={})


def _version(
    title: str, begun: datetime, run: Run, about: Mapping[str, Any], expected: Mapping[str, str]
) -> Version:
    outcomes = run.outcomes()
    definite = [o for o in outcomes if expected.get(o.case)]
    slices: dict[str, list[bool]] = defaultdict(list)
    for outcome in definite:
        wanted = expected[outcome.case]
        for name in (f"expected {wanted}", *(f"tag {tag}" for tag in dict.fromkeys(outcome.tags))):
            slices[name].append(outcome.label == wanted)
    ended = run.results().get("session") if (run.folder / "results.json").exists() else None
    return Version(
        title,
        begun,
        about,
        sum(o.label == expected[o.case] for o in definite),
        len(definite),
        {name: (sum(right), len(right)) for name, right in sorted(slices.items())},
        totals(outcomes),
        str(ended["sentence"]) if ended else "",
    )


def _lines(since: Sequence[Suite], steps: Sequence[Suite]) -> list[Line]:
    """Every metric that all comparisons have, over all runs."""
    by_since = [{shift.metric: shift for shift in suite.shifts} for suite in since]
    by_step = [{shift.metric: shift for shift in suite.shifts} for suite in steps]
    both = [*by_since, *by_step]
    names = [name for name in by_since[-1] if all(name in found for found in both)]
    slopes = {
        name: _slope([0.0, *(found[name].change.mean for found in by_since)]) for name in names
    }
    told = {name: slope for name, slope in slopes.items() if slope is not None}
    p_values = dict(zip(told, holm([slope.p for slope in told.values()]), strict=True))
    lines = []
    for name in names:
        slope = told.get(name)
        lines.append(
            Line(
                name,
                [Point(0.0, 0.0, 0.0, 0.0), *(_point(found[name]) for found in by_since)],
                by_since[-1][name],
                [found[name].effect for found in by_step],
                any(found[name].verdict in BAD for found in by_step),
                slope.slope if slope else None,
                p_values.get(name),
            )
        )
    return sorted(lines, key=lambda line: (not line.crept, -abs(line.total.effect)))


def _point(shift: Shift) -> Point:
    return Point(shift.change.mean, shift.change.low, shift.change.high, shift.effect)


class _Slope(NamedTuple):
    slope: float
    p: float


def _slope(values: Sequence[float]) -> _Slope | None:
    """The least-squares slope over runs, and its p-value; None for too few runs."""
    if len(values) < FEWEST:
        return None
    if np.ptp(values) == 0:
        return _Slope(0.0, 1.0)
    found = stats.linregress(np.arange(len(values)), values)
    return _Slope(float(found.slope), float(found.pvalue))
