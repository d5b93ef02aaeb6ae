"""A run as a table, one row a question, in the order of the case files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from audit.base.errors import RunError
from audit.base.files import shown_path
from audit.data.columns import FIXED, IDENTITY, figure_column, probability_column
from audit.gate.outcomes import Outcome, State
from audit.gate.runfiles import FORMAT
from audit.gate.runfolder import Run

METADATA = b"audit"
"""Under this key the metadata of a table has its format and what was run, as JSON."""

_TYPES = {
    "string": pa.string(),
    "bool": pa.bool_(),
    "int64": pa.int64(),
    "double": pa.float64(),
    "list": pa.list_(pa.string()),
}


def table_of(run: Run) -> pa.Table:
    """The outcomes of a run as a table; :mod:`audit.data.columns` says what its columns are.

    What is missing is null: nothing is NaN, and no text is empty instead of missing.

    Raises:
        RunError: the run cannot be read, or two of its figures would have one column.
    """
    about = run.about()
    outcomes = sorted(run.outcomes(), key=lambda o: (o.file, o.line, o.case))
    fixed = [_fixed(outcome) for outcome in outcomes]
    columns = {
        name: pa.array([row[name] for row in fixed], _TYPES[kind]) for name, kind in FIXED.items()
    }
    numbers = [_numbers(outcome) for outcome in outcomes]
    names = _in_order(numbers)
    identity = _identity(about)
    for name in (*FIXED, *IDENTITY):
        if name in names:
            raise RunError(
                f"{shown_path(run.folder)}: a figure is named {name!r}, as another column is"
            )
    for name in names:
        columns[name] = pa.array([row.get(name) for row in numbers], pa.float64())
    for name in IDENTITY:
        columns[name] = pa.array([identity[name]] * len(outcomes), pa.string())
    metadata = json.dumps({**about, "format": FORMAT}, allow_nan=False)
    return pa.table(columns).replace_schema_metadata({METADATA: metadata.encode()})


def _fixed(outcome: Outcome) -> dict[str, Any]:
    """The columns that every run has."""
    error = outcome.sentence if outcome.state is State.ERROR else None
    answered, expected = outcome.label or None, outcome.expected or None
    undefined = {
        figure_column(key, name): value
        for key, values in outcome.metrics.items()
        for name, value in values.items()
        if isinstance(value, str)
    }
    return {
        "id": outcome.case,
        "picture": outcome.image or None,
        "picture.digest": outcome.image_digest,
        "picture.source": outcome.source_image,
        "text": outcome.text,
        "premise": outcome.premise,
        "expected": expected,
        "label": answered,
        "right": answered == expected if answered and expected else None,
        "state": outcome.state.value,
        "failed": outcome.failed,
        "sentence": outcome.sentence or None,
        "error": error,
        "tags": outcome.tags,
        "variant_of": outcome.variant_of or None,
        "critical": outcome.critical,
        "xfail": outcome.xfail or None,
        "file": outcome.file or None,
        "line": outcome.line or None,
        "default_map": outcome.default_map or None,
        "seconds": outcome.seconds,
        "unsaid": outcome.unsaid,
        "undefined": json.dumps(undefined, ensure_ascii=False) if undefined else None,
    }


def _numbers(outcome: Outcome) -> dict[str, float | None]:
    """Probabilities and figures by column; None where a figure was measured and has no value."""
    found: dict[str, float | None] = {
        probability_column(label): value for label, value in outcome.probabilities.items()
    }
    for key, values in outcome.metrics.items():
        for name, value in values.items():
            column = figure_column(key, name)
            if column in found:
                raise RunError(f"{outcome.case}: two figures would have the column {column!r}")
            found[column] = None if isinstance(value, str) else value
    return found


def _in_order(numbers: Sequence[Mapping[str, float | None]]) -> list[str]:
    """All columns of numbers: labels as the first outcome that has them, then figures by name."""
    every: Iterable[str] = dict.fromkeys(name for row in numbers for name in row)
    labels = [name for name in every if name.startswith(probability_column(""))]
    return [*labels, *sorted(set(every) - set(labels))]


def _identity(about: Mapping[str, Any]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in IDENTITY:
        part, _, key = name.partition(".")
        value = about.get("model", {}).get(key) if part == "model" else about.get(key)
        found[name] = str(value) if value else None
    return found
