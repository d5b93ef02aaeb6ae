"""Unpack models that come with the package once into a cache, as folders of their own format.

Git holds their parameters as float16 safetensors, and small files; what a folder needs besides is
made here.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path

from audit.base.errors import ModelError
from audit.base.files import digest

PACKAGE = "audit.reference"
"""Where the packed models are, each in a folder with its name."""

PARAMETERS = "parameters.safetensors"


def unpacked(
    name: str,
    copied: Sequence[str],
    weights: str,
    make: Callable[[Mapping[str, bytes]], bytes],
) -> Path:
    """The checkpoint folder of a packed model; made at first use, named by its parts' digest.

    Two processes may unpack at once: each works in its own folder and then renames it into place.

    Args:
        copied: files that the folder takes over as they are.
        weights: name of the file that ``make`` makes from the parts, among them ``PARAMETERS``.

    Raises:
        ModelError: the cache cannot be written.
    """
    packed = resources.files(PACKAGE).joinpath(name)
    parts = {part: packed.joinpath(part).read_bytes() for part in (*copied, PARAMETERS)}
    cache = _cache()
    target = cache / f"{name}-{digest(*parts.values())[:16]}"
    whole = (*copied, weights)
    try:
        if not _whole(target, whole):
            files = {part: parts[part] for part in copied}
            _unpack(target, whole, lambda: {**files, weights: make(parts)})
    except OSError as error:
        raise ModelError(
            f"{name}: cannot be unpacked into {cache}: {error.strerror or error}; point "
            "AUDIT_CACHE at a folder that can be written and has 50 MB to spare"
        ) from None
    return target


def _whole(target: Path, parts: Sequence[str]) -> bool:
    """Whether it has every file: cache cleaners remove files that were not read for a long time."""
    return all((target / part).is_file() for part in parts)


def _unpack(target: Path, parts: Sequence[str], content: Callable[[], dict[str, bytes]]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=target.parent, prefix=".unpacking-"))
    try:
        made = work / "made"
        made.mkdir()
        for part, written in content().items():
            (made / part).write_bytes(written)
        if target.exists() and not _whole(target, parts):
            target.rename(work / "incomplete")
        try:
            made.rename(target)
        except OSError:
            if not _whole(target, parts):  # else another process was first: its folder is as good
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _cache() -> Path:
    root = os.environ.get("AUDIT_CACHE") or os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(root) if root else Path.home() / ".cache") / "ofa-audit"
    except RuntimeError:
        raise ModelError(
            "there is no home folder to unpack the embedded models in: point AUDIT_CACHE at a "
            "folder that can be written"
        ) from None
