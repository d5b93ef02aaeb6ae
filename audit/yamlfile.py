"""YAML read safely, with YAML 1.2 booleans, and with the place of every key and value."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import yaml

from audit.errors import CaseError

MAX_BYTES = 5_000_000
MAX_NODES = 200_000
_DEEPEST = 100

Where = tuple[int, int]
"""Line and column, both from 1."""

Loc = tuple[str | int, ...]
"""The keys and indices that lead to a value."""


class _Scalars:
    """The scalars of YAML 1.2's core schema only.

    YAML 1.1 reads ``yes`` and ``no`` as booleans, and dates and ``1:30`` as something else again.
    """

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}


_DECIMAL = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", rf"{_DECIMAL}|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+0123456789."),
):  # fmt: skip
    for _character in [*_first.replace("\0", ""), ""]:
        _Scalars.yaml_implicit_resolvers.setdefault(_character, []).append(
            (f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"))
        )


class _Loader(_Scalars, yaml.SafeLoader):
    """PyYAML's safe loader in Python, whose messages say what they found."""


_Fast: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _FastLoader(_Scalars, _Fast):  # type: ignore[misc]  # which class is known when it is run
    """The same on libyaml's parser, in a sixth of the time, where PyYAML was built with it."""


@dataclass
class Document:
    """A parsed file.

    Attributes:
        value: plain data.
        keys: where each key stands, by the path that it ends.
        values: where each value begins, by its path.
    """

    path: Path
    value: Any
    keys: dict[Loc, Where] = field(default_factory=dict)
    values: dict[Loc, Where] = field(default_factory=dict)

    def at(self, loc: Loc) -> Where:
        """The place of ``loc``: of its key if it has one, else of its value, else of its parent."""
        while loc:
            if loc in self.keys:
                return self.keys[loc]
            if loc in self.values:
                return self.values[loc]
            loc = loc[:-1]
        return self.values.get((), (1, 1))


def read(path: Path) -> Document:
    """Read a YAML file of one document.

    Raises:
        CaseError: it cannot be read, is too large, is not UTF-8 or not YAML, has a duplicate key,
            or holds something else than plain data.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CaseError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise CaseError(f"{path}: {len(data):,} bytes, more than the limit of {MAX_BYTES:,}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CaseError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from None
    try:
        try:
            if not _deep(text):
                return _parsed(path, _FastLoader(text))
        except yaml.YAMLError:
            pass  # read again for a better message
        return _parsed(path, _Loader(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise CaseError(f"{path}:{line}:{column}: not YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise CaseError(f"{path}: not YAML: {str(error).splitlines()[0]}") from None


def _deep(text: str) -> bool:
    """Whether collections are nested so deep that libyaml's composer might exhaust the stack.

    It recurses without a limit and ends the process; Python's raises a RecursionError.
    """
    depth = 0
    for event in yaml.parse(text, Loader=_FastLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            return True
    return False


def _parsed(path: Path, loader: Any) -> Document:
    document = Document(path, None)
    node = loader.get_single_node()
    if node is not None:
        _Walk(document).visit(node, ())
        document.value = loader.construct_document(node)
    return document


class _Walk:
    """Notes places, refuses duplicate keys and documents that aliases blow up."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.nodes = 0
        self.open: set[int] = set()

    def visit(self, node: yaml.Node, loc: Loc) -> None:
        mark = node.start_mark
        self.nodes += 1
        if self.nodes > MAX_NODES or id(node) in self.open:
            raise yaml.MarkedYAMLError(problem="aliases expand without end", problem_mark=mark)
        self.document.values[loc] = (mark.line + 1, mark.column + 1)
        self.open.add(id(node))
        if isinstance(node, yaml.MappingNode):
            self._mapping(node, loc)
        elif isinstance(node, yaml.SequenceNode):
            for index, child in enumerate(node.value):
                self.visit(child, (*loc, index))
        self.open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, loc: Loc) -> None:
        for key, child in node.value:
            mark = key.start_mark
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
            if not name:
                raise yaml.MarkedYAMLError(problem="a key must be a text", problem_mark=mark)
            here = (*loc, name)
            if here in self.document.keys:
                first = self.document.keys[here][0]
                raise yaml.MarkedYAMLError(
                    problem=f"the key {name!r} occurs twice (first in line {first})",
                    problem_mark=mark,
                )
            self.document.keys[here] = (mark.line + 1, mark.column + 1)
            # Keys are texts in every file of ours, also those that look like a number.
            key.tag = "tag:yaml.org,2002:str"
            self.visit(child, here)
