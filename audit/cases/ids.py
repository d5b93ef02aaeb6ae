"""The ids that the other case files of a project have, read without opening a picture."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from audit.base.errors import CaseError
from audit.base.names import slug
from audit.base.yamlfile import read
from audit.cases.discovery import SUFFIXES, find_files, holds_cases
from audit.cases.project import project_at


def files_beside(path: Path) -> list[Path]:
    """The other case files with which a case file is read: those of its project and its folder.

    Raises:
        ProjectError: the project's configuration cannot be read.
    """
    folder = path.absolute().parent
    here = next(each for each in (folder, *folder.parents) if each.is_dir())
    found = [each for s in SUFFIXES for each in sorted(folder.glob(f"*{s}")) if holds_cases(each)]
    found += find_files(project_at(here).patterns())
    once = {os.path.realpath(each): each for each in reversed(found)}
    once.pop(os.path.realpath(path), None)
    return sorted(each.absolute() for each in once.values())


def ids_of(files: Iterable[Path]) -> tuple[dict[str, Path], list[Path]]:
    """By the part of an id that must be unique, the file that has it.

    Returns:
        The ids, and the files that cannot be read, whose ids are not known.
    """
    ids: dict[str, Path] = {}
    unread: list[Path] = []
    for file in files:
        try:
            written: Any = read(file).value
        except CaseError:
            unread.append(file)
            continue
        cases = written.get("cases") if isinstance(written, dict) else None
        for case in cases if isinstance(cases, list) else ():
            if isinstance(case, dict) and isinstance(case.get("id"), str):
                ids.setdefault(slug(case["id"]), file)
    return ids, unread
