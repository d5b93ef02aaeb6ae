"""Rows of case files and of any other source, as a bulk audit takes them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from audit.base.files import write_atomically
from audit.base.places import named_from
from audit.bulk.plan import Refusal, Rows
from audit.bulk.questions import Question, unicode_of
from audit.cases.case import Case
from audit.cases.discovery import SUFFIXES
from audit.sources.reading import Source
from audit.sources.rows import Plain, Refused, Row

PICTURES = "pictures"
"""The folder in a bulk folder for the pictures of a source that holds them in itself: what travels
to other processes are paths."""


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
        for position, case in enumerate(cases, 1):
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


def of_source(source: Source, root: Path, out: Path, keep: Collection[str] | None) -> Rows:
    """The rows of a table, a data set or a folder of pictures.

    Args:
        root: the folder that pictures are relative to, as an absolute path.
        out: the bulk folder, which gets the pictures that the source holds in itself.
        keep: the other columns that are kept; None for all.
    """

    def rows() -> Iterator[Question | Refusal]:
        for row in source.rows():
            if isinstance(row, Refused):
                yield Refusal(row.number, row.where, row.reason)
                continue
            yield Question(
                id=row.id,
                position=row.number,
                where=row.where,
                picture=_path(row, root, out),
                text=row.text,
                premise=row.premise,
                expected=row.label or "",
                regions=row.regions,
                size=row.size,
                within=isinstance(row.picture, bytes),
                kept={
                    unicode_of(name): unicode_of(_told(value))
                    for name, value in row.others.items()
                    if keep is None or name in keep
                },
                written_id=row.written_id,
            )

    return rows


def _path(row: Row, root: Path, out: Path) -> str:
    """The picture's path from ``root``, or from ``out`` if the source holds it in itself.

    The bulk folder may be moved, and the rows of two of them compared.
    """
    if isinstance(row.picture, Path):
        # Not named_from, which looks at the disk to follow links, and that for every row.
        return str(row.picture).removeprefix(f"{root}{os.sep}")
    mark = hashlib.sha256(row.picture).hexdigest()
    name = f"{PICTURES}/{mark[:2]}/{mark[2:]}"
    if not (out / name).exists():
        write_atomically(out / name, row.picture, durable=False)
    return name


def _told(value: Plain) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
