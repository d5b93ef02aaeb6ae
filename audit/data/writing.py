"""Writes tables as Parquet, CSV or JSON Lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from audit.base.errors import TableError, nearest
from audit.base.files import shown_path, write_atomically

FORMATS = (".parquet", ".csv", ".jsonl")
"""The endings of the files that can be written, and what they are."""

_FORMULA = "^('*[=+\\-@\t\r\n＝＋－＠])"
"""What a spreadsheet may run: https://owasp.org/www-community/attacks/CSV_Injection.

With any apostrophes before it, so that one apostrophe more can always be taken away again.
"""


def check_format(path: Path) -> None:
    """Refuse a file whose name does not say a known format.

    Raises:
        TableError: it does not.
    """
    if path.suffix.lower() not in FORMATS:
        ending = path.suffix or path.name
        raise TableError(
            f"{shown_path(path)}: the ending says the format; {nearest(ending, FORMATS)}"
        )


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table in the format that the ending of ``path`` says, atomically.

    Parquet and JSON Lines hold the table exactly. CSV has lists as JSON, and a text that a
    spreadsheet would take for a formula begins with an apostrophe; numbers are left as they are.

    Raises:
        TableError: the ending says no format.
    """
    check_format(path)
    written = {".parquet": _parquet, ".csv": _csv, ".jsonl": _lines}[path.suffix.lower()]
    write_atomically(path, written(table))


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def _csv(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    names = without_formulas(pa.array(table.column_names)).to_pylist()
    csv.write_csv(pa.table([_cells(column) for column in table.columns], names=names), sink)
    return bytes(sink.getvalue())


def _cells(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as CSV can hold it."""
    if pa.types.is_list(column.type):
        texts = [json.dumps(value, ensure_ascii=False) for value in column.to_pylist()]
        column = pa.chunked_array([pa.array(texts, pa.string())])
    if pa.types.is_string(column.type):
        return without_formulas(column)
    return column


def without_formulas(texts: Any) -> Any:
    """Texts of which a spreadsheet runs none: an apostrophe more before those that it would."""
    return pc.replace_substring_regex(texts, _FORMULA, "'\\1")


def _lines(table: pa.Table) -> bytes:
    rows = table.to_pylist()
    return "".join(
        json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows
    ).encode()
