"""Files written whole or not at all, JSON without NaN, digests of content."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write ``data`` to ``path`` so that a reader sees the old content or the new, never a part.

    Args:
        durable: flush the file to disk before it gets its name, so that also a crash of the machine
            leaves the old content or the new. Where that would end what writes anyway, it is not
            worth its milliseconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        # mkstemp gives 0600; a baseline or a gallery is to be read like any other file.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def to_json(value: Any, indent: int | None = 1) -> str:
    """Readable JSON that diffs well: sorted keys, a final newline.

    Args:
        indent: None writes one line, in a fifth of the time.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    text = json.dumps(value, indent=indent, sort_keys=True, allow_nan=False, ensure_ascii=False)
    return text + "\n"


def write_json(path: Path, value: Any, *, indent: int | None = 1, durable: bool = True) -> None:
    """Write ``value`` as JSON, atomically; see :func:`to_json` and :func:`write_atomically`."""
    write_atomically(path, to_json(value, indent).encode(), durable=durable)


def write_arrays(path: Path, arrays: dict[str, NDArray[Any]], *, durable: bool = True) -> None:
    """Write named arrays as a compressed ``.npz``, atomically; see :func:`write_atomically`."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue(), durable=durable)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read what :func:`write_arrays` wrote; pickled content is refused by NumPy."""
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def digest(*parts: bytes | str) -> str:
    """SHA-256, in hexadecimal, of the parts with their lengths, so that no two splits collide."""
    return digest_stream(parts)


def digest_stream(parts: Iterable[bytes | str]) -> str:
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
    """The path relative to the working directory where it lies below it, else as it is."""
    here = Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else str(path)


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "case"), counted(2, "case")
    ('1 case', '2 cases')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def rounded(value: float, digits: int = 6) -> float:
    """``value`` with ``digits`` decimals, and no negative zero."""
    return round(value, digits) + 0.0
