"""Cases: loading and checking them, with errors that name file, line, column and key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from audit.caseschema import CaseDefaults, CaseFileSpec, CaseSpec
from audit.errors import CaseError, ImageError, nearest
from audit.expectations import Expect
from audit.files import digest, digest_file
from audit.geometry import Box, parse_box
from audit.images import open_image
from audit.mapspec import TAKES, MapSpec, occurrences, words_in
from audit.metrics import REGISTRY_VERSION, Better
from audit.yamlfile import Document, Loc, Where, read


@dataclass(frozen=True)
class Case:
    """One case, checked: its picture opens, its boxes lie inside it, its names are known."""

    id: str
    file: Path
    line: int
    label_at: Where
    image: Path
    image_digest: str
    image_size: tuple[int, int]
    text: str
    premise: str | None
    regions: dict[str, tuple[Box, ...]]
    tags: tuple[str, ...]
    map: MapSpec
    expect: Expect
    drift: dict[str, float]
    critical: bool = False
    xfail: str = ""
    repeat: int = 1

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """The distinct maps that this case measures or compares with, its own first."""
        asked = [spec for e in self.expect.attention for spec in (e.map, e.against)]
        wanted = [self.map, *(spec for spec in asked if spec is not None)]
        return tuple({spec.key: spec for spec in wanted}.values())

    @property
    def wanted(self) -> dict[str, Better]:
        """By region, whether more of the map there is better: what the limits on it say.

        A region with upper limits alone is to be avoided; of one that no expectation is about,
        nothing is known.
        """
        found: dict[str, Better] = {}
        for region in self.regions:
            asked = [e for e in self.expect.attention if e.region == region]
            avoided = all(e.min is None for e in asked)
            found[region] = ("lower" if avoided else "higher") if asked else "neither"
        return found

    @property
    def digest(self) -> str:
        """Fingerprint of what is asked and measured, without limits, tags and tolerances."""
        asked = {
            "image": self.image_digest,
            "text": self.text,
            "premise": self.premise,
            "regions": {name: [list(b) for b in boxes] for name, boxes in self.regions.items()},
            "maps": [spec.key for spec in self.maps],
            "figures": sorted(
                {
                    f"{(e.map or self.map).key}: {e.key}"
                    for e in self.expect.attention
                    if e.on_request
                }
            ),
            "registry": REGISTRY_VERSION,
        }
        return digest(json.dumps(asked, sort_keys=True, allow_nan=False))


Pictures = dict[Path, tuple[tuple[int, int], str]]
"""Size and SHA-256 of pictures that open, so that each is opened once."""


def load_cases(path: Path, pictures: Pictures | None = None) -> list[Case]:
    """Load and check a file of cases.

    Args:
        pictures: those of files read before; the file's own are added.

    Raises:
        CaseError: every problem of the file, a line each: file:line:column: key: what is wrong.
    """
    document = read(path)
    problems = _Problems(document)
    if document.value is None:
        raise CaseError(f"{path}:1:1: the file is empty; it needs a list under 'cases'")
    try:
        spec = CaseFileSpec.model_validate(document.value)
        written, defaults = list(enumerate(spec.cases)), spec.defaults
    except ValidationError as error:
        problems.add_validation(error)
        written, defaults = _sound_part(document.value, error)
    seen: dict[str, int] = {}
    pictures = {} if pictures is None else pictures
    cases = []
    for index, each in written:
        loc: Loc = ("cases", index)
        line = document.values[loc][0]
        if _slug(each.id) in seen:
            first = seen[_slug(each.id)]
            problems.add((*loc, "id"), f"the id {each.id!r} occurs twice (first in line {first})")
        seen.setdefault(_slug(each.id), line)
        case = _check(each, defaults, document, loc, problems, pictures)
        if case is not None:
            cases.append(case)
    if problems.lines:
        raise problems.error()
    return cases


def _sound_part(
    value: Any, error: ValidationError
) -> tuple[list[tuple[int, CaseSpec]], CaseDefaults]:
    """The cases in which pydantic found no fault, so that theirs are told in the same go."""
    places = [found["loc"] for found in error.errors(include_url=False)]
    if any(len(place) < 2 or place[0] != "cases" for place in places):
        return [], CaseDefaults()
    faulty = {place[1] for place in places}
    defaults = CaseDefaults.model_validate(value.get("defaults", {}))
    cases = enumerate(value["cases"])
    return [(n, CaseSpec.model_validate(c)) for n, c in cases if n not in faulty], defaults


def _check(
    written: CaseSpec,
    defaults: CaseDefaults,
    document: Document,
    loc: Loc,
    problems: _Problems,
    pictures: Pictures,
) -> Case | None:
    path = document.path.parent / written.image
    for index, wanted in enumerate(written.expect.attention):
        if wanted.region is not None and wanted.region not in written.regions:
            hint = nearest(wanted.region, written.regions) if written.regions else "there are none"
            problems.add(
                (*loc, "expect", "attention", index, "region"),
                f"{wanted.region!r} is not a region of this case; {hint}",
            )
        measured = wanted.map or written.map or defaults.map
        if wanted.against is not None and wanted.against.key == measured.key:
            problems.add(
                (*loc, "expect", "attention", index, "against"),
                "this is the measured map itself; compare it with another",
            )
    _check_words(written, defaults, loc, problems)
    try:
        if path not in pictures:
            pictures[path] = open_image(path).size, digest_file(path)
        size, image_digest = pictures[path]
    except ImageError as error:
        there = [p.relative_to(document.path.parent).as_posix() for p in path.parent.glob("*.*")]
        hint = f"; {nearest(written.image, there)}" if there and not path.exists() else ""
        problems.add((*loc, "image"), f"{error}{hint}")
        return None
    regions = {}
    for name, boxes in written.regions.items():
        parsed = []
        if not boxes:
            problems.add((*loc, "regions", name), "a region needs at least one box")
        for index, box in enumerate(boxes):
            try:
                parsed.append(parse_box(box, *size))
            except ValueError as error:
                problems.add((*loc, "regions", name, index), str(error))
        regions[name] = tuple(parsed)
    return Case(
        id=written.id,
        file=document.path,
        line=document.values[loc][0],
        label_at=document.values[(*loc, "expect", "label")],
        image=path,
        image_digest=image_digest,
        image_size=size,
        text=written.text,
        premise=written.premise,
        regions=regions,
        tags=tuple(dict.fromkeys((*defaults.tags, *written.tags))),
        map=written.map or defaults.map,
        expect=written.expect,
        drift={**defaults.drift, **written.drift},
        critical=written.critical,
        xfail=written.xfail or "",
        repeat=written.repeat,
    )


def _check_words(written: CaseSpec, defaults: CaseDefaults, loc: Loc, problems: _Problems) -> None:
    """A map of a word needs the word in the text."""
    places: list[tuple[Loc, MapSpec | None]] = [((*loc, "map"), written.map or defaults.map)]
    for index, wanted in enumerate(written.expect.attention):
        at = (*loc, "expect", "attention", index)
        places += [((*at, "map"), wanted.map), ((*at, "against"), wanted.against)]
    words = words_in(written.text)
    for place, spec in places:
        if spec is not None and spec.word is not None and not occurrences(spec.word, words):
            message = f"{spec.word!r} is not in the text; {nearest(spec.word, words)}"
            problems.add((*place, "word"), message)


class _Problems:
    """Collects what is wrong with a file, each with its place."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.lines: list[tuple[Where, str]] = []

    def add(self, loc: Loc, message: str) -> None:
        where = self.document.at(loc)
        text = f"{self.document.path}:{where[0]}:{where[1]}: {_dotted(loc)}: {message}"
        self.lines.append((where, text))

    def add_validation(self, error: ValidationError) -> None:
        """Tell pydantic's findings in our words, one for each place."""
        told: set[Loc] = set()
        for found in error.errors(include_url=False):
            loc = self._known(found["loc"])
            if loc not in told:
                told.add(loc)
                self.add(loc, self._message(found, loc))

    def _known(self, loc: Loc) -> Loc:
        """``loc`` without what pydantic adds to it: the members of a union, a key's own check."""
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
            return f"a map is written as {{method: NAME}}; {nearest(str(found['input']), TAKES)}"
        if kind == "literal_error" and isinstance(found["input"], str):
            choices = re.findall(r"'([^']+)'", str(found["ctx"]["expected"]))
            return f"{found['input']!r} is not known; {nearest(found['input'], choices)}"
        if kind == "string_pattern_mismatch" and loc[-1] == "id":
            return "an id has letters, digits, '.', '_' and '-', and begins with a letter or digit"
        return _NEEDED.get(kind) or text.removeprefix("Value error, ")

    def error(self) -> CaseError:
        return CaseError("\n".join(text for _, text in sorted(self.lines)))


_NEEDED = {
    "missing": "this key is required",
    "model_type": "keys and values are needed here (a mapping)",
    "dict_type": "keys and values are needed here (a mapping)",
    "list_type": "a list is needed here",
    "tuple_type": "a list is needed here",
    "string_type": "text is needed here; put it in quotes if it looks like something else",
    "bool_type": "true or false is needed here",
    "bool_parsing": "true or false is needed here",
}
"""What a value must be, in the words of YAML instead of Python's."""

_CHOICES = {
    "heads": "choice of heads: mean, max, weighted, or a list of distinct numbers from 1",
    "layers": "choice of layers: all, last, last:N, or a list of distinct numbers from 1",
    "residual": "share of the residual connection: measured, or a number from 0 to 1",
    "share": "share: a number between 0 and 1, and neither of them",
    "tolerance": "tolerance: a whole number of cells, from 0",
}
"""What a key may hold, where pydantic would name one part of it or a type."""


def _chosen_by_user(loc: Loc) -> bool:
    """Whether ``loc`` lies below keys that the case file's author names."""
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


def _dotted(loc: Loc) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "file"


def _slug(case: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", case.lower()).strip("-")


def check_unique(cases: Iterable[Case], seen: dict[str, Case] | None = None) -> None:
    """Refuse ids that occur twice, whatever their case and punctuation: they name files.

    Args:
        seen: the cases of earlier calls, by what must be unique; these are added.

    Raises:
        CaseError: both places of each.
    """
    seen = {} if seen is None else seen
    lines = []
    for case in cases:
        first = seen.setdefault(_slug(case.id), case)
        if first is not case and (first.file, first.line) != (case.file, case.line):
            place = f"{first.file}:{first.line}"
            lines.append(
                f"{case.file}:{case.line}: the id {case.id!r} occurs twice, as {first.id!r} in "
                f"{place} (upper and lower case and punctuation make no difference)"
            )
    if lines:
        raise CaseError("\n".join(lines))


def check_labels(cases: Iterable[Case], labels: Sequence[str]) -> None:
    """Refuse expected labels that the model does not have.

    Raises:
        CaseError: file, line and column of each, with the nearest label.
    """
    lines = [
        f"{case.file}:{case.label_at[0]}:{case.label_at[1]}: expect.label: the model has no label "
        f"{case.expect.label!r}; {nearest(case.expect.label, labels)}"
        for case in cases
        if case.expect.label not in labels
    ]
    if lines:
        raise CaseError("\n".join(lines))
