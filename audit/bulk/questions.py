"""A row as it travels from the source to the process that asks the model: paths, no pixels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from audit.base.errors import ImageError
from audit.base.geometry import Box, parse_box
from audit.cases.case import Case
from audit.cases.expectations import Expect
from audit.maps.spec import MapSpec
from audit.sources.ids import written_bytes

JOINED = "regions"
"""The name of the one region that a row has, if the source has too many names of regions."""

_BITS = (1 << 64) - 1


@dataclass(frozen=True)
class Question:
    """One row.

    Attributes:
        position: its place in the source: the line or row that an editor shows.
        where: that place in words, for messages: ``line 12``.
        picture: relative to the job's root, unless it is absolute.
        within: whether it is relative to the bulk folder instead: the source held it in itself.
        written_id: the id as the source writes it; empty if it has none.
        expected: the label that is right; empty if nobody knows.
        regions: boxes as the source writes them, in fractions or pixels.
        size: width and height of the picture, if the source says them.
        kept: by name, other columns of the source.
    """

    id: str
    position: int
    where: str
    picture: str
    text: str
    premise: str | None = None
    truncate: bool = False
    expected: str = ""
    regions: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    tags: Sequence[str] = ()
    kept: Mapping[str, str] = field(default_factory=dict)
    written_id: str = ""
    within: bool = False

    @property
    def key(self) -> str:
        """What must be unique: ids that the source gives, apart from those that are made."""
        return f"={self.written_id}" if self.written_id else self.id

    @property
    def asked(self) -> int:
        """64-bit hash, signed, of what is asked and what is right."""
        regions = {name: [list(box) for box in boxes] for name, boxes in self.regions.items()}
        told = [self.picture, self.text, self.premise, self.truncate, self.expected, regions]
        number = hash_of(json.dumps(told, sort_keys=True))
        return number - (1 << 64) if number >> 63 else number

    def joined(self) -> Question:
        """The same with all its regions as one."""
        boxes = [box for each in self.regions.values() for box in each]
        return replace(self, regions={JOINED: boxes} if boxes else {})

    def case(self, source: Path, size: tuple[int, int], spec: MapSpec) -> Case:
        """The row as the functions of a pytest session take it.

        Args:
            source: stands for the file of the case, and of its picture, which was opened before.
            size: width and height of the picture, in pixels.

        Raises:
            ImageError: the source says another size, or a box is not one of this picture.
        """
        if self.size is not None and self.size != size:
            raise ImageError(
                f"the source says {self.size[0]} x {self.size[1]} pixels, the picture has "
                f"{size[0]} x {size[1]}"
            )
        return Case(
            id=self.id,
            file=source,
            line=self.position,
            label_at=(0, 0),
            maps_at=(),
            image=source,
            image_digest="",
            file_digest="",
            image_size=size,
            text=self.text,
            premise=self.premise,
            regions={name: self._boxes(name, size) for name in self.regions},
            tags=tuple(self.tags),
            map=spec,
            expect=Expect(label=self.expected),
            drift={},
            truncate=self.truncate,
        )

    def _boxes(self, name: str, size: tuple[int, int]) -> tuple[Box, ...]:
        try:
            return tuple(parse_box(box, *size) for box in self.regions[name])
        except ValueError as error:
            raise ImageError(f"region {name!r}: {error}") from None


def hash_of(text: str) -> int:
    """64 bits of a text's BLAKE2b."""
    return int.from_bytes(hashlib.blake2b(written_bytes(text), digest_size=8).digest(), "big")


def unicode_of(text: str) -> str:
    """``text`` as a file can hold it, with half a character written as its number.

    >>> unicode_of("caf\u00e9"), unicode_of("\\ud800")
    ('caf\u00e9', '\\\\ud800')
    """
    return text.encode("utf-8", "backslashreplace").decode()


def rank(seed: int, name: str) -> float:
    """A number from 0 to 1 for a row, which depends on the seed and its id alone.

    >>> 0 <= rank(1, "birds") < 1, rank(1, "birds") == rank(1, "birds")
    (True, True)
    """
    return hash_of(f"{seed} {name}") / (_BITS + 1)


_SCHEMA = pa.schema([("id", pa.string()), ("position", pa.int64()), ("rest", pa.string())])


def write_questions(questions: Iterable[Question]) -> bytes:
    """Questions as the content of a Parquet file."""
    rows = []
    for each in questions:
        rest = dict(vars(each))
        rows.append({"id": rest.pop("id"), "position": rest.pop("position"), "rest": _json(rest)})
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, _SCHEMA), sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False)  # in ASCII: an id may have half a character


def read_questions(path: Path) -> list[Question]:
    """The questions of a file that :func:`write_questions` made."""
    found = []
    for row in pq.read_table(path).to_pylist():
        rest = json.loads(row["rest"])
        size = rest.pop("size")
        found.append(Question(row["id"], row["position"], size=size and (size[0], size[1]), **rest))
    return found
