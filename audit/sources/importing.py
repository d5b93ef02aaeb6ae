"""Make a case file of a source's rows."""

from __future__ import annotations

import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from PIL import Image
from pydantic import ValidationError

from audit.base.errors import ImageError, SourceError, printable
from audit.base.files import counted, digest, read_bytes, write_atomically
from audit.base.images import MAX_BYTES as LARGEST_PICTURE
from audit.base.yamlfile import MAX_BYTES, MAX_NODES
from audit.cases.schema import CaseSpec
from audit.cases.writing import NewCase, case_file
from audit.sources.ids import legal
from audit.sources.pictures import check_boxes, image_of
from audit.sources.rows import Refused, Row


@dataclass(frozen=True)
class Renamed:
    """A case whose id is not what the source says.

    Attributes:
        where: the row's place in words.
        written: the id as the source writes it, or as it is made for a row that has none.
        legal: the same with legal characters only; it differs from ``id`` if others have it.
        id: the case's.
    """

    where: str
    written: str
    legal: str
    id: str


@dataclass
class Imported:
    """What became of the rows.

    Attributes:
        rows: how many were read.
        cases: how many became cases.
        pictures: how many different files the cases refer to.
        renamed: the cases whose ids are not what the source says.
        joined: the places of rows in whose texts spaces took the place of line breaks or tabs.
        labels: how many cases expect each label.
        refused: the rows that did not become cases.
        tags: by tag, how many cases have it for each value that it stands for; there are several
            values if they differ only in what a tag cannot have.
        untagged: columns of which no case has a tag.
    """

    rows: int = 0
    cases: int = 0
    pictures: int = 0
    renamed: list[Renamed] = field(default_factory=list)
    joined: list[str] = field(default_factory=list)
    labels: Counter[str] = field(default_factory=Counter)
    refused: list[Refused] = field(default_factory=list)
    tags: dict[str, dict[str, int]] = field(default_factory=dict)
    untagged: list[str] = field(default_factory=list)


def import_cases(
    rows: Iterable[Row | Refused],
    out: Path,
    *,
    about: str,
    copy: bool = False,
    tags: Sequence[str] = (),
) -> Imported:
    """Write the rows into a case file, unless none of them can be a case.

    Every picture is opened, and every case checked as it will be when it is loaded.

    Args:
        out: the case file; one that is there is replaced.
        about: a sentence for the head of the file.
        copy: whether to copy the pictures into a folder beside it; else it refers to them.
        tags: the columns whose values become tags, see :func:`tag`.

    Raises:
        SourceError: the rows cannot be read on, hold pictures and ``copy`` is not set, or are more
            than a case file can hold.
    """
    done, pictures, empty = Imported(), _Pictures(out, copy), set(tags)
    # The file is written at once, so its cases are held as texts.
    written, size, nodes = [case_file((), comments=[about])], 0, 0
    for row in rows:
        done.rows += 1
        case = row if isinstance(row, Refused) else _case(row, pictures, tags)
        if isinstance(case, Refused):
            done.refused.append(case)
            continue
        assert isinstance(row, Row)
        text = case_file([case]).partition("cases:\n")[2]
        size += len(text.encode())
        nodes += _nodes(case)
        if size > _MOST_BYTES or nodes > MAX_NODES - _HEAD:
            raise _full(out, done.cases)
        written.append(text)
        done.cases += 1
        if row.id != (said := row.written_id or row.wanted_id):
            done.renamed.append(Renamed(row.where, printable(said), row.wanted_id, row.id))
        if row.joined:
            done.joined.append(row.where)
        done.labels[case.label] += 1
        for column in tags:
            if (value := row.others.get(column, "")) != "":
                values = done.tags.setdefault(tag(column, value), {})
                told = printable(str(value))
                values[told] = values.get(told, 0) + 1
                empty.discard(column)
    done.untagged = [column for column in tags if column in empty]
    done.pictures = len(pictures.used)
    if done.cases:
        write_atomically(out, "".join(written).encode())
    return done


def refuse_too_many(rows: Iterable[Row | Refused], out: Path) -> None:
    """Refuse rows that are more than a case file can hold, before a picture is opened.

    Opening pictures takes most of the time of an import. That a file is full can also show later:
    here each case counts with the least that it needs.

    Raises:
        SourceError: they are more; or the rows cannot be read on.
    """
    cases = size = nodes = 0
    for row in rows:
        if isinstance(row, Refused):
            continue
        size += _LEAST_BYTES + len((row.id + row.text).encode())
        nodes += _nodes(row)
        if size > _MOST_BYTES or nodes > MAX_NODES - _HEAD:
            raise _full(out, cases)
        cases += 1


_HEAD = 10
"""Values of YAML that are left for what is not a case."""

_MOST_BYTES = MAX_BYTES - 10_000
_LEAST_BYTES = 60
"""Bytes of the keys of a case in its file, line ends and indents included."""


def _full(out: Path, cases: int) -> SourceError:
    return SourceError(
        f"{out}: {counted(cases, 'case')} fill a case file; choose some of the rows with --limit "
        "or --sample, or ask all of them with `audit bulk`, which needs no case file"
    )


def _nodes(case: NewCase | Row) -> int:
    """How many values of YAML a case has, of which a file may hold :data:`MAX_NODES`."""
    tags = 1 + len(case.tags) if isinstance(case, NewCase) and case.tags else 0
    regions = 1 + sum(1 + 5 * len(boxes) for boxes in case.regions.values()) if case.regions else 0
    return 6 + (case.premise is not None) + tags + regions


def tag(column: str, value: object) -> str:
    """The tag of the cases that have a value in a column; tags are identifiers.

    >>> tag("category", "hair drier"), tag("2nd", True)
    ('category_hair_drier', '_2nd_True')
    """
    found = re.sub(r"\W+", "_", f"{column}_{value}")[:_LONGEST_TAG].rstrip("_")
    return found if found.isidentifier() else f"_{found}"


_LONGEST_TAG = 60


def _case(row: Row, pictures: _Pictures, tags: Sequence[str]) -> NewCase | Refused:
    """The case of a row, or why it is none."""
    try:
        image = pictures.place(row)
        case = NewCase(
            id=row.id,
            image=image,
            text=row.text,
            label=row.label or "",
            premise=row.premise,
            tags=[tag(name, row.others[name]) for name in tags if row.others.get(name, "") != ""],
            regions=row.regions,  # type: ignore[arg-type]  # fractions are written like pixels
        )
        _check(case)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        reason = str(first["msg"]).removeprefix("Value error, ")
        where = ".".join(map(str, first["loc"]))
        return Refused(row.number, row.where, printable(f"{where}: {reason}"))
    except ImageError as error:
        return Refused(row.number, row.where, printable(str(error)))
    return case


def _check(case: NewCase) -> None:
    """Check a case as the loader does.

    Raises:
        ValidationError: it would refuse the case.
        ImageError: it would look for another picture.
    """
    spec = CaseSpec.model_validate(
        {
            "id": case.id,
            "image": case.image,
            "text": case.text,
            "premise": case.premise,
            "tags": list(case.tags),
            "regions": {name: [list(box) for box in of] for name, of in case.regions.items()},
            "expect": {"label": case.label},
        }
    )
    if spec.image != case.image:
        raise ImageError(f"{case.image!r}: a case file cannot name such a picture")


_ENDINGS = {"BMP": ".bmp", "GIF": ".gif", "JPEG": ".jpg", "TIFF": ".tif", "WEBP": ".webp"}


class _Pictures:
    """Opens the pictures of rows, each once, and says how the case file names them.

    Attributes:
        used: how the case file names the pictures that are in it.
    """

    def __init__(self, out: Path, copy: bool) -> None:
        self.used: set[str] = set()
        self._out, self._copy = out, copy
        self._folder = f"images/{legal(out.stem) or 'cases'}"
        self._copies: dict[str, str] = {}
        self._seen: dict[str | Path, tuple[str, tuple[int, int]] | str] = {}

    def place(self, row: Row) -> str:
        """The row's picture as the case file names it.

        Raises:
            ImageError: see :func:`audit.sources.pictures.image_of` and ``check_boxes``.
            SourceError: the picture is in the source, and is not to be copied.
        """
        if isinstance(row.picture, bytes) and not self._copy:
            raise SourceError("the pictures are in the source itself: copy them out with --copy")
        key = row.picture if isinstance(row.picture, Path) else digest(row.picture)
        if key not in self._seen:
            try:
                self._seen[key] = self._placed(row)
            except ImageError as error:
                self._seen[key] = str(error)
        found = self._seen[key]
        if isinstance(found, str):
            raise ImageError(found)
        name, size = found
        check_boxes(row, size)
        self.used.add(name)
        return name

    def _placed(self, row: Row) -> tuple[str, tuple[int, int]]:
        size = image_of(row).size
        if not self._copy:
            assert isinstance(row.picture, Path)
            # From where the case file really is: a link on the way would lead elsewhere.
            name = os.path.relpath(row.picture, self._out.parent.resolve())
            return PurePath(name).as_posix(), size
        data = row.picture
        if isinstance(data, Path):
            try:
                data = read_bytes(data, LARGEST_PICTURE)
            except OSError as error:
                raise ImageError(f"{row.picture_name}: cannot be read: {error.strerror}") from None
        content = digest(data)
        if content not in self._copies:
            self._copies[content] = self._copied(data, row.picture_name, content)
        return self._copies[content], size

    def _copied(self, data: bytes, called: str, content: str) -> str:
        """Copy a picture, and say how the case file names it."""
        with Image.open(io.BytesIO(data)) as image:
            ending = _ENDINGS.get(image.format or "", ".png")
        stem = legal(PurePath(called).stem)[:60] or "picture"
        name = f"{self._folder}/{stem}-{content[:10]}{ending}"
        if not (self._out.parent / name).exists():
            write_atomically(self._out.parent / name, data, durable=False)
        return name
