"""Load and check cases, with errors that name file, line, column and key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from audit.base.errors import CaseError, nearest
from audit.base.files import digest_file
from audit.base.geometry import parse_box
from audit.base.names import slug
from audit.base.yamlfile import Document, Loc, read, shortened
from audit.cases.attention import asked_maps, check_attention, check_words, maps_at
from audit.cases.case import Case
from audit.cases.deriving import variants_of
from audit.cases.methods import MapAt, readable_methods
from audit.cases.pictures import Opened, Pictures, checked_picture
from audit.cases.problems import Problems
from audit.cases.schema import OWN_KEYS, CaseDefaults, CaseFileSpec, CaseSpec
from audit.cases.variants import OTHER, SAME

__all__ = [
    "Case",
    "check_labels",
    "check_methods",
    "check_unique",
    "load_cases",
]


_TEXTS = ("text", "premise", "paraphrase", "negate")
"""The keys of what a model is asked."""


def load_cases(path: Path, pictures: Pictures | None = None) -> list[Case]:
    """Load and check a file of cases; each case is followed by its variants.

    Args:
        pictures: the pictures of files read before; those of this file are added.

    Raises:
        CaseError: every problem of the file, one in a line: file:line:column: key: what is wrong.
    """
    document = read(path)
    with suppress(OSError):
        document.digest = digest_file(path)
    problems = Problems(document)
    if document.value is None:
        raise CaseError(f"{path}:1:1: the file is empty; it needs a list under 'cases'")
    value = _without_own_keys(document.value)
    pictures = {} if pictures is None else pictures
    try:
        spec = CaseFileSpec.model_validate(value)
        written, defaults = list(enumerate(spec.cases)), spec.defaults
    except ValidationError as error:
        problems.add_validation(error)
        written, defaults = _sound_part(value, error)
        _check_other_pictures(value, [n for n, _ in written], document, problems, pictures)

    for at, comment in document.cut.items():
        if at[:1] == ("cases",) and at[-1] in _TEXTS:
            problems.add(
                at,
                f"the text ends before {shortened(comment)}, which YAML takes for a comment; put "
                "the text in quotes, or a space after # if it is a comment",
            )

    def picture(other: str, at: Loc) -> Opened | None:
        return checked_picture(other, document, at, problems, pictures)

    seen: dict[str, int] = {}
    cases = []
    for index, each in written:
        loc: Loc = ("cases", index)
        line = document.values[loc][0]
        if slug(each.id) in seen:
            first = seen[slug(each.id)]
            problems.add((*loc, "id"), f"the id {each.id!r} occurs twice (first in line {first})")
        seen.setdefault(slug(each.id), line)
        case = _check(each, defaults, document, loc, problems, pictures)
        if case is not None:
            cases.append(case)
            cases += variants_of(case, each.variants, document, loc, problems, picture)
    if problems.lines:
        raise problems.error()
    return cases


def _without_own_keys(value: Any) -> Any:
    """The file without its author's own top-level keys for anchors, ``x-…``."""
    if not isinstance(value, dict):
        return value
    return {key: each for key, each in value.items() if not key.startswith(OWN_KEYS)}


def _sound_part(
    value: Any, error: ValidationError
) -> tuple[list[tuple[int, CaseSpec]], CaseDefaults]:
    """The cases in which pydantic found no fault, so that further checks of them run right away."""
    places = [found["loc"] for found in error.errors(include_url=False, include_input=False)]
    # Faults in other keys of the file, such as unknown keys, are not a reason to stop reading.
    places = [place for place in places if place[:1] in ((), ("cases",), ("defaults",))]
    if any(len(place) < 2 or place[0] != "cases" for place in places):
        return [], CaseDefaults()
    faulty = {place[1] for place in places}
    defaults = CaseDefaults.model_validate(value.get("defaults", {}))
    cases = enumerate(value["cases"])
    return [(n, CaseSpec.model_validate(c)) for n, c in cases if n not in faulty], defaults


def _check_other_pictures(
    value: Any, sound: Sequence[int], document: Document, problems: Problems, pictures: Pictures
) -> None:
    """Check the pictures of the cases that cannot be read, so that all problems come at once."""
    cases = value.get("cases") if isinstance(value, dict) else None
    for index, case in enumerate(cases if sound and isinstance(cases, list) else ()):
        if index not in sound and isinstance(case, dict) and isinstance(case.get("image"), str):
            loc: Loc = ("cases", index, "image")
            if not problems.has(loc):
                checked_picture(case["image"], document, loc, problems, pictures)


def _check(
    written: CaseSpec,
    defaults: CaseDefaults,
    document: Document,
    loc: Loc,
    problems: Problems,
    pictures: Pictures,
) -> Case | None:
    own, listed = written.map or defaults.map, (*loc, "expect", "attention")
    map_asked = written.map is not None or "map" in defaults.model_fields_set
    attention = written.expect.attention
    check_attention(attention, written.regions, own, listed, problems)
    asked = [((*loc, "map"), own), *asked_maps(attention, listed)]
    check_words(written.text, asked, problems)
    found = checked_picture(written.image, document, (*loc, "image"), problems, pictures)
    if found is None:
        return None
    regions = {}
    for name, boxes in written.regions.items():
        parsed = []
        if not boxes:
            problems.add((*loc, "regions", name), "a region needs at least one box")
        for index, box in enumerate(boxes):
            try:
                parsed.append(parse_box(box, *found.size))
            except ValueError as error:
                problems.add((*loc, "regions", name, index), str(error))
        regions[name] = tuple(parsed)
    return Case(
        id=written.id,
        file=document.path,
        line=document.values[loc][0],
        label_at=document.values[(*loc, "expect", "label")],
        maps_at=maps_at(asked if map_asked else asked[1:], document, loc),
        image=document.path.parent / written.image,
        image_digest=found.digest,
        file_digest=found.file_digest,
        image_size=found.size,
        text=written.text,
        premise=written.premise,
        regions=regions,
        tags=tuple(dict.fromkeys((*defaults.tags, *written.tags))),
        map=own,
        expect=written.expect,
        drift={**defaults.drift, **written.drift},
        critical=written.critical,
        xfail=written.xfail or "",
        repeat=written.repeat,
        truncate=written.truncate,
        varied=bool(written.variants),
        map_asked=map_asked,
        case_file_digest=document.digest,
    )


def check_unique(cases: Iterable[Case], seen: dict[str, Case] | None = None) -> None:
    """Refuse ids that occur twice, ignoring case and punctuation, because files are named by them.

    Args:
        seen: the cases of earlier calls, by the part of their ids that must be unique; the cases of
            this call are added.

    Raises:
        CaseError: an id occurs twice; the message names both places of each.
    """
    seen = {} if seen is None else seen
    lines = []
    for case in cases:
        first = seen.setdefault(slug(case.id), case)
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
        CaseError: the message names file, line and column of each, with the nearest label.
    """
    lines = [
        f"{case.file}:{case.label_at[0]}:{case.label_at[1]}: {case.label_key}: the model has no "
        f"label {case.expect.label!r}; {nearest(case.expect.label, _choices(case, labels))}"
        for case in cases
        if case.expect.label not in labels
    ]
    if lines:
        raise CaseError("\n".join(dict.fromkeys(lines)))  # most variants have their case's label


def _choices(case: Case, labels: Sequence[str]) -> list[str]:
    """What may be written where the case's label stands: a variant's may be relative."""
    relative = case.variant is not None and case.label_at != case.source.label_at
    return [*labels, *((SAME, OTHER) if relative else ())]


def _instead(asked: MapAt, known: Sequence[str]) -> str:
    """The nearest method; where none is near, that a case need not name one."""
    near = nearest(asked.method, known)
    if asked.key not in ("map.method", "defaults.map.method") or near.startswith("did you mean"):
        return near
    return f"{near}. Without map, each model is measured by its own default"


def check_methods(cases: Iterable[Case], methods: Sequence[str]) -> None:
    """Refuse maps that cannot be read from the model.

    Args:
        methods: the methods that the model gives.

    Raises:
        CaseError: the message names file, line and column of each, once, with the nearest method.
    """
    known = readable_methods(methods)
    lines = [
        f"{case.file}:{asked.where[0]}:{asked.where[1]}: {asked.key}: the model gives no map "
        f"{asked.method!r}; {_instead(asked, known)}"
        for case in cases
        for asked in case.maps_at
        if asked.method not in known
    ]
    if lines:
        raise CaseError("\n".join(dict.fromkeys(lines)))
