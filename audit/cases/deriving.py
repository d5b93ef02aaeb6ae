"""Makes the variants of a case: their texts and regions, and what identifies their pictures.

The pictures themselves are made when the model is asked: :mod:`audit.runs.making`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from audit.base.files import digest
from audit.base.geometry import Box, mirrored, parse_box, within
from audit.base.names import variant_name
from audit.base.yamlfile import Document, Loc
from audit.cases.attention import asked_maps, check_attention, check_words, maps_at
from audit.cases.case import Case
from audit.cases.expectations import Expect
from audit.cases.pictures import Opened
from audit.cases.problems import Problems
from audit.cases.schema import VariantSpec
from audit.cases.variants import MAKERS, OTHER, SAME, Variant

Regions = Mapping[str, tuple[Box, ...]]
_SIDES = re.compile(
    r"(?<![^\W_])(left|right)([-_ ]?(most|wards?|hand(ed)?|side))?(?![^\W_])", re.IGNORECASE
)

_GONE: Mapping[str, str] = {
    "crop": "lies outside of the crop",
    "swap": "is a region of the case's picture, and this is another one",
}
"""Why a region of the case is none of its variant."""

SMALLEST = 8
"""Pixels that a crop must leave in width and height: less is not even one patch of a model."""

_TAG = "variant"
"""The tag of all variants; each also has its maker's name as a tag."""


def variants_of(
    case: Case,
    written: Sequence[VariantSpec],
    document: Document,
    loc: Loc,
    problems: Problems,
    picture: Callable[[str, Loc], Opened | None],
) -> list[Case]:
    """The variants of ``case``, as they are written at ``loc``; problems are reported.

    Args:
        picture: looks for another picture, by its path and its place in the file; None if it
            cannot be used, which it reports.
    """
    names = _names(written)
    found: list[Case] = []
    for index, (spec, name) in enumerate(zip(written, names, strict=True)):
        here: Loc = (*loc, "variants", index)
        if name in names[:index]:
            first = document.values[(*loc, "variants", names.index(name))][0]
            place = (*here, "name" if spec.name else spec.maker)
            problems.add(
                place,
                f"the variant's name {name!r} occurs twice (first in line {first}); give it a "
                "name of its own",
            )
        made = _made(case, spec, name, here, problems, picture)
        if made is None:
            continue
        twin = next((each for each in found if _alike(each, made)), None)
        if twin is not None and twin.variant is not None:
            problems.add(
                (*here, spec.maker),
                f"{twin.variant.name!r} is made in the same way (line {twin.line}): ask everything "
                "of one of them",
            )
        found.append(_checked(made, spec, document, here, problems))
    return found


def _alike(one: Case, other: Case) -> bool:
    """Whether two variants of a case are the same question about the same picture."""
    same = one.image_digest == other.image_digest
    return same and _plain(one.text) == _plain(other.text)


def _plain(text: str) -> str:
    """A text without the spaces that make no difference."""
    return " ".join(text.split())


def _names(written: Sequence[VariantSpec]) -> list[str]:
    """The variants' names: their own, or the maker's, with a number from the second on."""
    seen: Counter[str] = Counter()
    names = []
    for spec in written:
        if spec.name is None:
            seen[spec.maker] += 1
        number = seen[spec.maker]
        names.append(spec.name or (spec.maker if number == 1 else f"{spec.maker}-{number}"))
    return names


def _made(
    case: Case,
    spec: VariantSpec,
    name: str,
    here: Loc,
    problems: Problems,
    picture: Callable[[str, Loc], Opened | None],
) -> Case | None:
    """The variant, but for what is expected of it; None if it cannot be made."""
    maker, place = spec.maker, (*here, spec.maker)
    value = getattr(spec, maker)
    if maker == "mirror" and spec.label is None:
        _refuse_sides(case, place, problems)
    if maker in ("paraphrase", "negate"):
        if _plain(value) == _plain(case.text):
            problems.add(place, "this is the text of the case itself")
        made = replace(case, text=value)
    elif maker == "swap":
        other = picture(value, place)
        if other is None:
            return None
        if other.digest == case.image_digest:
            problems.add(place, "this is the picture of the case itself")
        path = Path(case.file.parent, value)
        # The boxes are those of other things.
        made = replace(
            case, image=path, image_size=other.size, image_digest=other.digest,
            file_digest=other.file_digest, regions={},
        )  # fmt: skip
    else:
        size, regions = case.image_size, dict(case.regions)
        if maker == "crop":
            try:
                value = _pixels(parse_box(value, *size), size)
            except ValueError as error:
                problems.add(place, str(error))
                return None
            _refuse_empty_crop(value, size, place, problems)
            regions = _cropped(regions, crop_box(value, size))
            size = (value[2] - value[0], value[3] - value[1])
        elif maker == "brightness" and not _changes_pixels(value):
            problems.add(place, f"a picture times {value:g} is the same picture")
        elif maker == "mirror":
            regions = {n: tuple(map(mirrored, boxes)) for n, boxes in regions.items()}
        recipe = digest(case.image_digest, maker, json.dumps(value))
        made = replace(case, image_digest=recipe, image_size=size, regions=regions)
    label = spec.label or (SAME if MAKERS[maker].keeps else "")
    falls = None if spec.probability is None else spec.probability.falls
    return replace(
        made,
        id=variant_name(case.id, name),
        tags=tuple(dict.fromkeys((*case.tags, _TAG, maker))),
        variant=Variant(name, maker, value, label, spec.js, falls),
        original=case,
        varied=False,
    )


def _checked(
    made: Case, spec: VariantSpec, document: Document, here: Loc, problems: Problems
) -> Case:
    """The variant with what is expected of it, checked."""
    assert made.variant is not None
    lost = set(made.source.regions) - set(made.regions)
    label, label_at = made.expect.label, made.label_at
    if made.variant.label not in ("", SAME, OTHER):
        label, label_at = made.variant.label, document.values[(*here, "label")]
    listed = (*here, "attention")
    check_attention(
        spec.attention, made.regions, made.map, listed, problems, of=f"variant ({spec.maker})",
        lost=dict.fromkeys(lost, _GONE.get(spec.maker, "")),
    )  # fmt: skip
    asked = asked_maps(spec.attention, listed)
    check_words(made.text, asked, problems)
    if made.text != made.source.text and made.map.word is not None:
        check_words(made.text, [((*here, spec.maker), made.map)], problems)
    return replace(
        made,
        line=document.values[here][0],
        label_at=label_at,
        label_key=f"variants[{here[-1]}].label" if label_at != made.label_at else made.label_key,
        maps_at=(*made.maps_at, *maps_at(asked, document, here[:2])),
        expect=Expect(label=label, attention=spec.attention),
        critical=False,
        xfail=spec.xfail or "",
    )


def _refuse_sides(case: Case, place: Loc, problems: Problems) -> None:
    """Refuse to mirror what a text calls left or right, unless the author says what must hold."""
    for text in (case.text, case.premise or ""):
        side = _SIDES.search(text)
        if side:
            problems.add(
                place,
                f"the text says {side[0]!r}, and mirroring exchanges left and right: say what must "
                "hold, label: same, other or a label",
            )
            return


def _refuse_empty_crop(
    pixels: tuple[int, int, int, int], size: tuple[int, int], place: Loc, problems: Problems
) -> None:
    """Refuse a crop that changes nothing, or leaves nothing to see."""
    wide, high = pixels[2] - pixels[0], pixels[3] - pixels[1]
    if (wide, high) == size:
        problems.add(place, "this is the whole picture")
    elif min(wide, high) < SMALLEST:
        problems.add(
            place,
            f"leaves {wide} × {high} pixels of the picture, on which nothing can be seen; leave at "
            f"least {SMALLEST} in width and height",
        )


def _changes_pixels(factor: float) -> bool:
    """Whether some channel of a picture is another if it is multiplied and cut to whole numbers."""
    return any(min(int(value * factor), 255) != value for value in range(256))


def _pixels(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """A box in whole pixels, at least one of them."""
    (left, right), (top, bottom) = (
        (min(round(low * side), side - 1), round(high * side))
        for low, high, side in zip(box[:2], box[2:], size, strict=True)
    )
    return left, top, max(right, left + 1), max(bottom, top + 1)


def crop_box(pixels: tuple[int, int, int, int], size: tuple[int, int]) -> Box:
    """A box in pixels of a picture of ``size``, in fractions of it."""
    left, top, right, bottom = pixels
    return Box(left / size[0], top / size[1], right / size[0], bottom / size[1])


def _cropped(regions: Regions, view: Box) -> dict[str, tuple[Box, ...]]:
    """The regions in fractions of the cropped picture; those that lie outside of it are gone."""
    cut = {name: tuple(within(box, view) for box in boxes) for name, boxes in regions.items()}
    left = {
        name: tuple(b for b in boxes if b.right > b.left and b.bottom > b.top)
        for name, boxes in cut.items()
    }
    return {name: boxes for name, boxes in left.items() if boxes}
