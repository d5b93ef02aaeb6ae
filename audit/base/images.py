"""Open pictures safely: check them and enforce limits before anything else sees them."""

from __future__ import annotations

import hashlib
import io
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile

from audit.base.encoded import checked, filled_up, is_jpeg
from audit.base.errors import ImageError, in_a_sentence
from audit.base.pixels import as_rgb, orientation, scale_key, turned

MAX_PIXELS = 50_000_000
"""Largest picture in pixels; larger ones are refused before they are decoded."""

MAX_BYTES = 500_000_000
"""Largest picture file; the largest picture allowed takes 400 MB as 16-bit RGBA."""

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")


class _Strictness:
    """Pillow's switches for truncated files and for warnings, which are global to the process.

    They are set while any thread opens a picture: the first thread sets them, and the last one
    restores what was there. The lock is held only for that, not while a picture is decoded.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._truncated = False
        self._warnings = warnings.catch_warnings()

    @contextmanager
    def on(self) -> Iterator[None]:
        """Refuse truncated files; importing modelscope tells Pillow to fill them up with grey."""
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._truncated = ImageFile.LOAD_TRUNCATED_IMAGES
                ImageFile.LOAD_TRUNCATED_IMAGES = False
                self._warnings = warnings.catch_warnings()
                self._warnings.__enter__()
                # Warnings about metadata, which audit does not read.
                warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
                warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._warnings.__exit__(None, None, None)
                    ImageFile.LOAD_TRUNCATED_IMAGES = self._truncated


_strictness = _Strictness()


def open_image(path: Path) -> Image.Image:
    """Open, check and fully decode a picture.

    Returns:
        The picture as people see it: turned as EXIF says, with white behind transparent parts, in
        RGB, at its own size; of several frames only the first.

    Raises:
        ImageError: the file is missing, not a picture of a supported format, damaged, cut off or
            far too large; or viewers do not agree how to show its pixels.
    """
    try:
        data = _read(path)
    except FileNotFoundError:
        raise ImageError(f"{path}: no such picture") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"{path}: cannot be read: {_reason(error)}") from None
    return decoded(data, str(path))


def decoded(data: bytes, name: str) -> Image.Image:
    """Check and fully decode the content of a picture's file; see :func:`open_image`.

    Args:
        name: what the picture is called in errors.

    Raises:
        ImageError: see :func:`open_image`.
    """
    try:
        if len(data) > MAX_BYTES:
            raise ImageError(f"{len(data):,} bytes, more than the limit of {MAX_BYTES:,}")
        with _strictness.on():
            return _decoded(data)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(
            f"{name}: too many pixels: more than the limit of {MAX_PIXELS:,}"
        ) from None
    except UnidentifiedImageError:
        raise ImageError(
            f"{name}: not a picture, or damaged (supported: {', '.join(FORMATS)})"
        ) from None
    except MemoryError:
        raise ImageError(f"{name}: there is not enough memory to open the picture") from None
    except Exception as error:  # decoders raise all kinds of exceptions
        raise ImageError(f"{name}: the picture is damaged: {_reason(error)}") from None


def picture_of(image: Path | Image.Image) -> Image.Image:
    """A picture as models see it; a path is opened first.

    A picture that is already in memory is not turned, just as modelscope's pipeline does not.

    Raises:
        ImageError: see :func:`open_image` and :func:`audit.base.pixels.as_rgb`; or the picture is a
            file that Pillow has opened and cannot decode whole.
    """
    if isinstance(image, Path):
        return open_image(image)
    # Pillow reads a file only when its pixels are needed; whatever is wrong with it shows now.
    try:
        if isinstance(image, ImageFile.ImageFile):
            with _strictness.on():
                image.load()
        else:
            image.load()
    except Exception as error:  # decoders raise all kinds of exceptions
        raise ImageError(f"the picture cannot be decoded: {in_a_sentence(error)}") from None
    plain = image.mode == "RGB" and not image.has_transparency_data
    return image if plain else as_rgb(image)


def identity(image: Image.Image) -> str:
    """SHA-256, in hexadecimal, of what a model is handed: the size and the pixels, 8-bit RGB.

    Two files have the same identity exactly if no model can tell them apart. So the format, the
    compression, metadata and an opaque alpha channel make no difference.

    Args:
        image: a picture as :func:`open_image` and :func:`picture_of` give it.
    """
    total = hashlib.sha256(f"RGB {image.width} {image.height}\n".encode())
    for box in _strips(image):
        total.update(image.crop(box).tobytes())
    return total.hexdigest()


def _reason(error: Exception) -> str:
    strerror = getattr(error, "strerror", None)
    return str(strerror or error or type(error).__name__)


def _read(path: Path) -> bytes:
    """The content of a file; never waits for a pipe."""
    about = path.stat()
    if stat.S_ISDIR(about.st_mode):
        raise ValueError("it is a folder")
    if not stat.S_ISREG(about.st_mode):
        raise ValueError("it is not a file")
    if about.st_size > MAX_BYTES:
        raise ValueError(f"{about.st_size:,} bytes, more than the limit of {MAX_BYTES:,}")
    return path.read_bytes()


def _decoded(data: bytes) -> Image.Image:
    """Decode twice, over black and over white: pixels that the file does not have then differ."""
    data = checked(data, MAX_PIXELS)
    jpeg = is_jpeg(data)
    image = _loaded(data, 0)
    again = _loaded(filled_up(data) if jpeg else data, 255)
    if not _same(image, again):
        raise ImageError("the picture is damaged: it ends before its last pixel")
    del again
    return _shown(image)


def _shown(image: ImageFile.ImageFile) -> Image.Image:
    """In RGB and turned; each step only if it is needed, since a copy may take 200 MB."""
    full, inverted = 65_535, False
    if isinstance(image, TiffImageFile):
        full = (1 << image.tag_v2.get(BITSPERSAMPLE, (16,))[0]) - 1
        inverted = image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == 0
    return turned(as_rgb(image, full=full, inverted=inverted), orientation(image))


def _loaded(data: bytes, fill: int) -> ImageFile.ImageFile:
    """The picture decoded over ``fill``; pixels that the file does not have keep that value."""
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{width} x {height} pixels, more than the limit of {MAX_PIXELS:,}")
    prepare = image.load_prepare

    def prepared() -> None:
        prepare()
        # A GIF's picture may be smaller than the canvas; the rest is transparent, not missing.
        gif = image.format == "GIF"
        boxes = [tile.extents for tile in image.tile] if gif else [(0, 0, *image.im.size)]
        ink = fill if image.im.bands == 1 else (fill,) * image.im.bands
        for box in boxes:
            image.im.paste(ink, box)

    image.load_prepare = prepared  # type: ignore[method-assign]
    scale_key(image)
    image.load()
    del image.load_prepare  # it refers to the picture, and such a cycle is not freed at once
    return image


def _same(image: Image.Image, other: Image.Image) -> bool:
    """Whether all pixels are equal, compared a few rows at a time."""
    if image.size != other.size:
        return False
    return all(image.crop(box).tobytes() == other.crop(box).tobytes() for box in _strips(image))


def _strips(image: Image.Image) -> Iterator[tuple[int, int, int, int]]:
    """Boxes of a few rows each, which cover the picture: a copy of all pixels may take 200 MB."""
    width, height = image.size
    rows = max(1, 1_000_000 // width)
    for top in range(0, height, rows):
        yield 0, top, width, min(top + rows, height)
