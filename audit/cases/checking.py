"""Checks case files as collecting them does, without a model: every problem, not only the first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from audit.base.errors import CaseError
from audit.cases.case import Case
from audit.cases.discovery import holds_cases
from audit.cases.loading import check_labels, check_methods, check_unique, load_cases
from audit.cases.pictures import Pictures
from audit.models.protocol import Known


@dataclass
class Checked:
    """What a check of case files found.

    Attributes:
        files: those that hold cases.
        others: those that do not.
        cases: number of cases and variants in files that can be read.
        problems: one line each: file:line:column: key: what is wrong, and the nearest choice.
    """

    files: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    cases: int = 0
    problems: list[str] = field(default_factory=list)


def check_files(paths: Iterable[Path], known: Known) -> Checked:
    """Check case files, and the pictures that they name.

    Args:
        known: what is known of the model that will be asked; what is not known is not checked.
    """
    found = Checked()
    pictures: Pictures = {}
    seen: dict[str, Case] = {}
    for path in dict.fromkeys(paths):
        if path.exists() and not holds_cases(path):
            found.others.append(path)
            continue
        found.files.append(path)
        cases: Sequence[Case] = ()
        try:
            cases = load_cases(path, pictures)
        except CaseError as error:
            found.problems += str(error).splitlines()
        found.cases += len(cases)
        found.problems += _told(partial(check_unique, cases, seen))
        if known.labels is not None:
            found.problems += _told(partial(check_labels, cases, known.labels))
        if known.methods is not None:
            found.problems += _told(partial(check_methods, cases, known.methods))
    return found


def _told(check: Callable[[], None]) -> list[str]:
    try:
        check()
    except CaseError as error:
        return str(error).splitlines()
    return []
