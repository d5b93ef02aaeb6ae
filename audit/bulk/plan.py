"""Reads the source once before any model is loaded: checks ids, and plans what is left to ask.

The source is cut by position into shards. For each shard of which rows are not written yet, a file
of questions is put into ``plan/``. Its name, and that of the file of answers, comes from the
shard's number and the ids of these rows: a process that was believed dead writes the same file
again, and not a second one.
"""

from __future__ import annotations

import heapq
import itertools
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from audit.base.errors import BulkError
from audit.base.files import counted, digest, to_json, write_atomically
from audit.bulk.format import REFUSED, ROWS, BulkFolder
from audit.bulk.questions import Question, hash_of, rank, write_questions

PLAN = "plan"
SAMPLE = "sample.parquet"
"""The rows of which it is measured how far answers move if other rows are in their batch."""

IN_SAMPLE = 32

MOST_REGIONS = 64
"""With more names of regions than this, all regions of a row are measured as one."""

_MOST_LABELS = 1000
_MOST_KEPT = 1000  # JSON may have other keys in every row
_TOLD = 3

Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Refusal:
    """A row of the source that cannot be asked.

    Attributes:
        position: see :class:`audit.bulk.questions.Question`.
        where: the place in words.
        reason: why, in one sentence.
    """

    position: int
    where: str
    reason: str


Rows = Callable[[], Iterator[Question | Refusal]]
"""Reads a source from its start; each call gives the same rows in the same order."""


@dataclass(frozen=True)
class Part:
    """What is left to ask of one shard.

    Attributes:
        name: stem of the file of questions and of that of answers.
    """

    name: str
    rows: int


@dataclass
class Plan:
    """What a source holds, and what is left to ask.

    Attributes:
        parts: in the order of the source.
        read: rows of the source.
        refused: of these, rows that cannot be asked.
        earlier: of these, rows that are written already.
        regions: names of regions in the order of the alphabet.
        labels: the labels that the source expects; no more than some.
    """

    parts: list[Part] = field(default_factory=list)
    read: int = 0
    refused: int = 0
    earlier: int = 0
    regions: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)

    @property
    def rows(self) -> int:
        """Rows that can be asked."""
        return self.read - self.refused

    @property
    def left(self) -> int:
        """Rows that are still to be asked."""
        return sum(part.rows for part in self.parts)


_KNOWN = pa.schema([("id", pa.string()), ("asked", pa.int64())])


@dataclass(frozen=True)
class Written:
    """The rows that a folder holds: hashes of ids in order, and with each what was asked."""

    ids: Hashes
    asked: NDArray[np.int64]

    def has(self, ids: Hashes) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
        """Which ids are there, and their places."""
        if not len(self.ids):
            return np.zeros(len(ids), bool), np.zeros(len(ids), np.intp)
        places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return self.ids[places] == ids, places


def written_rows(folder: BulkFolder) -> Written:
    """The rows that are in a folder; sixteen bytes of memory for each.

    Raises:
        BulkError: a file is damaged, or a row is there twice.
    """
    ids, asked = array("Q"), array("q")
    for path in folder.files(ROWS):
        try:
            table = pq.read_table(path, columns=["id", "asked"]).cast(_KNOWN)
            if table["id"].null_count or table["asked"].null_count:
                raise ValueError("a row has no id")
        except (OSError, ValueError, pa.ArrowException) as error:
            raise BulkError(f"{path}: damaged ({error}): remove it and run again") from None
        ids.extend(hash_of(each) for each in table["id"].to_pylist())
        asked.extend(table["asked"].to_pylist())
    hashes = np.frombuffer(ids, np.uint64) if ids else np.zeros(0, np.uint64)
    order = np.argsort(hashes, kind="stable")
    found = Written(
        hashes[order], np.frombuffer(asked, np.int64)[order] if asked else np.zeros(0, np.int64)
    )
    if (found.ids[1:] == found.ids[:-1]).any():
        raise BulkError(f"{folder.folder}: a row is there twice: start again in an empty folder")
    return found


def make_plan(rows: Rows, out: Path, shard: int, seed: int) -> Plan:
    """Read a source, check its ids, and write down what is left to ask.

    Of each row, eight bytes stay in memory here, and what the source keeps of its ids.

    Raises:
        BulkError: an id occurs twice; a row was asked otherwise before; the folder holds rows
            that the source does not have; or there are too many columns to keep.
    """
    written, plan = written_rows(BulkFolder(out)), Plan()
    seen, matched = array("Q"), np.zeros(len(written.ids), bool)
    sample: list[tuple[float, str, int, Question]] = []
    count, folder = itertools.count(), out / PLAN
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / REFUSED).open("w", encoding="utf-8") as refused:
        for number, block in _blocks(rows(), shard):
            questions = [each for each in block if isinstance(each, Question)]
            for each in block:
                if isinstance(each, Refusal):
                    line = {"row": each.position, "where": each.where, "reason": each.reason}
                    refused.write(to_json(line, None))
            ids = np.array([hash_of(each.id) for each in questions], np.uint64)
            seen.extend(hash_of(each.key) for each in questions)
            there, places = written.has(ids)
            matched[places[there]] = True
            if there.any():
                _refuse_changed(questions, there, places, written)
            plan.read += len(block)
            plan.refused += len(block) - len(questions)
            plan.earlier += int(there.sum())
            for each in questions:
                _take_note(plan, each)
                # Questions have no order, and an id may be there twice, which is refused below.
                entry = (-rank(seed, each.id), each.id, next(count), each)
                (heapq.heappush if len(sample) < IN_SAMPLE else heapq.heappushpop)(sample, entry)
            left = [each for each, known in zip(questions, there, strict=True) if not known]
            if left:
                name = f"part-{number:08d}-{digest(*(each.id for each in left))[:16]}"
                write_atomically(folder / f"{name}.parquet", write_questions(left), durable=False)
                plan.parts.append(Part(name, len(left)))
    _refuse_twice(rows, np.asarray(seen, np.uint64))
    if not matched.all():
        _refuse_others(BulkFolder(out), written, matched)
    chosen = sorted((each for *_, each in sample), key=lambda each: each.position)
    write_atomically(folder / SAMPLE, write_questions(chosen), durable=False)
    (folder / REFUSED).replace(out / REFUSED)
    return plan


def _take_note(plan: Plan, each: Question) -> None:
    if len(plan.regions) <= MOST_REGIONS:
        plan.regions.update(each.regions)
    plan.kept.update(each.kept)
    if len(plan.kept) > _MOST_KEPT:
        raise BulkError(
            f"{each.where}: up to here there are more than {_MOST_KEPT:,} other columns, and each "
            "is one of the results: name those to keep with --keep"
        )
    if each.expected and len(plan.labels) < _MOST_LABELS:
        plan.labels.add(each.expected)


def _blocks(
    rows: Iterable[Question | Refusal], shard: int
) -> Iterator[tuple[int, list[Question | Refusal]]]:
    """The rows of each shard, with its number."""
    block: list[Question | Refusal] = []
    number = 0
    for row in rows:
        block.append(row)
        if len(block) == shard:
            yield number, block
            block, number = [], number + 1
    if block:
        yield number, block


def _refuse_changed(
    questions: Sequence[Question],
    there: NDArray[np.bool_],
    places: NDArray[np.intp],
    written: Written,
) -> None:
    for known, place, each in zip(there, places, questions, strict=True):
        if known and written.asked[place] != each.asked:
            raise BulkError(
                f"{each.where}: {each.id!r} was asked otherwise before (another picture, text, "
                "label or region): write to another folder, or restore the source"
            )


def _refuse_twice(rows: Rows, seen: Hashes) -> None:
    """Refuse ids that occur twice; only if hashes do, the source is read again to tell them."""
    ordered = np.sort(seen)
    again = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
    if not again:
        return
    first: dict[int, Question] = {}
    lines = []
    for row in rows():
        if isinstance(row, Question) and (key := hash_of(row.key)) in again:
            other = first.setdefault(key, row)
            if other is row:
                continue
            if other.key == row.key:
                name = row.written_id or row.id
                lines.append(f"{row.where}: the id {name!r} is also that of {other.where}")
            else:
                # Three times in a million sources of ten million rows.
                lines.append(
                    f"{row.where}: the ids {row.id!r} and {other.id!r} have the same 64-bit hash: "
                    "rename one"
                )
    more = [f"and {counted(len(lines) - _TOLD, 'more id')}"] if len(lines) > _TOLD else []
    raise BulkError("\n".join(["ids must be unique", *lines[:_TOLD], *more]))


def _refuse_others(folder: BulkFolder, written: Written, matched: NDArray[np.bool_]) -> None:
    strange = set(written.ids[~matched].tolist())
    named: list[str] = []
    for batch in folder.batches_of(["id"]):
        named += [each for each in batch["id"].to_pylist() if hash_of(each) in strange][:_TOLD]
        if len(named) >= _TOLD:
            break
    raise BulkError(
        f"{folder.folder}: it holds {counted(len(strange), 'row')} that the source does not have "
        f"({', '.join(named[:_TOLD])}): write to another folder"
    )
