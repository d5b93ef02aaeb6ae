"""Open the pictures of a batch, and prepare them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from audit.base.errors import ImageError, in_a_sentence
from audit.base.images import picture_of
from audit.models.protocol import Query

Made = TypeVar("Made")

_LIKE_CHANNELS = (1, 3, 4)
"""Heights in pixels that processors on NumPy take for the number of a picture's channels."""


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


def prepared(processor: Any, text: str, image: Image.Image, **options: Any) -> Any:
    """What a processor of transformers makes of a text and a picture, as PyTorch's tensors.

    Raises:
        ImageError: it cannot prepare them; mostly because of the picture's shape.
    """
    # A picture three pixels high would be read as three channels, so other pixels would be seen.
    fast = getattr(processor.image_processor, "is_fast", True)
    if image.height in _LIKE_CHANNELS and not fast:
        options["input_data_format"] = "channels_last"
    try:
        return processor(text=[text], images=[image], return_tensors="pt", **options)
    except Exception as error:
        raise ImageError(
            f"the model's processor cannot prepare this picture of {image.width} × "
            f"{image.height} pixels: {in_a_sentence(error)}"
        ) from error
