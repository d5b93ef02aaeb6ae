"""The format of a run folder's ``run.json`` and ``results.json``.

Both may hold more keys than these, added by the session or by a later version of audit.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, JsonValue

from audit.base.records import WRITTEN, Count, ModelRecord

FORMAT = 1
"""Version of the run folder's format."""


class About(BaseModel):
    """``run.json``: what was run."""

    model_config = WRITTEN
    __pydantic_extra__: dict[str, JsonValue]

    format: Literal[1]
    id: str = ""
    model: ModelRecord = ModelRecord()
    labels: list[str] = []
    started: str = ""
    baselines: str = ""
    update: str = ""
    machine: str = ""


class SuiteRecord(BaseModel):
    """The keys of the suite-level gate in ``results.json`` that are read again."""

    model_config = WRITTEN
    __pydantic_extra__: dict[str, JsonValue]

    failed: bool
    sentence: str


class SessionRecord(BaseModel):
    """The keys of the session's end in ``results.json`` that are read again."""

    model_config = WRITTEN
    __pydantic_extra__: dict[str, JsonValue]

    passed: bool
    sentence: str


class Results(About):
    """``results.json``: what was run and how it ended, written at the session's end."""

    promoted: list[str] = []
    suite: SuiteRecord | None = None
    session: SessionRecord | None = None
    totals: dict[str, Count] = {}
    outcomes: list[JsonValue] = []
