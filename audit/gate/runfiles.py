"""The form of a run folder's ``run.json`` and ``results.json``.

Both may say more than is read again here: a later version of audit, or a session of its own, adds
to them.
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
    """What ``results.json`` says of the suite-level gate, as far as it is read again."""

    model_config = WRITTEN
    __pydantic_extra__: dict[str, JsonValue]

    failed: bool
    sentence: str


class SessionRecord(BaseModel):
    """What ``results.json`` says of how the session ended, as far as it is read again."""

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
