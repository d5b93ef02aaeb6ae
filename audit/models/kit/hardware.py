"""The machine that a model runs on: its threads, devices and memory."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from audit.base.errors import ModelError
from audit.base.files import counted

_log = logging.getLogger(__name__)

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def threads() -> int:
    """Threads that torch uses in this process."""
    return torch.get_num_threads()


def has_cuda() -> bool:
    """Whether there is a CUDA device that works."""
    return torch.cuda.is_available()


def share_cores(processes: int) -> None:
    """Leave the other ``processes`` on this machine their cores, unless OMP_NUM_THREADS is set."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // processes))


def use_threads(number: int | None) -> None:
    """Let torch use ``number`` threads in this process; None leaves them as they are."""
    if number is not None:
        torch.set_num_threads(number)


@contextmanager
def threads_set(number: int | None) -> Iterator[None]:
    """Let torch use ``number`` threads while the context is open; None leaves them as they are."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def chosen_device(name: str) -> torch.device:
    """The device that ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` means here.

    Raises:
        ModelError: it is not one of these, or this machine does not have it.
    """
    if name == "auto":
        chosen = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        _log.info("device auto: %s", chosen)
        return chosen
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ModelError(f"device {name!r} is unknown: use auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise ModelError(f"device {name!r} is not supported: use auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            f"device {name!r} was asked for, but this machine has no usable CUDA device"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(
            f"device {name!r}: this machine has {counted(torch.cuda.device_count(), 'CUDA device')}"
        )
    return device


def gains_by_fusion(device: torch.device) -> bool:
    """Whether torch's fused attention is faster here than its separate steps.

    It is faster on CUDA and on processors with matrix units (for a layer of OFA-large 16 ms instead
    of 20, in bfloat16 6 instead of 10). On a processor without them it took as long in float32 and
    twice as long in bfloat16. Held to fewer instructions than the matrix units need
    (``ATEN_CPU_CAPABILITY``), torch refuses it in bfloat16.
    """
    if device.type == "cuda":
        return True
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.11
    return bool(capabilities.get("amx_tile"))


def spread(name: str, worker: int) -> str:
    """The device for one of several processes: GPUs in turn, if ``name`` leaves the choice."""
    if name not in ("auto", "cuda") or not torch.cuda.is_available():
        return name
    return f"cuda:{worker % torch.cuda.device_count()}"


_HELD = (
    "torch's fused attention in bfloat16 needs AVX-512 on this processor, and the environment "
    "variable ATEN_CPU_CAPABILITY holds torch to less: unset it, set ONEDNN_MAX_CPU_ISA=AVX2 as "
    "well, or use float32"
)
"""What to do where torch says that it cannot ``pack_vnni2`` (seen in torch 2.11)."""


class Halving:
    """Runs batches; if memory runs out, it halves them and keeps later batches as small."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._most: int | None = None

    def run(
        self, items: Sequence[_Item], answer: Callable[[Sequence[_Item]], list[_Result]]
    ) -> list[_Result]:
        """One result for each item, in their order.

        Raises:
            ModelError: there is not enough memory for a single item.
        """
        found: list[_Result] = []
        while len(found) < len(items):
            batch = items[len(found) : len(found) + (self._most or len(items))]
            some = self._tried(batch, answer)
            if some is not None:
                found += some
            elif len(batch) == 1:
                raise ModelError(
                    f"{self._device} does not have enough memory for a single case: use another "
                    "device, or bfloat16"
                )
            else:
                self._most = len(batch) // 2
                _log.info(
                    "%s is out of memory: batches of %d from now on", self._device, self._most
                )
        return found

    def _tried(
        self, batch: Sequence[_Item], answer: Callable[[Sequence[_Item]], list[_Result]]
    ) -> list[_Result] | None:
        """The results; None if memory ran out, and then what had been allocated is free again."""
        try:
            return answer(batch)
        except (torch.OutOfMemoryError, MemoryError):
            pass
        except RuntimeError as error:
            if "pack_vnni" in str(error):
                raise ModelError(_HELD) from error
            if "can't allocate memory" not in str(error):  # what torch's CPU allocator says
                raise
        # Not in the except block, because there the exception's frames hold the batch's tensors.
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        return None
