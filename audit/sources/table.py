"""What every reader of a source gives: its columns, what is known of them, and its records."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from audit.base.errors import SourceError
from audit.base.files import kind_of
from audit.sources.rows import Record, Refused

Records = Callable[[], Iterator[Record | Refused]]


@dataclass(frozen=True)
class Table:
    """A source as a table, whatever it is on disk.

    Attributes:
        kind: what it is, in words.
        path: what was named.
        columns: the names of its columns.
        records: reads it from the start, a little at a time.
        folder: the folder that its pictures lie in unless another is named.
        roles: by role, the column that has it in a source of this kind.
        classes: by column that holds numbers of classes, the names of the classes.
        true: whether every text is true of its picture, because the format says so.
        row: what a record is called, with its number: ``row`` or ``line``.
        encoded: whether its encoding can be named, as that of a CSV.
        notes: what was chosen, in sentences for the user.
    """

    kind: str
    path: Path
    columns: Sequence[str]
    records: Records
    folder: Path
    roles: Mapping[str, str] = field(default_factory=dict)
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    true: bool = False
    row: str = "row"
    encoded: bool = False
    notes: Sequence[str] = ()


@contextmanager
def regular(path: Path) -> Iterator[BinaryIO]:
    """A file opened to read; pipes and devices are refused, since a source is read twice.

    Raises:
        SourceError: there is no such file, it is something else, or it cannot be read.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise SourceError(f"{path}: not a file that can be read, but {kind_of(mode)}")
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from None
