"""The runs of many versions in a row: what moves a little in every step, and in all too far.

Each step is compared as :mod:`audit.studies.comparison` does it, and so is each run with the first.
What the suite-level gate finds between the first and the last and in no step has crept.
:mod:`audit.studies.versions` reads the runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from audit.base.files import counted
from audit.gate.findings import Shift
from audit.gate.suite import Judgement, Suite

FEWEST = 4
"""Of fewer runs no trend is claimed: three points lie near a line too often by chance."""

_TOLD = 3  # findings that the sentence names


@dataclass(frozen=True)
class Version:
    """One run of the history.

    Attributes:
        started: when its session began; the runs are in this order.
        right, of: labels as expected, among the shared cases that say which is.
        slices: the same by slice.
        states: all its cases by state, also those that other runs do not have.
        ended: the sentence of its session; empty if it did not end.
    """

    title: str
    started: datetime
    about: Mapping[str, Any]
    right: int
    of: int
    slices: dict[str, tuple[int, int]]
    states: dict[str, int]
    ended: str

    @property
    def model(self) -> str:
        """The model's name and revision, as far as they are known."""
        known = self.about.get("model", {})
        return " ".join(filter(None, (known.get("name", ""), known.get("revision", ""))))

    @property
    def digest(self) -> str:
        """The beginning of the digest of what the model computes."""
        return str(self.about.get("model", {}).get("digest", ""))[:8]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "run": self.title,
            "id": self.about.get("id", ""),
            "started": self.started.isoformat(),
            "model": self.about.get("model", {}),
            "right": self.right,
            "of": self.of,
            "slices": {name: list(counts) for name, counts in self.slices.items()},
            "states": self.states,
            "session": self.ended,
        }


class Point(NamedTuple):
    """How far a metric is from the first run: the mean over pictures, and its 95 % interval."""

    change: float
    low: float
    high: float
    tolerances: float


@dataclass(frozen=True)
class Line:
    """A metric over all runs.

    Attributes:
        points: one for each run; the first is 0.
        total: the shift from the first run to the last, as the suite-level gate tests it.
        steps: the shift of each step, in tolerances.
        seen: whether some step alone was found to shift.
        slope: change a run of the least-squares line; None for fewer than :data:`FEWEST` runs.
        p: that such a slope comes by chance, by the t-test over runs, corrected over all metrics
            (Holm 1979); None where there is no slope.
    """

    metric: str
    points: list[Point]
    total: Shift
    steps: list[float]
    seen: bool
    slope: float | None
    p: float | None

    @property
    def crept(self) -> bool:
        """Whether it shifted from first to last, and no step alone shows it."""
        return self.slope is not None and self.total.verdict in BAD and not self.seen

    @property
    def clause(self) -> str:
        """What crept, in how many steps, and how surely."""
        way = np.sign(self.total.change.mean)
        along = sum(bool(np.sign(step) == way) for step in self.steps)
        assert self.p is not None
        steady = f"p = {self.p:.2g} for the trend over runs"
        if self.p >= _SURE:
            steady = f"no steady trend, {steady}"
        return (
            f"{self.total.clause}, {along} of {counted(len(self.steps), 'step')} in this "
            f"direction, none by more than {max(map(abs, self.steps)):.1f} tolerances ({steady})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "points": [point._asdict() for point in self.points],
            "total": self.total.to_dict(),
            "steps": self.steps,
            "crept": self.crept,
            "slope": self.slope,
            "p": self.p,
        }


BAD = ("worse", "shifted")
_SURE = 0.05


@dataclass(frozen=True)
class History:
    """All runs in order, and what they say together.

    Attributes:
        lines: every metric, those that crept first, then the largest total.
        totals: the verdict from the first run to the last; None if they share no case.
        steps: the verdict of each step.
        shared: number of cases that all runs have, asked in the same way.
        left_out: the other cases.
    """

    versions: list[Version]
    lines: list[Line]
    total: Suite | None
    steps: list[Suite]
    shared: int
    left_out: list[str]

    @property
    def crept(self) -> list[str]:
        """What the first and the last run differ in and no step shows, one clause each."""
        if self.total is None or len(self.versions) < FEWEST:
            return []
        found = [line.clause for line in self.lines if line.crept]
        if self.total.labels.worse and not any(step.labels.worse for step in self.steps):
            found.insert(0, self.total.labels.clause)
        known = {line.metric for line in self.lines if line.crept or line.seen}
        for part in self.total.slices:
            ours = [p for step in self.steps for p in step.slices if p.name == part.name]
            if part.labels.worse and not (
                self.total.labels.worse or any(p.labels.worse for p in ours)
            ):
                found.append(f"{part.name}: {part.labels.clause}")
            seen = known | {shift.metric for p in ours for shift in p.bad}
            found += [f"{part.name}: {s.clause}" for s in part.bad if s.metric not in seen]
        return found

    @property
    def stepped(self) -> list[str]:
        """The steps that the suite-level gate alone finds, told by the runs on both sides."""
        titles = [version.title for version in self.versions]
        return [
            f"{before} → {after}"
            for (before, after), step in zip(pairwise(titles), self.steps, strict=True)
            if step.failed
        ]

    @property
    def sentence(self) -> str:
        """What the trend says that no single comparison did."""
        runs = counted(len(self.versions), "run")
        if self.total is None:
            return (
                f"the {runs} share no case that was asked in the same way, so nothing is compared"
            )
        over = (
            f"over {counted(self.total.cases, 'case')} on {counted(self.total.images, 'picture')}"
        )
        if len(self.versions) < FEWEST:
            return f"{runs} are too few to tell a trend, which needs {FEWEST} or more ({over})"
        crept = self.crept
        if crept:
            more = f"; and {len(crept) - _TOLD} more" if len(crept) > _TOLD else ""
            return (
                f"crept over {runs} although no step shows it, {over}: "
                f"{'; '.join(crept[:_TOLD])}{more}"
            )
        if self.stepped:
            return (
                f"nothing crept over {runs} that a single step does not show, {over}; "
                f"{counted(len(self.stepped), 'step')} moved by itself: {self.stepped[0]}"
                f"{' and others' if len(self.stepped) > 1 else ''}"
            )
        if self.total.verdict is Judgement.UNSURE:
            return f"cannot tell whether anything crept over {runs}: {self.total.sentence}"
        return f"nothing crept over {runs}, {over}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "sentence": self.sentence,
            "crept": self.crept,
            "steps_that_moved": self.stepped,
            "runs": [version.to_dict() for version in self.versions],
            "metrics": {line.metric: line.to_dict() for line in self.lines},
            "total": self.total.to_dict() if self.total else None,
            "shared": self.shared,
            "left_out": self.left_out,
        }
