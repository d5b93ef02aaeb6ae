"""Find the files that hold cases: by patterns, with ``**`` as in pathlib, and by a file's keys.

pytest and the commands find the same files, since both use this module.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from audit.base.errors import CaseError
from audit.base.places import below

DEFAULT = ("cases/*.yaml", "cases/*.yml")
"""Patterns of case files, relative to the project's root, unless the project sets others."""

SUFFIXES = (".yaml", ".yml")

_NOT_SEARCHED = (".*", "*.egg", "_darcs", "build", "CVS", "dist", "node_modules", "venv", "{arch}")
"""Folders that wildcards do not search; pytest's ``norecursedirs`` keeps it out of them too."""

_MAGIC = re.compile(r"[*?[]")
_MOST_BYTES = 5_000_000
_MOST_EVENTS = 100_000


@dataclass(frozen=True)
class Pattern:
    """One glob pattern of case files, checked.

    Attributes:
        written: as its author wrote it.
        root: the folder that it is relative to.
        parts: its components; ``**`` stands for any number of folders.
    """

    written: str
    root: Path
    parts: tuple[str, ...]

    @property
    def names_a_file(self) -> bool:
        """Whether it has no wildcard and so means exactly this file."""
        return not any(map(_MAGIC.search, self.parts))

    @property
    def folder(self) -> Path:
        """The folder in or below which all its files lie."""
        fixed = next((n for n, p in enumerate(self.parts) if _MAGIC.search(p)), -1)
        return self.root.joinpath(*self.parts[:fixed])

    def matches(self, path: Path) -> bool:
        """Whether ``path`` is one of the pattern's files, also if it is reached through links."""
        relative = below(path, self.root)
        return relative is not None and _matches(relative.parts, self.parts)

    def find(self) -> Iterator[Path]:
        """The files that match, in no order; a file to which links lead may come more than once."""
        return _find(self.root, self.parts, (os.path.realpath(self.root),))


def parse(patterns: Iterable[str], root: Path) -> tuple[Pattern, ...]:
    """Read patterns of case files that are relative to ``root``.

    Raises:
        CaseError: a pattern is invalid; the message says what to write instead.
    """
    return tuple(_parse(written, root) for written in patterns)


def _parse(written: str, root: Path) -> Pattern:
    def wrong(why: str) -> CaseError:
        return CaseError(f"the pattern {written!r} of case files: {why}")

    if not written.strip() or "\0" in written:
        raise wrong("it names no file")
    if "\\" in written:
        raise wrong("write / between folders and names; put a name with spaces in quotes")
    path = PurePosixPath(written)
    parts = path.parts
    if not path.name:
        raise wrong("it names no file")
    if ".." in parts:
        raise wrong(f"'..' is not allowed; patterns are relative to {root}")
    if path.is_absolute():
        fixed = next((n for n, part in enumerate(parts) if _MAGIC.search(part)), len(parts) - 1)
        root, parts = Path(*parts[:fixed]), parts[fixed:]
    for part in parts:
        if "**" in part and part != "**":
            instead = re.sub(r"\*\*+", "*", part)
            raise wrong(f"'**' stands for whole folders: write '**/{instead}', or one '*'")
    return Pattern(written, root, parts)


def _matches(path: Sequence[str], parts: Sequence[str]) -> bool:
    if not parts:
        return not path
    if parts[0] == "**":
        if len(parts) == 1:
            return bool(path)
        return any(_matches(path[start:], parts[1:]) for start in range(len(path)))
    return bool(path) and fnmatch.fnmatchcase(path[0], parts[0]) and _matches(path[1:], parts[1:])


def _find(folder: Path, parts: Sequence[str], seen: tuple[str, ...]) -> Iterator[Path]:
    """Files below ``folder`` that match ``parts``; ``seen`` holds the folders above, against loops.

    A folder that cannot be read counts as empty.
    """
    if not parts:
        return
    first, rest = parts[0], parts[1:]
    if first == "**":
        yield from _find(folder, rest or ["*"], seen)
        for child in _folders(folder):
            real = os.path.realpath(child)
            if real not in seen:
                yield from _find(child, parts, (*seen, real))
    elif rest:
        chosen = [folder / first] if not _MAGIC.search(first) else _folders(folder, first)
        for child in chosen:
            yield from _find(child, rest, seen)
    else:
        names = [first] if not _MAGIC.search(first) else fnmatch.filter(_names(folder), first)
        yield from (path for name in names if (path := folder / name).is_file())


def _names(folder: Path) -> list[str]:
    with suppress(OSError):
        return [path.name for path in folder.iterdir()]
    return []


def _folders(folder: Path, pattern: str = "*") -> list[Path]:
    """The subfolders to search."""
    return [
        path
        for name in _names(folder)
        if fnmatch.fnmatchcase(name, pattern)
        and not any(fnmatch.fnmatchcase(name, left) for left in _NOT_SEARCHED)
        and (path := folder / name).is_dir()
    ]


def find_files(patterns: Iterable[Pattern]) -> list[Path]:
    """The case files that match, sorted, each of them once.

    A file without cases is left out, unless a pattern names exactly this file.
    """
    found: dict[Path, bool] = {}
    for pattern in patterns:
        for path in pattern.find():
            found[path] = found.get(path, False) or pattern.names_a_file
    once: dict[str, Path] = {}
    for path in sorted(found):
        if found[path] or holds_cases(path):
            once.setdefault(os.path.realpath(path), path)
    return list(once.values())


def unmatched(patterns: Iterable[Pattern]) -> list[str]:
    """A sentence for each pattern that no file matches."""
    return [
        f"the pattern {pattern.written!r} of case files matches no file in {pattern.root}"
        f"{_hint(pattern)}"
        for pattern in patterns
        if next(pattern.find(), None) is None
    ]


def _hint(pattern: Pattern) -> str:
    if pattern.names_a_file and (pattern.root / Path(*pattern.parts)).is_dir():
        return f"; it is a folder: write '{pattern.written.rstrip('/')}/**/*.yaml'"
    if "{" in pattern.written:
        return "; braces mean nothing here: write two patterns"
    return ""


_KEY = re.compile(rb"""^(\ *)(["']?)cases\2[ \t]*:(?=\s|$)""", re.MULTILINE)
_FIRST = re.compile(rb"^(\ *)(?!\#|---\s*$|---\s+\#|%)\S", re.MULTILINE)
_OF_A_CASE = frozenset({"image", "text", "expect"})


def holds_cases(path: Path) -> bool:
    """Whether a YAML file has the key ``cases`` at its top, or looks like a case file without it.

    Looking at its lines is often enough; if it is a case file, it is read in full later anyway. The
    answer is yes for a file that cannot be read or whose ``cases`` is misspelt, so that its error
    is reported.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES).removeprefix(b"\xef\xbb\xbf")
    except OSError:
        return True
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        data = data.decode("utf-16", errors="replace").encode()
    first = _FIRST.search(data)
    if first is not None and any(key[1] == first[1] for key in _KEY.finditer(data)):
        return True
    like_ours = all(word.encode() in data for word in _OF_A_CASE)
    return (b"cases" in data or like_ours) and _read(data, like_ours)


def _read(data: bytes, like_ours: bool) -> bool:
    """The same by the keys that YAML sees, if the lines do not show it: ``{"cases": [...]}``."""
    import yaml  # noqa: PLC0415  only for files that are in doubt

    shape = _Shape()
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        for number, event in enumerate(yaml.parse(data.decode("utf-8", "replace"), loader)):
            shape.take(event)
            if number > _MOST_EVENTS:
                break
    except (yaml.YAMLError, RecursionError, ValueError):
        return like_ours
    return "cases" in shape.top or shape.case


class _Shape:
    """The keys at the top of a document, and whether any mapping in it has the keys of a case."""

    def __init__(self) -> None:
        self.top: set[str] = set()
        self.case = False
        self._open: list[set[str] | None] = []
        self._key_next: list[bool] = []

    def take(self, event: Any) -> None:
        kind = type(event).__name__
        if kind in ("MappingEndEvent", "SequenceEndEvent"):
            keys = self._open.pop()
            self._key_next.pop()
            if keys is not None:
                self.case |= keys >= _OF_A_CASE
            return
        if kind not in ("MappingStartEvent", "SequenceStartEvent", "ScalarEvent", "AliasEvent"):
            return
        if self._open and (keys := self._open[-1]) is not None:
            if self._key_next[-1] and kind == "ScalarEvent":
                keys.add(event.value)
                if len(self._open) == 1:
                    self.top.add(event.value)
            self._key_next[-1] = not self._key_next[-1]
        if kind in ("MappingStartEvent", "SequenceStartEvent"):
            self._open.append(set() if kind == "MappingStartEvent" else None)
            self._key_next.append(True)
