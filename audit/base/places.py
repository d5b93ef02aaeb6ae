"""Paths relative to a folder, so that stored paths also work in another checkout."""

from __future__ import annotations

import os
from pathlib import Path


def named_from(path: Path, root: Path) -> str:
    """The path relative to ``root`` if it lies below it, else the absolute path.

    A relative path also works on another machine, where the project lies elsewhere.
    """
    inside = below(path, root)
    return os.path.normpath(path.absolute()) if inside is None else inside.as_posix()


def below(path: Path, root: Path) -> Path | None:
    """``path`` relative to ``root``, or None if it lies outside.

    Either may be reached through a link, so their resolved paths are compared too.
    """
    path, root = (Path(os.path.normpath(each.absolute())) for each in (path, root))
    for one, other in ((path, root), (path.resolve(), root.resolve())):
        if one.is_relative_to(other):
            return one.relative_to(other)
    return None
