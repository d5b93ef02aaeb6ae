"""Write files whole or not at all, write JSON without NaN, and compute digests of content."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write ``data`` to ``path`` so that a reader sees the old content or the new, never a part.

    Args:
        durable: flush the file to disk before it gets its name, and then flush the name, so that
            even a crash of the machine leaves the old content or the new. This takes milliseconds;
            it is not worth them for a file that is useless if the machine crashes.
    """
    with opened_atomically(path, durable=durable) as file:
        file.write(data)


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write several files, none of them before all their contents are on the disk."""
    with ExitStack() as opened:
        for path, data in contents.items():
            file = opened.enter_context(opened_atomically(path))
            file.write(data)
            file.flush()


@contextmanager
def opened_atomically(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """A file to write into that becomes ``path`` once it is whole; see :func:`write_atomically`.

    Raises:
        OSError: it cannot be written; the error names ``path``, and no temporary file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _named(path):
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name[:100]}.", suffix=".tmp"
        )
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.filename is None and error.errno:  # of a write: the disk is full
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    try:
        # mkstemp makes files with mode 0600, but others must be able to read what is written here.
        with _named(path):
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Let errors about a temporary file name the file that the user knows."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


OUTPUTS = ("audit-explain", "audit-power", "audit-runs")
"""Folders that commands and sessions make if the user names none."""


def make_output(folder: Path) -> None:
    """Make a folder for results if it does not exist, and keep those of ``OUTPUTS`` out of git.

    A folder that already has something in it is left as it is: its owner may want it in git.
    """
    for place in (*reversed(folder.parents), folder):
        if place.name in OUTPUTS and not (place.is_dir() and any(place.iterdir())):
            write_atomically(place / ".gitignore", b"# Made by audit, with the folder.\n*\n")
    folder.mkdir(parents=True, exist_ok=True)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def to_json(value: Any, indent: int | None = 1) -> str:
    """Readable JSON that diffs well: sorted keys, a final newline.

    Args:
        indent: spaces for each level; None writes one line, in a fifth of the time.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    text = json.dumps(value, indent=indent, sort_keys=True, allow_nan=False, ensure_ascii=False)
    return text + "\n"


def write_json(path: Path, value: Any, *, indent: int | None = 1, durable: bool = True) -> None:
    """Write ``value`` as JSON, atomically; see :func:`to_json` and :func:`write_atomically`."""
    write_atomically(path, to_json(value, indent).encode(), durable=durable)


def read_bytes(path: Path, limit: int, *, follow: bool = True) -> bytes:
    """The content of a regular file of at most ``limit`` bytes; never waits for a pipe or a device.

    Args:
        follow: whether ``path`` itself may be a symbolic link.

    Raises:
        OSError: the file does not exist or is larger; or it is a folder, a pipe, a device, or a
            link although ``follow`` is false.
    """
    try:
        # Opening a pipe without O_NONBLOCK waits until somebody writes into it.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW))
    except OSError as error:
        if error.errno == errno.ELOOP and not follow:
            raise OSError(errno.ELOOP, "it is a symbolic link", str(path)) from None
        raise
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, "it is not a file", str(path))
        if about.st_size > limit:
            reason = f"it has {about.st_size:,} bytes, more than the limit of {limit:,}"
            raise OSError(errno.EFBIG, reason, str(path))
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(limit)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk, if its file system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def inside(root: Path, written: str | Path) -> Path | None:
    """``written`` as a path below ``root``, with links followed; None if it leads outside.

    >>> inside(Path("/project"), "cases/../baselines/toy")
    PosixPath('/project/baselines/toy')
    >>> inside(Path("/project"), "../elsewhere") is None
    True
    """
    try:
        base = root.resolve()
        path = (base / written).resolve()
    except (OSError, RuntimeError, ValueError):  # a loop of links, a name with a NUL
        return None
    return path if path.is_relative_to(base) else None


def kind_of(mode: int) -> str:
    """In words, what is at a path instead of a regular file."""
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")


def shown_path(path: Path | str) -> str:
    """A path for a message: in one line, without characters that move a terminal's cursor."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(path))


_IN_NO_NAME = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def fit_for_a_name(text: str) -> bool:
    """Whether a file or map may have this name: no control characters, line breaks or surrogates.

    ``str.isprintable`` is too strict: it refuses the joiners in Persian words and in emoji, and
    every character that is newer than Python's own Unicode table.

    >>> fit_for_a_name("می\u200cخواهم"), fit_for_a_name("two\x1b[2J")
    (True, False)
    """
    return _IN_NO_NAME.search(text) is None


def digest(*parts: bytes | str) -> str:
    """SHA-256, in hexadecimal, of the parts and their lengths: ("ab", "c") is not ("a", "bc")."""
    return digest_stream(parts)


def digest_stream(parts: Iterable[bytes | str | memoryview]) -> str:
    """:func:`digest` of parts that come one by one, so that they need not all be in memory."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big"))
        total.update(data)
    return total.hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256, in hexadecimal, of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def as_typed(path: Path) -> str:
    """The path relative to the working directory if it lies below it, else as it is."""
    here = Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else str(path)


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "case"), counted(2000, "case")
    ('1 case', '2,000 cases')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def share(number: int, of: int, noun: str) -> str:
    """How many of some things, with their noun.

    >>> share(2, 3, "case"), share(3, 3, "case"), share(2, 2, "case"), share(1, 1, "case")
    ('2 of 3 cases', 'all 3 cases', 'both cases', 'the only case')
    """
    if number < of:
        return f"{number:,} of {counted(of, noun)}"
    return {1: f"the only {noun}", 2: f"both {noun}s"}.get(of, f"all {counted(of, noun)}")


def rounded(value: float, digits: int = 6) -> float:
    """``value`` with ``digits`` decimals, and no negative zero."""
    return round(value, digits) + 0.0
