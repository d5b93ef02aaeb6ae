"""The format of a bulk folder, and how it is read.

A folder has ``bulk.json`` (what was asked of which model, :class:`BulkRecord`), ``rows/`` (Parquet,
one row a question), ``maps/`` (Parquet, the maps of wrong answers and of a sample), and, once all
rows are there, ``account.json`` (:class:`Account`). ``refused.jsonl`` lists the rows of the source
that were not asked, and ``batches.json`` (:class:`Batches`) says how far answers move if other rows
are in their batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.dataset as ds
from pydantic import BaseModel, JsonValue, TypeAdapter, model_validator

from audit.base.errors import BulkError, printable
from audit.base.files import shown_path
from audit.base.records import (
    WRITTEN,
    Count,
    Fraction,
    ModelRecord,
    Positive,
    read_record,
)
from audit.metrics.keys import FigureKey
from audit.metrics.registry import METRICS

FORMAT = 1
"""Version of the folder's format."""

RECORD, ACCOUNT, BATCHES, REFUSED = "bulk.json", "account.json", "batches.json", "refused.jsonl"
ROWS, MAPS = "rows", "maps"

PROBABILITY, KEPT = "probability.", "kept."
"""How the names of columns begin: an answer's probability, and a column that the source had."""


class BulkRecord(BaseModel):
    """``bulk.json``: what was asked of which model, and all that the answers depend on.

    Attributes:
        model, stack: as in a run's ``run.json``; the stack is that of the process that wrote first.
        labels: the answers that the model can give.
        maps: keys of the maps that are measured; empty if only labels are asked.
        regions: the names of the regions that have columns.
        joined: whether all regions of a row are measured as one, because there are too many names.
        kept: the columns of the source that are kept, without their prefix.
        batch: rows that the model is asked about at a time.
        shard: rows of the source that one file of ``rows/`` covers.
        seed, threshold: a row's maps are kept if the hash of seed and id is below the threshold.
        registry: version of the metrics' definitions.
        source: what the rows were read from.
        root: the folder that pictures are relative to, unless they are absolute.
        rows: rows of the source that could be asked when it was read last.
        audit: the version that wrote it.
    """

    model_config = WRITTEN
    __pydantic_extra__: dict[str, JsonValue]

    format: Literal[1]
    model: ModelRecord
    stack: dict[str, str] = {}
    labels: list[str]
    maps: list[str]
    regions: list[str] = []
    joined: bool = False
    kept: list[str] = []
    batch: Count
    shard: Count
    seed: int = 0
    threshold: Fraction = 0.0
    registry: int
    source: str = ""
    root: str = ""
    started: str = ""
    audit: str = ""

    @model_validator(mode="after")
    def _names_once(self) -> BulkRecord:
        for key in ("labels", "maps", "regions", "kept"):
            names = getattr(self, key)
            if len(set(names)) < len(names):
                raise ValueError(f"{key}: a name occurs twice")
        return self


class Account(BaseModel):
    """``account.json``: what became of every row of the source, counted in the files.

    Attributes:
        read: rows of the source: written + failed + refused.
        written: rows with an answer.
        failed: rows with an error.
        refused: rows of the source that could not be asked, listed in ``refused.jsonl``.
        earlier: of the rows in the folder, those that an earlier run had written.
        right, judged: right answers, and those rows that have both an answer and an expected label.
        errors: failed rows by kind of error.
        seconds: wall time of the last run, planning included.
    """

    model_config = WRITTEN
    __pydantic_extra__: dict[str, JsonValue]

    format: Literal[1]
    read: Count
    written: Count
    failed: Count
    refused: Count
    earlier: Count = 0
    right: Count = 0
    judged: Count = 0
    errors: dict[str, Count] = {}
    seconds: Positive = 0.0


class Batches(BaseModel):
    """``batches.json``: how far answers move if other rows are in their batch.

    Attributes:
        rows: rows of the sample that were asked in a batch and one by one.
        flipped: of these, rows whose label differed.
        moved: by metric, and for ``probability``, the largest difference.
    """

    model_config = WRITTEN
    __pydantic_extra__: dict[str, JsonValue]

    format: Literal[1]
    rows: Count
    flipped: Count
    moved: dict[str, Positive]


def figure_columns(maps: Iterable[str], regions: Sequence[str]) -> dict[str, tuple[str, str]]:
    """The columns of figures: by name, the map's key and the figure's stored name.

    >>> list(figure_columns(["rollout"], ["birds"]))[:2]
    ['rollout.mass[birds]', 'rollout.lift[birds]']
    """
    found = {}
    for key in maps:
        for name, metric in METRICS.items():
            if metric.kind == "region":
                figures = [str(FigureKey(name, region)) for region in regions]
            else:
                figures = [name] if metric.kind in ("map", "trace") else []
            found.update({f"{key}.{figure}": (key, figure) for figure in figures})
    return found


def row_schema(record: BulkRecord) -> pa.Schema:
    """The columns of ``rows/``. A missing value is null; no number is NaN or infinite.

    ``id``: the row's name. ``position``: its place in the source, the line or row that an editor
    shows. ``asked``: 64-bit hash of what was asked. ``picture``: its path. ``picture.digest``:
    identity of its pixels, see :func:`audit.base.images.identity`. ``right``: null unless there are
    both labels. ``undefined``: JSON, by column, why a figure has no value. ``error``, ``message``:
    the kind of error and a sentence, null if there is an answer. ``seconds``: its share of the time
    of its batch.
    """
    text, number = pa.string(), pa.float64()
    return pa.schema(
        [
            pa.field("id", text, nullable=False),
            pa.field("position", pa.int64(), nullable=False),
            pa.field("asked", pa.int64(), nullable=False),
            ("picture", text),
            ("picture.digest", text),
            ("text", text),
            ("premise", text),
            ("expected", text),
            ("label", text),
            ("right", pa.bool_()),
            *((f"{PROBABILITY}{label}", number) for label in record.labels),
            ("unsaid", number),
            *((name, number) for name in figure_columns(record.maps, record.regions)),
            ("undefined", text),
            ("error", text),
            ("message", text),
            ("tags", pa.list_(text)),
            *((f"{KEPT}{name}", text) for name in record.kept),
            ("seconds", number),
        ]
    )


MAP_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("map", pa.string(), nullable=False),
        ("why", pa.string()),
        ("rows", pa.int32()),
        ("cols", pa.int32()),
        ("view", pa.list_(pa.float64(), 4)),
        ("cells", pa.list_(pa.float32())),
    ]
)
"""The columns of ``maps/``: ``why`` is ``wrong`` or ``sample``; ``cells`` go row by row; ``view``
is what they cover of the picture: left, top, right, bottom in fractions of its sides."""


class BulkFolder:
    """A bulk folder, for reading; it needs no model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def is_one(self) -> bool:
        """Whether the folder holds the results of a bulk audit."""
        return (self.folder / RECORD).is_file()

    def record(self) -> BulkRecord:
        """What was asked of which model.

        Raises:
            BulkError: there is no ``bulk.json``, or it is damaged.
        """
        try:
            return read_record(self.folder / RECORD, TypeAdapter(BulkRecord), BulkError)
        except FileNotFoundError:
            raise BulkError(f"{self.folder}: not a bulk folder: it has no {RECORD}") from None

    def account(self) -> Account:
        """What became of the rows.

        Raises:
            BulkError: there is none, because rows are missing, or it is damaged.
        """
        try:
            return read_record(self.folder / ACCOUNT, TypeAdapter(Account), BulkError)
        except FileNotFoundError:
            raise BulkError(
                f"{self.folder}: the audit did not end: run `audit bulk` again, it continues"
            ) from None

    def batches(self) -> Batches | None:
        """How far answers move if other rows are in their batch; None if it was not measured.

        Raises:
            BulkError: the file is damaged.
        """
        try:
            return read_record(self.folder / BATCHES, TypeAdapter(Batches), BulkError)
        except FileNotFoundError:
            return None

    def files(self, kind: str = ROWS) -> list[Path]:
        """The Parquet files of ``rows/`` or ``maps/``, by name; the source's order."""
        # A temporary file begins with a dot.
        return sorted(p for p in (self.folder / kind).glob("*.parquet") if p.name[0] != ".")

    def batches_of(
        self, columns: Sequence[str] | None = None, *, kind: str = ROWS, rows: int = 65_536
    ) -> Iterator[Any]:
        """The content as record batches of at most ``rows`` rows, in the order of the source.

        Memory does not grow with the number of rows.

        Args:
            columns: only these; a column that some files lack is null there.
            kind: ``rows`` or ``maps``.

        Raises:
            BulkError: a file is damaged, has columns of other types, or a value that no row has.
        """
        schema = row_schema(self.record()) if kind == ROWS else MAP_SCHEMA
        wanted = None if columns is None else list(columns)
        # One file after the other: a reader of all of them runs ahead by up to a gigabyte.
        for path in self.files(kind):
            try:
                whole = ds.dataset(str(path), schema=schema, format="parquet")
                for batch in whole.to_batches(columns=wanted, batch_size=rows):
                    _check(batch, schema)
                    yield batch
            except (pa.ArrowException, OSError, ValueError) as error:
                about = printable(str(error).split("\n")[0][:300])
                raise BulkError(
                    f"{shown_path(path)}: damaged, or not of a bulk audit: {about}"
                ) from None


def _check(batch: pa.RecordBatch, schema: pa.Schema) -> None:
    """Refuse values that are in no row that audit writes.

    Raises:
        ValueError: an id is missing, or a probability is none. What is not finite counts as missing
            where it is read.
    """
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if column.null_count and not schema.field(name).nullable:
            raise ValueError(f"a row has no {name}")
        if name == "unsaid" or name.startswith(PROBABILITY):
            numbers = column.drop_null().to_numpy()
            if ((numbers < 0) | (numbers > 1 + 1e-6)).any():
                raise ValueError(f"{name} is not a number from 0 to 1 in a row")
