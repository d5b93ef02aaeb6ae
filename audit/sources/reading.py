"""Read a source: find its columns, then check row after row, and hold no more than one."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from audit.base.errors import SourceError, TextError, printable
from audit.base.texts import has_lines, readable
from audit.sources.columns import UnknownLabel, label_for, roles_of, unread_labels
from audit.sources.folders import table_of
from audit.sources.ids import Unique, legal, made
from audit.sources.pictures import picture_in
from audit.sources.regions import FORMS, read_regions
from audit.sources.rows import Options, Record, Refused, Row
from audit.sources.table import Table

_TRUE = "yes"
"""What a text is labelled that is true of its picture, unless the user names another label."""


@dataclass(frozen=True)
class Source:
    """A source whose columns are known.

    Attributes:
        roles: by role (see :data:`audit.sources.columns.ROLES`), its column.
        label: the label of every row, if no column has it; else empty.
    """

    table: Table
    options: Options
    roles: Mapping[str, str]
    label: str

    @property
    def notes(self) -> list[str]:
        """How it is read, in sentences: what it is, and what was chosen."""
        columns = ", ".join(f"{role}={column}" for role, column in self.roles.items())
        notes = [f"{self.table.path}: {self.table.kind}", *self.table.notes]
        notes += [] if self.table.roles else [f"columns: {columns}"]
        if self.label:
            why = "" if self.options.label else ": it is true of its picture (else: --label)"
            unread = unread_labels(self.table) if self.options.label else []
            instead = f"; {' and '.join(map(repr, unread))} is not read" if unread else ""
            notes.append(f"every text is expected to be {self.label!r}{why}{instead}")
        return notes

    @property
    def slicing(self) -> list[str]:
        """The columns that have no role, which rows keep to slice by."""
        known = {*self.roles.values(), *self.table.roles.values()}
        return [name for name in self.table.columns if name not in known]

    def rows(self, taken: Iterable[str] = ()) -> Iterator[Row | Refused]:
        """The rows, in their order; each call reads the source from its start.

        Without ``sample`` one row is held at a time, and of earlier ones a number for each id.

        Args:
            taken: ids that no row may have.

        Raises:
            SourceError: the source cannot be read on.
        """
        ids = Unique(taken)
        for record in _chosen(self.table, self.options):
            yield record if isinstance(record, Refused) else self._row(record, ids)

    def _row(self, record: Record, ids: Unique) -> Row | Refused:
        where = record.at or f"{self.table.row} {record.number}"
        try:
            return self._checked(record, where, ids)
        except (TextError, ValueError) as error:
            label = error.written if isinstance(error, UnknownLabel) else ""
            return Refused(record.number, where, printable(str(error)), label)

    def _checked(self, record: Record, where: str, ids: Unique) -> Row:
        cells = {
            role: self._named(column, record.values.get(column), role)
            for role, column in self.roles.items()
        }
        text = readable(raw := _text(cells["text"], "text"))
        premise = _text(cells.get("premise"), "premise")
        label = self._label(cells.get("label"))
        folder = self.options.images or self.table.folder
        picture, name = picture_in(cells["image"], folder)
        regions = read_regions(cells.get("regions"), self.options.boxes)
        written = _text(cells.get("id"), "id")
        if isinstance(picture, Path) and not _is_unicode(name):
            raise ValueError("the picture's name is not Unicode: rename its file")
        key = picture if isinstance(picture, bytes) else name
        wanted = legal(written) or made(key, name, text)
        known = {*self.roles.values(), self.table.roles.get("size", "")}
        return Row(
            number=record.number,
            where=where,
            id=ids.take(wanted),
            written_id=written,
            wanted_id=wanted,
            picture=picture,
            picture_name=name,
            text=text,
            label=label,
            premise=readable(premise, "the premise") if premise else None,
            joined=has_lines(raw) or has_lines(premise),
            regions=regions,
            size=record.values.get(self.table.roles["size"])
            if "size" in self.table.roles
            else None,
            others={
                key: value
                for key, value in (
                    (key, self._named(key, value))
                    for key, value in record.values.items()
                    if key not in known
                )
                if _is_plain(value)
            },
        )

    def _named(self, column: str, cell: Any, role: str = "") -> Any:
        """A cell; the name of a class instead of its number.

        Raises:
            ValueError: the number names no class, in a column with a role; elsewhere it is None.
        """
        classes = self.table.classes.get(column, ())
        if not classes or not isinstance(cell, int) or isinstance(cell, bool):
            return cell
        if 0 <= cell < len(classes):
            return classes[cell]
        if role:
            raise ValueError(f"the {role} is {cell}, which names no class")
        return None

    def _label(self, cell: Any) -> str | None:
        if self.label:
            return self.label
        if "label" not in self.roles:
            return None
        if isinstance(cell, bool):
            cell = str(cell).lower()
        return label_for(_text(cell, "label"), self.options.labels)


def open_source(path: Path, options: Options) -> Source:
    """Find out what a source is and what its columns are.

    Raises:
        SourceError: see :func:`audit.sources.folders.table_of` and
            :func:`audit.sources.columns.roles_of`; or an option has no meaning.
        MissingExtra: it needs packages of the extra ``data``.
    """
    if options.boxes and options.boxes not in FORMS:
        raise SourceError(f"--boxes is {' or '.join(FORMS)}, not {options.boxes!r}")
    if options.images is not None and not options.images.is_dir():
        raise SourceError(f"--images: {options.images} is not a folder")
    table = table_of(path, options)
    roles = roles_of(table, options)
    label = options.label if "label" not in roles else ""
    if "label" not in roles and not label and table.true:
        label = _TRUE
    return Source(table, options, roles, label)


def _chosen(table: Table, options: Options) -> Iterator[Record | Refused]:
    """The records that are asked for."""
    records = itertools.islice(table.records(), options.limit)
    if options.sample is None:
        return records
    # The smallest digests of place and seed: a larger sample then has the smaller one in it.
    ranked = ((_rank(options.seed, n), n, record) for n, record in enumerate(records))
    drawn = heapq.nsmallest(options.sample, ranked, key=lambda each: each[:2])
    return iter([record for _, _, record in sorted(drawn, key=lambda each: each[1])])


def _rank(seed: int, place: int) -> bytes:
    return sha256(f"{seed} {place}".encode()).digest()


def _text(cell: Any, what: str) -> str:
    """A cell as a text; empty if there is nothing in it."""
    if cell is None:
        return ""
    if isinstance(cell, bytes):
        raise ValueError(f"the {what} is not UTF-8")
    if isinstance(cell, float) and not math.isfinite(cell):
        return ""  # how tables of numbers write that there is nothing
    if not _is_plain(cell):
        raise ValueError(f"the {what} is {_kind(cell)}, not a text")
    return str(cell)


def _is_unicode(name: str) -> bool:
    """Whether a name can be written in UTF-8: a file's may hold bytes that are none."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_plain(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, str | int | bool)


def _kind(value: object) -> str:
    if isinstance(value, Sequence):
        return "a list"
    return "a mapping" if isinstance(value, Mapping) else type(value).__name__
