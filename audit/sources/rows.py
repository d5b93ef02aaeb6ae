"""What is read from a source: rows that can be asked, rows that cannot, and how to read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

Box = Sequence[int | float]
"""Left, top, right and bottom, as in a case file: whole pixels, or fractions with a point."""

Plain = str | int | float | bool
"""A value of a column that is kept, to slice by."""


@dataclass(frozen=True)
class Options:
    """How a source is read; empty values leave it to what is known of the source.

    Attributes:
        columns: by role (see :data:`audit.sources.columns.ROLES`), the name of its column.
        labels: by label as the source writes it, the label that the model must give. If there are
            any, no other labels are taken.
        label: the label of every row, instead of a column of them.
        label_needed: whether a source without labels is refused; else its rows have none.
        images: the folder that the pictures lie in; default: the source's own.
        split: the part of a data set that has several.
        template: the hypothesis about each category of a COCO picture.
        delimiter: what separates the columns of a CSV.
        encoding: how a CSV or TSV writes characters; UTF-8 if empty.
        boxes: how the column of regions writes a box: as in a case file if empty, else ``xyxy`` or
            ``xywh``, in pixels that need not be whole.
        limit: read only this many rows, the first ones.
        sample: read only this many rows, drawn by ``seed``; a smaller sample is part of a larger.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    label: str = ""
    label_needed: bool = True
    images: Path | None = None
    split: str = ""
    template: str = "there is {a category} in the picture"
    delimiter: str = ""
    encoding: str = ""
    boxes: str = ""
    limit: int | None = None
    sample: int | None = None
    seed: int = 0


class Record(NamedTuple):
    """A row as the source has it.

    Attributes:
        number: its place, from 1: the line or row that an editor or a spreadsheet shows.
        values: by column.
        at: its place in words, if the number alone does not say it.
    """

    number: int
    values: Mapping[str, Any]
    at: str = ""


@dataclass(frozen=True)
class Refused:
    """A row that cannot be asked.

    Attributes:
        number: see :class:`Record`.
        where: the place in words, such as ``row 12``.
        reason: why, in one sentence.
        label: its label as the source writes it, if that is why: it is not a known one.
    """

    number: int
    where: str
    reason: str
    label: str = ""


@dataclass(frozen=True)
class Row:
    """A row that can be asked, as far as that shows without opening its picture.

    Attributes:
        number, where: see :class:`Refused`.
        id: legal as the id of a case, and unique among the rows of the source.
        written_id: the id as the source writes it; empty if it has none.
        wanted_id: the id that it would have if no other were like it.
        picture: an existing file, or the content of one.
        picture_name: the picture as the source names it, for messages and names of files.
        label: the label that the model must give; None if the source has none.
        joined: whether spaces took the place of line breaks or tabs in its texts.
        regions: boxes by region; see :func:`audit.sources.pictures.opened` for the check.
        size: width and height of the picture in pixels, if the source says them.
        others: the other columns, as far as their values are plain.
    """

    number: int
    where: str
    id: str
    written_id: str
    picture: Path | bytes
    picture_name: str
    text: str
    label: str | None
    wanted_id: str = ""
    premise: str | None = None
    joined: bool = False
    regions: Mapping[str, Sequence[Box]] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    others: Mapping[str, Plain] = field(default_factory=dict)
