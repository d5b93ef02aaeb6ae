"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, without a line end behind its last row.

    Cells are Markdown already: a ``|`` in one must be escaped, and a line end may not be in it.

    >>> print(table(["metric", "range"], [["mass", "0 to 1"]]))
    | metric | range |
    | --- | --- |
    | mass | 0 to 1 |
    """
    lines = (head, ["---"] * len(head), *rows)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
