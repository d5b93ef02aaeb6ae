"""Paths as they are named from a folder, so that they hold in another checkout too."""

from __future__ import annotations

import os
from pathlib import Path


def named_from(path: Path, root: Path) -> str:
    """The path as it is named from ``root`` where it lies below it, else the whole path.

    What is stored so holds on another machine too, where the project lies elsewhere.
    """
    inside = below(path, root)
    return os.path.normpath(path.absolute()) if inside is None else inside.as_posix()


def below(path: Path, root: Path) -> Path | None:
    """``path`` as it is named from ``root``, or None where it lies outside.

    A link may lead to either of them, so their real places count too.
    """
    path, root = (Path(os.path.normpath(each.absolute())) for each in (path, root))
    for one, other in ((path, root), (path.resolve(), root.resolve())):
        if one.is_relative_to(other):
            return one.relative_to(other)
    return None
