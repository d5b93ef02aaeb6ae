"""Read CSV, TSV, JSON Lines and JSON, a little at a time; a row that is broken stands alone."""

from __future__ import annotations

import codecs
import itertools
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from audit.base.errors import SourceError, printable
from audit.base.extras import require
from audit.base.files import counted, read_bytes
from audit.base.strictjson import loads
from audit.base.yamlfile import shortened
from audit.sources.rows import Record, Refused
from audit.sources.table import Table, regular

_BLOCK = 1 << 22
"""Bytes of a CSV that are read at once."""

_MOST_COLUMNS = 1_000

_LONGEST_LINE = 10_000_000
"""Bytes of a line of JSON Lines; a longer one is refused without being read."""

_NO_LINE = 100_000_000
"""A file with so many bytes in a line is no JSON Lines."""

_PEEKED = 1_000
"""Rows that are read first: to know the columns of JSON Lines, and the encoding of a CSV."""

MOST_JSON = 1_000_000_000
"""Bytes of a JSON file that is read at once; COCO's largest has 470 MB."""


def csv_table(path: Path, delimiter: str, encoding: str = "") -> Table:
    """A CSV or TSV file with the names of its columns in the first row.

    Args:
        encoding: how it writes characters, by a name that Python knows; UTF-8 if empty.

    Raises:
        SourceError: it cannot be read, its first row does not name columns, or it is plainly not in
            this encoding.
    """
    _check_encoding(encoding)
    require("data", "CSV")
    names: list[str] = []
    with regular(path) as file:
        start = file.read(4)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise SourceError(f"{path}: it is UTF-16: save it as UTF-8 (in a spreadsheet: CSV UTF-8)")
    head = list(itertools.islice(_cells(path, delimiter), _PEEKED))
    if head and isinstance(head[0], Record) and head[0].number == 1:
        try:
            names = [_cell(cell, encoding) for cell in head[0].values["cells"]]
        except UnicodeDecodeError as error:
            about = f"its first row is not {_named(encoding)} ({error.reason})"
            raise SourceError(f"{path}: {about}: {_instead(error.object)}") from None
    if not any(names):
        raise SourceError(f"{path}: its first row must name the columns")
    _check_columns(path, names, delimiter)
    _refuse_other_encoding(path, head, encoding)

    def records() -> Iterator[Record | Refused]:
        for record in itertools.islice(_cells(path, delimiter), 1, None):
            if isinstance(record, Refused):
                yield record
                continue
            cells = record.values["cells"]
            if not any(cells):
                yield Refused(record.number, f"row {record.number}", "the row is empty")
                continue
            try:
                decoded = [_cell(cell, encoding) for cell in cells]
                values = dict(zip(names, decoded, strict=True))
            except UnicodeDecodeError as error:
                at = f"byte {error.start} of {printable(repr(error.object[:40]))}"
                reason = f"not {_named(encoding)}: {error.reason} at {at}"
                yield Refused(record.number, f"row {record.number}", reason)
            else:
                yield Record(record.number, values)

    kind = "TSV" if delimiter == "\t" else "CSV"
    return Table(kind, path, names, records, path.parent, encoded=True)


def _check_columns(path: Path, names: list[str], delimiter: str) -> None:
    twice = next((n for i, n in enumerate(names) if n and n in names[:i]), None)
    if twice is not None:
        raise SourceError(f"{path}: two columns are called {shortened(twice)}")
    if len(names) == 1:
        for other, written in ((";", "';'"), ("\t", "tab"), (",", "','")):
            if other != delimiter and other in names[0]:
                raise SourceError(
                    f"{path}: its only column is called {shortened(names[0])}; if another "
                    f"character separates the columns, name it: --delimiter {written}"
                )


def _named(encoding: str) -> str:
    return encoding or "UTF-8"


def _check_encoding(encoding: str) -> None:
    """Refuse an encoding that Python does not know, or in which a comma is not a comma.

    Raises:
        SourceError: so it is.
    """
    plain = 'image,"text";\t\n'
    try:
        if plain.encode(encoding or "utf-8") == plain.encode():
            return
    except (LookupError, ValueError):  # there is none, or it is not one of texts
        pass
    raise SourceError(
        f"--encoding: {encoding!r} is no encoding of tables, such as {', '.join(_FREQUENT)}"
    )


def _refuse_other_encoding(path: Path, head: list[Record | Refused], encoding: str) -> None:
    """Refuse a file of which no row with other than ASCII characters is in the encoding.

    A few such rows may be damaged and cost only themselves.

    Raises:
        SourceError: so it is; the message says how some encodings would read a cell.
    """
    wrong: list[bytes] = []
    for record in head[1:]:
        if isinstance(record, Refused):
            continue
        for cell in record.values["cells"]:
            try:
                if not _cell(cell, encoding).isascii():
                    return
            except UnicodeDecodeError as error:
                wrong.append(error.object)
                break
    if len(wrong) > _DAMAGED:
        rows = f"{counted(len(wrong), 'row')} of the first {len(head):,}"
        raise SourceError(f"{path}: not {_named(encoding)}: {rows}: {_instead(wrong[0])}")


def _instead(data: bytes) -> str:
    """What to do with a file that is in another encoding, of which ``data`` is a cell."""
    readings = []
    for name in _FREQUENT:
        with suppress(UnicodeDecodeError):
            found = shortened(data.decode(name))
            readings.append(f"--encoding {name} (reads {found})")
    named = f", or name its encoding: {' or '.join(readings)}" if readings else ""
    return f"save it as UTF-8 (in a spreadsheet: CSV UTF-8){named}"


_FREQUENT = ("cp1252", "gb18030", "shift_jis")
"""Encodings of spreadsheets in Western Europe, China and Japan."""

_DAMAGED = 2
"""So many rows may be in another encoding without the file being so."""


def _cell(data: bytes, encoding: str) -> str:
    return data.decode().encode("latin-1").decode(encoding or "utf-8")  # see _cells


def _cells(path: Path, delimiter: str) -> Iterator[Record | Refused]:
    """The rows of a CSV as lists of bytes, the first one included."""
    import pyarrow as pa  # noqa: PLC0415  it belongs to an extra
    from pyarrow import csv  # noqa: PLC0415

    broken: dict[int, str] = {}

    def skip(row: csv.InvalidRow) -> str:
        found = counted(row.actual_columns, "column")
        broken[row.number] = f"it has {found}, but the first row {row.expected_columns}"
        return "skip"

    number = 1
    try:
        with regular(path) as file:
            if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
                file.seek(0)
            reader = csv.open_csv(
                file,
                # Read as Latin-1, each byte is a character: pyarrow cannot report a row with a
                # wrong number of cells if it is not UTF-8. Only a single thread knows the
                # numbers of rows. The first row is read like the others, so that names of
                # columns are checked here.
                csv.ReadOptions(
                    use_threads=False,
                    block_size=_BLOCK,
                    autogenerate_column_names=True,
                    encoding="latin1",
                ),
                csv.ParseOptions(
                    delimiter=delimiter,
                    newlines_in_values=True,
                    ignore_empty_lines=False,
                    invalid_row_handler=skip,
                ),
                # Cells are bytes, so that one that is not UTF-8 costs its row and not the file.
                csv.ConvertOptions(
                    check_utf8=False,
                    strings_can_be_null=False,
                    column_types={f"f{n}": pa.binary() for n in range(_MOST_COLUMNS)},
                ),
            )
            if len(reader.schema) > _MOST_COLUMNS:
                raise SourceError(f"{path}: more than {_MOST_COLUMNS:,} columns")
            for batch in reader:
                for cells in zip(*(c.to_pylist() for c in batch.columns), strict=True):
                    while number in broken:
                        yield Refused(number, f"row {number}", broken.pop(number))
                        number += 1
                    yield Record(number, {"cells": cells})
                    number += 1
    except (pa.ArrowException, MemoryError) as error:
        raise SourceError(f"{path}: cannot be read on from row {number}: {_first(error)}") from None
    for left in sorted(broken):
        yield Refused(left, f"row {left}", broken[left])


def jsonl_table(path: Path) -> Table:
    """A file with one JSON object in each line.

    Raises:
        SourceError: it cannot be read, or none of its first lines is an object.
    """
    columns: dict[str, None] = {}
    faults: list[str] = []
    for record in itertools.islice(_lines(path), _PEEKED):
        if isinstance(record, Refused):
            faults.append(f"{record.where}: {record.reason}")
        else:
            columns.update(dict.fromkeys(record.values))
    if not columns:
        about = f"; {faults[0]}" if faults else ""
        raise SourceError(f"{path}: no line of it is a JSON object{about}")
    return Table("JSON Lines", path, list(columns), lambda: _lines(path), path.parent, row="line")


def _lines(path: Path) -> Iterator[Record | Refused]:
    with regular(path) as file:
        for number in itertools.count(1):
            line = file.readline(_LONGEST_LINE + 1)
            if not line:
                return
            if len(line) > _LONGEST_LINE:
                start = file.tell()
                while line and not line.endswith(b"\n"):
                    line = file.readline(_LONGEST_LINE)
                    if file.tell() - start > _NO_LINE:
                        raise SourceError(f"{path}: line {number} has no end: not JSON Lines")
                reason = f"the line has more than {_LONGEST_LINE:,} bytes"
                yield Refused(number, f"line {number}", reason)
            elif line.strip(b"\xef\xbb\xbf \t\r\n"):
                yield _parsed(number, line)


def _parsed(number: int, line: bytes) -> Record | Refused:
    where = f"line {number}"
    try:
        value = loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        return Refused(number, where, f"not UTF-8: {error.reason} at byte {error.start}")
    except JSONDecodeError as error:  # its own number of the line counts within this one
        reason = f"not JSON: {error.msg} at character {error.pos + 1}"
        return Refused(number, where, reason)
    except ValueError as error:
        return Refused(number, where, f"not JSON: {printable(str(error))}")
    if not isinstance(value, Mapping):
        return Refused(number, where, f"a JSON object is needed, but this is {_json_kind(value)}")
    return Record(number, value)


def json_value(path: Path) -> Any:
    """The content of a JSON file; None if it is JSON Lines.

    Raises:
        SourceError: it cannot be read, or is not JSON.
    """
    try:
        text = read_bytes(path, MOST_JSON).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        return loads(text)
    except ValueError as error:
        if str(error).startswith("Extra data"):
            return None
        near = _near_no_number(text)
        raise SourceError(f"{path}: not JSON: {printable(str(error))}{near}") from None


def _near_no_number(text: str) -> str:
    r"""Where a file of one long line has NaN or infinity, which the parser does not tell.

    >>> _near_no_number('[{"bbox": [0, NaN]}]')
    ', near \'[{"bbox": [0, NaN\''
    """
    found = re.search(r"(?<=[\[,:\s])(NaN|-?Infinity)(?=\s*[\],}])", text)
    return f", near {printable(text[max(0, found.start() - 60) : found.end()])!r}" if found else ""


def list_table(path: Path, value: list[Any]) -> Table:
    """A JSON file that is a list of objects.

    Raises:
        SourceError: none of them is an object.
    """
    columns = dict.fromkeys(key for each in value if isinstance(each, Mapping) for key in each)
    if not columns:
        raise SourceError(f"{path}: a list of JSON objects is needed")

    def records() -> Iterator[Record | Refused]:
        for number, each in enumerate(value, 1):
            if isinstance(each, Mapping):
                yield Record(number, each)
            else:
                reason = f"a JSON object is needed, but this is {_json_kind(each)}"
                yield Refused(number, f"row {number}", reason)

    return Table("JSON", path, list(columns), records, path.parent)


def _json_kind(value: object) -> str:
    kinds = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def _first(error: Exception) -> str:
    return printable(str(error).split("\n")[0][:300])
