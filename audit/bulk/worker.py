"""Asks a model about the questions of a shard and writes the answers: one process of a bulk audit.

The same class works alone and as an actor of Ray.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from audit.base.errors import MapError, Unfinished, in_a_sentence, nearest
from audit.base.files import write_atomically
from audit.bulk.format import (
    ACCOUNT,
    KEPT,
    MAP_SCHEMA,
    MAPS,
    PROBABILITY,
    ROWS,
    figure_columns,
    row_schema,
)
from audit.bulk.job import Job, check_labels, claim, record_for, specs_for
from audit.bulk.opening import Opened, in_batches
from audit.bulk.plan import PLAN
from audit.bulk.questions import Question, rank, read_questions
from audit.cases.case import Case
from audit.maps.reading import Map
from audit.maps.spec import MapSpec
from audit.maps.trace import NOTHING_MORE, Trace
from audit.models.registry import load_model
from audit.runs.asking import Answer, answer_cases
from audit.runs.figures import measure_maps

Row = dict[str, Any]
Told = Callable[[int, int], None]
"""Told of rows that are done, and how many of them failed."""

_ENOUGH = 8
"""If a model has answered nothing and so many rows failed through its fault, it is broken."""


@dataclass
class Asked:
    """A row as it is stored, and its maps."""

    row: Row
    maps: list[Row]


class Worker:
    """A loaded model, and what it has to be asked.

    Attributes:
        model, specs, record: the model, the maps that are measured, and the folder's record.
    """

    def __init__(self, job: Job) -> None:
        """Load the model and hold it against the folder's record.

        Raises:
            ModelError: it cannot be loaded, or answers with other labels than the source expects.
            BulkError: the folder's rows are of another audit, or a map cannot be read.
        """
        self.job = job
        self.model = load_model(job.model, job.device, job.dtype, job.threads, **job.options)
        check_labels(job, self.model.labels)
        self.specs = specs_for(job, self.model)
        self.record = claim(job.out, record_for(job, self.model, self.specs))
        self._pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1, job.threads or 8))
        self._columns = {
            at: name for name, at in figure_columns(self.record.maps, self.record.regions).items()
        }
        self._source, self._spec = Path(job.source), self.specs[0] if self.specs else MapSpec()
        self._good: tuple[Case, Image.Image] | None = None
        self._failed = 0

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns of the rows."""
        return row_schema(self.record)

    def part(self, name: str, tell: Told | None = None) -> tuple[int, int]:
        """Ask what is left of a shard and write it.

        Returns:
            How many rows there are, and how many of them failed.

        Raises:
            Unfinished: the model answers nothing any more; nothing of the shard is written.
        """
        out = self.job.out
        path = out / ROWS / f"{name}.parquet"
        if path.exists():  # by a process that was believed dead
            errors = pq.read_table(path, columns=["error"])["error"]
            return len(errors), len(errors) - errors.null_count
        questions = read_questions(out / PLAN / f"{name}.parquet")
        found = self.ask(questions, tell)
        maps = [each for asked in found for each in asked.maps]
        (out / ACCOUNT).unlink(missing_ok=True)  # it was about fewer rows
        if maps:
            # Before the rows: who finds those may rely on the maps.
            _write(out / MAPS / f"{name}.parquet", maps, MAP_SCHEMA)
        _write(path, [asked.row for asked in found], self.schema)
        return len(found), sum(asked.row["error"] is not None for asked in found)

    def ask(
        self, questions: Sequence[Question], tell: Told | None = None, batch: int | None = None
    ) -> list[Asked]:
        """The model's answers; an error of a row is what becomes of it, and of no other.

        Raises:
            Unfinished: the model answers nothing any more.
        """
        if self.job.joined:
            questions = [each.joined() for each in questions]
        found: list[Asked] = []
        size = batch or self.record.batch
        places = (self.job.root, self.job.out)
        for some in in_batches(questions, size, places, self._pool):
            asked = self._batch(some, size)
            found += asked
            if tell is not None:
                tell(len(asked), sum(each.row["error"] is not None for each in asked))
        return found

    def _batch(self, some: Sequence[tuple[Question, Opened]], size: int) -> list[Asked]:
        ready: list[tuple[Question, Opened, Case]] = []
        found: dict[str, Asked] = {}
        for question, picture in some:
            try:
                ready.append((question, picture, self._case(question, picture)))
            except _Wrong as wrong:
                found[question.id] = _failure(question, picture, wrong.kind, str(wrong))
            except Exception as error:
                kind = type(error).__name__
                found[question.id] = _failure(question, picture, kind, in_a_sentence(error))
        cases = [case for _, _, case in ready]
        pictures = {case.id: image for _, (image, *_), case in ready if image is not None}
        answers = self._answers(cases, pictures, size)
        for (question, picture, case), answer in zip(ready, answers, strict=True):
            found[question.id] = self._asked(question, picture, case, answer)
        return [found[question.id] for question, _ in some]

    def _case(self, question: Question, picture: Opened) -> Case:
        if picture.image is None:
            raise _Wrong(picture.kind, picture.error)
        labels = self.model.labels
        if question.expected and question.expected not in labels:
            hint = nearest(question.expected, labels)
            raise _Wrong("LabelError", f"the model has no label {question.expected!r}; {hint}")
        return question.case(self._source, picture.image.size, self._spec)

    def _answers(
        self, cases: Sequence[Case], pictures: Mapping[str, Image.Image], size: int
    ) -> list[Answer]:
        """The model's answers, if it can still answer anything."""
        if not cases:
            return []

        def ask(some: Sequence[Case], pictures: Mapping[str, Image.Image]) -> list[Answer]:
            return answer_cases(
                some, self.model, size, also=NOTHING_MORE, maps=lambda _: self.specs,
                picture=lambda case: pictures[case.id],
            )  # fmt: skip

        answers = ask(cases, pictures)
        good = next((n for n, answer in enumerate(answers) if not answer.error), None)
        if good is not None:
            self._good = cases[good], pictures[cases[good].id]
        faults = [answer for answer in answers if _is_fault(answer)]
        self._failed += len(faults)
        if self._good is None and self._failed >= _ENOUGH:
            raise Unfinished(
                f"{self.job.model}: the model failed at all of the first {self._failed} rows; at "
                f"the last one: {faults[-1].error}"
            )
        if self._good is not None and _is_fault(answers[-1]):
            # A GPU that has failed once answers nothing any more, and every row would be blamed.
            case, picture = self._good
            (again,) = ask([case], {case.id: picture})
            if again.error:
                raise Unfinished(
                    f"{self.job.model}: the model answers no more, not even what it answered "
                    f"before: {again.error}"
                )
        return answers

    def _asked(self, question: Question, picture: Opened, case: Case, answer: Answer) -> Asked:
        if answer.evidence is None:
            return _failure(question, picture, answer.kind, answer.error, answer.seconds)
        trace = answer.evidence.trace
        try:
            maps, figures, _ = measure_maps(self.specs, case.regions, answer.evidence)
        except Exception as error:
            kind = type(error).__name__
            return _failure(question, picture, kind, in_a_sentence(error), answer.seconds)
        row = _row(question, picture)
        row |= {"label": trace.label, "unsaid": trace.unsaid, "seconds": answer.seconds}
        row |= {f"{PROBABILITY}{label}": p for label, p in trace.probabilities.items()}
        undefined: dict[str, str] = {}
        for key, values in figures.items():
            for name, value in values.items():
                column = self._columns[key, name]
                if isinstance(value, str):
                    undefined[column] = value
                else:
                    row[column] = value
        if undefined:
            row["undefined"] = json.dumps(undefined, ensure_ascii=False)
        if question.expected:
            row["right"] = trace.label == question.expected
        why = "wrong" if row["right"] is False else ""
        if not why and rank(self.record.seed, question.id) < self.record.threshold:
            why = "sample"
        kept = [_map_row(question, key, p, why, trace) for key, p in maps.items()] if why else []
        return Asked(row, kept)


def _is_fault(answer: Answer) -> bool:
    """Whether the model is to blame for an error, or the map that every row is asked for."""
    return bool(answer.fault) or answer.kind == MapError.__name__


class _Wrong(Exception):
    """A row that the model is not asked about, with the kind of its error."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def _row(question: Question, picture: Opened) -> Row:
    """The columns that a row has with and without an answer."""
    return {
        "id": question.id,
        "position": question.position,
        "asked": question.asked,
        "picture": question.picture,
        "picture.digest": picture.digest or None,
        "text": question.text,
        "premise": question.premise,
        "expected": question.expected or None,
        "right": None,
        "error": None,
        "tags": list(question.tags),
        **{f"{KEPT}{name}": value for name, value in question.kept.items()},
    }


def _failure(
    question: Question, picture: Opened, kind: str, message: str, seconds: float = 0.0
) -> Asked:
    row = _row(question, picture)
    return Asked({**row, "error": kind, "message": message, "seconds": seconds}, [])


def _map_row(question: Question, key: str, p: Map, why: str, trace: Trace) -> Row:
    return {
        "id": question.id,
        "map": key,
        "why": why,
        "rows": trace.grid.rows,
        "cols": trace.grid.cols,
        "view": list(trace.view),
        "cells": p.astype("float32").ravel().tolist(),
    }


def _write(path: Path, rows: Sequence[Row], schema: pa.Schema) -> None:
    """Write a Parquet file whole or not at all."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema), sink, compression="zstd")
    write_atomically(path, sink.getvalue().to_pybytes())
