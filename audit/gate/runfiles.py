"""The format of a run folder's ``run.json`` and ``results.json``.

Both may hold more keys than these, added by the session or by a later version of audit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeVar

from pydantic import BaseModel, JsonValue

from audit.base.records import (
    WRITTEN,
    CaseName,
    Count,
    DigestOrNone,
    Finite,
    Fraction,
    ModelRecord,
    Positive,
)
from audit.maps.keys import canonical_key
from audit.metrics.keys import canonical_name

FORMAT = 1
"""Version of the run folder's format."""

BASELINE = "baseline:"
"""Prefix for the keys of accepted maps, which are stored beside the case's own."""

FOLLOWS = "follows"
"""The strip of a variant that shows where its case's map would be."""

ORIGINAL = "original"
"""The strip of a variant that holds its case's own map, in case that case is not in the run."""

V = TypeVar("V")


class OptionsRecord(BaseModel):
    """How a session asked and judged, as far as it matters for sessions that are put together."""

    model_config = WRITTEN
    __pydantic_extra__: dict[str, JsonValue]

    batch_size: Count
    min_cases: Count
    suite_alpha: Fraction
    suite_effect: Positive
    omnibus_limit: Positive | None


class ShardRecord(BaseModel):
    """One of the runs that a run was put together from."""

    model_config = WRITTEN
    __pydantic_extra__: dict[str, JsonValue]

    id: str
    started: str = ""
    machine: str = ""
    cases: Count = 0
    stack: dict[str, str] = {}


class About(BaseModel):
    """``run.json``: what was run.

    Attributes:
        baselines_digest: of the folder of baselines when the session began; empty if it had none.
        waived: why limits on maps were not judged; empty if they were, and in earlier versions.
        options: None in runs of earlier versions.
        shards: of a run that was put together.
    """

    model_config = WRITTEN
    __pydantic_extra__: dict[str, JsonValue]

    format: Literal[1]
    id: str = ""
    model: ModelRecord = ModelRecord()
    stack: dict[str, str] = {}
    labels: list[str] = []
    started: str = ""
    baselines: str = ""
    update: str = ""
    machine: str = ""
    baselines_digest: DigestOrNone = ""
    waived: str = ""
    options: OptionsRecord | None = None
    shards: list[ShardRecord] = []


class ShiftRecord(BaseModel):
    """A metric's shift in ``results.json``."""

    model_config = WRITTEN
    __pydantic_extra__: dict[str, JsonValue]

    metric: str
    effect: Finite
    adjusted: Fraction
    verdict: str


class LabelsRecord(BaseModel):
    """Lost and gained labels in ``results.json``."""

    model_config = WRITTEN
    __pydantic_extra__: dict[str, JsonValue]

    adjusted: Fraction
    worse: bool


class SliceRecord(BaseModel):
    """A slice of the suite in ``results.json``."""

    model_config = WRITTEN
    __pydantic_extra__: dict[str, JsonValue]

    name: str
    cases: Count
    images: Count
    right: tuple[Count, Count]
    definite: Count | None = None
    labels: LabelsRecord
    largest: ShiftRecord | None
    failed: bool
    verdict: str = ""


class OmnibusRecord(BaseModel):
    """The keys of the omnibus figure in a suite that are read again."""

    model_config = WRITTEN
    __pydantic_extra__: dict[str, JsonValue]

    failed: bool
    sentence: str
    verdict: Literal["passed", "failed", "cannot tell"]


class SuiteRecord(BaseModel):
    """The keys of the suite-level gate in ``results.json`` that are read again.

    Version 0.1 wrote no verdict and no slices.
    """

    model_config = WRITTEN
    __pydantic_extra__: dict[str, JsonValue]

    failed: bool
    sentence: str
    verdict: Literal["passed", "failed", "cannot tell"] | None = None
    slices: list[SliceRecord] = []
    omnibus: OmnibusRecord | None = None
    cases: Count = 0
    images: Count = 0
    drifted: list[CaseName] = []
    undeclared: dict[CaseName, list[str]] = {}
    shifts: list[ShiftRecord] = []


class SessionRecord(BaseModel):
    """The keys of the session's end in ``results.json`` that are read again."""

    model_config = WRITTEN
    __pydantic_extra__: dict[str, JsonValue]

    passed: bool
    sentence: str
    exit_status: int = 0
    selected: Count = 0
    audited: Count = 0
    failed: Count = 0
    skipped: Count = 0
    reasons: list[str] = []


class RejectionRecord(BaseModel):
    """A rejection of an earlier run that still stood, in ``results.json``."""

    model_config = WRITTEN
    __pydantic_extra__: dict[str, JsonValue]

    case: CaseName
    reviewer: str = ""
    reason: str = ""
    time: str = ""
    run: str = ""


class Results(About):
    """``results.json``: what was run and how it ended, written at the session's end."""

    promoted: list[str] = []
    suite: SuiteRecord | None = None
    session: SessionRecord | None = None
    totals: dict[str, Count] = {}
    outcomes: list[JsonValue] = []
    rejected: list[RejectionRecord] = []


def respelled(figures: Mapping[str, Mapping[str, V]]) -> dict[str, dict[str, V]]:
    """Figures by map key and stored name, under the names that this version has for them."""
    return {
        canonical_key(key): {canonical_name(name): value for name, value in values.items()}
        for key, values in figures.items()
    }


def spelled(key: str) -> str:
    """The key of a stored map, as this version writes it."""
    accepted = BASELINE if key.startswith(BASELINE) else ""
    return f"{accepted}{canonical_key(key.removeprefix(accepted))}"
