"""Rows of case files, as a bulk audit takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from audit.base.places import named_from
from audit.bulk.plan import Refusal, Rows
from audit.bulk.questions import Question
from audit.cases.case import Case
from audit.cases.discovery import SUFFIXES

PICTURES = "pictures"
"""The folder in a bulk folder for pictures that a source holds in itself."""


def case_files(path: Path) -> list[str]:
    """The case files that a path names, or that a folder holds; empty if it is another source."""
    if path.is_dir():
        return sorted(str(each) for suffix in SUFFIXES for each in path.glob(f"*{suffix}"))
    return [str(path)] if path.suffix in SUFFIXES else []


def of_cases(cases: Sequence[Case], root: Path) -> Rows:
    """The rows of cases: question, label and regions. Their limits are for pytest sessions.

    Args:
        root: the folder that pictures are relative to.
    """

    def rows() -> Iterator[Question | Refusal]:
        for position, case in enumerate(cases):
            where = f"{case.file}:{case.line}"
            if case.variant is not None:
                reason = f"{case.id}: a variant, which is held against its case by pytest alone"
                yield Refusal(position, where, reason)
                continue
            yield Question(
                id=case.id,
                position=position,
                where=where,
                picture=named_from(case.image, root),
                text=case.text,
                premise=case.premise,
                truncate=case.truncate,
                expected=case.expect.label,
                regions={
                    name: [(b.left, b.top, b.right, b.bottom) for b in boxes]
                    for name, boxes in case.regions.items()
                },
                tags=case.tags,
                written_id=case.id,
            )

    return rows
