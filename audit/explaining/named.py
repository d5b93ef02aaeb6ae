"""A dictionary whose error for a missing name says which names there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn, TypeVar

from audit.base.errors import nearest

Value = TypeVar("Value")


class Named(dict[str, Value]):
    """What an answer holds, by name.

    >>> Named("a figure of this map", {"entropy": 0.5})["entrpy"]
    Traceback (most recent call last):
    KeyError: "'entrpy' is not a figure of this map; did you mean 'entropy'?"
    """

    def __init__(self, kind: str = "a name", values: Mapping[str, Value] | None = None) -> None:
        super().__init__(values or {})
        self._kind = kind

    def __missing__(self, name: object) -> NoReturn:
        raise KeyError(f"{name!r} is not {self._kind}; {nearest(str(name), self)}")
