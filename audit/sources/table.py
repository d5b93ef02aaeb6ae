"""What every reader of a source gives: its columns, what is known of them, and its records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

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
    notes: Sequence[str] = ()
