"""What the suite-level gate finds: shifts of metrics, lost labels, slices that fell."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from audit.base.files import counted, rounded
from audit.base.statistics import Interval


@dataclass(frozen=True)
class Finding:
    """Something that was found over all cases, in a clause."""

    clause: str
    fails: bool = True


@dataclass(frozen=True)
class Shift:
    """How one metric changed over all cases, or over those of a slice.

    Attributes:
        cases, images: how many have the metric.
        change: the mean of the pictures' mean changes, with the interval of the t-test.
        effect: the mean change as a multiple of the metric's drift tolerance.
        p, adjusted: two-sided p-value, before and after correction over all tests.
        verdict: ``worse``, ``better``, ``steady``, or ``shifted``: a metric without a direction,
            or one that moved for the better though no case gives limits for it. It is ``cannot
            tell`` if the mean change would be large enough to count but may be chance, and of one
            picture, which is too few for a test.
        findable: the shift that would be found with probability 0.8, in tolerances; None if there
            is none, as with one picture.
    """

    metric: str
    cases: int
    images: int
    change: Interval
    effect: float
    p: float
    adjusted: float
    verdict: str
    findable: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "change": self.change._asdict()}

    @property
    def interval(self) -> str:
        """The interval of the mean change; empty for one picture, which has none.

        >>> Shift("mass", 3, 3, Interval(0.0, -0.00001, 0.2), 0, 1, 1, "steady", None).interval
        '+0.0000 to +0.2000'
        """
        if self.images < 2:
            return ""
        return f"{rounded(self.change.low, 4):+.4f} to {rounded(self.change.high, 4):+.4f}"

    @property
    def clause(self) -> str:
        """What moved, how far and how surely; the table has the interval."""
        moved = "moved for the worse" if self.verdict == "worse" else "moved"
        return (
            f"{self.metric} {moved} by {self.change.mean:+.3g}, {abs(self.effect):.1f} times its "
            f"tolerance (p = {self.adjusted:.2g})"
        )


@dataclass(frozen=True)
class Labels:
    """Labels lost and gained.

    Attributes:
        lost, gained: cases that were right and are now wrong, and the other way round.
        flipped: pictures at which the numbers of lost and gained labels differ.
        p, adjusted: of the sign-flip test over pictures, before and after correction.
        worse: whether more were lost than chance explains.
    """

    lost: int
    gained: int
    flipped: int
    p: float
    adjusted: float
    worse: bool

    @property
    def clause(self) -> str:
        """How many were lost, and how surely."""
        lost = counted(self.lost, "label")
        return f"{lost} lost, {self.gained} gained (p = {self.adjusted:.2g})"


@dataclass(frozen=True)
class Slice:
    """The cases of a tag or of an expected label.

    Attributes:
        right: labels that were right before, and are right now.
        definite: cases that say which label is right; a variant may leave it open.
        largest: the largest shift in tolerances, the failing ones first; None without figures.
        bad: the shifts that fail the suite.
        tested: whether it has enough pictures for a test; else it is only shown.
    """

    name: str
    cases: int
    images: int
    right: tuple[int, int]
    definite: int
    labels: Labels
    largest: Shift | None
    bad: list[Shift]
    tested: bool = True

    @property
    def failed(self) -> bool:
        """Whether labels or figures fell on these cases."""
        return bool(self.labels.worse or self.bad)

    @property
    def verdict(self) -> str:
        """In words: ``failed``, ``too few pictures to test``, or that of the largest shift."""
        if self.failed:
            return "failed"
        if not self.tested:
            return "too few pictures to test"
        return self.largest.verdict if self.largest else ""

    @property
    def effect(self) -> float:
        """The size of the largest shift, in tolerances."""
        return abs(self.largest.effect) if self.largest else 0.0

    @property
    def told(self) -> str:
        """The slice in a line; see :meth:`of`."""
        return self.of("case")

    def of(self, noun: str) -> str:
        """The slice in a line: its size, its labels, its largest shift.

        Like ``tag birds: 12 cases on 9 pictures, labels right 11 before and 8 now, mass -1.2
        tolerances``.

        Args:
            noun: what a case is called.
        """
        shift = self.largest
        moved = f", {shift.metric} {shift.effect:+.1f} tolerances" if shift else ""
        labels = f", labels right {self.right[0]} before and {self.right[1]} now"
        if self.definite < self.cases:
            labels += f" (of {self.definite})"
        return (
            f"{self.name}: {counted(self.cases, noun)} on {counted(self.images, 'picture')}"
            f"{labels if self.definite else ''}{moved}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            **asdict(self),
            "failed": self.failed,
            "verdict": self.verdict,
            "largest": self.largest.to_dict() if self.largest else None,
            "bad": [shift.to_dict() for shift in self.bad],
        }


@dataclass(frozen=True)
class Findable:
    """What the pictures could have shown, each with probability 0.8.

    Attributes:
        enough: whether the tests could find a shift of one tolerance in at least half of the
            metrics. A larger shift shows in single cases, so a suite that finds nothing smaller
            cannot tell more than they do. A larger smallest effect makes no suite able to tell.
        shift: in tolerances; at least so much would be found in each of ``metrics`` metrics out of
            ``of``. None if no shift of any size would be found.
        labels: pictures at which labels must be lost, and none gained, to be found.
    """

    enough: bool
    shift: float | None
    metrics: int
    of: int
    labels: int
