"""Read YAML safely, with YAML 1.2 booleans and the place of every key and value."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import yaml

from audit.base.errors import CaseError, nearest
from audit.base.files import kind_of
from audit.base.texts import half_character

MAX_BYTES = 5_000_000
MAX_NODES = 200_000
_DEEPEST = 100
_READ_AGAIN = 100_000
"""Up to this many characters, a file that is not YAML is parsed again in Python for a better
message, which takes a second for each hundred thousand."""

_DIGITS = 15
"""Most digits of a whole number; a longer one cannot count pixels, and loses digits as a float."""

Where = tuple[int, int]
"""Line and column, both from 1."""

Loc = tuple[str | int, ...]
"""The keys and indices that lead to a value."""


class _Scalars:
    """Only the scalars of YAML 1.2's core schema.

    YAML 1.1 also reads ``yes`` and ``no`` as booleans, and turns dates and ``1:30`` into other
    values.
    """

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}


_CORE = "tag:yaml.org,2002:"
_DECIMAL = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
_PATTERNS = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "null": (r"~|null|Null|NULL|", "~nN\0"),
    "int": (r"[-+]?[0-9]+", "-+0123456789"),
    "float": (rf"{_DECIMAL}|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+0123456789."),
}
_EXAMPLES = {"bool": "true or false", "null": "null", "int": "12", "float": "0.5"}
_MEANT = {name: re.compile(rf"(?:{pattern})\Z") for name, (pattern, _) in _PATTERNS.items()}
_TAGS = ("str", "seq", "map", *_PATTERNS)
for _tag, (_, _first) in _PATTERNS.items():
    for _character in [*_first.replace("\0", ""), ""]:
        _Scalars.yaml_implicit_resolvers.setdefault(_character, []).append(
            (f"{_CORE}{_tag}", _MEANT[_tag])
        )


class _Loader(_Scalars, yaml.SafeLoader):
    """PyYAML's safe loader in Python, whose error messages say what it found."""


_Fast: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _FastLoader(_Scalars, _Fast):  # type: ignore[misc]  # the class is known only at run time
    """The same with libyaml's parser, six times as fast, if PyYAML was built with it."""


@dataclass
class Document:
    """A parsed file.

    Attributes:
        value: the content as plain data.
        keys: the place of each key, by the path that ends with it.
        values: the place where each value begins, by its path.
        faults: by path, what is wrong with values that YAML can hold but plain data cannot; in
            ``value`` each of them is an :class:`Unreadable`, which no schema accepts.
        digest: SHA-256 of the file; empty if it was gone again by then.
        cut: by path, what follows a text without quotes from a ``#`` on that may be part of it, as
            in ``player #1``: YAML reads a comment.
    """

    path: Path
    value: Any
    keys: dict[Loc, Where] = field(default_factory=dict)
    values: dict[Loc, Where] = field(default_factory=dict)
    faults: dict[Loc, str] = field(default_factory=dict)
    digest: str = ""
    cut: dict[Loc, str] = field(default_factory=dict)

    def at(self, loc: Loc) -> Where:
        """The place of the key at ``loc``, or else of the value, or else of the parent."""
        while loc:
            if loc in self.keys:
                return self.keys[loc]
            if loc in self.values:
                return self.values[loc]
            loc = loc[:-1]
        return self.values.get((), (1, 1))


@dataclass(frozen=True)
class Unreadable:
    """Takes the place of a value that cannot be read."""


def read(path: Path) -> Document:
    """Read a YAML file with one document.

    Raises:
        CaseError: it cannot be read, is too large, is not UTF-8 or not YAML, has a duplicate key,
            or has aliases that expand without end.
    """
    text = _text(path)

    def refuse(mark: Any, problem: str) -> CaseError:
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        return CaseError(f"{path}:{line}:{column}: not YAML: {problem}")

    conflict = re.search("^<{7} ", text, re.MULTILINE)
    if conflict:
        line = text.count("\n", 0, conflict.start()) + 1
        raise CaseError(f"{path}:{line}:1: holds a merge conflict: resolve it")
    strange = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if strange:
        before = text[: strange.start()]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        character = f"the character U+{ord(strange[0]):04X}"
        raise CaseError(f"{path}:{line}:{column}: not YAML: {character} is not allowed in a file")
    try:
        return _read(path, text)
    except yaml.composer.ComposerError as error:
        problem = str(error.problem)
        if error.context == "expected a single document in the stream":
            problem = "a second document begins here, but a file holds only one"
        raise refuse(error.problem_mark or error.context_mark, problem) from None
    except yaml.MarkedYAMLError as error:
        raise refuse(error.problem_mark or error.context_mark, _told(error)) from None
    except yaml.YAMLError as error:
        raise refuse(None, str(error).splitlines()[0]) from None


_MEANS = {
    "found character '\\t'": "a tab; indent with spaces",
    "mapping values are not allowed": "put a text with ': ' in quotes, or mend the indentation",
    "expected <block end>": "indent it as the lines that it belongs to, which begin in line {line}",
    "expected ',' or": "the bracket that opens in line {line} is not closed",
}
"""What a parser's message most often means, by its first words."""


def _told(error: yaml.MarkedYAMLError) -> str:
    problem, begins = str(error.problem), error.context_mark
    means = next((said for words, said in _MEANS.items() if problem.startswith(words)), "")
    if not means or ("{" in means and begins is None):
        return problem
    return f"{problem}: {means.format(line=begins.line + 1 if begins else 0)}"


def _read(path: Path, text: str) -> Document:
    try:
        _refuse_unbounded(text)
        return _parsed(path, text, _FastLoader)
    except _RefusedError:
        raise
    except yaml.YAMLError as error:
        if len(text) > _READ_AGAIN:
            raise
        first = error
    try:
        return _parsed(path, text, _Loader)
    except (RecursionError, ValueError, OverflowError):  # from an escape that is not a character
        raise first from None


def _text(path: Path) -> str:
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise CaseError(f"{path}: not a file that can be read, but {kind_of(about.st_mode)}")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CaseError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # no system call takes such a path
        raise CaseError(f"{str(path)!r}: cannot be read: {error}") from None
    if len(data) > MAX_BYTES:
        size = max(about.st_size, len(data))
        raise CaseError(f"{path}: {size:,} bytes, more than the limit of {MAX_BYTES:,}")
    try:
        return data.decode("utf-8-sig")  # some editors write a byte order mark first
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise CaseError(
            f"{path}:{line}:{column}: not UTF-8: {error.reason} at byte {error.start}"
        ) from None


class _RefusedError(yaml.MarkedYAMLError):
    """A file that is refused, whichever parser reads it."""


def _refuse_unbounded(text: str) -> None:
    """Refuse collections that are nested too deep, and more values than a composer should hold.

    libyaml's composer recurses without a limit and crashes the process.
    """
    depth = nodes = 0
    event: Any
    for event in yaml.parse(text, Loader=_FastLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        nodes += isinstance(event, yaml.NodeEvent)
        if depth > _DEEPEST:
            raise _RefusedError(
                problem=f"maximum recursion depth exceeded: nested more than {_DEEPEST} deep",
                problem_mark=event.start_mark,
            )
        if nodes > 2 * MAX_NODES:
            raise _RefusedError(
                problem=f"more than {2 * MAX_NODES:,} keys and values",
                problem_mark=event.start_mark,
            )


def _parsed(path: Path, text: str, loader: Any) -> Document:
    document = Document(path, None)
    node = loader(text).get_single_node()
    if node is not None:
        document.value = _Walk(document, text).visit(node, ())
    return document


_COMMENT = re.compile(r"[ \t]+(#[^\s#][^\r\n]*)")
"""A comment that may be none: people who mean one put a space or further ``#`` behind the ``#``."""

_Pair = tuple[yaml.Node, yaml.Node]


class _Walk:
    """Builds plain data and records places; refuses duplicate keys and aliases that blow up."""

    def __init__(self, document: Document, text: str) -> None:
        self.document = document
        self.text = text
        self.nodes = 0
        self.open: set[int] = set()

    def visit(self, node: yaml.Node, loc: Loc) -> Any:
        """The plain data of ``node``, which is written at ``loc`` or referred to from there."""
        mark = node.start_mark
        self.nodes += 1
        if self.nodes > MAX_NODES or id(node) in self.open:
            raise _endless(node)
        self.document.values[loc] = (mark.line + 1, mark.column + 1)
        self.open.add(id(node))
        value: Any
        if isinstance(node, yaml.MappingNode):
            value = self._mapping(node, loc)
        elif isinstance(node, yaml.SequenceNode):
            value = [self.visit(child, (*loc, n)) for n, child in enumerate(node.value)]
        else:
            value = self._scalar(node, loc)
        self.open.discard(id(node))
        if isinstance(value, dict | list):
            kind = "map" if isinstance(value, dict) else "seq"
            if node.tag != f"{_CORE}{kind}":
                return self._fault(loc, _about_tag(node.tag, kind))
        return value

    def _fault(self, loc: Loc, message: str) -> Unreadable:
        self.document.faults[loc] = message
        return Unreadable()

    def _scalar(self, node: yaml.Node, loc: Loc) -> Any:
        text = str(node.value)
        if isinstance(node, yaml.ScalarNode) and not node.style:
            after = _COMMENT.match(self.text, node.end_mark.index)
            if after:
                self.document.cut[loc] = after[1]
        try:
            return _plain(text, node.tag)
        except ValueError as error:
            return self._fault(loc, str(error))

    def _mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for written, (key, child) in self._pairs(node, loc).items():
            name = written.encode(errors="replace").decode()
            here = (*loc, name)
            self.document.keys[here] = (key.start_mark.line + 1, key.start_mark.column + 1)
            found[name] = self.visit(child, here)
            if name != written:
                found[name] = self._fault(here, f"in this key: {half_character(written)}")
        return found

    def _pairs(self, node: yaml.MappingNode, loc: Loc) -> dict[str, _Pair]:
        """The keys of a mapping and of the mappings that ``<<`` merges into it.

        The mapping's own keys win, then those of the mapping that is merged first.
        """
        own: dict[str, _Pair] = {}
        merge: _Pair | None = None
        for key, child in node.value:
            name = self._name(key)
            merges = name == "<<" and not key.style
            first = merge if merges else own.get(name)
            if first:
                raise _RefusedError(
                    problem=f"the key {shortened(name)} occurs twice (first in line "
                    f"{first[0].start_mark.line + 1})",
                    problem_mark=key.start_mark,
                )
            if merges:
                merge = key, child
            else:
                own[name] = key, child
        for source in self._merged(merge[1], loc) if merge else ():
            self.nodes += 1 + len(source.value)
            if self.nodes > MAX_NODES or id(source) in self.open:
                raise _endless(source)
            self.open.add(id(source))
            own = {**self._pairs(source, loc), **own}
            self.open.discard(id(source))
        return own

    def _merged(self, node: yaml.Node, loc: Loc) -> list[yaml.MappingNode]:
        """The mappings that ``<<`` names."""
        several = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for each in several:
            if not isinstance(each, yaml.MappingNode):
                here = (*loc, "<<")
                where = (each.start_mark.line + 1, each.start_mark.column + 1)
                self.document.keys[here] = self.document.values[here] = where
                self._fault(here, "only mappings can be merged: one, or a list of them")
        return [each for each in several if isinstance(each, yaml.MappingNode)]

    @staticmethod
    def _name(key: yaml.Node) -> str:
        # In all our files keys are texts, even keys that look like numbers.
        name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
        if not name:
            raise _RefusedError(problem="a key must be a text", problem_mark=key.start_mark)
        return name


def _endless(node: yaml.Node) -> _RefusedError:
    return _RefusedError(problem="aliases expand without end", problem_mark=node.start_mark)


def _plain(text: str, tag: str) -> str | bool | int | float | None:
    """The value of a scalar with a tag; a ValueError says why it has none."""
    half, kind = half_character(text), tag.removeprefix(_CORE)
    if half:
        raise ValueError(half)
    if kind == "str":
        return text
    if kind not in _PATTERNS:
        raise ValueError(_about_tag(tag, "str"))
    if not _MEANT[kind].match(text):
        raise ValueError(f"{shortened(text)} is not !!{kind}: write {_EXAMPLES[kind]}")
    if kind == "bool":
        return text.lower() == "true"
    if kind == "null":
        return None
    return _whole(text) if kind == "int" else float(re.sub(r"\.(?=[a-zA-Z])", "", text))


def _whole(text: str) -> int:
    digits = text.lstrip("+-")
    if len(digits) > _DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits; at most {_DIGITS}")
    if len(digits) > 1 and digits.startswith("0"):
        raise ValueError(
            f"{text!r}: readers of YAML differ on numbers that begin with 0; write {int(text)}, or "
            "put it in quotes if it is a text"
        )
    return int(text)


def _about_tag(tag: str, kind: str) -> str:
    short = tag.replace(_CORE, "!!")
    known = [f"!!{name}" for name in _TAGS]
    if short in known:
        return f"{short} does not fit what is written here, which is !!{kind}"
    return f"the tag {shortened(short)} is not known; {nearest(short[:40], known)}"


def shortened(text: str) -> str:
    """``text`` in quotes, cut if it is long."""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
