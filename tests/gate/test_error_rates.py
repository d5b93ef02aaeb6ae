"""A little of ``benchmarks/error_rates.py``: the gate is wrong no more often than it promises."""

from __future__ import annotations

import pytest
from scipy.stats import binom

from benchmarks.error_rates import (
    SHARED,
    Design,
    bounds_broken,
    even,
    measured,
    shipped,
    skewed,
)

SUITES = 300


@pytest.mark.slow
@pytest.mark.parametrize("shared", SHARED)
@pytest.mark.parametrize(
    "design", [even(5, 2), skewed(20, 3), skewed(100, 5), even(100, 23), shipped()],
    ids=lambda design: f"{len(design.pictures)}/{design.images}-{design.name}",
)  # fmt: skip
def test_false_alarms_are_as_rare_and_shifts_as_often_found_as_promised(
    design: Design, shared: str
) -> None:
    row = measured(design, shared, SUITES)
    assert bounds_broken([row], SUITES) == []
    # Intervals of one suite are not independent of each other, so the suites are what counts.
    assert row.coverage > binom.ppf(0.001, SUITES, 0.93) / SUITES
    # The shift that it says it would find with probability 0.8.
    assert row.found >= binom.ppf(0.001, SUITES // 4, 0.75) / (SUITES // 4)
