"""Opens pictures ahead of the model, in threads: decoding takes as long as a small model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from audit.base.errors import ImageError, in_a_sentence
from audit.base.images import identity, open_image
from audit.bulk.questions import Question


class Opened(NamedTuple):
    """A picture, decoded, and the identity of its pixels; or why it cannot be opened."""

    image: Image.Image | None
    digest: str
    kind: str = ""
    error: str = ""


def opened(path: Path) -> Opened:
    """Open one picture; an error is a result."""
    try:
        image = open_image(path)
        return Opened(image, identity(image))
    except Exception as error:
        kind = "ImageError" if isinstance(error, ImageError) else type(error).__name__
        return Opened(None, "", kind, in_a_sentence(error))


def in_batches(
    questions: Sequence[Question],
    size: int,
    places: tuple[Path, Path],
    pool: ThreadPoolExecutor,
) -> Iterator[list[tuple[Question, Opened]]]:
    """The questions in batches, with their pictures; those of the next batch are being opened.

    A picture that is in both batches is opened once.

    Args:
        places: the folder that pictures are relative to, and the one of those that a source held
            in itself.
    """
    waiting: list[tuple[Sequence[Question], dict[Path, Future[Opened]]]] = []
    for start in range(0, len(questions), size):
        batch = questions[start : start + size]
        known = waiting[-1][1] if waiting else {}
        futures: dict[Path, Future[Opened]] = {}
        for path in dict.fromkeys(places[each.within] / each.picture for each in batch):
            futures[path] = known.get(path) or pool.submit(opened, path)
        waiting.append((batch, futures))
        if len(waiting) == 2:
            yield _resolved(*waiting.pop(0), places)
    for rest in waiting:
        yield _resolved(*rest, places)


def _resolved(
    batch: Sequence[Question], futures: dict[Path, Future[Opened]], places: tuple[Path, Path]
) -> list[tuple[Question, Opened]]:
    return [(each, futures[places[each.within] / each.picture].result()) for each in batch]
