"""Open the pictures of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from PIL import Image

from audit.base.images import picture_of
from audit.models.protocol import Query

Made = TypeVar("Made")


def by_picture(queries: Sequence[Query], make: Callable[[Query, Image.Image], Made]) -> list[Made]:
    """What ``make`` makes of each query and its opened picture, in the order of the queries.

    Each picture is opened once, and only one is in memory at a time: it may take 200 MB.
    """
    asked: dict[Path | int, list[int]] = {}
    for i, query in enumerate(queries):
        key = query.image if isinstance(query.image, Path) else id(query.image)
        asked.setdefault(key, []).append(i)
    made: dict[int, Made] = {}
    for numbers in asked.values():
        image = picture_of(queries[numbers[0]].image)
        made.update({i: make(queries[i], image) for i in numbers})
    return [made[i] for i in range(len(queries))]
