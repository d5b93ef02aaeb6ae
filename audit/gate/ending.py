"""Says how a session ended: how many cases it should audit, how many it did, and why it failed.

The outcomes alone do not tell: a session may be interrupted, stop at the first failure, or fail in
something that is not a case.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from audit.base.errors import printable
from audit.base.files import counted

SUITE_FAILED = "the suite-level gate failed"
"""The reason of an ending if the gate over all cases failed it."""


def short_of(audited: int, fewest: int) -> str:
    """What to say if fewer cases than ``fewest`` were audited; otherwise empty.

    >>> short_of(1, 53)
    '1 case audited, fewer than the 53 of audit_min_cases'
    """
    if audited >= fewest:
        return ""
    return f"{counted(audited, 'case')} audited, fewer than the {fewest} of audit_min_cases"


@dataclass(frozen=True)
class Ending:
    """How a session ended.

    Attributes:
        exit_status: pytest's.
        selected: number of cases to be audited, after deselection.
        audited: number of cases among them that were audited.
        failed: number of cases whose outcome fails the session.
        reasons: other reasons why it fails, one clause each, the most important first.
        skipped: number of cases that a mark or a plugin skipped.
    """

    exit_status: int
    selected: int
    audited: int
    failed: int = 0
    reasons: tuple[str, ...] = ()
    skipped: int = 0

    @property
    def passed(self) -> bool:
        """Whether nothing failed and no case was left out."""
        whole = self.audited + self.skipped >= self.selected
        return whole and not (self.failed or self.reasons or self.exit_status)

    @property
    def sentence(self) -> str:
        """The verdict with its reasons.

        >>> Ending(2, 53, 12, reasons=("interrupted",)).sentence
        'failed: interrupted, 12 of 53 audited'
        >>> Ending(0, 53, 53).sentence
        'passed: 53 of 53 audited'
        """
        clauses = list(self.reasons)
        if self.failed:
            clauses.append(f"{counted(self.failed, 'case')} failed")
        if not clauses and self.exit_status:
            clauses.append(f"pytest ended with exit status {self.exit_status}")
        if not clauses:
            clauses.append("not every case was audited")
        verdict = "passed: " if self.passed else f"failed: {', '.join(clauses)}, "
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{verdict}{self.audited} of {self.selected} audited{skipped}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "passed": self.passed, "sentence": self.sentence}


class Mistake(NamedTuple):
    """A mistake in a case file; ``line`` is 0 if it is not in a particular line."""

    file: str
    line: int
    text: str


_PLACED = re.compile(r"(?P<file>.+?):(?P<line>[0-9]+)(?::[0-9]+)?: (?P<text>.+)")


def mistakes_in(message: str, file: str) -> list[Mistake]:
    """The mistakes in the message of a :class:`CaseError`, which has one in each line.

    Args:
        file: the file of lines that do not name one themselves.

    >>> mistakes_in("cases/a.yaml:3:5: cases[0].text: this key is required", "cases/a.yaml")
    [Mistake(file='cases/a.yaml', line=3, text='cases[0].text: this key is required')]
    """
    found = []
    for line in message.splitlines():
        placed = _PLACED.fullmatch(line)
        if placed:
            found.append(Mistake(placed["file"], int(placed["line"]), printable(placed["text"])))
        elif line.strip():
            found.append(Mistake(file, 0, printable(line.strip())))
    return found


def named(ids: Sequence[str], most: int = 3) -> str:
    """The first names of a list, and how many more there are.

    >>> named(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    some = ", ".join(printable(each) for each in ids[:most])
    return some if len(ids) <= most else f"{some} and {len(ids) - most} more"
