"""Pictures as programs and notebooks hand them over: a path, bytes, an array, or Pillow's own."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from audit.base.errors import ImageError
from audit.base.images import MAX_BYTES, MAX_PIXELS, decoded, open_image, picture_of

Handed = str | Path | bytes | Image.Image | NDArray[np.uint8]
"""What can be taken for a picture."""


def picture_from(given: Handed) -> Image.Image:
    """The picture that somebody hands over, in RGB.

    Args:
        given: the path of a file; a file's content; a picture of Pillow, used as it is; or an array
            (height, width, 3) of uint8, red, green and blue from 0 to 255. Only files and their
            content are turned as EXIF says.

    Raises:
        ImageError: it is none of these, or cannot be read; see
            :func:`audit.base.images.open_image`.
    """
    if isinstance(given, str | Path):
        if not str(given):
            raise ImageError("the path of the picture is empty")
        if re.match(r"https?://", str(given)):
            raise ImageError(
                f"{given}: pictures are not fetched; download it, and give its path or its bytes"
            )
        path = Path(given).expanduser()
        if not path.exists():
            raise ImageError(f"{path}: no such picture{_elsewhere(path)}")
        return open_image(path)
    if isinstance(given, bytes):
        if len(given) > MAX_BYTES:
            raise ImageError(
                f"the picture: {len(given):,} bytes, more than the limit of {MAX_BYTES:,}"
            )
        return decoded(given, "the picture")
    if isinstance(given, Image.Image):
        _check_size(*given.size)
        return picture_of(given)
    if isinstance(given, np.ndarray):
        return _of_array(given)
    raise ImageError(
        "a picture is a path, a file's bytes, a picture of Pillow or an array of numpy, not an "
        f"object of the type {type(given).__name__}{_instead(given)}"
    )


def _elsewhere(path: Path) -> str:
    """What the file may be called, or else where a relative path was looked for."""
    folder = path.parent
    try:
        names = [each.name for each in folder.iterdir()]
    except OSError:
        names = []
    if close := get_close_matches(path.name, names, n=1, cutoff=0.65):
        return f"; did you mean {str(folder / close[0])!r}?"
    return "" if path.is_absolute() else f" in the folder {Path.cwd()}"


def _instead(given: object) -> str:
    """How something that holds one picture gives it."""
    if hasattr(given, "permute"):
        return (
            "; for a tensor (3, height, width) from 0 to 1 give "
            "(tensor.permute(1, 2, 0) * 255).round().byte().cpu().numpy()"
        )
    if hasattr(given, "read"):
        return "; for an open file give its content: file.read()"
    if isinstance(given, bytearray | memoryview):
        return "; give bytes(...) of it"
    return "; ask about one picture at a time" if isinstance(given, list | tuple) else ""


def _of_array(pixels: NDArray[Any]) -> Image.Image:
    shape = " x ".join(map(str, pixels.shape))
    told = f"the picture is an array of {pixels.dtype}, {shape or 'without a shape'}"
    wanted = "an array must be uint8, height x width x 3"
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        hint = ""
        if pixels.ndim == 3 and pixels.shape[0] == 3:
            hint = "; move the channels to the end: array.transpose(1, 2, 0)"
        elif pixels.ndim == 3 and pixels.shape[2] == 4:
            hint = "; for one with transparency give PIL.Image.fromarray(array)"
        elif pixels.ndim == 2:
            hint = "; for a grey one give PIL.Image.fromarray(array)"
        elif pixels.ndim == 3 and pixels.shape[2] == 1:
            hint = "; for a grey one give PIL.Image.fromarray(array[..., 0])"
        elif pixels.ndim == 4:
            hint = "; ask about one picture at a time: array[0]"
        raise ImageError(f"{told}; {wanted}{hint}")
    if pixels.dtype != np.uint8:
        hint = ""
        if np.issubdtype(pixels.dtype, np.floating):
            hint = "; if its values are 0 to 1: (array * 255).round().astype('uint8')"
        elif pixels.dtype == np.uint16:
            hint = "; if its values are 0 to 65535: (array // 257).astype('uint8')"
        elif np.issubdtype(pixels.dtype, np.integer):
            hint = "; if its values are 0 to 255: array.astype('uint8')"
        raise ImageError(f"{told}; {wanted}{hint}")
    _check_size(pixels.shape[1], pixels.shape[0])
    return Image.fromarray(np.ascontiguousarray(pixels))


def _check_size(width: int, height: int) -> None:
    """Refuse what :func:`audit.base.images.open_image` would refuse in a file."""
    if not width * height:
        raise ImageError(f"the picture is empty: {width} x {height} pixels")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"the picture: {width} x {height} pixels, more than the limit of {MAX_PIXELS:,}"
        )
