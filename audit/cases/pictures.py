"""Checks the pictures of cases, each once, and says which one was meant if there is none."""

from __future__ import annotations

import stat
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from audit.base.errors import ImageError, nearest
from audit.base.files import digest_file, kind_of
from audit.base.images import identity, open_image
from audit.base.yamlfile import Document, Loc, shortened
from audit.cases.problems import Problems


class Opened(NamedTuple):
    """What cases keep of a picture that was opened.

    Attributes:
        size: width and height in pixels, after the turn that EXIF asks for.
        digest: see :func:`audit.base.images.identity`.
        file_digest: SHA-256 of the file.
    """

    size: tuple[int, int]
    digest: str
    file_digest: str


Pictures = dict[Path, Opened]
"""The pictures that have been opened, so that each is opened only once."""


def checked_picture(
    written: str, document: Document, loc: Loc, problems: Problems, pictures: Pictures
) -> Opened | None:
    """A picture, opened and checked; None if it cannot be used, which is reported here."""
    path = document.path.parent / written
    try:
        if path not in pictures:
            _refuse_folders_and_devices(path)
            image = open_image(path)
            pictures[path] = Opened(image.size, identity(image), digest_file(path))
        return pictures[path]
    except ImageError as error:
        message = str(error)
    except OSError as error:
        message = f"{shortened(str(path))}: cannot be read: {error.strerror}"
    problems.add(loc, message + _nearest_picture(path, written, document.path.parent))
    return None


def _refuse_folders_and_devices(path: Path) -> None:
    """Refuse folders, pipes and devices: reading from some of them never ends.

    Raises:
        ImageError: at ``path`` there is nothing, or something that is not a file.
        OSError: the system does not accept such a path.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise ImageError(f"{path}: no such picture") from None
    except ValueError:
        raise ImageError(f"{str(path)!r}: no such picture") from None
    if not stat.S_ISREG(mode):
        raise ImageError(f"{path}: not a picture, but {kind_of(mode)}")


def _nearest_picture(path: Path, written: str, start: Path) -> str:
    """A clause that suggests pictures in the same folder, if there is no file at ``path``.

    A path that begins somewhere above ``start``, the case file's folder, is suggested without that.
    """
    folder = Path(written).parent
    with suppress(OSError, ValueError):  # if the system does not accept the path, it is not a file
        if path.is_file():
            return ""
    with suppress(OSError, ValueError):
        for shorter in _without_folders(written):
            if (start / shorter).is_file():
                return f"; paths start from the case file's folder: write '{shorter}'"
    with suppress(OSError, ValueError):
        beside = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
        there = [each for each in beside if each.suffix.lower() in _PICTURES and each.is_file()]
        names = [(folder / each.name).as_posix() for each in there]
        # File names may hold anything, even characters that a terminal should not get.
        names = [name for name in names if name.isprintable()]
        return f"; {nearest(written, names)}" if names else ""
    return ""


def _without_folders(written: str) -> list[str]:
    parts = Path(written).parts
    shorter = ["/".join(parts[n:]) for n in range(1, len(parts)) if ".." not in parts[n:]]
    return [each for each in shorter if each.isprintable()]


_PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
