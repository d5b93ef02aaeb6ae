"""Writes ``docs/metrics.md`` from the registry of metrics: ``python -m tools.docs_tables``."""

from __future__ import annotations

from pathlib import Path

from audit.base.files import write_atomically
from audit.gate.tolerances import MULTIPLE, PROBABILITY_TOLERANCE
from audit.metrics.registry import DEFAULTS, METRICS, Metric
from audit.report.markdown import table

PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"

_INTRODUCTION = f"""# Metrics

This page is written by `python -m tools.docs_tables` from the registry in `audit/metrics/registry.py`.

A map has one value for each of the N cells of the model's patch grid, none negative, with sum 1. The grid covers the part of the picture that the model sees, which is usually all of it. A region is a mask over the same grid; each cell holds the share of its area inside the region, and K is the sum of these shares. A metric that has no value for an input says why, and an expectation about it fails with that reason.

A figure drifts when it differs from its baseline by more than its tolerance, which is absolute. The probability of the accepted label has the tolerance {PROBABILITY_TOLERANCE:g}. If [`audit noise`](cli.md#audit-noise) has measured the noise floor, {MULTIPLE:g} times the floor replaces these defaults ([which floor](pytest.md#the-same-weights-or-others) depends on the weights); `drift` in a case file replaces both.

What a metric is measured from:

| from | the case file gives | measured |
| --- | --- | --- |
| map | nothing more | always |
| map, region | `region` | always, for each of the case's regions |
| trace | nothing more | always |
| two maps | `against`, the map to compare with | where an expectation asks for it |
| the model | nothing more; the model is asked again with cells of the picture hidden and shown in the order of the map, and for a margin in random order too | where an expectation asks for it |

Options are keys of an expectation beside `metric`. With an option other than the default, the value is a separate figure, such as `pointing[birds] tolerance=1`, and is measured only where an expectation asks for it.

Values whose relative difference is below 1e-9 are tied, and no metric depends on the order of tied cells; deletion and insertion take them in a fixed random order.

"""

_HEAD = (
    "metric", "definition", "from", "options", "range", "uniform map", "better", "undefined when",
    "drift tolerance",
)  # fmt: skip

_FROM = {
    "map": "map",
    "region": "map, region",
    "trace": "trace",
    "distance": "two maps",
    "model": "the model",
}


def _options(metric: Metric) -> str:
    """The keys that the metric takes, with their defaults."""
    shown = (f"`{o}` ({DEFAULTS[o]})" if o in DEFAULTS else f"`{o}`" for o in metric.options)
    return ", ".join(shown)


def metrics_page() -> str:
    """The whole page."""
    rows = [
        (
            f"`{name}`", m.summary, _FROM[m.kind], _options(m), m.range, m.chance, m.better,
            m.undefined or "never", f"{m.tolerance:g}",
        )
        for name, m in METRICS.items()
    ]  # fmt: skip
    return f"{_INTRODUCTION}{table(_HEAD, rows)}\n"


if __name__ == "__main__":
    write_atomically(PAGE, metrics_page().encode())
