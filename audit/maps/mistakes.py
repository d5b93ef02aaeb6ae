"""What is wrong with a description of a map, in one line."""

from __future__ import annotations

from pydantic import ValidationError

from audit.base.limits import needed

_CHOICES = {
    "layers": "all, last, last:N, or numbers from 1, each once",
    "heads": "mean, max, weighted, chosen, numbers from 1, or single heads such as L4H2, each once",
    "residual": "measured, or a number from 0 to 1",
}
"""What a key can be that takes values of several types."""


def told(error: ValidationError) -> str:
    """What is wrong with a description of a map, in one line."""
    first = error.errors()[0]
    name = first["loc"][0] if first["loc"] else ""
    key = f"{name}: " if name else ""
    # A key that can be of several types has an error for each, none of which says the whole.
    what = _CHOICES[name] if name in _CHOICES and len(first["loc"]) > 1 else needed(first)
    message = f"needs {what}, but has {first['input']}" if what else first["msg"]
    return f"{key}{message.removeprefix('Value error, ')}"
