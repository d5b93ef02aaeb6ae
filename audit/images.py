"""Pictures opened once, with limits, before anything else sees them."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageFile, UnidentifiedImageError

from audit.errors import ImageError

MAX_PIXELS = 50_000_000
"""Largest picture in pixels; larger ones are refused before they are decoded."""

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")


_one_at_a_time = threading.Lock()
"""What is switched while a picture is opened belongs to the process, not to the thread."""


@contextmanager
def _whole_files_only() -> Iterator[None]:
    """Refuse truncated files: importing modelscope tells Pillow to fill them up with grey."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def open_image(path: Path) -> Image.Image:
    """Open, check and fully decode a picture.

    Returns:
        The picture as RGB, at its own size and without the frames after the first.

    Raises:
        ImageError: the file is missing, not a picture of a supported format, damaged, or has more
            than ``MAX_PIXELS`` pixels.
    """
    try:
        with _one_at_a_time, warnings.catch_warnings(), _whole_files_only():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise ImageError(
                        f"{path}: {width} x {height} pixels, more than the limit of {MAX_PIXELS:,}"
                    )
                return image.convert("RGB")
    except FileNotFoundError:
        raise ImageError(f"{path}: no such picture") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{path}: too many pixels: {error}") from None
    except UnidentifiedImageError:
        raise ImageError(
            f"{path}: not a picture, or damaged (supported: {', '.join(FORMATS)})"
        ) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"{path}: the picture is damaged: {error}") from None
