"""Reads what ``audit power`` left in its work folder, which may have been sent from elsewhere."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, JsonValue, TypeAdapter

from audit.base.errors import RunError
from audit.base.files import shown_path
from audit.base.records import WRITTEN, Count, Finite, ModelRecord, Positive, read_record
from audit.studies.power.judging import GATES, by_family

_HARMLESS = "harmless"


class _About(BaseModel):
    model_config = WRITTEN
    __pydantic_extra__: dict[str, JsonValue]

    model: ModelRecord
    cases: Count
    images: Count
    seed: int
    multiple: Positive


class _Caught(BaseModel):
    model_config = WRITTEN

    full: bool
    labels: bool
    probabilities: bool


class _Largest(BaseModel):
    model_config = WRITTEN

    noises: Finite


class _Change(BaseModel):
    """One planted change; if it does not fit the model, only the reason is there."""

    model_config = WRITTEN
    __pydantic_extra__: dict[str, JsonValue]

    id: str
    family: str
    about: str
    skipped: str = ""
    measurable: bool = False
    caught: _Caught = _Caught(full=False, labels=False, probabilities=False)
    wrong_labels: Count = 0
    moved_cases: Count = 0
    largest: _Largest = _Largest(noises=0.0)


@cache
def _schemas() -> tuple[TypeAdapter[_About], TypeAdapter[_Change]]:
    return TypeAdapter(_About), TypeAdapter(_Change)


def read_power(folder: Path) -> dict[str, Any]:
    """A measurement of power in a few figures: what was planted, what the gates caught of it.

    Raises:
        RunError: the folder holds no measurement, or a damaged one.
    """
    of_all, of_one = _schemas()
    try:
        about = read_record(folder / "about.json", of_all, RunError)
    except FileNotFoundError:
        raise RunError(
            f"{shown_path(folder)}: no measurement of audit power: there is no about.json"
        ) from None
    paths = sorted((folder / "changes").glob("*.json"))
    read = [read_record(path, of_one, RunError) for path in paths]
    done = [each for each in read if not each.skipped]
    planted = [each for each in done if each.family != _HARMLESS]
    measurable = [each for each in planted if each.measurable]
    harmless = [each for each in done if each.family == _HARMLESS]
    families = by_family([each.model_dump(exclude={"skipped"}) for each in planted])
    return {
        "model": about.model.digest,
        "cases": about.cases,
        "images": about.images,
        "seed": about.seed,
        "multiple": about.multiple,
        "planted": len(planted),
        "measurable": len(measurable),
        "caught": {gate: sum(getattr(e.caught, gate) for e in measurable) for gate in GATES},
        "harmless": len(harmless),
        "alarms": {gate: sum(getattr(e.caught, gate) for e in harmless) for gate in GATES},
        "families": [{"name": name, **row} for name, row in families.items()],
        "missed": [{"id": e.id, "about": e.about} for e in measurable if not e.caught.full],
    }
