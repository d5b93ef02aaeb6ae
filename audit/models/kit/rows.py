"""Read rows of attention from models of transformers, at the speed of their fused attention.

transformers asks a registered function for the attention of every layer. The one registered here
returns what the model's own function returns, untouched, and shows each call to a *watch*, which
computes the weights of the rows that somebody wants and of no others. So the whole matrix of
weights, which eager attention keeps for every layer and head, never exists.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from audit.base.errors import CaptureError, ModelError

_PREFIX = "audit_rows_"
_WATCH: ContextVar[Watch | None] = ContextVar("audit_watch", default=None)


@dataclass(frozen=True)
class Attended:
    """One layer's attention, as its function was called.

    Attributes:
        layer: the layer's number, from 0.
        query: (batch, heads, queries, size).
        key, value: (batch, key heads, keys, size); with grouped queries, several heads share one.
        mask: (batch or 1, heads or 1, queries, keys or more), boolean or added; None for none.
        causal: whether later keys are hidden although no mask says so.
        scaling: what the products of queries and keys are multiplied by.
        output: (batch, queries, heads, size) what the function returned.
        weights: (batch, heads, queries, keys), if the function gave them out itself.
    """

    layer: int
    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    causal: bool
    scaling: float
    output: Tensor
    weights: Tensor | None

    def rows(self, places: Tensor) -> Tensor:
        """The attention weights of some queries: (batch, heads, rows, keys), float32.

        Args:
            places: (batch, rows) numbers of queries.
        """
        batch, heads, queries, size = self.query.shape
        keys, number = self.key.shape[2], places.shape[1]
        at = places[:, None, :, None]
        if self.weights is not None:
            return self.weights.gather(2, at.expand(-1, heads, -1, keys)).float()
        # Heads that share a key are rows of one product, so that no key is copied.
        asked = self.query.gather(2, at.expand(-1, heads, -1, size))
        shared = asked.reshape(batch, self.key.shape[1], -1, size)
        scores = (shared @ self.key.transpose(2, 3)).view(batch, heads, number, keys)
        scores = scores.float() * self.scaling
        if self.mask is not None:
            mask = self.mask[..., :keys].expand(batch, -1, -1, -1)
            mask = mask.gather(2, at.expand(-1, mask.shape[1], -1, keys))
            hidden = torch.finfo(scores.dtype).min
            scores = (
                scores.masked_fill(~mask, hidden) if mask.dtype == torch.bool else scores + mask
            )
        elif self.causal:
            later = torch.arange(keys, device=at.device) > at + (keys - queries)
            scores = scores.masked_fill(later, torch.finfo(scores.dtype).min)
        return scores.softmax(-1)

    def of(self, sample: int) -> Attended:
        """The same of one sample of the batch, as a batch of one."""
        only = slice(sample, sample + 1)
        mask = self.mask
        return replace(
            self, query=self.query[only], key=self.key[only], value=self.value[only],
            mask=mask if mask is None or len(mask) == 1 else mask[only], output=self.output[only],
            weights=None if self.weights is None else self.weights[only],
        )  # fmt: skip

    def of_shared(self, values: Tensor) -> Tensor:
        """Tensors of the key heads, once for each head: (batch, heads, keys, size)."""
        return values.repeat_interleave(self.query.shape[1] // values.shape[1], 1)


class Watch:
    """Shows each layer's attention of one pass to a function, and counts the layers."""

    def __init__(self, layers: int, see: Callable[[Attended], None]) -> None:
        self._see = see
        self._calls = [0] * layers

    def add(self, attended: Attended) -> None:
        """Show one layer."""
        self._calls[attended.layer] += 1
        self._see(attended)

    def once(self) -> None:
        """Check that each layer was seen exactly once.

        Raises:
            CaptureError: one was not. A map of the layers that happened to be seen, or of none,
                would mean nothing.
        """
        if any(calls != 1 for calls in self._calls):
            raise CaptureError(
                f"expected to see the attention of {len(self._calls)} layers once each, saw "
                f"{self._calls}: the model does not call transformers' attention as it should"
            )


@contextmanager
def watching(layers: int, see: Callable[[Attended], None]) -> Iterator[None]:
    """Show the attention of one pass of a model to ``see``, layer by layer.

    The model must have been given :func:`watched` before.

    Raises:
        CaptureError: when the context closes, if a layer was not seen exactly once.
    """
    watch = Watch(layers, see)
    token = _WATCH.set(watch)
    try:
        yield
    finally:
        _WATCH.reset(token)
    watch.once()


def watched(network: Any, part: str) -> str:
    """Let the attention of a model's text part be watched; its other parts stay as they are.

    Args:
        part: the name of the text model's configuration within the model's.

    Returns:
        The implementation that it had, ``sdpa`` or ``eager``, which still computes.

    Raises:
        ModelError: it has another one, whose rows could not be computed from what it is given.
    """
    own = str(getattr(network.config, part)._attn_implementation)
    if own.startswith(_PREFIX):
        return own.removeprefix(_PREFIX)
    if own not in ("sdpa", "eager"):
        raise ModelError(f"the model's attention is {own!r}; only sdpa and eager can be read")
    whole = str(network.config._attn_implementation)
    network.set_attn_implementation({"": whole, part: f"{_PREFIX}{own}"})
    return own


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """sdpa's attention, shown to the watch."""
    output, _ = ALL_ATTENTION_FUNCTIONS["sdpa"](module, query, key, value, mask, **options)
    _show(module, query, key, value, mask, output, None, options)
    return output, None


def _attend_eagerly(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """The attention of a family that sdpa cannot compute, such as one with a cap on its scores."""
    own = sys.modules[type(module).__module__].eager_attention_forward
    output, weights = own(module, query, key, value, mask, **options)
    _show(module, query, key, value, mask, output, weights, options)
    return output, None


def _show(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None,
    output: Tensor, weights: Tensor | None, options: dict[str, Any],
) -> None:  # fmt: skip
    watch = _WATCH.get()
    if watch is None:
        return
    causal = options.get("is_causal")
    if causal is None:
        causal = getattr(module, "is_causal", True)
    scaling = options.get("scaling")
    watch.add(
        Attended(
            module.layer_idx, query, key, value, mask,
            causal=bool(causal) and query.shape[2] > 1,
            scaling=query.shape[-1] ** -0.5 if scaling is None else scaling,
            output=output, weights=weights,
        )
    )  # fmt: skip


for _own, _function in (("sdpa", _attend), ("eager", _attend_eagerly)):
    AttentionInterface.register(f"{_PREFIX}{_own}", _function)
    AttentionMaskInterface.register(f"{_PREFIX}{_own}", ALL_MASK_ATTENTION_FUNCTIONS[_own])
