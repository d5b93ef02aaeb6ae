"""YAML read safely, with YAML 1.2 booleans, and with the place of every key and value."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from audit.errors import CaseError

MAX_BYTES = 5_000_000
MAX_NODES = 200_000

Where = tuple[int, int]
"""Line and column, both from 1."""

Loc = tuple[str | int, ...]
"""The keys and indices that lead to a value."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, with the scalars of YAML 1.2's core schema only.

    YAML 1.1 reads ``yes`` and ``no`` as booleans, and dates and ``1:30`` as something else again.
    """


_Loader.yaml_implicit_resolvers = {}
_DECIMAL = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", rf"{_DECIMAL}|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+0123456789."),
):  # fmt: skip
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}",
        re.compile(rf"^(?:{_pattern})$"),
        [*_first.replace("\0", ""), ""],
    )


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
    document = Document(path, None)
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None:
            _Walk(document, loader).visit(node, ())
            document.value = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise CaseError(f"{path}:{line}:{column}: not YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise CaseError(f"{path}: not YAML: {str(error).splitlines()[0]}") from None
    return document


class _Walk:
    """Notes places, refuses duplicate keys and documents that aliases blow up."""

    def __init__(self, document: Document, loader: _Loader) -> None:
        self.document = document
        self.loader = loader
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
