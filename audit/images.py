"""Pictures opened once, with limits, before anything else sees them."""

from __future__ import annotations

import warnings
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from audit.errors import ImageError

MAX_PIXELS = 50_000_000
"""Largest picture in pixels; larger ones are refused before they are decoded."""

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")


def open_image(path: Path) -> Image.Image:
    """Open, check and fully decode a picture.

    Returns:
        The picture as RGB, at its own size and without the frames after the first.

    Raises:
        ImageError: the file is missing, not a picture of a supported format, damaged, or has more
            than ``MAX_PIXELS`` pixels.
    """
    try:
        with warnings.catch_warnings():
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
