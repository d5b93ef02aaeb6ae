"""Find and open the picture of a row."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from audit.base.errors import ImageError
from audit.base.files import kind_of
from audit.base.geometry import parse_box
from audit.base.images import decoded, open_image
from audit.base.yamlfile import shortened
from audit.sources.rows import Row

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def picture_in(given: Any, folder: Path) -> tuple[Path | bytes, str]:
    """The picture that a cell holds or names, and its name.

    Args:
        given: a path; or the content, or ``{"bytes": ..., "path": ...}``, as Hugging Face has it.
        folder: the folder that paths start from, and that they may not lead out of.

    Raises:
        ValueError: there is no such picture, or it lies elsewhere.
    """
    name = given
    if isinstance(given, Mapping):
        content, name = given.get("bytes"), given.get("path")
        if isinstance(content, bytes):
            return content, name if isinstance(name, str) else ""
    if isinstance(given, bytes):
        return given, ""
    if isinstance(name, int) and not isinstance(name, bool):
        name = str(name)
    if name is None or (isinstance(name, str) and not name.strip()):
        raise ValueError("it names no picture")
    if not isinstance(name, str):
        raise ValueError(f"the picture is {type(name).__name__}, not a path or its content")
    if _ADDRESS.match(name):
        raise ValueError(f"{shortened(name)} is an address; audit takes only pictures on disk")
    return _file(name, folder), name


def _file(name: str, folder: Path) -> Path:
    # Without following links: data sets of the hub are links into a store of their own.
    root = os.path.normpath(folder.absolute())
    path = Path(os.path.normpath(os.path.join(root, name)))  # noqa: PTH118  an absolute name stays
    if not path.is_relative_to(root):
        raise ValueError(f"the picture {shortened(name)} lies outside {folder}; see --images")
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # too long a name, or a NUL in it
        found = _with_ending(path)
        if found is None:
            near = _near(path) or _written_otherwise(name, folder)
            raise ValueError(f"no picture {shortened(name)} in {folder}{near}") from None
        return found
    if not stat.S_ISREG(mode):
        raise ValueError(f"{shortened(name)} is not a picture, but {kind_of(mode)}")
    return path


def _with_ending(path: Path) -> Path | None:
    """The one picture that ``path`` names without its ending, as SNLI-VE does."""
    try:
        tried = [path.with_name(path.name + ending) for ending in ENDINGS]
        found = [each for each in tried if each.is_file()]
    except (OSError, ValueError):
        return None
    return found[0] if len(found) == 1 else None


def _near(path: Path) -> str:
    """A clause that names a picture in the same folder with another case of letters, or ending."""
    try:
        wanted = path.name.lower()
        beside = [path.with_suffix(e) for e in (*ENDINGS, *map(str.upper, ENDINGS))]
        beside += [path.with_name(n) for n in (wanted, wanted.upper())]
        names = {each.name for each in beside if each.is_file()}
    except (OSError, ValueError):
        return ""
    return f"; there is {' and '.join(map(repr, sorted(names)))}" if names else ""


def _written_otherwise(name: str, folder: Path) -> str:
    """A clause that names the picture that Windows or macOS would find by ``name``."""
    slashes = name.replace("\\", "/")
    if slashes != name:
        if _is_there(slashes, folder):
            return f"; write {slashes!r}"
        return "; its path has backslashes: write / and begin in that folder"
    forms: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")
    for form in forms:
        if not unicodedata.is_normalized(form, name):
            other = unicodedata.normalize(form, name)
            if _is_there(other, folder):
                return f"; there is one whose accents are written in another way (Unicode {form})"
    return ""


def _is_there(name: str, folder: Path) -> bool:
    """Whether a path leads to a picture in the folder."""
    root = os.path.normpath(folder.absolute())
    path = Path(os.path.normpath(os.path.join(root, name)))  # noqa: PTH118  as in _file
    try:
        return path.is_relative_to(root) and (path.is_file() or _with_ending(path) is not None)
    except (OSError, ValueError):
        return False


def opened(row: Row) -> Image.Image:
    """The row's picture, checked and decoded, and the row's boxes checked against it.

    Raises:
        ImageError: see :func:`image_of` and :func:`check_boxes`.
    """
    image = image_of(row)
    check_boxes(row, image.size)
    return image


def image_of(row: Row) -> Image.Image:
    """The row's picture, checked and decoded.

    Raises:
        ImageError: see :func:`audit.base.images.open_image`.
    """
    if isinstance(row.picture, Path):
        return open_image(row.picture)
    return decoded(row.picture, row.picture_name or "the picture")


def check_boxes(row: Row, size: tuple[int, int]) -> None:
    """Check the row's boxes against the size of its picture, in pixels as people see it.

    Raises:
        ImageError: the source says another size, or a box is not one of this picture.
    """
    if row.size is not None and row.size != size:
        raise ImageError(
            f"the source says {row.size[0]} x {row.size[1]} pixels, the picture has "
            f"{size[0]} x {size[1]}"
        )
    for name, boxes in row.regions.items():
        for box in boxes:
            try:
                parse_box(box, *size)
            except ValueError as error:
                raise ImageError(f"region {name!r}: {error}") from None
