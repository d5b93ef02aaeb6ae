"""The form of ``noise.json``, which ``audit noise`` writes beside the baselines it belongs to.

Format 1, of version 0.1, has one floor over all conditions; format 2 also has one for each
precision and device class, and what every condition moved on the whole.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, JsonValue, TypeAdapter, model_validator

from audit.base.errors import BaselineError
from audit.base.records import EDITED, WRITTEN, Count, ModelRecord, Positive, read_record
from audit.base.settings import DTYPES

NOISE_FORMAT = 2

MULTIPLE = 2.0
"""The tolerance is this many noise floors. A floor is the largest of some hundred deviations,
which is about three standard deviations; six leave room for larger ones."""

ENOUGH = 100
"""A floor is a tolerance only if it was taken from at least this many deviations. One of fewer may
be far too small, so it can only widen the default."""


class FloorRecord(BaseModel):
    """The largest deviation of one metric, and where it was seen."""

    model_config = EDITED

    floor: Positive
    deviations: Count
    case: str = ""
    condition: str = ""


FloorRecords = dict[str, dict[str, FloorRecord]]


class KindRecord(BaseModel):
    """The noise of one precision on one class of devices."""

    model_config = EDITED

    dtype: str
    device: Literal["cpu", "cuda"]
    floors: FloorRecords
    harmless: Annotated[
        dict[str, Positive],
        Field(description="By condition, the mean squared move of all figures, in floors."),
    ] = {}

    @model_validator(mode="after")
    def _known(self) -> KindRecord:
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype {self.dtype[:20]!r} is not known: {' or '.join(DTYPES)}")
        return self


class NoiseRecord(BaseModel):
    """``noise.json``; conditions, flips and what is undefined are there for people to read."""

    model_config = WRITTEN
    __pydantic_extra__: dict[str, JsonValue]

    format: Literal[1, 2]
    floors: FloorRecords
    kinds: list[KindRecord] = []
    multiple: Positive = MULTIPLE
    cases: Count = 0
    date: str = ""
    model: ModelRecord = ModelRecord()
    stack: dict[str, str] = {}
    conditions: list[dict[str, JsonValue]] = []
    not_run: list[dict[str, JsonValue]] = []
    flips: list[dict[str, JsonValue]] = []
    undefined: list[dict[str, JsonValue]] = []

    @model_validator(mode="after")
    def _each_once(self) -> NoiseRecord:
        names = [(each.dtype, each.device) for each in self.kinds]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"kinds: {' on '.join(twice[0])} occurs twice")
        return self


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
