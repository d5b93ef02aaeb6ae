"""Sums up pairs of rows picture by picture, so that what is kept does not grow with the rows.

All rows of a picture come in one piece. Each picture's mean change is taken first, for it has one
vote; means and spreads of pictures are then merged from piece to piece.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.gate.shifts import Means, Sums
from audit.gate.suite import Part
from audit.gate.tolerances import DEVIATIONS, MULTIPLE
from audit.metrics.registry import Better

Array = NDArray[np.float64]
Codes = NDArray[np.int64]

_SAME = 2e-6  # figures that are stored with six decimals differ by that much


@dataclass(frozen=True)
class Columns:
    """The metrics that are summed up; see :class:`audit.gate.shifts.Table`."""

    metrics: tuple[str, ...]
    better: tuple[Better, ...]
    tolerances: Array


@dataclass(frozen=True)
class Piece:
    """Some pairs of rows, with all rows of their pictures.

    Attributes:
        pictures: the number of each row's picture, (rows,).
        changes: after minus before, (rows, metrics); NaN where a row has no such figure.
        right: whether the label is the expected one, before and after, (rows, 2).
        definite: whether the row says which label is right, (rows,).
        marks: a hash of each row's id, (rows,).
    """

    pictures: Codes
    changes: Array
    right: NDArray[np.bool_]
    definite: NDArray[np.bool_]
    marks: NDArray[np.uint64]

    def of(self, rows: Codes) -> Piece:
        """Some of the rows."""
        return Piece(
            self.pictures[rows], self.changes[rows], self.right[rows], self.definite[rows],
            self.marks[rows],
        )  # fmt: skip


class Running:
    """What the slices of one column come to so far; a row is in one of them.

    Attributes:
        rows: by slice, how many.
        marks: by slice, the sum of its rows' hashes: slices with the same are the same rows.
    """

    def __init__(self, slices: int, columns: Columns) -> None:
        self._columns = columns
        shape = (slices, len(columns.metrics))
        self._cases = np.zeros(shape, dtype=np.int64)
        self._pictures = np.zeros(shape, dtype=np.int64)
        self._mean, self._squares = np.zeros(shape), np.zeros(shape)
        self._low, self._high = np.full(shape, np.inf), np.full(shape, -np.inf)
        # By slice: definite, right before, right after, lost, gained.
        self._counts = np.zeros((slices, 5), dtype=np.int64)
        self._images = np.zeros(slices, dtype=np.int64)
        self._net: list[Counter[int]] = [Counter() for _ in range(slices)]
        self.rows = np.zeros(slices, dtype=np.int64)
        self.marks = np.zeros(slices, dtype=np.uint64)

    def add(self, piece: Piece, codes: Codes) -> None:
        """Add the rows of a piece.

        Args:
            codes: the slice of each row, (rows,).
        """
        if not len(codes):
            return
        number = len(self.rows)
        # A vote is one picture in one slice.
        votes, vote = np.unique(
            codes * (piece.pictures.max() + 1) + piece.pictures, return_inverse=True
        )
        owner = votes // (piece.pictures.max() + 1)
        for metric in range(piece.changes.shape[1]):
            self._add_metric(metric, piece.changes[:, metric], codes, vote, owner)
        before, after = piece.right[:, 0], piece.right[:, 1]
        lost = before.astype(np.int64) - after
        told = (piece.definite, before, after, lost > 0, lost < 0)
        for place, each in enumerate(told):
            self._counts[:, place] += np.bincount(codes[each], minlength=number)
        self.rows += np.bincount(codes, minlength=number)
        self._images += np.bincount(owner, minlength=number)
        np.add.at(self.marks, codes, piece.marks)
        net = np.bincount(vote, weights=lost, minlength=len(votes)).astype(np.int64)
        flipped = np.stack([owner[net != 0], net[net != 0]], axis=1)
        found, counts = np.unique(flipped, axis=0, return_counts=True)
        for (place, labels), count in zip(found.tolist(), counts.tolist(), strict=True):
            self._net[place][labels] += count

    def _add_metric(
        self, metric: int, changes: Array, codes: Codes, vote: Codes, owner: Codes
    ) -> None:
        """Add one metric: the mean of each picture, then the means and spreads of all of them."""
        there, number = ~np.isnan(changes), len(self.rows)
        counts = np.bincount(vote[there], minlength=len(owner))
        seen = counts > 0
        sums = np.bincount(vote[there], weights=changes[there], minlength=len(owner))
        values, whose = sums[seen] / counts[seen], owner[seen]
        new = np.bincount(whose, minlength=number)
        mean = np.bincount(whose, weights=values, minlength=number) / np.maximum(new, 1)
        squares = np.bincount(whose, weights=(values - mean[whose]) ** 2, minlength=number)
        np.minimum.at(self._low[:, metric], whose, values)
        np.maximum.at(self._high[:, metric], whose, values)
        self._cases[:, metric] += np.bincount(codes[there], minlength=number)
        # Chan, Golub & LeVeque (1983), eq. 2.1: nothing large is subtracted from anything large.
        known = self._pictures[:, metric]
        total = np.maximum(known + new, 1)
        apart = mean - self._mean[:, metric]
        self._squares[:, metric] += squares + apart**2 * known * new / total
        self._mean[:, metric] += apart * new / total
        self._pictures[:, metric] += new

    @property
    def measured(self) -> Codes:
        """The metrics that some row has, by their places."""
        return np.flatnonzero(self._pictures.sum(axis=0))

    def parts(self, names: Sequence[str], metrics: Codes) -> list[Part]:
        """The slices, as the suite-level gate judges them.

        Args:
            metrics: the places of those to judge: what no row has must not count among what the
                gate could find.
        """
        return [self._part(place, name, metrics) for place, name in enumerate(names)]

    def _part(self, place: int, name: str, metrics: Codes) -> Part:
        columns, at = self._columns, (place, metrics)
        pictures, mean, tolerances = self._pictures[at], self._mean[at], columns.tolerances[metrics]
        there = pictures > 0
        noise = (tolerances / (MULTIPLE * DEVIATIONS)) ** 2
        # As in means_of: where all pictures moved by the same amount, a figure moves in steps.
        apart = np.where(there, np.maximum(self._high[at] - mean, mean - self._low[at]), 0.0)
        equal = (apart < _SAME) & (np.abs(mean) > _SAME)
        means = Means(
            self._cases[at],
            pictures,
            mean,
            self._squares[at] / np.maximum(pictures - 1, 1),
            noise + np.where(equal, 2 / 3 * mean**2, 0.0),
            np.where(there, tolerances, 1.0),
        )
        sums = Sums(
            tuple(columns.metrics[metric] for metric in metrics),
            tuple(columns.better[metric] for metric in metrics),
            # Nobody knows what was asked of the figures, so every direction counts.
            (True,) * len(metrics),
            means,
            self._net[place],
            int(self._images[place]),
        )
        definite, before, after, lost, gained = self._counts[place].tolist()
        return Part(name, int(self.rows[place]), (before, after), definite, lost, gained, sums)
