"""The names of the columns in tables of results, one row a question.

A name is what outcomes call it, behind the part of the outcome that it comes from:
``probability.yes``, ``answer_attention.mass[birds]``.
"""

from __future__ import annotations

from audit.metrics.keys import FigureKey

PROBABILITY = "probability"

FIXED: dict[str, str] = {
    "id": "string",
    "picture": "string",
    "picture.digest": "string",
    "picture.source": "string",
    "text": "string",
    "premise": "string",
    "expected": "string",
    "label": "string",
    "right": "bool",
    "state": "string",
    "failed": "bool",
    "sentence": "string",
    "error": "string",
    "tags": "list",
    "variant_of": "string",
    "critical": "bool",
    "xfail": "string",
    "file": "string",
    "line": "int64",
    "default_map": "string",
    "seconds": "double",
    "unsaid": "double",
    "undefined": "string",
}
"""The columns that every table of a run has, with their types, before the figures.

``picture`` is the path as the case writes it, ``picture.digest`` the identity of its pixels, and
``picture.source`` that of the picture which a variant is made from: all questions with the same
source have one vote together. ``undefined`` is a JSON object with the reason for each figure
that was measured and has no value; one that was not measured is missing there, too.
"""

IDENTITY: tuple[str, ...] = (
    "run.id",
    "run.started",
    "model.name",
    "model.source",
    "model.revision",
    "model.digest",
    "model.weights",
    "model.configuration",
    "model.asking",
    "model.device",
    "model.dtype",
    "model.engine",
)
"""Whose answers these are: texts, the same in all rows of a run; the last columns."""


def probability_column(label: str) -> str:
    """The column of a label's probability.

    >>> probability_column("yes")
    'probability.yes'
    """
    return f"{PROBABILITY}.{label}"


def figure_column(map_key: str, figure: str) -> str:
    """The column of a figure.

    Args:
        map_key: the key of the map, as outcomes have it.
        figure: the stored name of the figure.

    >>> figure_column("answer_attention layers=last", "mass[birds]")
    'answer_attention layers=last.mass[birds]'
    """
    return f"{map_key}.{figure}"


def figure_of(column: str) -> tuple[str, FigureKey] | None:
    """The map and the figure of a column; None if it is the column of something else.

    >>> figure_of("occlusion temperature=0.5.pointing[St. Paul's] tolerance=1")
    ('occlusion temperature=0.5', FigureKey(metric='pointing', region="St. Paul's", \
options=(('tolerance', 1),), map=''))
    >>> figure_of("probability.yes") is None
    True
    """
    # Options of a map may have a dot in them, and so may the name of a region.
    place = column.find(".")
    while place > 0:
        key = FigureKey.known(column[place + 1 :])
        if key is not None:
            return column[:place], key
        place = column.find(".", place + 1)
    return None
