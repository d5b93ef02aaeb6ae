"""Checks what a case or a variant asks about maps: its regions, its words, and where it asks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from audit.base.errors import nearest
from audit.base.words import occurrences, words_in
from audit.base.yamlfile import Document, Loc
from audit.cases.expectations import AttentionExpectation
from audit.cases.methods import MapAt
from audit.cases.problems import Problems, dotted
from audit.maps.spec import MapSpec

Asked = Sequence[tuple[Loc, MapSpec]]
"""The maps that are asked for, each with the place in the file."""


def check_attention(
    wanted: Sequence[AttentionExpectation],
    regions: Collection[str],
    default: MapSpec,
    loc: Loc,
    problems: Problems,
    *,
    of: str = "case",
    lost: Mapping[str, str] | None = None,
) -> None:
    """Check that expectations name known regions, and compare two different maps.

    Args:
        default: the map that is measured if an expectation names none.
        loc: the place of the list of expectations.
        of: what the regions belong to, for messages.
        lost: regions of the case that its variant does not have, each with the reason.
    """
    for index, each in enumerate(wanted):
        gone = (lost or {}).get(each.region or "")
        if gone:
            problems.add((*loc, index, "region"), f"{each.region!r} {gone}")
        elif each.region is not None and each.region not in regions:
            hint = nearest(each.region, regions) if regions else "there are none"
            problems.add(
                (*loc, index, "region"),
                f"{each.region!r} is not a region of this {of}; {hint}",
            )
        if each.against is not None and each.against.key == (each.map or default).key:
            problems.add(
                (*loc, index, "against"),
                "this is the measured map itself; compare it with another",
            )


def asked_maps(wanted: Sequence[AttentionExpectation], loc: Loc) -> list[tuple[Loc, MapSpec]]:
    """The maps that expectations name; ``loc`` is the place of the list."""
    asked = [
        ((*loc, index, key), spec)
        for index, each in enumerate(wanted)
        for key, spec in (("map", each.map), ("against", each.against))
    ]
    return [(place, spec) for place, spec in asked if spec is not None]


def maps_at(asked: Asked, document: Document, loc: Loc) -> tuple[MapAt, ...]:
    """The methods that a case at ``loc`` asks for, with the key and place of each.

    A map that is not written where it is asked for comes from the file's defaults.
    """
    found = []
    for written, spec in asked:
        place = written
        if written not in document.values and ("defaults", "map") in document.values:
            place = ("defaults", "map")
        key = dotted(place[len(loc) :] if place == written else place)
        where = document.values.get((*place, "method")) or document.at(place)
        found.append(MapAt(f"{key}.method", spec.method, where))
    return tuple(found)


def check_words(text: str, asked: Asked, problems: Problems) -> None:
    """Check that the text has the words that maps are asked for."""
    words = words_in(text)
    for place, spec in asked:
        if spec.word is not None and not occurrences(spec.word, words):
            message = f"{spec.word!r} is not in the text; {nearest(spec.word, words)}"
            problems.add((*place, "word"), message)
