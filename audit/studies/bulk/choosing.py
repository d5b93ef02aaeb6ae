"""Chooses the pairs that are shown: those that got worst, and a sample of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from audit.base.geometry import WHOLE, Box, is_view
from audit.bulk.format import MAPS, ROWS, BulkFolder
from audit.studies.bulk.sums import Array

Marks = NDArray[np.uint64]


@dataclass
class Smallest:
    """The ids with the smallest values that have been seen, whatever the order of seeing them."""

    number: int
    _kept: list[tuple[float, int, str]] = field(default_factory=list)

    def see(self, ids: pa.ChunkedArray, values: Array, marks: Marks) -> None:
        """Take some ids into account.

        Args:
            marks: a hash of each id, which decides between equal values.
        """
        first = np.lexsort((marks, values))[: self.number]
        names = ids.take(pa.array(first)).to_pylist()
        self._kept += zip(values[first].tolist(), marks[first].tolist(), names, strict=True)
        self._kept.sort()
        del self._kept[self.number :]

    @property
    def ids(self) -> list[str]:
        """Those with the smallest values, the smallest first."""
        return [name for _, _, name in self._kept]


class Chosen:
    """The worst pairs, and a sample of all that does not depend on their order."""

    def __init__(self, worst: int, sample: int, seed: int) -> None:
        self.worst, self.sample = Smallest(worst), Smallest(sample)
        self._seed = np.uint64(seed)

    def see(self, ids: pa.ChunkedArray, badness: Array, marks: Marks) -> None:
        """Take pairs into account.

        Args:
            badness: how much worse each pair got; above 0 if it did.
            marks: a hash of each id.
        """
        rows = np.flatnonzero(badness > 0)
        self.worst.see(ids.take(pa.array(rows)), -badness[rows], marks[rows])
        draws = pd.util.hash_array(marks ^ self._seed, categorize=False)
        self.sample.see(ids, draws.astype(np.float64), marks)


class Seen(NamedTuple):
    """A map, and the part of the picture that it covers."""

    cells: Array
    view: Box


@dataclass(frozen=True)
class Shown:
    """A pair that is shown: its rows, and its maps by key where they were kept."""

    before: Mapping[str, Any]
    after: Mapping[str, Any]
    maps: tuple[Mapping[str, Seen], Mapping[str, Seen]]


def shown_of(
    sides: tuple[BulkFolder, BulkFolder], ids: Sequence[str], columns: Sequence[str]
) -> dict[str, Shown]:
    """The rows and maps of some ids."""
    wanted = pa.array(ids, pa.string())
    rows = [_rows(side, wanted, columns) for side in sides]
    maps = [_maps(side, wanted) for side in sides]
    return {
        name: Shown(rows[0][name], rows[1][name], (maps[0].get(name, {}), maps[1].get(name, {})))
        for name in ids
    }


def _rows(folder: BulkFolder, ids: pa.Array, columns: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for batch in folder.batches_of(columns, kind=ROWS):
        mine = batch.filter(pc.is_in(batch.column("id"), value_set=ids))
        found |= {row["id"]: row for row in mine.to_pylist()}
    return found


def _maps(folder: BulkFolder, ids: pa.Array) -> dict[str, dict[str, Seen]]:
    found: dict[str, dict[str, Seen]] = {}
    for batch in folder.batches_of(kind=MAPS):
        mine = batch.filter(pc.is_in(batch.column("id"), value_set=ids))
        for row in mine.to_pylist():
            cells = np.array(row["cells"] or [], dtype=np.float64)
            shape, view = (row["rows"] or 0, row["cols"] or 0), row["view"] or WHOLE
            if _is_map(cells, *shape) and is_view(Box(*view)):
                seen = Seen(cells.reshape(shape), Box(*view))
                found.setdefault(row["id"], {})[row["map"]] = seen
    return found


def _is_map(cells: Array, rows: int, cols: int) -> bool:
    """Whether cells can be drawn; the folder may be a stranger's."""
    whole = cells.size == rows * cols > 0 and min(rows, cols) > 0
    return whole and bool(np.isfinite(cells).all() and (cells >= 0).all() and cells.sum() > 0)
