"""Measures how often the suite-level gate is wrong: false alarms, coverage of intervals, power.

Run ``python benchmarks/error_rates.py``. It draws suites in which nothing truly changed, or one
figure shifted, and has the gate's own tests judge them. Suites have from 5 to 500 cases on 2 to 100
pictures: evenly, skewed (one picture has about half of the cases), or as in the shipped cases with
their tags and labels as slices. What the cases of one picture share of their change is nothing,
half of its variance, or all of it. There are 21 metrics, three of which move in whole cells, and
labels that flip either way.

``--docs`` writes the tables into ``docs/statistics.md``; ``--quick`` draws a tenth of the suites.
Everything is seeded: the same numbers come out again.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import binom

from audit.base.settings import Limits
from audit.cases.loading import load_cases
from audit.gate.shifts import Table, Tested, findable, run_tests, strictest, sums_of

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs" / "statistics.md"
BEGIN, END = "<!-- rates, by benchmarks/error_rates.py -->", "<!-- end of rates -->"
METRICS, STEPS, ALONE = 21, 3, 10
"""Metrics; how many of them move in whole cells; the one that shifts where power is measured."""

SHARED = {"independent": 0.0, "half": 0.5, "wholly": 1.0}
"""The share of a change's variance that all cases of a picture have in common."""

WIDE, NARROW = 3.0, 0.5
"""Standard deviations of a single case's change, in tolerances. Beside the wide one the noise that
the gate adds is of no account, so the tests are judged alone. The narrow one is that of whole
cells, most of which do not move, and of the power."""

FLIPS = 0.1
"""The share of cases whose label flips, half of them each way."""

SHIFTS = (0.6, 1.0, 2.0)
"""True shifts, in tolerances, for which the power is measured."""


@dataclass(frozen=True)
class Design:
    """Where the cases of a suite are.

    Attributes:
        pictures: the number of each case's picture.
        slices: rows of the cases of each slice.
    """

    name: str
    pictures: NDArray[np.int64]
    slices: tuple[NDArray[np.int64], ...] = ()

    @property
    def images(self) -> int:
        """How many pictures there are."""
        return len(np.unique(self.pictures))


def even(cases: int, pictures: int) -> Design:
    """Each picture has as many cases as any other."""
    return Design("even", np.arange(cases) % pictures)


def skewed(cases: int, pictures: int) -> Design:
    """The first picture has half of the cases that are left when each has one."""
    more = (cases - pictures) // 2
    rest = 1 + np.arange(cases - pictures - more) % max(pictures - 1, 1)
    return Design("skewed", np.concatenate([np.arange(pictures), np.zeros(more, int), rest]))


def shipped() -> Design:
    """The pictures, tags and labels of the cases in ``cases/``."""
    cases = [case for path in sorted((ROOT / "cases").glob("*.yaml")) for case in load_cases(path)]
    numbers: dict[str, int] = {}
    # A variant has a picture of its own, and votes with its case's.
    voting = [(case.original or case).image_digest for case in cases]
    pictures = [numbers.setdefault(digest, len(numbers)) for digest in voting]
    named = [(case.expect.label, *case.tags) for case in cases]
    names = Counter(name for each in named for name in each)
    slices = tuple(
        np.array([row for row, each in enumerate(named) if name in each])
        for name, count in names.items()
        if count < len(cases)
    )
    return Design("shipped", np.array(pictures), slices)


def designs() -> Iterator[Design]:
    """The designs of the table."""
    for cases, pictures in ((5, 2), (20, 2), (20, 3), (100, 3), (20, 4), (100, 4)):
        yield even(cases, pictures)
        yield skewed(cases, pictures)
    for cases, pictures in ((5, 5), (20, 5), (100, 5), (500, 5), (100, 23), (500, 23), (500, 100)):
        yield even(cases, pictures)
        if cases > pictures:
            yield skewed(cases, pictures)
    yield shipped()


def drawn(
    design: Design,
    shared: float,
    rng: np.random.Generator,
    *,
    deviation: float,
    shift: float = 0.0,
    stepping: int = STEPS,
) -> Table:
    """A suite in which nothing truly changed, but for one figure that shifts by ``shift``.

    Args:
        shared: the share of a case's variance that all cases of its picture have in common.
        stepping: the first so many metrics move in whole steps of one tolerance.
    """
    cases, pictures = len(design.pictures), int(design.pictures.max()) + 1
    # One column more: a label flips if its draw is in one of the tails.
    of_picture = rng.normal(size=(pictures, METRICS + 1))[design.pictures]
    normal = np.sqrt(shared) * of_picture
    normal += np.sqrt(1 - shared) * rng.normal(size=(cases, METRICS + 1))
    changes = deviation * normal[:, :METRICS]
    changes[:, ALONE] += shift
    # Rounded up or down by chance, so that the mean stays what it is.
    up = rng.random((pictures, stepping))[design.pictures]
    own = rng.random((cases, 1)) >= shared
    up = np.where(own, rng.random((cases, stepping)), up)
    changes[:, :stepping] = np.floor(changes[:, :stepping] + up)
    tail = -ndtri(FLIPS / 2)
    lost = (normal[:, METRICS] > tail).astype(int) - (normal[:, METRICS] < -tail).astype(int)
    return Table(
        tuple(f"metric {number}" for number in range(METRICS)),
        ("neither",) * METRICS,
        (True,) * METRICS,
        changes,
        np.ones_like(changes),
        design.pictures,
        lost,
    )


@dataclass(frozen=True)
class Row:
    """What was measured for one design and dependence; shares of suites, or of intervals.

    Attributes:
        alarms: false alarms of the tests alone, with no smallest effect.
        gate: false alarms with the default smallest effect.
        cells: false alarms of the tests where every figure moves in whole cells.
        coverage: how many 95 % intervals of figures cover the true change.
        power: by true shift in tolerances, how often the shift of one figure was found.
        said: the shift that the gate says it would find with probability 0.8 (the median).
        found: how often a shift of that size was found.
    """

    design: Design
    shared: str
    alarms: float
    gate: float
    cells: float
    coverage: float
    power: dict[float, float]
    said: float
    found: float


def measured(design: Design, shared: str, suites: int) -> Row:
    """Draw ``suites`` suites for each figure of a row, and a quarter of it for each power."""
    seed = [len(design.pictures), design.images, *design.name.encode(), *shared.encode()]
    rng = np.random.default_rng(seed)
    share = SHARED[shared]
    alarms = gate = cells = covered = 0
    for _ in range(suites):
        found = judged(design, drawn(design, share, rng, deviation=WIDE), Limits(effect=0))
        alarms += fails(found)
        gate += fails(found, Limits().effect)
        intervals = [found[0].means.interval(metric) for metric in range(METRICS)]
        covered += sum(each.low <= 0 <= each.high for each in intervals)
        table = drawn(design, share, rng, deviation=NARROW, stepping=METRICS)
        cells += fails(judged(design, table, Limits(effect=0)))
    fewer = suites // 4
    said = float(np.median([could(design, drawn(design, share, rng, deviation=NARROW))
                            for _ in range(fewer)]))  # fmt: skip
    power = {}
    for shift in (*SHIFTS, said):
        tables = (drawn(design, share, rng, deviation=NARROW, shift=shift) for _ in range(fewer))
        hits = [judged(design, table, Limits())[0].moved[ALONE] for table in tables]
        power[shift] = float(np.mean(hits))
    return Row(
        design, shared, alarms / suites, gate / suites, cells / suites,
        covered / suites / METRICS, {shift: power[shift] for shift in SHIFTS}, said, power[said],
    )  # fmt: skip


def judged(design: Design, table: Table, limits: Limits) -> list[Tested]:
    """The gate's tests of a suite and of its slices."""
    return run_tests(sums_of(table), [sums_of(table.of(r)) for r in design.slices], limits)


def fails(found: list[Tested], effect: float = 0.0) -> bool:
    """Whether the gate fails: labels were lost, or a figure shifted by more than ``effect``."""
    return any(
        part.labels_worse or (np.abs(part.means.effect[part.bad]) > effect).any() for part in found
    )


def could(design: Design, table: Table) -> float:
    """The shift of the one figure that the gate says it would find, in tolerances."""
    found = judged(design, table, Limits())
    return float(findable(found[0].means, strictest(found, Limits()), Limits())[1][ALONE])


def _measured(task: tuple[Design, str, int]) -> Row:
    return measured(*task)


def rows(asked: list[Design], suites: int) -> list[Row]:
    """All rows of the table, on all cores."""
    tasks = [(design, shared, suites) for design in asked for shared in SHARED]
    with Pool() as pool:
        return pool.map(_measured, tasks, chunksize=1)


def table_of_rates(found: list[Row], suites: int) -> str:
    """The table in Markdown."""
    head = (
        "cases", "pictures", "cases a picture", "noise of a picture's cases",
        "false alarms, tests alone", "false alarms, gate", "false alarms, whole cells",
        "intervals that cover", *(f"power at {shift:g}" for shift in SHIFTS),
        "said to be found", "found",
    )  # fmt: skip
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for row in found:
        cells = (
            len(row.design.pictures), row.design.images, row.design.name, row.shared,
            f"{row.alarms:.3f}", f"{row.gate:.3f}", f"{row.cells:.3f}", f"{row.coverage:.3f}",
            *(f"{power:.2f}" for power in row.power.values()), f"{row.said:.3g}",
            f"{row.found:.2f}",
        )  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    error = 1.96 * np.sqrt(0.05 * 0.95 / suites)
    return "\n".join([*lines, "", f"{suites} suites a row; a rate of 0.05 is ± {error:.3f}."])


def bounds_broken(found: list[Row], suites: int) -> list[str]:
    """The rows whose false alarms are above what is promised, beyond the error of counting.

    From 5 pictures on at most 0.07, with fewer at most 0.05.
    """
    broken = []
    for row in found:
        allowed = 0.07 if row.design.images >= 5 else 0.05
        # The count that a rate of exactly ``allowed`` exceeds once in a thousand rows.
        most = binom.isf(0.001, suites, allowed) / suites
        for name, rate in (("tests", row.alarms), ("gate", row.gate), ("cells", row.cells)):
            if rate > most:
                where = f"{len(row.design.pictures)}/{row.design.images} {row.design.name}"
                broken.append(f"{where}, {row.shared}: {name} {rate:.3f} > {allowed}")
    return broken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the suites")
    parser.add_argument("--docs", action="store_true", help="write the table into the docs")
    asked = parser.parse_args()
    suites = 200 if asked.quick else 2000
    started = time.perf_counter()
    found = rows(list(designs()), suites)
    table = table_of_rates(found, suites)
    print(table)
    print(f"{time.perf_counter() - started:.0f} s")
    if asked.docs:
        page = DOCS.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGIN)
        after = rest.partition(END)[2]
        DOCS.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")
    for line in bounds_broken(found, suites):
        print(line)


if __name__ == "__main__":
    main()
