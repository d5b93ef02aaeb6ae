"""What the machine computes with: threads and devices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def threads() -> int:
    """Threads that torch uses in this process."""
    return torch.get_num_threads()


def has_cuda() -> bool:
    """Whether there is a CUDA device that works."""
    return torch.cuda.is_available()


@contextmanager
def threads_set(number: int | None) -> Iterator[None]:
    """Let torch use ``number`` threads while the context is open; None leaves them as they are."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
