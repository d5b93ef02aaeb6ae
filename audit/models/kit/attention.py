"""Hooks that read attention weights while a model runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from audit.base.errors import CaptureError
from audit.maps.trace import HeadChoice
from audit.models.kit.heads import head_weights


class Captured:
    """What the hooks of one capture have seen: a list of tensors for each site, in call order."""

    def __init__(self, sites: int) -> None:
        self._seen: list[list[Tensor]] = [[] for _ in range(sites)]

    def add(self, site: int, value: Tensor) -> None:
        """Keep the tensor from one call of a site."""
        self._seen[site].append(value)

    def once(self) -> list[Tensor]:
        """The tensor of each site, in the order of the sites.

        Raises:
            CaptureError: a site was not called exactly once since the capture began. If a hook was
                silently skipped, or a pass ran twice, figures would mean nothing.
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
    sites: Sequence[nn.Module],
    reduce: Callable[[int, Tensor], Tensor],
    *,
    output: bool = False,
) -> Iterator[Captured]:
    """Record a reduced copy of the input (or output) of each of ``sites`` inside the context.

    In modelscope's OFA the input of ``OFAAttention.attn_dropout`` is the softmax itself, of shape
    (batch · heads, target, source), so nothing about the model's computation changes.

    Args:
        sites: modules to watch.
        reduce: called in the hook with the number of the site and the tensor; only its result is
            kept, so it should be small.
        output: watch the modules' output (its first element) instead of their first input.

    Yields:
        The record; ask it for its tensors after the forward pass.
    """
    captured = Captured(len(sites))

    def before(number: int) -> Callable[..., None]:
        def hook(_module: nn.Module, args: tuple[Any, ...]) -> None:
            captured.add(number, reduce(number, args[0].detach()))

        return hook

    def after(number: int) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: tuple[Any, ...], result: Any) -> None:
            first = result[0] if isinstance(result, tuple) else result
            captured.add(number, reduce(number, first.detach()))

        return hook

    with ExitStack() as handles:
        for number, site in enumerate(sites):
            handle = (
                site.register_forward_hook(after(number))
                if output
                else site.register_forward_pre_hook(before(number))
            )
            handles.callback(handle.remove)
        yield captured


class Gradients(Captured):
    """What was recorded of each site in a backward pass; :meth:`backward` runs the pass."""

    def __init__(self, sites: int) -> None:
        super().__init__(sites)
        self.leaves: list[Tensor] = []
        self.stop: Callable[[], None] = lambda: None
        """Stop watching forward passes; the backward pass of those already seen is recorded."""

    def backward(self, target: Tensor) -> None:
        """Differentiate the scalar ``target`` by the sites' tensors, and by nothing else."""
        if not self.leaves:
            raise CaptureError("no attention module ran, so there is nothing to differentiate by")
        torch.autograd.backward(target, inputs=self.leaves)
        for leaf in self.leaves:
            leaf.grad = None


@contextmanager
def capture_gradients(
    sites: Sequence[nn.Module], reduce: Callable[[int, Tensor, Tensor], Tensor]
) -> Iterator[Gradients]:
    """Record, for each of ``sites``, what ``reduce`` makes of its first input and its gradient.

    A tensor that depends on nothing trainable becomes a leaf of its own, so that a frozen model can
    be differentiated by its attention weights. The tensors are held only until the context closes,
    because a hook that refers to its own tensor is a cycle that keeps the pass in memory.
    """
    gradients = Gradients(len(sites))
    held: dict[int, Tensor] = {}

    def before(number: int, handles: ExitStack) -> Callable[..., None]:
        def back(gradient: Tensor) -> None:
            gradients.add(number, reduce(number, held.pop(number).detach(), gradient))

        def hook(_module: nn.Module, args: tuple[Any, ...]) -> None:
            weights: Tensor = args[0]
            if not weights.requires_grad:
                gradients.leaves.append(weights.requires_grad_(True))
            held[number] = weights
            handles.callback(weights.register_hook(back).remove)

        return hook

    with ExitStack() as handles, ExitStack() as forward:
        for number, site in enumerate(sites):
            forward.callback(site.register_forward_pre_hook(before(number, handles)).remove)
        gradients.stop = forward.close
        try:
            yield gradients
        finally:
            held.clear()
            gradients.leaves.clear()


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Let gradients flow through ``model`` but not to its parameters; restore them afterwards."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in trainable:
            parameter.requires_grad_(False)
        with torch.enable_grad():
            yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


def reduced(weights: Tensor, heads: HeadChoice, scale: NDArray[np.float32] | None = None) -> Tensor:
    """Attention with its heads reduced; for hooks, where it is still a tensor.

    From (batch, heads, target, source) to (batch, target, source), in float32.

    Args:
        scale: (heads,) the model's own factor of each head; None if it has none.

    Raises:
        MapError: see :func:`audit.models.kit.heads.head_weights`.
    """
    if heads == "mean":
        return weights.mean(1, dtype=torch.float32)
    by_head = head_weights(heads, np.ones(weights.shape[1], np.float32) if scale is None else scale)
    if by_head is None:
        return weights.amax(1).float()
    factors = torch.from_numpy(by_head).to(weights.device, torch.float32)
    return torch.einsum("bhts,h->bts", weights.float(), factors)


def margin(scores: Tensor, labels: Sequence[int]) -> Tensor:
    """Sum over the batch of the answer's log-probability minus the runner-up's: a scalar.

    Gradient relevance uses the gradient of this sum.

    Args:
        scores: (batch, labels) log-probabilities.
        labels: the number of each sample's answer.
    """
    rows = torch.arange(len(labels), device=scores.device)
    chosen = torch.tensor(labels, device=scores.device)
    others = scores.scatter(1, chosen[:, None], -math.inf)
    return (scores[rows, chosen] - others.amax(1)).sum()
