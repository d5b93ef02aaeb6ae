"""What pydantic finds wrong with a value, in our own words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audit.base.files import counted

_LIMITS = {
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "a number of at most {le:g}",
    "finite_number": "a finite number",
}


def limit_in_words(kind: str, limits: Mapping[str, Any]) -> str:
    """What pydantic's limit of a value is; empty if ``kind`` is no such error.

    >>> limit_in_words("greater_than", {"gt": 0.0}), limit_in_words("too_long", {"max_length": 2})
    ('a number above 0', 'at most 2 items')
    """
    if kind in _LIMITS:
        return _LIMITS[kind].format(**limits)
    noun = "character" if kind.startswith("string") else "item"
    if kind in ("too_short", "string_too_short"):
        return f"at least {counted(limits['min_length'], noun)}"
    if kind in ("too_long", "string_too_long"):
        return f"at most {counted(limits['max_length'], noun)}"
    return ""


_TYPES = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
}


def needed(found: Mapping[str, Any]) -> str:
    """What is needed instead of a value, by one of pydantic's errors; empty for other errors.

    >>> needed({"type": "less_than", "ctx": {"lt": 1.0}, "loc": ("share",)})
    'a number below 1'
    """
    kind = found["type"]
    if kind in _TYPES:
        # In a union of whole and other numbers, pydantic names the member that it tried.
        return "a number" if found["loc"][-1:] in (("int",), ("float",)) else _TYPES[kind]
    return limit_in_words(kind, found.get("ctx", {}))
