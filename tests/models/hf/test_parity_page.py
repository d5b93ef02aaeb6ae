"""The page about parity has every family, and no figure that is over its limit."""

from __future__ import annotations

from benchmarks.parity import LIMITS, PAGE, TITLES, Figures, figures_of


def test_the_page_has_every_family_within_the_limits() -> None:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    head, _, *rows, limits = ([cell.strip() for cell in line[1:-1].split("|")] for line in lines)
    assert [row[0] for row in rows] == [f"{title} (`{name}`)" for name, title in TITLES.items()]
    for measured, *figures in zip(head[1:], limits[1:], *(row[1:] for row in rows), strict=True):
        limit = getattr(LIMITS, measured.partition(",")[0])
        assert float(figures[0].strip("*")) == limit
        assert all(float(figure) <= limit for figure in figures[1:]), measured
    versions = {column.partition(", ")[2].partition(".")[0] for column in head[1:]}
    assert versions == {"4", "5"}


def test_what_is_measured_is_not_nothing() -> None:
    figures, scale = figures_of("vilt")
    assert all(x <= most for x, most in zip(figures, LIMITS, strict=True))
    assert scale.logit > 0.1
    assert scale.cell > 0.01
    assert figures != Figures(0, 0, 0)
