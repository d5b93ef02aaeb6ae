"""Load and check cases, with errors that name file, line, column and key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from audit.base.errors import CaseError, nearest
from audit.base.files import digest
from audit.base.geometry import Box, parse_box
from audit.base.words import occurrences, words_in
from audit.base.yamlfile import Document, Loc, Where, read
from audit.cases.expectations import Expect
from audit.cases.methods import MapAt, readable_methods
from audit.cases.pictures import Pictures, checked_picture
from audit.cases.problems import Problems, dotted
from audit.cases.schema import OWN_KEYS, CaseDefaults, CaseFileSpec, CaseSpec
from audit.maps.spec import MapSpec, former_key
from audit.metrics.keys import former_name
from audit.metrics.registry import REGISTRY_VERSION, Better


@dataclass(frozen=True)
class Case:
    """One case, checked: its picture opens, its boxes lie inside it, its names are known.

    Attributes:
        label_at, maps_at: where the file asks for the label and for the maps.
        image_digest: identity of the picture: SHA-256 of its size and pixels.
        file_digest: SHA-256 of the picture's file, which older versions knew it by.
    """

    id: str
    file: Path
    line: int
    label_at: Where
    maps_at: tuple[MapAt, ...]
    image: Path
    image_digest: str
    file_digest: str
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
    truncate: bool = False

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """The distinct maps that this case measures or compares with, its own first."""
        asked = [spec for e in self.expect.attention for spec in (e.map, e.against)]
        wanted = [self.map, *(spec for spec in asked if spec is not None)]
        return tuple({spec.key: spec for spec in wanted}.values())

    @property
    def wanted(self) -> dict[str, Better]:
        """For each region, whether more of the map there is better, according to its limits.

        A region that has only upper limits should be avoided; a region without expectations is
        ``neither``.
        """
        better: dict[str, Better] = {}
        for region in self.regions:
            limits = [e for e in self.expect.attention if e.region == region]
            avoided = all(e.min is None for e in limits)
            better[region] = ("lower" if avoided else "higher") if limits else "neither"
        return better

    @property
    def digest(self) -> str:
        """Fingerprint of what is asked and measured; limits, tags and tolerances do not count.

        Maps have the names of version 0.1 in it: a new name for a method does not change a case, so
        older baselines and runs stay valid.
        """
        return self._fingerprint(self.image_digest)

    @property
    def former_digest(self) -> str:
        """The fingerprint that older versions gave this case: the picture is its file's bytes.

        Baselines and runs that they stored are still of this case if the file is the same.
        """
        return self._fingerprint(self.file_digest)

    def _fingerprint(self, image: str) -> str:
        asked: dict[str, Any] = {
            "image": image,
            "text": self.text,
            "premise": self.premise,
            "regions": {name: [list(b) for b in boxes] for name, boxes in self.regions.items()},
            "maps": [former_key(spec.key) for spec in self.maps],
            "figures": sorted(
                {
                    f"{former_key((e.map or self.map).key)}: {former_name(e.key)}"
                    for e in self.expect.attention
                    if e.on_request
                }
            ),
            "registry": REGISTRY_VERSION,
        }
        if self.truncate:  # else left out, so that baselines older than this key stay valid
            asked["truncate"] = True
        return digest(json.dumps(asked, sort_keys=True, allow_nan=False))


def load_cases(path: Path, pictures: Pictures | None = None) -> list[Case]:
    """Load and check a file of cases.

    Args:
        pictures: the pictures of files read before; those of this file are added.

    Raises:
        CaseError: every problem of the file, one in a line: file:line:column: key: what is wrong.
    """
    document = read(path)
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
    seen: dict[str, int] = {}
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
        maps_at=_maps_at(written, defaults, document, loc),
        image=document.path.parent / written.image,
        image_digest=found.digest,
        file_digest=found.file_digest,
        image_size=found.size,
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
        truncate=written.truncate,
    )


def _asked_maps(written: CaseSpec, defaults: CaseDefaults, loc: Loc) -> list[tuple[Loc, MapSpec]]:
    """The maps that a case asks for, and where: its own, then those of its expectations."""
    asked: list[tuple[Loc, MapSpec | None]] = [((*loc, "map"), written.map or defaults.map)]
    for index, wanted in enumerate(written.expect.attention):
        at = (*loc, "expect", "attention", index)
        asked += [((*at, "map"), wanted.map), ((*at, "against"), wanted.against)]
    return [(place, spec) for place, spec in asked if spec is not None]


def _maps_at(
    written: CaseSpec, defaults: CaseDefaults, document: Document, loc: Loc
) -> tuple[MapAt, ...]:
    """The methods that a case asks for, with the key and place of each, maybe in the defaults."""
    found = []
    for asked, spec in _asked_maps(written, defaults, loc):
        place = asked
        if asked not in document.values and ("defaults", "map") in document.values:
            place = ("defaults", "map")
        key = dotted(place[len(loc) :] if place == asked else place)
        where = document.values.get((*place, "method")) or document.at(place)
        found.append(MapAt(f"{key}.method", spec.method, where))
    return tuple(found)


def _check_words(written: CaseSpec, defaults: CaseDefaults, loc: Loc, problems: Problems) -> None:
    """Check that the text has the words that maps are asked for."""
    words = words_in(written.text)
    for place, spec in _asked_maps(written, defaults, loc):
        if spec.word is not None and not occurrences(spec.word, words):
            message = f"{spec.word!r} is not in the text; {nearest(spec.word, words)}"
            problems.add((*place, "word"), message)


def _slug(case: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", case.lower()).strip("-")


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
        CaseError: the message names file, line and column of each, with the nearest label.
    """
    lines = [
        f"{case.file}:{case.label_at[0]}:{case.label_at[1]}: expect.label: the model has no label "
        f"{case.expect.label!r}; {nearest(case.expect.label, labels)}"
        for case in cases
        if case.expect.label not in labels
    ]
    if lines:
        raise CaseError("\n".join(lines))


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
        f"{asked.method!r}; {nearest(asked.method, known)}"
        for case in cases
        for asked in case.maps_at
        if asked.method not in known
    ]
    if lines:
        raise CaseError("\n".join(dict.fromkeys(lines)))
