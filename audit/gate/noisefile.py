"""The form of ``noise.json``, which ``audit noise`` writes beside the baselines it belongs to.

Format 1, of version 0.1, has one floor over all conditions; format 2 also has one for each
precision and device class, and what every condition moved on the whole.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, TypeAdapter, model_validator

from audit.base.errors import BaselineError, nearest
from audit.base.instructions import CAPABILITY, INSTRUCTIONS, InstructionSet
from audit.base.records import EDITED, Count, ModelRecord, Positive, read_record
from audit.base.settings import DTYPES, UNKNOWN
from audit.maps.keys import spelled_twice
from audit.maps.methods import METHODS, canonical, nearest_method
from audit.metrics.registry import METRICS

NOISE_FORMAT = 2

PROBABILITY = "probability"
"""The method and the metric of the answer's own figure."""

UNSAID = "unsaid"
"""The metric of the probability that no label's answer has; it stands beside that of the label."""

MULTIPLE = 2.0
"""The tolerance is this many noise floors. A floor is the largest of some hundred deviations,
which is about three standard deviations; six leave room for larger ones."""

ENOUGH = 100
"""A floor is a tolerance only if it was taken from at least this many deviations. One of fewer may
be far too small, so it can only widen the default."""


def _method(value: str) -> str:
    if value != PROBABILITY and canonical(value) not in METHODS:
        raise ValueError(f"{value[:60]!r} is not a map; {nearest_method(value)}")
    return value


def _metric(value: str) -> str:
    known = (PROBABILITY, UNSAID, *METRICS)
    if value not in known:
        raise ValueError(f"{value[:60]!r} is not a metric; {nearest(value, known)}")
    return value


def _dtype(value: str) -> str:
    if value not in (*DTYPES, UNKNOWN):
        raise ValueError(f"{value[:20]!r} is not known; {nearest(value, DTYPES)}")
    return value


class FloorRecord(BaseModel):
    """The largest deviation of one metric, and where it was seen."""

    model_config = EDITED

    floor: Positive
    deviations: Count
    case: str = ""
    condition: str = ""


def _each_map_once(floors: _Floors) -> _Floors:
    """Version 0.1 had other names for some maps; in one file both would be one."""
    twice = spelled_twice(floors)
    if twice:
        raise ValueError(twice)
    return floors


_Floors = dict[
    Annotated[str, AfterValidator(_method)],
    dict[Annotated[str, AfterValidator(_metric)], FloorRecord],
]
FloorRecords = Annotated[_Floors, AfterValidator(_each_map_once)]
"""By the method of a map (``probability`` for the answer's own), then by metric."""


class ConditionRecord(BaseModel):
    """A condition under which noise was measured; version 0.1 had no engine and no instructions."""

    model_config = EDITED

    title: str
    device: Literal["cpu", "cuda", "server"]
    dtype: Annotated[str, AfterValidator(_dtype)]
    threads: Count | None = None
    batch_size: Count = 0
    engine: str = ""
    instructions: InstructionSet = ""


class NotRun(BaseModel):
    """A condition that the machine could not run."""

    model_config = EDITED

    title: str
    reason: str


class Flip(BaseModel):
    """A case whose label was another under a condition."""

    model_config = EDITED

    case: str
    condition: str
    labels: tuple[str, str]


class UndefinedRecord(BaseModel):
    """A figure that has a value under some conditions only."""

    model_config = EDITED

    case: str
    condition: str
    figure: str


class KindRecord(BaseModel):
    """The noise of one precision on one class of devices."""

    model_config = EDITED

    dtype: Annotated[str, AfterValidator(_dtype)]
    device: Literal["cpu", "cuda", "server"]
    floors: FloorRecords
    harmless: Annotated[
        dict[str, Positive],
        Field(description="By condition, the mean squared move of all figures, in floors."),
    ] = {}


class NoiseRecord(BaseModel):
    """``noise.json``; flips and what is undefined are there for people to read."""

    model_config = EDITED

    format: Literal[1, 2]
    floors: FloorRecords
    kinds: list[KindRecord] = []
    multiple: Positive = MULTIPLE
    cases: Count = 0
    date: str = ""
    model: ModelRecord = ModelRecord()
    stack: dict[str, str] = {}
    conditions: list[ConditionRecord] = []
    not_run: list[NotRun] = []
    flips: list[Flip] = []
    undefined: list[UndefinedRecord] = []

    @model_validator(mode="after")
    def _each_once(self) -> NoiseRecord:
        names = [(each.dtype, each.device) for each in self.kinds]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"kinds: {' on '.join(twice[0])} occurs twice")
        return self

    def measured(self, kind: KindRecord) -> dict[str, frozenset[str]]:
        """The values of what was varied for a kind, by the names that a stack has for them."""
        if kind.dtype == UNKNOWN:
            return {}  # nothing that a stack names can be set from outside of a server
        varied = [c for c in self.conditions if (c.dtype, c.device) == (kind.dtype, kind.device)]
        here = self.stack
        found: dict[str, set[str]] = {
            "engine": {c.engine or self.model.engine for c in varied},
            "threads": {str(c.threads) if c.threads else here.get("threads", "") for c in varied},
            "instruction set": {here.get("instruction set", "")},
            "device": {"cpu", kind.device},  # a GPU is compared with the processor
        }
        for name, variables in INSTRUCTIONS.items():
            held = any(c.instructions == name for c in varied)
            found["instruction set"].update(CAPABILITY[name] if held else ())
            for variable, value in variables.items():
                values = found.setdefault(variable, {here.get(variable, "")})
                values.update([value] if held else ())
        return {name: frozenset(values - {""}) for name, values in found.items()}


@cache
def _schema() -> TypeAdapter[NoiseRecord]:
    return TypeAdapter(NoiseRecord)


def noise_path(folder: Path) -> Path:
    """The file with the noise floor of a folder of baselines."""
    return folder / "provenance" / "noise.json"


def read_noise(folder: Path) -> NoiseRecord | None:
    """The noise of a folder of baselines as it was written; None if none was measured.

    Raises:
        BaselineError: there is one, but it cannot be read or has another format.
    """
    try:
        return read_record(noise_path(folder), _schema(), BaselineError)
    except FileNotFoundError:
        return None
    except BaselineError as error:
        raise BaselineError(f"{error}; restore it, or measure it anew with audit noise") from None
