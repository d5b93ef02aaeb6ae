"""Strict reading of stored records: JSON that people edit, git merges and strangers send.

The schema of each record lives next to what it describes; this module holds what all of them share.
Numbers are never NaN or infinite, no key occurs twice, and each error names the file, line and key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import ErrorDetails

from audit.base import strictjson
from audit.base.errors import AuditError, nearest
from audit.base.files import counted, fit_for_a_name, read_bytes, shown_path
from audit.base.geometry import Box, is_view
from audit.base.limits import limit_in_words
from audit.base.names import CASE, LONGEST_CASE, LONGEST_VARIANT, VARIANT

MEGABYTE = 1 << 20

EDITED = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
"""For records that people edit: an unknown key is a mistake."""

WRITTEN = ConfigDict(extra="allow", strict=True, frozen=True, allow_inf_nan=False)
"""For records that only programs write: a later version may add keys."""


def _file_name(value: str) -> str:
    if value in (".", "..") or not fit_for_a_name(value) or set(value) & set("/\\"):
        raise ValueError("it names files, so it cannot have '/', '\\' or control characters")
    return value


CaseId = Annotated[
    str,
    StringConstraints(
        pattern=rf"^{CASE}(\[{VARIANT}\])?$", max_length=LONGEST_CASE + LONGEST_VARIANT + 2
    ),
]
"""The name of a case or of a variant."""

CaseName = Annotated[
    str, StringConstraints(min_length=1, max_length=250), AfterValidator(_file_name)
]
"""The name of an outcome: a picture that is explained has the name of its file."""

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
DigestOrNone = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")]
Finite = Annotated[float, Field(ge=-1e15, le=1e15, allow_inf_nan=False)]
"""Bounded, so that sums and ratios of such numbers stay finite."""

Positive = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1 + 1e-6, allow_inf_nan=False)]
"""A mean over repeats may exceed 1 by a rounding error."""


def _view(value: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    if not is_view(Box(*value)):
        raise ValueError("needs left, top, right and bottom of a box that overlaps the picture")
    return value


View = Annotated[tuple[Finite, Finite, Finite, Finite], AfterValidator(_view)]
"""The part of a picture that a grid covers, in fractions of its sides."""

Count = Annotated[int, Field(ge=0, le=1_000_000_000)]


def _figure(value: Any, info: ValidationInfo) -> Any:
    """Read a figure; in a file a missing value is ``{"undefined": reason}``, not a plain text."""
    if info.mode == "python":
        return value
    if isinstance(value, dict) and value.keys() == {"undefined"}:
        reason = value["undefined"]
        if isinstance(reason, str):
            return reason
    elif isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e15:
        return float(value)
    raise ValueError(f'needs a number, or {{"undefined": reason}}, but has {_brief(value)}')


Figure = Annotated[float | str, BeforeValidator(_figure)]
"""A measured value, or the reason why there is none."""


class ModelRecord(BaseModel):
    """What a run or a baseline says about its model; see ``Fingerprint``."""

    model_config = WRITTEN
    __pydantic_extra__: dict[str, JsonValue]

    name: str = ""
    source: str = ""
    revision: str = ""
    digest: str = ""
    weights: str = ""
    configuration: str = ""
    tokenizer: str = ""
    preprocessing: str = ""
    device: str = ""
    dtype: str = ""
    engine: str = ""
    asking: str = ""
    packages: dict[str, str] = {}


T = TypeVar("T")


def read_record(
    path: Path,
    schema: TypeAdapter[T],
    error: type[AuditError],
    *,
    limit: int = 16 * MEGABYTE,
    follow: bool = True,
) -> T:
    """Read a record.

    Args:
        schema: the form that the record must have.
        error: the exception to raise if it does not have that form.
        limit: in bytes; a larger file is refused unread.
        follow: whether the file may be a symbolic link. It may not in a folder that a stranger
            sent, since it could point anywhere.

    Raises:
        FileNotFoundError: there is no such file.
    """
    return _parsed(path, _text(path, error, limit, follow), schema, error)


def read_lines(
    path: Path, schema: TypeAdapter[T], error: type[AuditError], *, limit: int = 64 * MEGABYTE
) -> list[T]:
    """Read a file that has one record in each line; empty lines are passed over.

    Args:
        schema, error, limit: as for :func:`read_record`.

    Raises:
        FileNotFoundError: there is no such file.
    """
    lines = _text(path, error, limit, follow=True).split("\n")  # JSON may hold other line ends
    return [
        _parsed(path, line, schema, error, number)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]


def _parsed(
    path: Path, text: str, schema: TypeAdapter[T], error: type[AuditError], line: int = 0
) -> T:
    """A record from its text, which may be one line of its file."""
    try:
        found = schema.validate_json(text, strict=True)
        strictjson.loads(text)  # a repeated key hides a value, and pydantic does not report that
    except ValidationError as problem:
        raise error(_in_one_line(path, text, problem, schema, max(0, line - 1))) from None
    except ValueError as problem:
        raise error(f"{shown_path(path)}{f':{line}' if line else ''}: {problem}") from None
    return found


def _text(path: Path, error: type[AuditError], limit: int, follow: bool) -> str:
    try:
        return read_bytes(path, limit, follow=follow).decode("utf-8-sig")
    except FileNotFoundError:
        raise
    except OSError as problem:
        raise error(f"{shown_path(path)}: cannot be read: {problem.strerror}") from None
    except UnicodeDecodeError as problem:
        raise error(
            f"{shown_path(path)}: not UTF-8 text: byte {problem.start + 1} is invalid"
        ) from None


_CUT_OFF = "Invalid JSON: EOF while parsing"
_MARKER = re.compile(r"^(<{7}|={7}|>{7})(?=[ \r\n]|$)", re.MULTILINE)


def _in_one_line(
    path: Path, text: str, problem: ValidationError, schema: TypeAdapter[Any], above: int = 0
) -> str:
    """The file, the line, the key, and what is wrong there; ``above`` lines precede the text."""
    name = shown_path(path)
    found = problem.errors(include_url=False)
    first = next((each for each in found if each["loc"][:1] == ("format",)), found[0])
    if first["type"] == "json_invalid":
        marker = _MARKER.search(text)
        if marker:
            line = text.count("\n", 0, marker.start()) + 1 + above
            return f"{name}:{line}: holds a merge conflict ({marker[1]}): resolve it"
        if str(first["msg"]).startswith(_CUT_OFF):
            lines = text.rstrip().count("\n") + 1
            if not text.strip():
                return f"{name}: the file is empty"
            return f"{name}:{lines + above}: the file ends in the middle: it was cut off"
        place = re.search(r"at line (\d+) column (\d+)", str(first["msg"]))
        where = f":{int(place[1]) + above}:{place[2]}" if place else ""
        reason = re.sub(r" at line \d+ column \d+.*", "", str(first["msg"]), flags=re.DOTALL)
        return f"{name}{where}: {reason}"
    loc = tuple(part for part in first["loc"] if part != "[key]")
    line_of = _line_of(text, loc)
    more = f" (and {counted(len(found) - 1, 'more mistake')})" if len(found) > 1 else ""
    key = "".join(f"{_brief(part, quoted=False)}." for part in loc)[:-1]
    begin = f"{name}{f':{line_of + above}' if line_of else ''}{f': {key}' if key else ''}"
    return f"{begin}: {_message(first, schema)}{more}"


def _keys_at(schema: TypeAdapter[Any], loc: Sequence[int | str]) -> list[str]:
    """The keys that an object at ``loc`` may have; empty if any may be there, or none is known."""
    whole: dict[str, Any] = schema.json_schema()

    def resolved(node: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in node:
            node = whole["$defs"][node["$ref"].rpartition("/")[2]]
        return next((resolved(each) for each in node.get("anyOf", ()) if "$ref" in each), node)

    node = resolved(whole)
    for part in loc:
        if isinstance(part, int):
            inner = node.get("items")
        else:
            inner = node.get("properties", {}).get(part, node.get("additionalProperties"))
        if not isinstance(inner, dict):
            return []
        node = resolved(inner)
    return list(node.get("properties", {}))


def _message(found: ErrorDetails, schema: TypeAdapter[Any]) -> str:
    kind, given = found["type"], found["input"]
    if found["loc"] == ("format",) and kind == "literal_error":
        return f"format {_brief(given)}, but this version reads {found['ctx']['expected']}"
    if kind == "missing":
        return "this key is required"
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        keys = _keys_at(schema, found["loc"][:-1])
        return f"unknown key; {nearest(str(found['loc'][-1]), keys)}" if keys else "unknown key"
    if kind in ("literal_error", "enum"):
        choices = re.findall(r"'([^']+)'", str(found["ctx"]["expected"]))
        hint = f"; {nearest(given, choices)}" if isinstance(given, str) and choices else ""
        return f"{_brief(given)} is not known{hint}"
    needed = _NEEDED.get(kind) or limit_in_words(kind, found.get("ctx", {}))
    if kind == "string_pattern_mismatch":
        is_digest = "a-f" in found["ctx"]["pattern"]
        needed = "a SHA-256 in hexadecimal" if is_digest else "the id of a case"
    if needed:
        return f"needs {needed}, but has {_brief(given)}"
    message = str(found["msg"]).removeprefix("Value error, ")
    return message if kind == "value_error" else f"{message}, but has {_brief(given)}"


_NEEDED = {
    "bool_type": "true or false",
    "dataclass_type": "an object in braces",
    "dict_type": "an object in braces",
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "list_type": "a list",
    "model_type": "an object in braces",
    "string_type": "text in quotes",
    "tuple_type": "a list",
}


def _brief(value: Any, *, quoted: bool = True) -> str:
    """A value for a message: short, in one line, without control characters."""
    if isinstance(value, Mapping | list | tuple):
        return "an object" if isinstance(value, Mapping) else "a list"
    text = json.dumps(str(value)[:60]) if isinstance(value, str) else str(value)[:60]
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return text if quoted else text.strip('"')


_LINES_UP_TO = 200_000  # characters; in a larger file, the line of a mistake is not looked up


def _line_of(text: str, loc: tuple[int | str, ...]) -> int | None:
    """The line of the deepest part of ``loc`` that the text has; YAML's parser reads JSON too."""
    if len(text) > _LINES_UP_TO:
        return None
    try:
        node = yaml.compose(text, yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    line: int | None = node.start_mark.line + 1 if node else None
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            if part >= len(node.value):
                break
            node = node.value[part]
            line = node.start_mark.line + 1
    return line
