"""Hooks that read attention weights while a model runs. Knows torch, knows no model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from audit.errors import CaptureError


class Captured:
    """What the hooks of one capture have seen, one list of tensors a site, in call order."""

    def __init__(self, sites: int) -> None:
        self._seen: list[list[Tensor]] = [[] for _ in range(sites)]

    def once(self) -> list[Tensor]:
        """The tensor of each site, in the order of the sites.

        Raises:
            CaptureError: a site was not called exactly once since the capture began. A hook that
                is silently skipped, or a pass that is run twice, would give figures of nothing.
        """
        calls = [len(seen) for seen in self._seen]
        if any(count != 1 for count in calls):
            raise CaptureError(
                f"expected one call of each of {len(calls)} attention modules, saw {calls}: "
                "the model does not run the way the capture assumes"
            )
        return [seen[0] for seen in self._seen]


@contextmanager
def capture(
    sites: Sequence[nn.Module], reduce: Callable[[Tensor], Tensor], *, output: bool = False
) -> Iterator[Captured]:
    """Record a reduced copy of what enters (or leaves) each of ``sites`` while the context is open.

    In modelscope's OFA the input of ``OFAAttention.attn_dropout`` is the softmax itself, of shape
    (batch · heads, target, source), so nothing about the model's computation changes.

    Args:
        sites: modules to watch.
        reduce: called inside the hook; only its result is kept, so it should be small.
        output: watch the modules' output instead of their first input.

    Yields:
        The record; ask it for its tensors after the forward pass.
    """
    captured = Captured(len(sites))
    with ExitStack() as handles:
        for seen, site in zip(captured._seen, sites, strict=True):
            handle = (
                site.register_forward_hook(_after(seen, reduce))
                if output
                else site.register_forward_pre_hook(_before(seen, reduce))
            )
            handles.callback(handle.remove)
        yield captured


def _before(seen: list[Tensor], reduce: Callable[[Tensor], Tensor]) -> Callable[..., None]:
    def hook(_module: nn.Module, args: tuple[Any, ...]) -> None:
        seen.append(reduce(args[0]))

    return hook


def _after(seen: list[Tensor], reduce: Callable[[Tensor], Tensor]) -> Callable[..., None]:
    def hook(_module: nn.Module, _args: tuple[Any, ...], result: Tensor) -> None:
        seen.append(reduce(result))

    return hook
