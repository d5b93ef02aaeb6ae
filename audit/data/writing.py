"""Writes tables as Parquet, CSV or JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from audit.base.errors import TableError, nearest
from audit.base.files import opened_atomically, shown_path

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
    """Write a table in the format that the ending of ``path`` says; see :func:`write_batches`."""
    write_batches(table.schema, table.to_batches(), path)


def write_batches(schema: pa.Schema, batches: Iterable[pa.RecordBatch], path: Path) -> int:
    """Write batches of rows in the format that the ending of ``path`` says, atomically.

    Parquet and JSON Lines hold the rows exactly. CSV has lists as JSON, and a text that a
    spreadsheet would take for a formula begins with an apostrophe; numbers are left as they are.

    Returns:
        The number of rows.

    Raises:
        TableError: the ending says no format.
    """
    check_format(path)
    writer = {".parquet": _parquet, ".csv": _csv, ".jsonl": _lines}[path.suffix.lower()]
    rows = 0
    with opened_atomically(path) as file, writer(file, schema) as write:
        for batch in batches:
            write(batch)
            rows += batch.num_rows
    return rows


Write = Callable[[pa.RecordBatch], Any]


@contextmanager
def _parquet(file: BinaryIO, schema: pa.Schema) -> Iterator[Write]:
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        yield writer.write_batch


@contextmanager
def _csv(file: BinaryIO, schema: pa.Schema) -> Iterator[Write]:
    names = without_formulas(pa.array(schema.names)).to_pylist()
    types = [pa.string() if pa.types.is_list(each) else each for each in schema.types]
    plain = pa.schema(list(zip(names, types, strict=True)))
    with csv.CSVWriter(file, plain) as writer:

        def write(batch: pa.RecordBatch) -> None:
            cells = [_cells(column) for column in batch.columns]
            writer.write_batch(pa.record_batch(cells, schema=plain))

        yield write


def _cells(column: pa.Array) -> pa.Array:
    """A column as CSV can hold it."""
    if pa.types.is_list(column.type):
        texts = [
            None if v is None else json.dumps(v, ensure_ascii=False) for v in column.to_pylist()
        ]
        column = pa.array(texts, pa.string())
    if pa.types.is_string(column.type):
        return without_formulas(column)
    return column


def without_formulas(texts: Any) -> Any:
    """Texts of which a spreadsheet runs none: an apostrophe more before those that it would."""
    return pc.replace_substring_regex(texts, _FORMULA, "'\\1")


@contextmanager
def _lines(file: BinaryIO, schema: pa.Schema) -> Iterator[Write]:
    del schema  # every row has its names

    def write(batch: pa.RecordBatch) -> None:
        for row in batch.to_pylist():
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n")

    yield write
