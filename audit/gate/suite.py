"""The suite-level gate: tests whether many small changes in one direction add up to a regression.

Verdicts on single cases miss a shift that stays within every tolerance, and over many cases they
raise false alarms. This compares before and after over all cases at once, and over each slice of
them. :mod:`~audit.gate.shifts` has the tests; here their results become a verdict, and its reasons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from audit.base.files import counted, share
from audit.base.settings import Limits
from audit.gate.changes import Change
from audit.gate.ending import named
from audit.gate.findings import Findable, Finding, Labels, Shift, Slice
from audit.gate.omnibus import Omnibus
from audit.gate.shifts import (
    FEWEST,
    Sums,
    Table,
    Tested,
    findable,
    run_tests,
    strictest,
    sums_of,
    table_of,
)
from audit.gate.slices import slices_of

_TOLD = 3  # metrics, cases and slices that a sentence names; of others it gives the number


class Judgement(StrEnum):
    """The suite's verdict. Only ``failed`` fails a session."""

    PASSED = "passed"
    FAILED = "failed"
    UNSURE = "cannot tell"


@dataclass(frozen=True)
class Suite:
    """The verdict over all cases.

    Attributes:
        lost, gained: cases that were right and are now wrong, and the other way round.
        flipped: cases whose label changed, with both labels.
        vetoes: critical cases that were right and are now wrong.
        drifted: cases in which a figure drifted or crept, whatever else is wrong with them.
        undeclared: cases in which figures left their tolerance for the better though nothing was
            asked of them, with these figures.
        shifts: every metric, the largest effect first.
        slices: by tag and expected label; those that failed first, then the largest effect.
        findings: what fails the suite, and what else is worth a clause, the most important first.
        omnibus: the verdict on all moves together; None if no noise was measured.
        noun: what a case is called in sentences.
    """

    cases: int
    images: int
    lost: list[str]
    gained: list[str]
    flipped: dict[str, tuple[str, str]]
    vetoes: list[str]
    drifted: list[str]
    undeclared: dict[str, tuple[str, ...]]
    labels: Labels
    shifts: list[Shift]
    slices: list[Slice]
    findable: Findable
    findings: list[Finding]
    limits: Limits
    omnibus: Omnibus | None = None
    noun: str = "case"

    @property
    def verdict(self) -> Judgement:
        """Failed if a finding fails it, else whether the pictures were enough to tell."""
        if any(finding.fails for finding in self.findings):
            return Judgement.FAILED
        return Judgement.PASSED if self.findable.enough else Judgement.UNSURE

    @property
    def failed(self) -> bool:
        """Whether it fails the session."""
        return self.verdict is Judgement.FAILED

    @property
    def worse(self) -> bool:
        """Whether labels were lost, or a metric moved for the worse."""
        shifts = (*self.shifts, *(shift for part in self.slices for shift in part.bad))
        return bool(
            self.vetoes
            or self.labels.worse
            or any(part.labels.worse for part in self.slices)
            or any(shift.verdict == "worse" for shift in shifts)
        )

    @property
    def sentence(self) -> str:
        """The verdict's reasons."""
        over = f"over {counted(self.cases, self.noun)} on {counted(self.images, 'picture')}"
        clauses = [finding.clause for finding in self.findings]
        lost, gained = self.labels.lost, self.labels.gained
        flips = f"{counted(lost, 'label')} lost, {gained:,} gained"
        if self.failed and (lost or gained) and not self.labels.worse:
            # Lost labels come before what moved for the better, but after what is critical.
            place = min(len(self.vetoes), 1) if lost else len(clauses)
            clauses.insert(place, flips)
        if not self.failed:
            clauses.insert(0, flips if lost or gained else "no label lost")
            better = [shift.metric for shift in self.shifts if shift.verdict == "better"]
            if better:
                clauses.append(f"{named(better)} moved for the better")
            elif self.findable.enough and not self.drifted:
                clauses.append("no metric shifted")
        if self.drifted:
            some = share(len(self.drifted), self.cases, self.noun)
            clauses.append(f"figures left their tolerances in {some}")
        if self.failed:
            return f"{over}: {'; '.join(clauses)}"
        return f"{over}: {', '.join(clauses)}; {self._could()}"

    def _could(self) -> str:
        """What the pictures could have shown."""
        can, pictures = self.findable, counted(self.images, "picture")
        clauses = []
        if can.shift is not None:
            some = f" in {can.metrics} of {can.of} metrics" if can.metrics < can.of else ""
            clauses.append(f"a shift of {_short(can.shift)} tolerances{some}")
        if can.labels <= self.images:
            clauses.append(f"labels lost at {counted(can.labels, 'picture')}")
        if not clauses and self.images == 1:
            return "one picture is too few to tell a shift"
        if not clauses:
            return f"{pictures} are too few to tell a shift of any size"
        too_few = "" if can.enough else "too few pictures to tell: "
        comma = "," if len(clauses) > 1 else ""
        return f"{too_few}{', or '.join(clauses)}{comma} would show"

    def worst_slices(self, most: int) -> list[Slice]:
        """The slices that failed, lost labels or shifted by more than the smallest effect."""
        fallen = [
            part
            for part in self.slices
            if part.failed or part.right[1] < part.right[0] or part.effect > self.limits.effect
        ]
        return fallen[:most]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        known = asdict(self)
        del known["noun"]  # of sentences alone
        return {
            **known,
            "verdict": self.verdict.value,
            "failed": self.failed,
            "sentence": self.sentence,
            "shifts": [shift.to_dict() for shift in self.shifts],
            "slices": [part.to_dict() for part in self.slices],
            "omnibus": self.omnibus.to_dict() if self.omnibus else None,
        }


def _short(tolerances: float) -> str:
    return f"{tolerances:.1f}" if tolerances < 10 else f"{tolerances:.0f}"


def judge_suite(changes: Sequence[Change], limits: Limits, omnibus: Omnibus | None = None) -> Suite:
    """Judge all changes at once, and by slice.

    Args:
        omnibus: the verdict on all moves together, if noise was measured.
    """
    table = table_of(changes)
    parts = [
        _part(part.name, table.of(part.rows), [changes[row] for row in part.rows])
        for part in slices_of(changes)
    ]
    cases = Cases(
        lost=[c.case for c in changes if c.right == (True, False)],
        gained=[c.case for c in changes if c.right == (False, True)],
        flipped={c.case: c.labels for c in changes if c.labels[0] != c.labels[1]},
        vetoes=[c.case for c in changes if c.critical and c.right == (True, False)],
        drifted=[c.case for c in changes if c.drifted],
        undeclared={c.case: c.undeclared for c in changes if c.undeclared},
    )
    return judge_parts(_part("", table, changes), parts, cases, limits, omnibus)


@dataclass(frozen=True)
class Part:
    """A suite or a slice, summed up.

    Attributes:
        right: labels that were right before, and are right now.
        definite: cases that say which label is right.
        lost, gained: cases that were right and are now wrong, and the other way round.
    """

    name: str
    cases: int
    right: tuple[int, int]
    definite: int
    lost: int
    gained: int
    sums: Sums


@dataclass(frozen=True)
class Cases:
    """The cases that a suite names; see :class:`Suite`. Of very many, some."""

    lost: list[str]
    gained: list[str]
    flipped: dict[str, tuple[str, str]]
    vetoes: list[str] = field(default_factory=list)
    drifted: list[str] = field(default_factory=list)
    undeclared: dict[str, tuple[str, ...]] = field(default_factory=dict)


def _part(name: str, table: Table, changes: Sequence[Change]) -> Part:
    before, after = (sum(c.right[side] for c in changes) for side in (0, 1))
    gained = sum(c.right == (False, True) for c in changes)
    definite = sum(c.expected != "" for c in changes)
    lost = before - after + gained
    return Part(name, len(changes), (before, after), definite, lost, gained, sums_of(table))


def judge_parts(
    all_cases: Part,
    parts: Sequence[Part],
    cases: Cases,
    limits: Limits,
    omnibus: Omnibus | None = None,
    noun: str = "case",
) -> Suite:
    """:func:`judge_suite` of cases that are summed up already.

    Args:
        noun: what a case is called in sentences.
    """
    whole, *tested = run_tests(all_cases.sums, [part.sums for part in parts], limits)
    level = strictest([whole, *tested], limits)
    slices = [_slice(*each, limits, level) for each in zip(parts, tested, strict=True)]
    slices.sort(key=lambda part: (not part.failed, -part.effect))
    shifts = _shifts(whole, limits, level)
    labels = _labels(whole, all_cases.lost, all_cases.gained)
    vetoes, undeclared = cases.vetoes, cases.undeclared
    return Suite(
        cases=all_cases.cases,
        images=all_cases.sums.images,
        lost=cases.lost,
        gained=cases.gained,
        flipped=cases.flipped,
        vetoes=vetoes,
        drifted=cases.drifted,
        undeclared=undeclared,
        labels=labels,
        shifts=sorted(shifts, key=lambda s: -abs(s.effect)),
        slices=slices,
        findable=_findable(whole, limits, level),
        findings=[
            *_findings(vetoes, labels, [shifts[m] for m in whole.bad], undeclared, slices, noun),
            *([Finding(omnibus.sentence)] if omnibus and omnibus.failed else []),
        ],
        limits=limits,
        omnibus=omnibus,
        noun=noun,
    )


def _shifts(tested: Tested, limits: Limits, level: float) -> list[Shift]:
    """The shift of every metric of the table, in its order."""
    means = tested.means
    _, found = findable(means, level, limits)
    return [
        Shift(
            metric,
            int(means.cases[number]),
            int(means.pictures[number]),
            means.interval(number),
            float(means.effect[number]),
            float(tested.metrics[number]),
            float(tested.adjusted[number]),
            tested.verdict(number),
            float(found[number]) if np.isfinite(found[number]) else None,
        )
        for number, metric in enumerate(tested.sums.metrics)
    ]


def _labels(tested: Tested, lost: int, gained: int) -> Labels:
    return Labels(
        lost, gained, tested.flipped, tested.labels, tested.adjusted_labels, tested.labels_worse
    )


def _slice(part: Part, tested: Tested, limits: Limits, level: float) -> Slice:
    shifts = _shifts(tested, limits, level)
    bad = [shifts[metric] for metric in tested.bad]
    measured = [shift for shift in bad or shifts if shift.cases]
    return Slice(
        part.name,
        part.cases,
        part.sums.images,
        part.right,
        part.definite,
        _labels(tested, part.lost, part.gained),
        max(measured, key=lambda shift: abs(shift.effect), default=None),
        bad,
        part.sums.images >= FEWEST,
    )


def _findable(whole: Tested, limits: Limits, level: float) -> Findable:
    """What the whole suite could have found; see :class:`Findable`."""
    by_test, found = findable(whole.means, level, limits)
    # Whatever effect the user lets pass, a suite that could not find one tolerance cannot tell.
    of, told = len(found), by_test <= 1.0
    # All labels that changed were lost, each at a picture of its own: p is 2 / 2^pictures.
    labels = 2 - int(np.ceil(np.log2(level))) if level > 0 else whole.sums.images + 1
    enough = bool(2 * told.sum() >= of) if of else labels <= whole.sums.images
    among = told if enough else by_test <= np.median(by_test)
    shift = float(found[among].max()) if of and among.any() else float("inf")
    count = int((found <= shift).sum())
    if not np.isfinite(shift):
        return Findable(enough, None, 0, of, labels)
    return Findable(enough, shift, count, of, labels)


def _findings(
    vetoes: list[str],
    labels: Labels,
    bad: list[Shift],
    undeclared: dict[str, tuple[str, ...]],
    slices: list[Slice],
    noun: str,
) -> list[Finding]:
    clauses = []
    if vetoes:
        what = "a critical case is" if len(vetoes) == 1 else "critical cases are"
        clauses.append(f"{what} wrong now: {', '.join(vetoes)}")
    if labels.worse:
        clauses.append(labels.clause)
    clauses += [shift.clause for shift in bad[:_TOLD]]
    if len(bad) > _TOLD:
        clauses.append(f"{counted(len(bad) - _TOLD, 'more metric')} moved")
    if undeclared:
        told = [f"{case} ({named(figures)})" for case, figures in undeclared.items()]
        clauses.append(
            f"{counted(len(told), 'case')} moved for the better by more than a tolerance where "
            f"nothing was asked: {named(told)}"
        )
    clauses += _of_slices(labels, bad, slices, noun)
    return [Finding(clause) for clause in clauses]


def _of_slices(labels: Labels, bad: list[Shift], slices: list[Slice], noun: str) -> list[str]:
    """What fell in slices and not in the whole suite."""
    known = {shift.metric for shift in bad}
    clauses = []
    for part in slices:
        news = [part.labels.clause] if part.labels.worse and not labels.worse else []
        news += [shift.clause for shift in part.bad if shift.metric not in known]
        if news:
            more = f" and {len(news) - 1} more" if len(news) > 1 else ""
            size = f"{counted(part.cases, noun)} on {counted(part.images, 'picture')}"
            clauses.append(f"{part.name} ({size}): {news[0]}{more}")
    if len(clauses) > _TOLD:
        clauses[_TOLD:] = [f"{counted(len(clauses) - _TOLD, 'more slice')} moved"]
    return clauses
