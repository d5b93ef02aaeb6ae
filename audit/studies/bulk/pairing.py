"""Pairs the rows of two bulk folders in memory that does not grow with them.

Both are split by a hash of the picture into parts on disk, so that all rows of a picture, on both
sides, are in parts of the same number. Each pair of parts then fits into memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from audit.base.errors import BulkError
from audit.base.files import shown_path
from audit.bulk.format import BulkFolder

ROWS = 100_000
"""Rows of one side that a part should have; with forty columns of numbers, some 50 MB."""

_MOST = 512  # parts, each a file that is open while the rows are split
_BATCH = 131_072
_NAMED = 5  # ids of left-out rows that are told for each reason

Ids = NDArray[np.uint64]


class Pairs(NamedTuple):
    """Rows of both sides, row by row the same question, answered on both."""

    before: pa.Table
    after: pa.Table


@dataclass
class LeftOut:
    """Rows that are not compared: how many by reason, and some of their ids."""

    counts: Counter[str] = field(default_factory=Counter)
    ids: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, ids: pa.ChunkedArray) -> None:
        """Count rows that are left out for one reason."""
        if len(ids):
            self.counts[reason] += len(ids)
            named = self.ids.setdefault(reason, [])
            named += ids.slice(0, _NAMED - len(named)).to_pylist()


def hashed(texts: Any) -> Ids:
    """A 64-bit hash of each text; a missing one counts as empty."""
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    found = texts.dictionary_encode()
    words = found.dictionary.to_numpy(zero_copy_only=False)
    nothing = pd.util.hash_array(np.array([""], dtype=object), categorize=False)
    hashes = np.concatenate([pd.util.hash_array(words, categorize=False), nothing])
    places = pc.fill_null(found.indices, len(words)).to_numpy(zero_copy_only=False)
    taken: Ids = hashes[places]
    return taken


def parts_for(rows: int) -> int:
    """How many parts a side with so many rows is split into."""
    return min(max(1, -(-rows // ROWS)), _MOST)


def split(folder: BulkFolder, columns: Sequence[str], parts: int, place: Path) -> int:
    """Write the rows of a folder, some columns of them, into parts by the hash of their picture.

    Returns:
        How many rows there are.
    """
    place.mkdir(parents=True)
    written = 0
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with ExitStack() as opened:
        writers: dict[int, Any] = {}
        for batch in _gathered(folder.batches_of(columns, rows=_BATCH)):
            part = (hashed(batch["picture"]) % np.uint64(parts)).astype(np.int64)
            order = np.argsort(part, kind="stable")
            rows = batch.take(pa.array(order))
            ends = np.searchsorted(part[order], np.arange(parts + 1))
            for number in np.flatnonzero(np.diff(ends)).tolist():
                if number not in writers:
                    path = str(place / f"{number}.arrow")
                    writer = pa.ipc.new_file(path, batch.schema, options=options)
                    writers[number] = opened.enter_context(writer)
                start, end = int(ends[number]), int(ends[number + 1])
                writers[number].write_table(rows.slice(start, end - start))
            written += batch.num_rows
    return written


def _gathered(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Batches of small files, put together: each is split into parts, which has its price."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(each.num_rows for each in waiting) >= _BATCH:
            yield pa.Table.from_batches(waiting).combine_chunks()
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting).combine_chunks()


def paired(
    places: tuple[Path, Path], parts: int, titles: tuple[str, str], left_out: LeftOut
) -> Iterator[Pairs]:
    """The pairs of each part, with all rows of their pictures.

    Args:
        places: where :func:`split` wrote both sides.
        left_out: is told which rows are not compared.

    Raises:
        BulkError: an id is twice in a folder.
    """
    for number in range(parts):
        paths = [place / f"{number}.arrow" for place in places]
        tables = [_read(path) for path in paths]
        before, after = tables
        if before is None or after is None:
            for table, title in zip(tables, titles, strict=True):
                if table is not None:
                    left_out.add(f"only in {title}", table["id"])
        else:
            yield _pairs(before, after, titles, left_out)
        for path in paths:
            path.unlink(missing_ok=True)


def _read(path: Path) -> pa.Table | None:
    if not path.exists():
        return None
    with pa.OSFile(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def _pairs(before: pa.Table, after: pa.Table, titles: tuple[str, str], left_out: LeftOut) -> Pairs:
    for table, title in ((before, titles[0]), (after, titles[1])):
        _refuse_twice(table["id"], title)
    places = pc.index_in(before["id"], value_set=after["id"].combine_chunks())
    alone = pc.is_null(places)
    left_out.add(f"only in {titles[0]}", before["id"].filter(alone))
    lonely = pc.invert(pc.is_in(after["id"], value_set=before["id"].combine_chunks()))
    left_out.add(f"only in {titles[1]}", after["id"].filter(lonely))
    before, after = before.filter(pc.invert(alone)), after.take(pc.drop_null(places))
    same = pc.equal(before["asked"], after["asked"])
    left_out.add("asked otherwise", before["id"].filter(pc.invert(same)))
    before, after = before.filter(same), after.filter(same)
    # Where one side could not open the picture nobody knows, and it has no answer either.
    digests = pc.equal(before["picture.digest"], after["picture.digest"])
    changed = pc.invert(pc.fill_null(digests, True))
    left_out.add("the picture changed between the two", before["id"].filter(changed))
    before, after = before.filter(pc.invert(changed)), after.filter(pc.invert(changed))
    for side, title in enumerate(titles):
        answered = pc.is_valid((before, after)[side]["label"])
        left_out.add(f"no answer in {title}", before["id"].filter(pc.invert(answered)))
        before, after = before.filter(answered), after.filter(answered)
    return Pairs(before, after)


def _refuse_twice(ids: pa.ChunkedArray, title: str) -> None:
    counts = pc.value_counts(ids)
    twice = counts.filter(pc.greater(counts.field(1), 1))
    if len(twice):
        raise BulkError(f"{shown_path(title)}: the id {str(twice[0][0])[:60]!r} is there twice")
