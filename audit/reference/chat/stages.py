"""Run the stages of training; one that is cut off goes on from its last checkpoint."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from audit.base.console import Progress

Loss = Callable[[int], tuple[Tensor, str]]
"""The loss of a step, and a note for the log. It draws from the step's own generator."""

_WARM_UP = 50
_EVERY = 200


@dataclass(frozen=True)
class Stage:
    """One stage: what it trains, for how many steps, and how fast.

    With ``decay`` the learning rate falls to zero along a cosine; else it stays after the warm-up.
    """

    name: str
    steps: int
    learning_rate: float
    decay: bool
    trained: Sequence[nn.Module]
    loss: Loss


def run(
    stage: Stage, model: nn.Module, work: Path, progress: Progress, log: Callable[[str], None]
) -> None:
    """Run a stage, or load what it left in ``work``: the whole model, trained or not."""
    done, halfway = work / f"stage-{stage.name}.pt", work / f"stage-{stage.name}-halfway.pt"
    if done.exists():
        model.load_state_dict(torch.load(done, weights_only=True))
        return
    parameters = [p for module in stage.trained for p in module.parameters()]
    optimizer = torch.optim.AdamW(
        parameters, lr=stage.learning_rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    first = 0
    if halfway.exists():
        kept = torch.load(halfway, weights_only=True)
        first = kept["step"]
        optimizer.load_state_dict(kept["optimizer"])
        for module, state in zip(stage.trained, kept["modules"], strict=True):
            module.load_state_dict(state)
    _keep_memory()
    for step in progress(range(first, stage.steps), stage.steps - first, stage.name):
        for group in optimizer.param_groups:
            group["lr"] = stage.learning_rate * _rate(step, stage.steps, stage.decay)
        loss, note = stage.loss(step)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if step % 50 == 49 or step == stage.steps - 1:
            log(f"{stage.name} {step + 1}/{stage.steps} loss {loss.item():.4f} {note}")
        if step % _EVERY == _EVERY - 1:
            _save(
                {
                    "step": step + 1,
                    "optimizer": optimizer.state_dict(),
                    "modules": [module.state_dict() for module in stage.trained],
                },
                halfway,
            )
    _save(model.state_dict(), done)
    halfway.unlink(missing_ok=True)


def _rate(step: int, total: int, decay: bool) -> float:
    if step < _WARM_UP:
        return (step + 1) / _WARM_UP
    return 0.5 * (1 + math.cos(math.pi * step / total)) if decay else 1.0


def _save(state: object, path: Path) -> None:
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def _keep_memory() -> None:
    """Ask glibc to keep freed memory: fetching large blocks anew in each step is slow."""
    try:
        allocator = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    for option, value in ((-3, 32 << 20), (-1, 2**31 - 1)):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
        allocator.mallopt(option, value)
