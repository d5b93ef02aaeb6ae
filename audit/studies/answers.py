"""Audits cases under a condition, in this process or, for other instructions, in one of its own.

``python -m audit.studies.answers JOB RESULT`` is that process: it reads what to audit from one file
and writes what it found into another.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, TypeAdapter

from audit.base.errors import AuditError, RunError
from audit.base.files import write_json
from audit.base.instructions import InstructionSet
from audit.base.records import EDITED, MEGABYTE, CaseName, Figure, read_record
from audit.base.settings import SERVER
from audit.cases.heads import with_heads
from audit.cases.loading import Case, load_cases
from audit.gate.drift import drifting, figure_key
from audit.gate.outcomes import Outcome
from audit.gate.tolerances import PROBABILITY, UNSAID
from audit.maps.keys import method_of
from audit.maps.spec import Place
from audit.models.kit.stack import stack
from audit.models.protocol import Model
from audit.models.registry import load_model
from audit.runs.runner import audit_cases
from audit.studies.conditions import Condition, environment

_PATIENCE = 3600.0
"""Seconds that a process of its own may take for its conditions."""


class Named(NamedTuple):
    """A figure that can drift: the method of its map, its metric, its name in drift rows."""

    method: str
    metric: str
    name: str


@dataclass(frozen=True)
class Answered:
    """What a case gave under one condition: its label, and every figure that can drift."""

    label: str
    figures: Mapping[Named, float | str]


Answers = Mapping[str, Answered]
"""By case."""


@dataclass
class Asking:
    """Audits the same cases of one model under one condition after another.

    Attributes:
        source: what the user wrote for the model.
        heads: the chosen heads, for cases that ask for them.
        options: of the model's own kind, without an engine, which a condition names.
    """

    source: str
    cases: Sequence[Case]
    heads: Sequence[str] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    _models: dict[tuple[str, str, str], Model] = field(default_factory=dict)
    _elsewhere: dict[Condition, Answers] = field(default_factory=dict)

    def model(self, condition: Condition) -> Model:
        """The model as the condition needs it, loaded once."""
        # Where and in which precision a server computes is its own affair.
        served = condition.device == SERVER
        where = ("cpu", "float32") if served else (condition.device, condition.dtype)
        kind = (*where, condition.engine)
        if kind not in self._models:
            engine = {"engine": condition.engine} if condition.engine else {}
            options: dict[str, Any] = {**self.options, **engine}
            self._models[kind] = load_model(self.source, *kind[:2], **options)
        return self._models[kind]

    def answers(self, condition: Condition, asked: Sequence[Condition]) -> Answers:
        """What every case gives under a condition.

        Args:
            asked: all conditions; those with the same instructions share a process.

        Raises:
            RunError: a case could not be audited, or the process of its own failed.
            ModelError: the model cannot be loaded so.
        """
        if not condition.instructions:
            return self._here(condition)
        if condition not in self._elsewhere:
            same = [c for c in asked if c.instructions == condition.instructions]
            found = _in_a_process(self, same)
            self._elsewhere.update(zip(same, found, strict=True))
        return self._elsewhere[condition]

    def _here(self, condition: Condition) -> Answers:
        model, size = self.model(condition), condition.batch_size or len(self.cases)
        cases = [with_heads(case, self.heads) for case in self.cases]
        with _threads_set(condition.threads):
            outcomes = [each.outcome for each in audit_cases(cases, model, batch_size=size)]
        for outcome in outcomes:
            if not outcome.label:
                raise RunError(f"{outcome.case} ({condition.title}): {outcome.sentence}")
        return {each.case: Answered(each.label, _figures(each)) for each in outcomes}


def _threads_set(number: int | None) -> AbstractContextManager[None]:
    if number is None:
        return nullcontext()  # a server is asked without torch
    from audit.models.kit.hardware import threads_set  # noqa: PLC0415  torch: only to ask

    return threads_set(number)


def _figures(outcome: Outcome) -> dict[Named, float | str]:
    label = outcome.expected or outcome.label  # a variant may leave open which label is right
    found: dict[Named, float | str] = {
        Named(PROBABILITY, PROBABILITY, PROBABILITY): outcome.probabilities[label]
    }
    if outcome.unsaid is not None:
        found[Named(PROBABILITY, UNSAID, UNSAID)] = outcome.unsaid
    for map_key, values in drifting(outcome):
        for name, value in values.items():
            key = figure_key(name, map_key, outcome)
            found[Named(method_of(map_key), key.metric, str(key))] = value
    return found


class _Condition(BaseModel):
    model_config = EDITED

    device: str
    dtype: str
    threads: int | None
    batch_size: int
    engine: str


class _Job(BaseModel):
    """What a process of its own is to do; ``cases`` are ids, by file."""

    model_config = EDITED

    source: str
    threads: int
    capability: str
    cases: dict[str, list[str]]
    heads: list[Place]
    conditions: list[_Condition]
    options: dict[str, str] = {}


class _Value(BaseModel):
    model_config = EDITED

    method: str
    metric: str
    name: str
    value: Figure


class _Answer(BaseModel):
    model_config = EDITED

    label: str
    figures: list[_Value]


class _Result(BaseModel):
    """What it found, in the order of the conditions; or why it could not."""

    model_config = EDITED

    error: str = ""
    answers: list[dict[CaseName, _Answer]] = []


@cache
def _job() -> TypeAdapter[_Job]:
    return TypeAdapter(_Job)


@cache
def _result() -> TypeAdapter[_Result]:
    return TypeAdapter(_Result)


def _in_a_process(asking: Asking, same: Sequence[Condition]) -> list[dict[str, Answered]]:
    """The answers under conditions that share their instructions."""
    from audit.models.kit.hardware import threads  # noqa: PLC0415  torch: only to ask

    held: InstructionSet = same[0].instructions
    env = environment(held)
    by_file = groupby(asking.cases, key=lambda case: str(case.file.resolve()))
    files: dict[str, list[str]] = {}
    for file, some in by_file:
        files.setdefault(file, []).extend(case.id for case in some)
    with tempfile.TemporaryDirectory(prefix="audit-noise-") as temporary:
        job, result = Path(temporary) / "job.json", Path(temporary) / "result.json"
        write_json(
            job,
            {
                "source": asking.source,
                "options": dict(asking.options),
                "threads": threads(),
                "capability": env["ATEN_CPU_CAPABILITY"],
                "cases": files,
                "heads": list(asking.heads),
                "conditions": [{k: getattr(c, k) for k in _Condition.model_fields} for c in same],
            },
        )
        command = [sys.executable, "-m", "audit.studies.answers", str(job), str(result)]
        try:
            done = subprocess.run(
                command, env=env, capture_output=True, text=True, check=False, timeout=_PATIENCE
            )
        except subprocess.TimeoutExpired:
            raise RunError(f"{held} instructions: no answer after {_PATIENCE:.0f} s") from None
        try:
            found = read_record(result, _result(), RunError, limit=512 * MEGABYTE, follow=False)
        except FileNotFoundError:
            last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
            raise RunError(
                f"{held} instructions: the process ended with {done.returncode}: {last[:200]}"
            ) from None
    if found.error:
        raise RunError(f"{held} instructions: {found.error}")
    if len(found.answers) != len(same) or any(
        set(each) != {case.id for case in asking.cases} for each in found.answers
    ):
        raise RunError(f"{held} instructions: the process did not answer what it was asked")
    return [
        {
            case: Answered(
                answer.label, {Named(v.method, v.metric, v.name): v.value for v in answer.figures}
            )
            for case, answer in each.items()
        }
        for each in found.answers
    ]


def _answer(job: _Job) -> dict[str, Any]:
    """What a job asks for, as plain data."""
    from audit.models.kit.hardware import threads_set  # noqa: PLC0415  torch: only to ask

    here = stack("cpu")["instruction set"].lower()
    if job.capability not in ("default", here):
        raise RunError(f"torch computes with {here}, not with {job.capability}")
    cases = [
        case
        for file, ids in job.cases.items()
        for case in load_cases(Path(file))
        if case.id in set(ids)
    ]
    asking, found = Asking(job.source, cases, job.heads, job.options), []
    for each in job.conditions:
        condition = Condition(**each.model_dump())
        with threads_set(condition.threads or job.threads):
            answers = asking.answers(condition, ())
        found.append(
            {
                case: {
                    "label": answer.label,
                    "figures": [
                        {
                            **named._asdict(),
                            "value": {"undefined": value} if isinstance(value, str) else value,
                        }
                        for named, value in answer.figures.items()
                    ],
                }
                for case, answer in answers.items()
            }
        )
    return {"answers": found}


def main(job: Path, result: Path) -> None:
    """Do what ``job`` says, and write what was found, or why nothing was, into ``result``."""
    try:
        found = _answer(read_record(job, _job(), RunError))
    except AuditError as error:
        found = {"error": str(error)}
    write_json(result, found, indent=None)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
