"""Tests of the suite-level gate on arrays: every picture has one vote, all tests share one error.

Cases about one picture are not independent, so what is tested is the mean change of each picture:
metrics by a t-test over pictures, labels by the exact sign-flip test over pictures. All tests, of
the whole suite and of its slices, are one family (Holm 1979).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from audit.base.settings import Limits
from audit.base.statistics import Interval, holm, least_noncentrality, sign_flip_of
from audit.gate.changes import Change
from audit.gate.tolerances import DEVIATIONS, MULTIPLE, PROBABILITY, UNSAID
from audit.metrics.registry import METRICS, Better

POWER = 0.8
"""The probability with which a shift that is said to be findable would be found."""

FEWEST = 5
"""A slice is tested from this many pictures on. A test of fewer finds no shift that its cases would
not show by themselves, and would only make the other tests stricter."""

SHARE = 0.05
"""A metric without a tolerance is a share of cases, and 1 in 20 of them matters."""

_LEVEL = 0.95  # of the intervals
_SAME = 2e-6  # changes of figures that are stored with six decimals differ by that much

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """The changes of all cases.

    Attributes:
        better: by metric, ``higher``, ``lower`` or ``neither``.
        declared: by metric, whether some case gives limits for it.
        changes: after minus before, (cases, metrics); NaN where a case has no such figure.
        tolerances: how much a single case may change, (cases, metrics); above 0 where there is a
            change.
        pictures: the number of each case's picture, (cases,).
        lost: 1 for a case that was right and is wrong, -1 the other way round, else 0, (cases,).
    """

    metrics: tuple[str, ...]
    better: tuple[str, ...]
    declared: tuple[bool, ...]
    changes: Array
    tolerances: Array
    pictures: NDArray[np.int64]
    lost: NDArray[np.int64]

    def of(self, rows: NDArray[np.int64]) -> Table:
        """The table of some cases."""
        return Table(
            self.metrics,
            self.better,
            self.declared,
            self.changes[rows],
            self.tolerances[rows],
            self.pictures[rows],
            self.lost[rows],
        )


def table_of(changes: Sequence[Change]) -> Table:
    """All changes as arrays."""
    metrics = tuple(dict.fromkeys(metric for change in changes for metric in change.changes))
    declared = frozenset[str]().union(*(change.declared for change in changes))
    nothing = float("nan")
    rows = [[change.changes.get(metric, nothing) for metric in metrics] for change in changes]
    allowed = [[change.tolerances.get(metric, 0.0) for metric in metrics] for change in changes]
    defaults = np.array([_default(metric) for metric in metrics])
    tolerances = np.array(allowed, dtype=np.float64).reshape(len(changes), len(metrics))
    numbers: dict[str, int] = {}
    return Table(
        metrics,
        tuple(_better(metric) for metric in metrics),
        tuple(metric in declared for metric in metrics),
        np.array(rows, dtype=np.float64).reshape(len(changes), len(metrics)),
        np.where(tolerances > 0, tolerances, defaults),
        np.array([numbers.setdefault(c.image, len(numbers)) for c in changes], dtype=np.int64),
        np.array([c.right[0] - c.right[1] for c in changes], dtype=np.int64),
    )


@dataclass(frozen=True)
class Sums:
    """What the tests need to know of a suite or of a slice; it does not grow with the cases.

    Attributes:
        metrics, better, declared: as of :class:`Table`.
        net: how many pictures have each number of labels lost minus gained, 0 left out.
        images: number of pictures.
    """

    metrics: tuple[str, ...]
    better: tuple[str, ...]
    declared: tuple[bool, ...]
    means: Means
    net: Mapping[int, int]
    images: int


def sums_of(table: Table) -> Sums:
    """A table, summed up."""
    net = np.bincount(table.pictures, weights=table.lost).astype(np.int64)
    return Sums(
        table.metrics,
        table.better,
        table.declared,
        means_of(table),
        Counter(net[net != 0].tolist()),
        len(np.unique(table.pictures)),
    )


def _better(metric: str) -> Better:
    of_answers: dict[str, Better] = {PROBABILITY: "higher", UNSAID: "lower"}
    return of_answers.get(metric) or METRICS[metric].better


def _default(metric: str) -> float:
    return (METRICS[metric].tolerance if metric in METRICS else 0.0) or SHARE


@dataclass(frozen=True)
class Means:
    """Each metric's mean over pictures; all arrays are (metrics,).

    Attributes:
        cases, pictures: how many have the metric; without any the mean is 0.
        spread: variance between the pictures' means.
        noise: variance that is added to it; see :func:`means_of`.
        tolerance: the mean over pictures.
    """

    cases: NDArray[np.int64]
    pictures: NDArray[np.int64]
    mean: Array
    spread: Array
    noise: Array
    tolerance: Array

    @property
    def error(self) -> Array:
        """Standard error of the mean, with the noise in it."""
        found: Array = np.sqrt((self.spread + self.noise) / np.maximum(self.pictures, 1))
        return found

    @property
    def effect(self) -> Array:
        """The mean as a multiple of the tolerance."""
        return self.mean / self.tolerance

    def interval(self, metric: int) -> Interval:
        """The 95 % interval of the same t-test; with one picture there is none, only the mean."""
        mean, pictures = float(self.mean[metric]), int(self.pictures[metric])
        if pictures < 2:
            return Interval(mean, mean, mean)
        half = float(special.stdtrit(pictures - 1, (1 + _LEVEL) / 2) * self.error[metric])
        return Interval(mean, mean - half, mean + half)


def means_of(table: Table) -> Means:
    """The mean of the pictures' mean changes, and how sure it is.

    Two variances are added to the one between pictures, since equal changes are no certainty:

    - the noise of a measurement. A tolerance is two noise floors, and a floor about three standard
      deviations, so the standard deviation is a sixth of the tolerance. Where no floor was measured
      the default tolerance takes its place, which was chosen as such a multiple.
    - where all pictures changed by exactly the same amount, the figure moves in whole steps (cells,
      peaks), and nothing is seen of its spread: 2/3 of the step's square, the variance of a step
      down, none or up, each as likely. With it the t-test is as careful as the sign-flip test.
    """
    order = np.argsort(table.pictures, kind="stable")
    starts = np.flatnonzero(np.diff(table.pictures[order], prepend=-1))
    there = ~np.isnan(table.changes)

    def sums(values: Array) -> Array:
        found: Array = np.add.reduceat(np.where(there, values, 0.0)[order], starts, axis=0)
        return found

    counts = sums(np.ones(there.shape))
    seen = counts > 0
    some = np.maximum(counts, 1)
    values, allowed = sums(table.changes) / some, sums(table.tolerances) / some
    pictures = seen.sum(axis=0)
    number = np.maximum(pictures, 1)  # a slice need not have every metric
    mean = values.sum(axis=0) / number
    tolerance = np.where(pictures > 0, allowed.sum(axis=0) / number, 1.0)
    left = np.where(seen, values - mean, 0.0)
    spread = (left**2).sum(axis=0) / np.maximum(pictures - 1, 1)
    noise = (tolerance / (MULTIPLE * DEVIATIONS)) ** 2
    equal = (np.abs(left).max(axis=0) < _SAME) & (np.abs(mean) > _SAME)
    step = np.where(equal, 2 / 3 * mean**2, 0.0)
    return Means(there.sum(axis=0), pictures, mean, spread, noise + step, tolerance)


@dataclass(frozen=True)
class Tested:
    """A suite or a slice after its tests; arrays are (metrics,).

    Attributes:
        flipped: pictures at which more labels were lost than gained, or the other way round.
        labels, metrics: p-values before correction, of the labels and of each metric.
        adjusted_labels, adjusted: p-values after correction over the whole family.
        labels_worse: whether more labels were lost than chance explains.
        large: whether a metric's mean change is more than the smallest effect.
        moved: whether a metric shifted: significant, and by that much.
    """

    sums: Sums
    flipped: int
    labels: float
    metrics: Array
    adjusted_labels: float
    adjusted: Array
    labels_worse: bool
    large: NDArray[np.bool_]
    moved: NDArray[np.bool_]

    @property
    def means(self) -> Means:
        """Each metric's mean over pictures."""
        return self.sums.means

    def verdict(self, metric: int) -> str:
        """``worse``, ``better``, ``shifted``, ``steady`` or ``cannot tell``; see ``Shift``.

        What nobody asked for does not change for the better, it shifts.
        """
        better = self.sums.better[metric]
        if not self.moved[metric]:
            unsure = self.large[metric] or self.means.pictures[metric] < 2
            return "cannot tell" if unsure else "steady"
        if better == "neither":
            return "shifted"
        if (self.means.mean[metric] > 0) != (better == "higher"):
            return "worse"
        return "better" if self.sums.declared[metric] else "shifted"

    @property
    def bad(self) -> list[int]:
        """The metrics whose shift fails the suite: the worse first, then the shifted."""
        moved = [int(metric) for metric in np.flatnonzero(self.moved)]
        verdicts = {metric: self.verdict(metric) for metric in moved}
        return [m for bad in ("worse", "shifted") for m, v in verdicts.items() if v == bad]


def run_tests(whole: Sums, parts: Sequence[Sums], limits: Limits) -> list[Tested]:
    """Test the whole suite and its slices in one family; the whole is the first of the results.

    The tests of the whole share one half of the error, those of all slices the other, so that many
    slices do not blind the gate to a shift of the whole.
    """
    sums = [whole, *parts]
    found = [each.means for each in sums]
    labels = [sign_flip_of(each.net) for each in sums]
    metrics = [_p_values(means) for means in found]
    # One picture is too few for a test, so such metrics do not count in the family.
    takes = [means.pictures >= (FEWEST if number else 2) for number, means in enumerate(found)]
    enough = [not number or each.images >= FEWEST for number, each in enumerate(sums)]
    families = [
        np.concatenate([[one] if has else [], many[taken]])
        for one, has, many, taken in zip(labels, enough, metrics, takes, strict=True)
    ]
    ours, theirs = len(families[0]), sum(map(len, families[1:]))
    weights = [1 / ours] * ours + [1 / theirs] * theirs if theirs else [1.0] * ours
    adjusted = np.array(holm(np.concatenate(families).tolist(), weights))
    results = []
    for number, each in enumerate(sums):
        mine, adjusted = np.split(adjusted, [len(families[number])])
        of_labels, of_metrics = 1.0, np.ones(len(each.metrics))
        if enough[number]:
            of_labels, mine = float(mine[0]), mine[1:]
        of_metrics[takes[number]] = mine
        lost = sum(net * pictures for net, pictures in each.net.items())
        worse = lost > 0 and of_labels < limits.alpha
        large = np.abs(found[number].effect) > limits.effect
        results.append(
            Tested(
                each,
                sum(each.net.values()),
                labels[number],
                metrics[number],
                of_labels,
                of_metrics,
                worse,
                large,
                large & (of_metrics < limits.alpha),
            )
        )
    return results


def _p_values(means: Means) -> Array:
    """Two-sided p-values of the t-test; 1 for a metric of a single picture."""
    freedom = np.maximum(means.pictures - 1, 1)
    chances: Array = 2 * special.stdtr(freedom, -np.abs(means.mean) / means.error)
    return np.where(means.pictures > 1, chances, 1.0)


def strictest(tested: Sequence[Tested], limits: Limits) -> float:
    """The level that the whole suite's first test must reach, if nothing else moved."""
    whole = tested[0]
    tests = 1 + int((whole.means.pictures > 1).sum())
    sliced = any(part.sums.images >= FEWEST for part in tested[1:])
    return limits.alpha / tests / (2 if sliced else 1)


def findable(means: Means, level: float, limits: Limits) -> tuple[Array, Array]:
    """The shifts that would be found with probability 0.8, in tolerances, (metrics,).

    Returns:
        What the t-test would find at ``level``; and the same with the demand that the mean exceeds
        the smallest effect. Both are infinite where nothing would be found.
    """
    number = np.maximum(means.pictures, 2)
    # The variance of few pictures mostly comes out too small; divided so, it is as often too large.
    spread = means.spread * (number - 1) / special.chdtri(number - 1, 0.5)
    unit = np.sqrt((spread + means.noise) / number) / means.tolerance
    least = np.array([_least(int(pictures), level) for pictures in means.pictures])
    # The mean of a larger effect than the smallest one exceeds it with this probability.
    beyond = limits.effect + float(special.ndtri(POWER)) * unit
    return least * unit, np.maximum(least * unit, beyond)


@lru_cache(maxsize=10_000)
def _least(pictures: int, level: float) -> float:
    if pictures < 2 or level <= 0:
        return float("inf")
    found = least_noncentrality(pictures - 1, level, POWER)
    return found if np.isfinite(found) else float("inf")
