"""See the attention of modules that do not ask transformers' table for an attention function.

BLIP, BLIP-2 and ViLT compute attention by themselves, from the outputs of their layers ``query``,
``key`` and ``value``; the pooling head of SigLIP is torch's own ``MultiheadAttention``. BART, which
is the text part of Florence-2, does ask the table, but for three kinds of attention that it numbers
alike. Hooks show each call in the form that registered functions have, so that what reads one reads
the other.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from audit.base.errors import CaptureError
from audit.models.kit.rows import Attended


class Shown(NamedTuple):
    """One call of a module.

    Attributes:
        attended: its attention.
        output: what the module returned, on the way to the score: (batch, queries, size).
        mixing: (size, heads × size of a head) what the heads' outputs were multiplied by before
            they were returned; None for nothing.
    """

    attended: Attended
    output: Tensor
    mixing: Tensor | None

    def weighted(self, gradient: Tensor) -> Tensor:
        """Attention times the positive part of its gradient: (batch, heads, queries, keys).

        Each output is the sum of its row's weights times the values, so the gradient of a weight is
        the product of the output's gradient and the value.

        Args:
            gradient: of the output, as large as it.
        """
        if self.mixing is not None:
            gradient = gradient @ self.mixing
        batch, heads, queries, size = self.attended.query.shape
        by_head = gradient.view(batch, queries, heads, size).float()
        values = self.attended.value.detach().float()
        by_weight = torch.einsum("bqhd,bhkd->bhqk", by_head, values)
        return self.all_rows().detach() * by_weight.clamp_min(0)

    def all_rows(self) -> Tensor:
        """All attention weights: (batch, heads, queries, keys)."""
        batch, _, queries, _ = self.attended.query.shape
        everywhere = torch.arange(queries, device=self.output.device).expand(batch, -1)
        return self.attended.rows(everywhere)


@contextmanager
def shown(modules: Sequence[nn.Module], see: Callable[[Shown], None]) -> Iterator[None]:
    """Show each module's call within the context to ``see``, in the order of the calls.

    With gradients on, ``see`` may differentiate by the outputs, although no parameter is trained.

    Raises:
        CaptureError: when the context closes, if a module was not called exactly once.
    """
    calls = [0] * len(modules)

    def note(number: int, call: Shown) -> None:
        calls[number] += 1
        if torch.is_grad_enabled() and not call.output.requires_grad:
            call.output.requires_grad_(True)
        see(call)

    with ExitStack() as hooks:
        for number, module in enumerate(modules):
            handles = (
                _watch_torch(number, module, note)
                if isinstance(module, nn.MultiheadAttention)
                else _watch(number, module, note)
            )
            for handle in handles:
                hooks.callback(handle.remove)
        yield
    if any(each != 1 for each in calls):
        raise CaptureError(
            f"expected one call of each of {len(modules)} attention modules, saw {calls}: the "
            "model does not run as it should"
        )


Note = Callable[[int, Shown], None]


_BERT, _BART = ("query", "key", "value"), ("q_proj", "k_proj", "v_proj")


def _watch(number: int, module: Any, note: Note) -> Iterator[Any]:
    """Hooks on a module whose layers of queries, keys and values have the names of BERT or BART."""
    parts: dict[str, Tensor] = {}
    names = _BERT if hasattr(module, "query") else _BART
    number_of_heads = module.num_attention_heads if names is _BERT else module.num_heads
    mixing = None if names is _BERT else module.out_proj.weight

    def keep(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: object, output: Tensor) -> None:
            parts[name] = output.unflatten(-1, (number_of_heads, -1)).transpose(1, 2)

        return hook

    def hook(_module: nn.Module, args: Any, named: dict[str, Any], result: Any) -> None:
        output = result[0] if isinstance(result, tuple) else result
        query, key, value = (parts.pop(name) for name in names)
        mask = _mask(module, args, named)
        if mask is not None:
            mask = mask.to(query.device).expand(-1, -1, query.shape[2], -1)
        attended = Attended(
            number, query, key, value, mask, causal=False, scaling=query.shape[-1] ** -0.5,
            output=output, weights=None,
        )  # fmt: skip
        note(number, Shown(attended, output, mixing))

    for name in names:
        yield getattr(module, name).register_forward_hook(keep(name))
    yield module.register_forward_hook(hook, with_kwargs=True)


def _mask(module: Any, args: Any, named: dict[str, Any]) -> Tensor | None:
    given = inspect.signature(module.forward).bind(*args, **named).arguments
    across = given.get("encoder_hidden_states") is not None
    found: Tensor | None = given.get("encoder_attention_mask" if across else "attention_mask")
    return found


def _watch_torch(number: int, module: nn.MultiheadAttention, note: Note) -> Iterator[Any]:
    """A hook on torch's own attention, whose few queries are projected once more."""

    def hook(_module: nn.Module, args: Any, named: dict[str, Any], result: Any) -> None:
        output = result[0]
        weights, biases = module.in_proj_weight.chunk(3), module.in_proj_bias.chunk(3)
        query, key, value = (
            nn.functional.linear(given, weight, bias)
            .unflatten(-1, (module.num_heads, -1))
            .transpose(1, 2)
            for given, weight, bias in zip(args, weights, biases, strict=True)
        )
        mask = named.get("attn_mask")
        if mask is not None:
            mask = mask.view(len(query), module.num_heads, *mask.shape[1:])
        attended = Attended(
            number, query, key, value, mask, causal=False, scaling=query.shape[-1] ** -0.5,
            output=output, weights=None,
        )  # fmt: skip
        note(number, Shown(attended, output, module.out_proj.weight))

    yield module.register_forward_hook(hook, with_kwargs=True)
