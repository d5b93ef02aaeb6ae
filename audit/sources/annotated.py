"""Read COCO's instances and Flickr30k Entities: texts with boxes for what they name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from audit.base.errors import SourceError, printable
from audit.base.files import read_bytes
from audit.base.yamlfile import shortened
from audit.sources.regions import LARGEST, legal_region
from audit.sources.rows import Record, Refused
from audit.sources.table import Table

# COCO: https://cocodataset.org/#format-data, "Object Detection"

_ROLES = {"image": "image", "text": "text", "id": "id", "regions": "regions", "size": "size"}

_SLACK = 1.0
"""Pixels by which a box may reach beyond its picture: COCO's are computed from outlines."""

TEMPLATE = re.compile(r"\{(a )?category\}")


def coco_table(path: Path, value: Mapping[str, Any], template: str) -> Table:
    """COCO's instances: a row for each category of each picture, with the boxes of its objects.

    Raises:
        SourceError: a part of the format is missing, or the template does not name the category.
    """
    if not TEMPLATE.search(template):
        raise SourceError("--template: it must have {category} or {a category} in it")
    for part in ("images", "annotations", "categories"):
        if not isinstance(value.get(part), list):
            raise SourceError(f"{path}: COCO's instances have a list of {part}; this has none")
    categories: dict[Any, str] = {}
    for index, each in enumerate(value["categories"]):
        if not (isinstance(each, Mapping) and isinstance(each.get("name"), str)):
            raise SourceError(f"{path}: categories[{index}] has no name")
        _refuse_twice(path, f"categories[{index}]", each, categories)
        categories[_key(each.get("id"))] = each["name"]
    images = value["images"]
    known: set[object] = set()
    for index, each in enumerate(images):
        if isinstance(each, Mapping):
            _refuse_twice(path, f"images[{index}]", each, known)
            known.add(_key(each.get("id")))
    found: dict[Any, dict[Any, list[Mapping[str, Any]]]] = {}
    stray: list[Refused] = []
    for index, each in enumerate(value["annotations"]):
        of, kind = (
            each.get(k) if isinstance(each, Mapping) else None for k in ("image_id", "category_id")
        )
        if _key(of) not in known or _key(kind) not in categories:
            what = "picture" if _key(of) not in known else "category"
            stray.append(Refused(index, f"annotations[{index}]", f"it names no {what} of the file"))
        else:
            found.setdefault(_key(of), {}).setdefault(_key(kind), []).append(each)

    def records() -> Iterator[Record | Refused]:
        yield from stray
        number = 0
        for index, image in enumerate(images):
            if not isinstance(image, Mapping):
                yield Refused(index, f"images[{index}]", "a JSON object is needed")
                continue
            for kind, objects in found.get(_key(image.get("id")), {}).items():
                number += 1
                name = categories[kind]
                at = f"images[{index}], {name}"
                try:
                    yield Record(number, _of_category(image, name, objects, template), at)
                except ValueError as error:
                    yield Refused(number, at, str(error))

    columns = [*_ROLES, "category"]
    note = "a row is a category that a picture has"
    return Table("COCO", path, columns, records, path.parent, roles=_ROLES, true=True, notes=[note])


def _refuse_twice(path: Path, at: str, each: Mapping[str, Any], known: Collection[object]) -> None:
    """Refuse an id that an earlier picture or category has: annotations name one of them."""
    if _key(each.get("id")) in known:
        raise SourceError(f"{path}: {at} has the id {each['id']!r}, which an earlier one has, too")


def _key(given: object) -> object:
    """An id of COCO to look up; anything that is not one finds nothing."""
    return given if isinstance(given, int | str) and not isinstance(given, bool) else object()


def _of_category(
    image: Mapping[str, Any], name: str, objects: Sequence[Mapping[str, Any]], template: str
) -> dict[str, Any]:
    file, size = image.get("file_name"), (image.get("width"), image.get("height"))
    if not isinstance(file, str):
        raise ValueError("the picture has no file_name")
    if not all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in size):
        raise ValueError(f"width and height of the picture are {size[0]!r} and {size[1]!r}")
    wide, high = int(size[0] or 0), int(size[1] or 0)
    return {
        "image": file,
        "id": f"{Path(file).stem}-{name}",
        "text": TEMPLATE.sub(lambda m: f"{_article(name) if m[1] else ''}{name}", template),
        "regions": {
            legal_region(name): [in_pixels(each.get("bbox"), wide, high) for each in objects]
        },
        "size": (wide, high),
        "category": name,
    }


def _article(name: str) -> str:
    return "an " if name[:1].lower() in "aeiou" else "a "


def in_pixels(bbox: object, width: int, height: int) -> list[int]:
    """COCO's ``[x, y, width, height]`` as left, top, right and bottom, in whole pixels.

    >>> in_pixels([10.4, 20.0, 30.2, 40.5], 640, 480)
    [10, 20, 41, 60]

    Raises:
        ValueError: it is not four finite numbers, reaches more than a pixel beyond the picture, or
            is thinner than half a pixel.
    """
    if not isinstance(bbox, list | tuple) or len(bbox) != 4:
        raise ValueError(f"a bbox is [x, y, width, height], not {shortened(repr(bbox))}")
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in bbox):
        raise ValueError(f"a bbox is four numbers, not {shortened(repr(bbox))}")
    if not all(abs(v) <= LARGEST for v in bbox):
        shown = str(list(bbox))[:80]
        raise ValueError(f"the bbox {shown} has a side that is not a number of pixels")
    x, y, wide, high = bbox
    sides = (x, y, x + wide, y + high)
    if min(sides) < -_SLACK or sides[2] > width + _SLACK or sides[3] > height + _SLACK:
        raise ValueError(
            f"the bbox {list(bbox)} lies outside the picture of {width} x {height} pixels"
        )
    left, right = (min(max(round(v), 0), width) for v in (sides[0], sides[2]))
    top, bottom = (min(max(round(v), 0), height) for v in (sides[1], sides[3]))
    if right <= left or bottom <= top:
        raise ValueError(f"the bbox {list(bbox)} is thinner than a pixel")
    return [left, top, right, bottom]


# Flickr30k Entities: https://github.com/BryanPlummer/flickr30k_entities, "Annotations"

_PHRASE = re.compile(r"\[/EN#(\d+)((?:/[A-Za-z]+)+) ([^\[\]]*)\]")
_SENTENCES = 100_000
"""Bytes of a file of sentences; the largest has 1,500."""

_XML = 2_000_000
"""Bytes of a file of boxes; the largest has 30,000."""


def entities_table(path: Path) -> Table:
    """Flickr30k Entities: a row for each sentence, with the boxes of its phrases.

    Raises:
        SourceError: it has no sentences.
    """
    files = sorted((path / "Sentences").glob("*.txt"))
    if not files:
        raise SourceError(f"{path / 'Sentences'}: no files of sentences (.txt)")

    def records() -> Iterator[Record | Refused]:
        number = 0
        for file in files:
            try:
                lines = read_bytes(file, _SENTENCES).decode().split("\n")
                boxes = _boxes(path / "Annotations" / f"{file.stem}.xml")
            except (OSError, ValueError, ElementTree.ParseError) as error:
                number += 1
                about = getattr(error, "strerror", None) or str(error)
                yield Refused(number, file.name, printable(f"cannot be read: {about}"))
                continue
            for index, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                number += 1
                at = f"{file.name}, line {index}"
                values = {"image": file.stem, "id": f"{file.stem}-{index}"}
                try:
                    text, regions = _sentence(line, boxes)
                except ValueError as error:
                    yield Refused(number, at, str(error))
                    continue
                size = boxes.size if boxes else None
                yield Record(number, {**values, "text": text, "regions": regions, "size": size}, at)

    note = "a row is a sentence"
    return Table(
        "Flickr30k Entities", path, list(_ROLES), records, path, roles=_ROLES, true=True,
        notes=[note],
    )  # fmt: skip


class _Boxes(NamedTuple):
    """The size of a picture, and by the id of an entity its boxes in pixels."""

    size: tuple[int, int]
    of: Mapping[str, list[list[int]]]


class _NoDoctype(ElementTree.TreeBuilder):
    """Refuses a document type, in which entities could be declared that expand without end."""

    def doctype(self, *_: str | None) -> None:
        """Called by the parser where a document type begins, before it declares anything."""
        raise ValueError("it has a document type, which audit does not read")


def _boxes(path: Path) -> _Boxes | None:
    """The boxes of a picture; None if the data set has no file for it."""
    if not path.exists():
        return None
    parser = ElementTree.XMLParser(target=_NoDoctype())
    parser.feed(read_bytes(path, _XML))
    root = parser.close()
    size = tuple(_number(root, f"size/{side}", path.name) for side in ("width", "height"))
    found: dict[str, list[list[int]]] = {}
    for each in root.iterfind("object"):
        names = [name.text or "" for name in each.iterfind("name")]
        if each.find("bndbox") is not None:
            sides = ("xmin", "ymin", "xmax", "ymax")
            box = [_number(each, f"bndbox/{side}", path.name) for side in sides]
            for name in names:
                found.setdefault(name.strip(), []).append(box)
    return _Boxes((size[0], size[1]), found)


def _number(element: ElementTree.Element, place: str, file: str) -> int:
    text = (element.findtext(place) or "").strip()
    if not re.fullmatch(r"-?\d{1,9}", text, re.ASCII):
        raise ValueError(f"{file}: {place} is {shortened(text)}, not a whole number")
    return int(text)


def _sentence(line: str, boxes: _Boxes | None) -> tuple[str, dict[str, list[list[int]]]]:
    """The sentence without its marks, and by phrase the boxes of what it names.

    Raises:
        ValueError: a mark is not complete, or a box is not one.
    """
    regions: dict[str, list[list[int]]] = {}
    owner: dict[str, str] = {}
    for entity, _, phrase in _PHRASE.findall(line):
        found = boxes.of.get(entity, []) if boxes else []
        if not found:
            continue
        name, again = legal_region(phrase), 2
        while owner.get(name, entity) != entity:  # two men in a sentence are two regions
            name, again = f"{legal_region(phrase)[:50]} {again}", again + 1
        owner[name] = entity
        regions[name] = found
    text = _PHRASE.sub(lambda m: m[3], line).strip()
    if "[/EN#" in text:
        raise ValueError("a mark [/EN#…] is not complete")
    return text, regions
