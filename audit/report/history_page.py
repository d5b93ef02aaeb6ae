"""A history of runs as one HTML file: the sentence, a row for each run, a chart for each metric."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from audit.base.files import write_atomically
from audit.report.templates import template
from audit.studies.history import History, Line

_WIDTH, _HEIGHT, _LEFT, _EDGE, _FOOT = 320, 150, 64, 12, 20
_NUMBERS = 12
"""The most numbers of runs under a chart."""


@dataclass(frozen=True)
class Chart:
    """A metric's change since the first run, in the units of the drawing.

    Attributes:
        band: top and height of the tolerance; None if nothing moved, so that it is not known.
        ticks: places and values beside the axis.
        bars: place, lower and upper end of each interval.
        dots: places of the means, and the number of the run or 0 where there is no room for it.
        words: what a reader hears instead.
    """

    line: Line
    zero: float
    band: tuple[float, float] | None
    ticks: list[tuple[float, str]]
    bars: list[tuple[float, float, float]]
    points: str
    dots: list[tuple[float, float, int]]
    words: str
    width: int = _WIDTH
    height: int = _HEIGHT
    left: int = _LEFT


def write_history(path: Path, found: History) -> Path:
    """Write the history to ``path`` as one self-contained HTML file, and return ``path``."""
    slices = sorted({name for version in found.versions for name in version.slices})
    page = template("history.html.j2").render(
        found=found, charts=[_chart(line) for line in found.lines], slices=slices, suite=found.total
    )
    write_atomically(path, page.encode())
    return path


def _chart(line: Line) -> Chart:
    tolerance = next(
        (abs(p.change / p.tolerances) for p in line.points if p.tolerances and p.change), 0.0
    )
    most = max(tolerance, *(max(abs(p.low), abs(p.high), abs(p.change)) for p in line.points))
    most = most or 1.0
    middle = (_HEIGHT - _FOOT) / 2
    apart = (_WIDTH - _LEFT - 2 * _EDGE) / (len(line.points) - 1)

    def x(number: int) -> float:
        return round(_LEFT + _EDGE + number * apart, 1)

    def y(value: float) -> float:
        return round(middle - value / most * (middle - _EDGE), 1)

    every = -(-len(line.points) // _NUMBERS)
    dots = [(x(n), y(p.change), n + 1 if n % every == 0 else 0) for n, p in enumerate(line.points)]
    changes = ", ".join(f"{p.change:+.4f}" for p in line.points)
    return Chart(
        line,
        y(0.0),
        (y(tolerance), round(2 * (y(0.0) - y(tolerance)), 1)) if tolerance else None,
        [(y(sign * most), f"{sign * most:+.2g}") for sign in (1, -1)],
        [(x(n), y(p.low), y(p.high)) for n, p in enumerate(line.points)],
        " ".join(f"{across},{down}" for across, down, _ in dots),
        dots,
        f"{line.metric}, change since the first run, run by run: {changes}",
    )
