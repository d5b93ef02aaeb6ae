"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, without a line end after its last row.

    Cells must be Markdown already: with every ``|`` escaped, and without line ends.

    >>> print(table(["metric", "range"], [["mass", "0 to 1"]]))
    | metric | range |
    | --- | --- |
    | mass | 0 to 1 |
    """
    lines = (head, ["---"] * len(head), *rows)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
