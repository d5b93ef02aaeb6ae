"""How a session ended: what was to be audited, what was, and everything that makes it no success.

The outcomes of a run do not say: a session may be interrupted, end at the first failure, or fail in
what is no case at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from audit.base.errors import printable
from audit.base.files import counted


@dataclass(frozen=True)
class Ending:
    """How a session ended.

    Attributes:
        exit_status: pytest's.
        selected: cases that were to be audited, after every deselection.
        audited: cases among them that were.
        failed: cases whose outcome fails the session.
        reasons: what else makes it fail, a clause each, the most telling first.
        skipped: cases that a mark or a plugin skipped.
    """

    exit_status: int
    selected: int
    audited: int
    failed: int = 0
    reasons: tuple[str, ...] = ()
    skipped: int = 0

    @property
    def passed(self) -> bool:
        """Whether there is nothing that fails it, and no case was left out."""
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
        said = list(self.reasons)
        if self.failed:
            said.append(f"{counted(self.failed, 'case')} failed")
        if not said and self.exit_status:
            said.append(f"pytest ended with exit status {self.exit_status}")
        if not said:
            said.append("not every case was audited")
        verdict = "passed: " if self.passed else f"failed: {', '.join(said)}, "
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{verdict}{self.audited} of {self.selected} audited{skipped}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "passed": self.passed, "sentence": self.sentence}


class Mistake(NamedTuple):
    """What is wrong with a case file; ``line`` is 0 where no line is to blame."""

    file: str
    line: int
    text: str


_PLACED = re.compile(r"(?P<file>.+?):(?P<line>[0-9]+)(?::[0-9]+)?: (?P<text>.+)")


def mistakes_in(message: str, file: str) -> list[Mistake]:
    """The mistakes that the message of a :class:`CaseError` tells, a line each.

    Args:
        file: what a line is about that names no place of its own.

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
    """Some names, and how many more there are.

    >>> named(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    some = ", ".join(printable(each) for each in ids[:most])
    return some if len(ids) <= most else f"{some} and {len(ids) - most} more"
