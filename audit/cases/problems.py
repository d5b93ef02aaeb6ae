"""Report what is wrong with a case file: with its place, and in the words of YAML."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from audit.base.errors import CaseError, nearest
from audit.base.limits import needed
from audit.base.yamlfile import Document, Loc, Where, shortened
from audit.cases.expectations import Expect
from audit.cases.schema import CaseDefaults, CaseFileSpec, CaseSpec
from audit.maps.methods import nearest_method
from audit.maps.spec import MapSpec


class Problems:
    """Collects the problems of a file, each with its place."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.lines: list[tuple[Where, str]] = []
        self._reported: set[Loc] = set()
        for loc, message in document.faults.items():
            self._report(loc, message)

    def has(self, loc: Loc) -> bool:
        """Whether a problem at ``loc`` has been reported."""
        return loc in self._reported

    def add(self, loc: Loc, message: str) -> None:
        """Report a problem, except in a value with a fault of YAML: that fault is reported."""
        if loc not in self.document.faults:
            self._report(loc, message)

    def _report(self, loc: Loc, message: str) -> None:
        self._reported.add(loc)
        where = self.document.at(loc)
        if len(message) > _LONGEST:
            message = f"{message[: _LONGEST // 2]} … {message[-_LONGEST // 2 :]}"
        text = f"{self.document.path}:{where[0]}:{where[1]}: {dotted(loc)}: {message}"
        self.lines.append((where, text))

    def add_validation(self, error: ValidationError) -> None:
        """Report pydantic's findings in our own words, one for each place."""
        done: set[Loc] = set()
        for found in error.errors(include_url=False):
            loc = self._known(found["loc"])
            if _of_a_region(loc) and found["type"] in _NO_LIST:
                loc = loc[: loc.index("regions") + 2]
            if loc not in done:
                done.add(loc)
                self.add(loc, self._message(found, loc))

    def _known(self, loc: Loc) -> Loc:
        """``loc`` without the parts that pydantic adds: members of a union, checks of keys."""
        kept: Loc = ()
        for name in ("layers", "heads"):
            if name in loc and not _chosen_by_user(loc):
                return loc[: loc.index(name) + 1]
        for part in loc:
            if (*kept, part) in self.document.values:
                kept = (*kept, part)
            elif part == loc[-1] and not _is_union(part):
                return (*kept, part)
        return kept

    def _message(self, found: Mapping[str, Any], loc: Loc) -> str:
        kind, text = found["type"], str(found["msg"])
        if kind == "extra_forbidden":
            return f"unknown key; {nearest(str(loc[-1]), _keys_at(loc[:-1]))}"
        if loc and loc[-1] in _CHOICES and not _chosen_by_user(loc) and kind != "missing":
            return f"not a {_CHOICES[str(loc[-1])]}"
        if kind == "model_type" and found["ctx"]["class_name"] == MapSpec.__name__:
            return f"a map is written as {{method: NAME}}; {nearest_method(str(found['input']))}"
        if kind == "literal_error":
            choices = re.findall(r"'([^']+)'", str(found["ctx"]["expected"]))
            written, of_maps = found["input"], loc[-1] == "method"
            hint = nearest_method(str(written)) if of_maps else nearest(str(written), choices)
            return f"{shortened(str(written))} is not known; {hint}"
        if kind == "string_pattern_mismatch" and loc[-1] in _NAMES:
            return _NAMES[str(loc[-1])]
        if _of_a_region(loc) and kind in _NO_LIST:
            about = _about_region(str(loc[-1]))
        else:
            about = _about_number(kind, found["input"]) or _NEEDED.get(kind, "")
        if not about and (what := needed(found)):
            given = found["input"]
            about = f"needs {what}, but has {shortened(given) if isinstance(given, str) else given}"
        return about or text.removeprefix("Value error, ")

    def error(self) -> CaseError:
        return CaseError("\n".join(text for _, text in sorted(self.lines)))


_LONGEST = 1_000
"""Most characters of a message, which may quote a value and list names to choose from."""

_NAMES = {
    "id": "an id has letters, digits, '.', '_' and '-', and begins with a letter or digit",
    "name": "a name has small letters, digits and '-', and begins with a letter or digit",
}
"""What the keys that name something may hold."""

_NO_LIST = ("list_type", "tuple_type")
_OTHER_NOTATION = re.compile(r"[-+]?[0-9][0-9a-fA-F_,:.xob]*|[-+]?[0-9.,_]+ ?%")


def _about_number(kind: str, given: object) -> str:
    """What is wrong with a value where a number is needed; empty if pydantic's words are fine."""
    if not re.match("int_|float_", kind):
        return ""
    if given is None or isinstance(given, bool | list | dict):
        return "a number is needed here"
    if isinstance(given, float) and not math.isfinite(given):
        return f"needs a finite number, but has {given}"
    if isinstance(given, str) and _OTHER_NOTATION.fullmatch(given):
        comma = re.fullmatch(r"([-+]?[0-9]*),([0-9]+)", given)
        meant = f": {comma[1]}.{comma[2]}?" if comma else " in decimal digits, without quotes"
        return f"{shortened(given)} is read as a text; write the number{meant}"
    return ""


_NEEDED = {
    "missing": "this key is required",
    "model_type": "keys and values are needed here (a mapping)",
    "dict_type": "keys and values are needed here (a mapping)",
    "list_type": "a list is needed here",
    "tuple_type": "a list is needed here",
    "too_short": "the list is empty; at least one is needed",
    "string_type": "text is needed here; put it in quotes if it looks like something else",
    "string_too_short": "the text is empty",
    "bool_type": "true or false is needed here",
    "bool_parsing": "true or false is needed here",
}
"""What a value must be, in terms of YAML instead of Python."""

_CHOICES = {
    "heads": "choice of heads: mean, max, weighted, chosen, or a list of distinct numbers from 1, "
    "or of single heads such as L4H2",
    "layers": "choice of layers: all, last, last:N, or a list of distinct numbers from 1",
    "residual": "share of the residual connection: measured, or a number from 0 to 1",
    "share": "share: a number above 0 and below 1",
    "tolerance": "tolerance: a whole number of cells, from 0",
}
"""What a key may hold, if pydantic would name only one of the choices, or a type."""


def _of_a_region(loc: Loc) -> bool:
    return "regions" in loc[:-1]


def _about_region(name: str) -> str:
    """What is wrong with a region that is not a list of boxes."""
    if name in CaseSpec.model_fields:
        return f"a region is a list of boxes; if {name!r} is a key of the case, indent it less"
    return "a region is a list of boxes, each in its own brackets: [[left, top, right, bottom]]"


def _chosen_by_user(loc: Loc) -> bool:
    """Whether ``loc`` lies below a key whose keys the author of the case file chooses."""
    return "regions" in loc or "drift" in loc


def _is_union(part: str | int) -> bool:
    return isinstance(part, str) and bool(
        re.search(r"[\[\]()]|^(str|int|float|list|constrained)", part)
    )


def _keys_at(loc: Loc) -> list[str]:
    """The keys that a mapping at ``loc`` may have."""
    model: type[BaseModel] = CaseFileSpec
    steps: dict[str, type[BaseModel]] = {
        "defaults": CaseDefaults,
        "cases": CaseSpec,
        "map": MapSpec,
        "expect": Expect,
    }
    for part in loc:
        if isinstance(part, str):
            model = steps.get(part) or _field_model(model, part)
    return list(model.model_fields)


def _field_model(model: type[BaseModel], name: str) -> type[BaseModel]:
    annotation = model.model_fields[name].annotation
    for option in _inside(annotation):
        if isinstance(option, type) and issubclass(option, BaseModel):
            return option
    return model


def _inside(annotation: Any) -> list[Any]:
    arguments = getattr(annotation, "__args__", ())
    return [annotation, *(deeper for a in arguments for deeper in _inside(a))]


def dotted(loc: Loc) -> str:
    """``loc`` as a text, such as ``cases[0].expect.label``."""
    text = ""
    for part in loc:
        if isinstance(part, str):
            # Authors choose some keys; none of these may contain a line break in a message.
            named = part if part.isprintable() and len(part) <= 60 else shortened(part)
            text += f".{named}" if text else named
        else:
            text += f"[{part}]"
    return text or "file"
