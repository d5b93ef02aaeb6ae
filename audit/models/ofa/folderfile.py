"""Read a file of a checkpoint folder strictly: anything wrong is one error that names the file.

The folder comes from elsewhere. Links are followed, since the caches of ModelScope and Hugging Face
are made of them; they must lead to an ordinary file of a reasonable size.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from audit.base import strictjson
from audit.base.errors import ModelError
from audit.base.files import read_bytes

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def check_ordinary(path: Path) -> int:
    """The size in bytes of a file, which must be an ordinary file or a link to one.

    Raises:
        ModelError: it is not there, or is something else, for which a reader could wait forever.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        if path.is_symlink():
            raise ModelError(f"{path}: a link to {path.readlink()}, which is not there") from None
        raise ModelError(
            f"{path.parent}: not a ModelScope checkpoint, there is no {path.name}"
            f"{_of_hugging_face(path.parent)}"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {_why(error)}") from None
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise ModelError(f"{path}: is {kind}, not a file")
    return found.st_size


def read_text(path: Path, limit: int) -> str:
    """A file's text.

    Args:
        limit: the most bytes that such a file may have.

    Raises:
        ModelError: it is not an ordinary file, is larger than that, or is not UTF-8.
    """
    if check_ordinary(path) > limit:
        raise ModelError(f"{path}: larger than the limit of {limit:,} bytes for such a file")
    try:
        data = read_bytes(path, limit)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {_why(error)}") from None
    if data.startswith(b"\xef\xbb\xbf"):
        raise ModelError(
            f"{path}: begins with a byte order mark, which modelscope does not read; save it as "
            "UTF-8 without one"
        )
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ModelError(f"{path}, line {line}: not UTF-8") from None


def read_object(path: Path, limit: int = 1_000_000) -> dict[str, Any]:
    """The object that a JSON file holds; it must have no NaN and no repeated key.

    Raises:
        ModelError: the file cannot be read, or does not hold such an object.
    """
    text = read_text(path, limit)
    try:
        data = strictjson.loads(text)
    except json.JSONDecodeError as error:
        raise ModelError(
            f"{path}, line {error.lineno}, column {error.colno}: not JSON: {error.msg}"
            + ("" if text.strip() else "; the file is empty")
        ) from None
    except ValueError as error:
        raise ModelError(f"{path}: {error}") from None
    if not isinstance(data, dict):
        raise ModelError(f"{path}: not a JSON object")
    return data


def _of_hugging_face(folder: Path) -> str:
    """A hint if a folder holds a model of Hugging Face's instead; else empty."""
    if not (folder / "config.json").is_file():
        return ""
    try:
        named = "model_type" in json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        named = False
    if not named and not any(folder.glob("*.safetensors")):
        return ""
    return f"; for a model of Hugging Face's transformers, write hf:{folder}"


def _why(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
