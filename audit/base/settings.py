"""What a session audits and how. Light: a suite without cases reads its options and no more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

EMBEDDED = ("reference", "shortcut")
"""Models that come with the package: one that is right, one that is so for a wrong reason."""

DTYPES = ("float32", "bfloat16")
"""Precisions that a model can run in."""

MOST_THREADS = 1024
"""Threads that may be asked for; far more of them cannot be started."""

Update = Literal["", "new", "changed", "all"]
"""Which cases' baselines a session proposes anew."""


@dataclass(frozen=True)
class Limits:
    """When the suite fails: significant at ``alpha``, and larger than ``effect`` tolerances."""

    alpha: float = 0.05
    effect: float = 0.5


@dataclass(frozen=True)
class Settings:
    """What a session audits and how; without ``suite`` there is no suite-level gate.

    Attributes:
        batch_size: cases at a time; 0 leaves it to the device.
        everything: whether the gallery shows passing cases whole too.
        min_cases: with fewer audited the session fails.
        root: the folder that default places and the stored names of files count from.
        worker: number of this process, where several share the cases.
        workers: how many they are.
        options: of the model's own kind, such as OFA's engine.
        threads: of torch in this process; None leaves it to the machine, and to how many share it.
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
    suite: Limits | None = None
    everything: bool = False
    worker: int | None = None
    workers: int = 1
    threads: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
