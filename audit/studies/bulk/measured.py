"""What is compared of two bulk folders: the metrics, the slices, and how they are read off rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from audit.base.errors import BulkError, nearest
from audit.bulk.format import KEPT, Batches, BulkFolder, BulkRecord, figure_columns
from audit.data.columns import probability_column
from audit.gate.shifts import SHARE
from audit.gate.tolerances import PROBABILITY, UNSAID, Tolerances
from audit.maps.keys import method_of
from audit.metrics.keys import FigureKey
from audit.metrics.registry import METRICS, Better
from audit.studies.bulk.sums import Array, Codes, Columns

FEW = 50
"""A column with more values than this has no slices, unless it is asked for."""

_MANY = 1000  # values of a column that is asked for
_LARGEST = 1e15  # as of the figures in runs; no figure is larger
EXPECTED, TAGS = "expected", "tags"


@dataclass(frozen=True)
class Metrics:
    """What is measured on both sides.

    Attributes:
        labels: the answers that both models have.
        figures: the columns of each metric after ``probability`` and ``unsaid``.
        columns: the metrics, with directions and tolerances.
        note: why figures are not compared, if they are not.
    """

    labels: tuple[str, ...]
    figures: tuple[tuple[str, ...], ...]
    columns: Columns
    note: str

    @property
    def read(self) -> list[str]:
        """The columns of rows that are needed."""
        figures = [name for names in self.figures for name in names]
        return [*(probability_column(label) for label in self.labels), UNSAID, *figures]

    def changes(self, before: pa.Table, after: pa.Table) -> Array:
        """After minus before, (rows, metrics); NaN where a row has no such figure."""
        probability = self.expected(after) - self.expected(before)
        unsaid = _numbers(after, UNSAID) - _numbers(before, UNSAID)
        return np.stack(
            [probability, unsaid, *(_mean(before, after, names) for names in self.figures)], axis=1
        )

    def expected(self, rows: pa.Table) -> Array:
        """The probability of the expected label, (rows,); NaN if none is expected, or known."""
        found = np.full(rows.num_rows, np.nan)
        for label in self.labels:
            mine = pc.fill_null(pc.equal(rows[EXPECTED], label), False).to_numpy()
            found = np.where(mine, _numbers(rows, probability_column(label)), found)
        return found


def _numbers(rows: pa.Table, name: str) -> Array:
    found: Array = rows[name].to_numpy().astype(np.float64)  # a missing value becomes NaN
    return np.where(np.abs(found) <= _LARGEST, found, np.nan)


def _mean(before: pa.Table, after: pa.Table, names: Sequence[str]) -> Array:
    """The mean change of a metric over the regions that a row has, (rows,)."""
    total, count = np.zeros(before.num_rows), np.zeros(before.num_rows)
    for name in names:
        change = _numbers(after, name) - _numbers(before, name)
        there = ~np.isnan(change)
        total[there] += change[there]
        count += there
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def metrics_of(before: BulkRecord, after: BulkRecord, batches: Sequence[Batches | None]) -> Metrics:
    """What both sides have measured.

    Args:
        batches: how far answers move if other rows are in their batch. It is the largest of few
            deviations, so it can widen a tolerance, and never narrows one.
    """
    labels = tuple(label for label in before.labels if label in after.labels)
    note = ""
    if before.registry != after.registry:
        note = "the definition of a metric changed between the two, so figures are not compared"
    own, theirs = (figure_columns(r.maps, r.regions) for r in (before, after))
    grouped: dict[tuple[str, str], list[str]] = defaultdict(list)
    for column, (key, figure) in own.items():
        if column in theirs and not note:
            grouped[key, FigureKey.parse(figure).metric].append(column)
    first = next(iter(grouped), ("", ""))[0]
    names = [metric if key == first else f"{metric} ({key})" for key, metric in grouped]
    moved = _moved([each for each in batches if each is not None])
    allowed = [_tolerance(moved, key, metric) for key, metric in grouped]
    directions: list[Better] = [METRICS[metric].better for _, metric in grouped]
    return Metrics(
        labels,
        tuple(map(tuple, grouped.values())),
        Columns(
            (PROBABILITY, UNSAID, *names),
            ("higher", "lower", *directions),
            np.array([*_of_answers(moved), *allowed]),
        ),
        note,
    )


def _moved(batches: Sequence[Batches]) -> dict[str, float]:
    """By metric, the largest difference that other rows in the batch made on either side."""
    found: dict[str, float] = {}
    for each in batches:
        for metric, value in each.moved.items():
            found[metric] = max(value, found.get(metric, 0.0))
    return found


def _of_answers(moved: Mapping[str, float]) -> tuple[float, float]:
    """The tolerances of the probability and of what is left unsaid."""
    held = Tolerances(thin={PROBABILITY: moved})
    return held.probability(), held.unsaid()


def _tolerance(moved: Mapping[str, float], key: str, metric: str) -> float:
    """The tolerance of a metric on a map; one that is 0 is told as the gate tells it."""
    method = method_of(key)
    return Tolerances(thin={method: moved}).default(method, metric) or SHARE


@dataclass(frozen=True)
class Slicing:
    """The slices by the values of one column.

    Attributes:
        column: ``expected``, ``tags`` or a kept column with its prefix.
        values: a slice for each.
    """

    column: str
    values: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """The slices, as they are told: ``expected yes``, ``tag birds``, ``split val``."""
        title = "tag" if self.column == TAGS else self.column.removeprefix(KEPT)
        return [f"{title} {value}" for value in self.values]

    def codes(self, rows: pa.Table) -> tuple[Codes, Codes]:
        """The rows that are in a slice, and the number of it; a row with two tags comes twice."""
        column = rows[self.column].combine_chunks()
        if pa.types.is_list(column.type):
            parents = pc.list_parent_indices(column).to_numpy().astype(np.int64)
            column = pc.list_flatten(column)
        else:
            parents = np.arange(len(column))
        found = pc.index_in(column, value_set=pa.array(self.values, pa.string()))
        codes = pc.fill_null(found, -1).to_numpy().astype(np.int64)
        both = np.stack([parents[codes >= 0], codes[codes >= 0]], axis=1)
        both = np.unique(both, axis=0)  # a tag that is written twice counts once
        return both[:, 0], both[:, 1]


def slicings_of(
    folder: BulkFolder, kept: Sequence[str], asked: Sequence[str]
) -> tuple[list[Slicing], list[str]]:
    """The columns to slice by, with their values, and those that have too many.

    Args:
        kept: the columns that both sides kept of their sources.
        asked: the only ones of them to be used; all if empty.

    Raises:
        BulkError: a column that is asked for was not kept, or has too many values.
    """
    for name in asked:
        if name not in kept:
            known = nearest(name, kept) if kept else "no column was kept on both sides"
            raise BulkError(f"--slice {name}: this column was not kept on both sides; {known}")
    columns = [EXPECTED, TAGS, *(f"{KEPT}{name}" for name in asked or kept)]
    found: dict[str, dict[str, None] | None] = {name: {} for name in columns}
    most = {name: FEW if name in (EXPECTED, TAGS) or not asked else _MANY for name in columns}
    for batch in folder.batches_of(columns):
        for name in columns:
            values = found[name]
            if values is None:
                continue
            column = batch.column(name)
            flat = pc.list_flatten(column) if pa.types.is_list(column.type) else column
            values |= dict.fromkeys(pc.unique(pc.drop_null(flat)).to_pylist())
            if len(values) > most[name]:
                found[name] = None
    many = [name.removeprefix(KEPT) for name, values in found.items() if values is None]
    refused = next((name for name in many if name in asked), None)
    if refused is not None:
        raise BulkError(f"--slice {refused}: it has more than {_MANY:,} values")
    return [Slicing(name, tuple(sorted(values))) for name, values in found.items() if values], many


def rights_of(before: pa.Table, after: pa.Table) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether the label is right on each side, (rows, 2), and whether one is expected, (rows,)."""
    sides = [pc.equal(rows["label"], rows[EXPECTED]) for rows in (before, after)]
    right = np.stack([pc.fill_null(side, False).to_numpy() for side in sides], axis=1)
    return right, pc.is_valid(after[EXPECTED]).to_numpy()


def same_kept(before: BulkRecord, after: BulkRecord) -> list[str]:
    """The columns that both sides kept."""
    return [name for name in before.kept if name in after.kept]


def count_flips(before: pa.Table, after: pa.Table) -> Mapping[tuple[str, str], int]:
    """How many labels changed, by the label before and after."""
    labels = pa.table({"before": before["label"], "after": after["label"]})
    counted = labels.group_by(["before", "after"]).aggregate([([], "count_all")]).to_pylist()
    return {
        (row["before"], row["after"]): row["count_all"]
        for row in counted
        if row["before"] != row["after"]
    }
