"""The harmless conditions under which ``audit noise`` audits the same cases."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from audit.base.instructions import INSTRUCTIONS, InstructionSet
from audit.base.settings import SERVER, UNKNOWN

_CAPABILITY = {"AVX512": ("avx512", "avx2", "sse4"), "AVX2": ("avx2", "sse4")}
"""By torch's name for what a processor has: the sets that it can be held to."""


NO_OPTIONS: Mapping[str, str] = {}
"""What is given to a kind of models that takes nothing of its own."""


@dataclass(frozen=True)
class Condition:
    """A harmless way to audit.

    Attributes:
        threads: of torch; None leaves them as they are.
        batch_size: 0 for all cases at once.
        engine: of a kind of model that has engines; empty for its default.
        instructions: needs a process of its own, because they are read when torch is loaded.
    """

    device: str = "cpu"
    dtype: str = "float32"
    threads: int | None = None
    batch_size: int = 8
    engine: str = ""
    instructions: InstructionSet = ""

    @property
    def title(self) -> str:
        """The condition in words."""
        batch = f"batch {self.batch_size}" if self.batch_size else "all in one batch"
        threads = f", threads {self.threads}" if self.threads else ""
        engine = f", {self.engine} engine" if self.engine else ""
        held = f", {self.instructions} instructions" if self.instructions else ""
        precision = "" if self.dtype == UNKNOWN else f", {self.dtype}"
        return f"{self.device}{precision}, {batch}{threads}{engine}{held}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"title": self.title, **asdict(self)}


@dataclass(frozen=True)
class Machine:
    """What a machine can run.

    Attributes:
        capability: torch's name for the processor's instructions: ``AVX512``, ``AVX2``, ...
    """

    cuda: bool
    threads: int
    capability: str = ""


def conditions(
    machine: Machine, engines: Sequence[str] = ()
) -> tuple[tuple[Condition, ...], dict[str, str]]:
    """The conditions that a machine can run, and those that it cannot, each with the reason.

    The first is the way baselines are made; the first of each precision is what the others of that
    precision are compared with.

    Args:
        engines: of this kind of model, the default first.
    """
    others = sorted({1, 2, machine.threads} - {machine.threads})
    found = [
        Condition(),
        Condition(batch_size=1),
        Condition(batch_size=3),
        Condition(batch_size=0),
        *(Condition(threads=n) for n in others),
        *(Condition(threads=n, batch_size=1) for n in others),
        *(Condition(engine=e, batch_size=n) for e in engines[1:] for n in (8, 1)),
        Condition(dtype="bfloat16"),
        Condition(dtype="bfloat16", batch_size=1),
        Condition(dtype="bfloat16", batch_size=3),
        *(Condition(dtype="bfloat16", threads=n) for n in others),
        *(Condition(dtype="bfloat16", engine=e, batch_size=n) for e in engines[1:] for n in (8, 1)),
    ]
    missing: dict[str, str] = {}
    has = _CAPABILITY.get(machine.capability, ())
    for name in INSTRUCTIONS:
        held = [
            Condition(instructions=name),
            Condition(instructions=name, batch_size=1),
            Condition(instructions=name, dtype="bfloat16"),
        ]
        if name in has:
            found += held
        else:
            reason = f"this processor cannot be held to {name} instructions"
            missing |= {condition.title: reason for condition in held}
    on_gpu = [
        *(
            Condition("cuda", d, batch_size=b)
            for d in ("float32", "bfloat16")
            for b in (8, 1, 3, 0)
        ),
        *(Condition("cuda", d, engine=e) for d in ("float32", "bfloat16") for e in engines[1:]),
    ]
    if machine.cuda:
        found += on_gpu
    else:
        missing |= {each.title: "this machine has no CUDA device" for each in on_gpu}
    return tuple(found), missing


def conditions_of_server() -> tuple[tuple[Condition, ...], dict[str, str]]:
    """As :func:`conditions`, for a model behind a server: questions come one by one or together.

    Which of them the server then computes together is its own affair, and what most moves answers.
    """
    asked = tuple(Condition(SERVER, UNKNOWN, batch_size=size) for size in (8, 1, 2, 3, 0))
    others = "other precisions, engines, threads, instructions and devices"
    return asked, {others: "they are the server's, and cannot be set from here"}


def environment(instructions: InstructionSet) -> dict[str, str]:
    """The environment of a process that is held to these instructions."""
    return {**os.environ, **INSTRUCTIONS.get(instructions, {})}
