"""Write and read named maps in ``.npz`` files, without trusting the files that are read.

NumPy's own reader trusts the header of a file: it allocates memory before it has seen the data, and
a damaged archive raises one of a dozen exceptions. Here every name, type, shape and size is checked
before anything is allocated.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from audit.base.errors import AuditError
from audit.base.files import fit_for_a_name, read_bytes, shown_path, write_atomically

Array = NDArray[np.float64]

LIMIT = 32 << 20
"""Largest file, in bytes; a few hundred maps of the finest grid take two megabytes."""

UNPACKED = 128 << 20
"""Largest unpacked content of a file: bytes of all arrays together."""

SIDE = 128
"""Most rows or columns of a map."""

_MEMBERS = 10_000
_HEADER = 4096  # longest header of an array in characters; a map's header has about 60
_SUM = 1e-3  # maps sum to 1; float32 and the mean over repeats are off by a few millionths


def write_arrays(path: Path, arrays: dict[str, NDArray[Any]], *, durable: bool = True) -> None:
    """Write named arrays as a compressed ``.npz``, atomically; see :func:`write_atomically`."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue(), durable=durable)


def read_arrays(
    path: Path,
    error: type[AuditError],
    *,
    wanted: Callable[[str], bool] = lambda _: True,
    follow: bool = True,
) -> dict[str, Array]:
    """Read what :func:`write_arrays` wrote: (rows, cols) arrays of finite, non-negative numbers.

    Args:
        error: the exception to raise if the file holds anything else.
        wanted: whether the array of a name is needed; the others are not unpacked.
        follow: whether the file may be a symbolic link.

    Raises:
        FileNotFoundError: there is no such file.
    """
    try:
        return _read(read_bytes(path, LIMIT, follow=follow), wanted)
    except FileNotFoundError:
        raise
    except _Refused as problem:
        raise error(f"{shown_path(path)}: {problem}") from None
    except OSError as problem:
        raise error(f"{shown_path(path)}: cannot be read: {problem.strerror or problem}") from None
    except Exception as problem:  # from zipfile, zlib, NumPy or the tokenizer that NumPy calls
        reason = shown_path(f"{type(problem).__name__} {problem}")[:200]
        raise error(f"{shown_path(path)}: the file of maps is damaged: {reason}") from None


class _Refused(Exception):
    """The archive can be read, but something in it is not allowed; the message says what."""


def _read(data: bytes, wanted: Callable[[str], bool]) -> dict[str, Array]:
    found: dict[str, Array] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        _check(members)
        for member in members:
            name = member.filename.removesuffix(".npy")
            if wanted(name):
                with archive.open(member) as stream:
                    found[name] = _array(stream, member.file_size, name)
    return found


def _check(members: list[zipfile.ZipInfo]) -> None:
    names = [member.filename for member in members]
    if len(names) > _MEMBERS:
        raise _Refused(f"{len(names)} arrays, more than the limit of {_MEMBERS:,}")
    if len(set(names)) < len(names):
        raise _Refused("two arrays have the same name")
    for member in members:
        if not member.filename.endswith(".npy") or not fit_for_a_name(member.filename):
            raise _Refused(f"holds {member.filename[:60]!r}, which is not an array")
        if member.flag_bits & 1:
            raise _Refused("is encrypted")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _Refused("is compressed in a way that audit does not use for maps")
    if sum(member.file_size for member in members) > UNPACKED:
        raise _Refused(f"unpacks to more than the limit of {UNPACKED:,} bytes")


def _array(stream: IO[bytes], size: int, name: str) -> Array:
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise _Refused(f"{name!r} is an array of an unknown version")
    reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, by_column, dtype = reader(stream, max_header_size=_HEADER)
    if dtype.kind != "f" or dtype.itemsize not in (2, 4, 8):
        raise _Refused(f"{name!r} holds {str(dtype)[:40]}, but a map holds decimal numbers")
    if len(shape) != 2 or not all(0 < side <= SIDE for side in shape):
        raise _Refused(f"{name!r} has the shape {str(shape)[:60]}, but a map has rows and columns")
    rows, cols = shape
    needed = rows * cols * dtype.itemsize
    if needed != size - stream.tell():
        raise _Refused(f"{name!r} is not as long as its header says")
    content = stream.read(needed + 1)  # past the end, because there zipfile checks the checksum
    if len(content) != needed:
        raise _Refused(f"{name!r} is cut off")
    flat = np.frombuffer(content, dtype).astype(np.float64)
    if not np.isfinite(flat).all() or flat.min() < 0:
        raise _Refused(f"{name!r} holds numbers that a map cannot have: below 0, infinite or NaN")
    return flat.reshape(cols, rows).T if by_column else flat.reshape(rows, cols)


def refuse_map(name: str, p: Array, shape: tuple[int, int] | None) -> str:
    """The reason why an array is not a map of this grid, or an empty text if it is one.

    Args:
        shape: rows and columns of the grid; None if they are not known.
    """
    if shape is not None and p.shape != shape:
        return f"{name!r} is {p.shape[0]} x {p.shape[1]}, but the grid is {shape[0]} x {shape[1]}"
    total = float(p.sum())
    if abs(total - 1) > _SUM:
        return f"{name!r} sums to {total:.4g}, but a map sums to 1"
    return ""
