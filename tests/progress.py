"""A progress that tests pass on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


class Titles(list[str]):
    """Notes the title of everything whose progress is told."""

    def __call__(self, items: Iterable[Any], total: int, title: str) -> Iterator[Any]:
        assert total > 0
        self.append(title)
        return iter(items)
