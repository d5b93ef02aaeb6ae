"""What a session audits and how; imports nothing heavy, since suites without cases read it too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from audit.base.languages import Choice

EMBEDDED_OFA = ("reference", "shortcut")
"""OFA models that come with the package: one that is right, one that is for a wrong reason."""

EMBEDDED = (*EMBEDDED_OFA, "reference-chat")
"""All models that come with the package; they know drawn scenes alone."""

DTYPES = ("float32", "bfloat16")
"""Precisions that a model can run in."""

UNKNOWN = "unknown"
"""What a fingerprint says of the precision where nobody can tell: of a model behind a server."""

SERVER = "server"
"""What a fingerprint says of the device of a model behind a server."""

MOST_THREADS = 1024
"""The most threads that a user may ask for; far more could not be started."""

Update = Literal["", "new", "changed", "all"]
"""The cases for which a session proposes new baselines."""


@dataclass(frozen=True)
class Limits:
    """The suite fails on a change significant at ``alpha`` and above ``effect`` tolerances.

    It also fails if figures moved by more than ``omnibus`` squared noise floors on average, against
    baselines of other weights; None means as far as harmless conditions move them.
    """

    alpha: float = 0.05
    effect: float = 0.5
    omnibus: float | None = None


@dataclass(frozen=True)
class Settings:
    """What a session audits and how.

    Attributes:
        batch_size: cases at a time; 0 lets the device decide.
        suite: whether the suite-level gate judges the session.
        limits: of the suite-level gate, also of one that judges later, after a merge.
        everything: whether the gallery shows passing cases in full too.
        language: of the gallery.
        min_cases: the session fails if fewer cases were audited.
        root: the folder to which default paths and stored file names are relative.
        worker: number of this process, if several share the cases.
        workers: how many processes share the cases.
        options: options of the model's own kind, such as OFA's engine.
        threads: torch's threads in this process; None decides by the machine's cores and by how
            many processes share them.
    """

    model: str
    device: str
    dtype: str
    batch_size: int
    baselines: Path | None
    update: Update
    run_folder: Path
    run_id: str
    root: Path = Path()
    min_cases: int = 0
    suite: bool = False
    limits: Limits = field(default_factory=Limits)
    everything: bool = False
    language: Choice = "auto"
    worker: int | None = None
    workers: int = 1
    threads: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
