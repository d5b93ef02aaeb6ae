"""Write ``docs/metrics.md`` from the registry: ``python -m tools.docs_tables``."""

from __future__ import annotations

from pathlib import Path

from audit.baselines import PROBABILITY_TOLERANCE
from audit.files import write_atomically
from audit.metrics import METRICS, Metric

PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"

_INTRODUCTION = f"""# Metrics

This page is written by `python -m tools.docs_tables` from the registry in `audit/metrics.py`.

A map has one value for each of the N cells of the model's patch grid, none negative, with sum 1. A region is a mask over the same grid; each cell holds the share of its area inside the region, and K is the sum of these shares. A metric that has no value for an input says why, and an expectation about it fails with that reason.

A figure drifts when it differs from its baseline by more than its tolerance, which is absolute. The probability of the accepted label has the tolerance {PROBABILITY_TOLERANCE:g}. `drift` in a case file sets others.

| metric | definition | range | uniform map | better | undefined when | drift tolerance |
| --- | --- | --- | --- | --- | --- | --- |
"""


def _range(metric: Metric) -> str:
    low = "" if metric.low is None else f"{metric.low:g}"
    high = "…" if metric.high is None else f"{metric.high:g}"
    return f"{low} to {high}"


def metrics_page() -> str:
    """The whole page."""
    rows = [
        f"| `{name}` | {m.summary} | {_range(m)} | {m.chance} | {m.better} | "
        f"{m.undefined or 'never'} | {m.tolerance:g} |"
        for name, m in METRICS.items()
    ]
    return _INTRODUCTION + "\n".join(rows) + "\n"


if __name__ == "__main__":
    write_atomically(PAGE, metrics_page().encode())
