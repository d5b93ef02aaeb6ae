"""Plants regressions in the weights of an OFA model, in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

Spoil = Callable[[Any, int], None]
"""Changes modelscope's ``OFAModel`` in place; the number is a seed."""


def _parameters(network: Any, prefix: str = "") -> Iterator[Tensor]:
    """Each parameter once, although shared embeddings have several names for the same memory."""
    seen: set[int] = set()
    for name, value in network.named_parameters():
        if name.startswith(prefix) and value.data_ptr() not in seen:
            seen.add(value.data_ptr())
            yield value.data


def noise(share: float, prefix: str = "") -> Spoil:
    """Normal noise on every parameter below ``prefix``, in standard deviations of its tensor."""

    def spoil(network: Any, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for value in _parameters(network, prefix):
            deviation = float(value.std(correction=0))
            value.add_(torch.randn(value.shape, generator=generator), alpha=share * deviation)

    return spoil


def _attention(network: Any, path: str) -> Any:
    return network.get_submodule(path)


def pruned(path: str, *heads: int) -> Spoil:
    """Heads of one attention module silenced as by pruning; all heads if none is given."""

    def spoil(network: Any, _: int) -> None:
        attention = _attention(network, path)
        size = attention.head_dim
        for head in heads or range(attention.num_heads):
            attention.out_proj.weight.data[:, head * size : (head + 1) * size] = 0

    return spoil


def swapped(path: str, first: int, second: int) -> Spoil:
    """The queries of two heads exchanged, as if a conversion mixed up the rows."""

    def spoil(network: Any, _: int) -> None:
        attention = _attention(network, path)
        size = attention.head_dim
        rows = [slice(h * size, (h + 1) * size) for h in (first, second)]
        for values in (attention.q_proj.weight.data, attention.q_proj.bias.data):
            kept = values[rows[0]].clone()
            values[rows[0]] = values[rows[1]]
            values[rows[1]] = kept

    return spoil


def dropped(path: str) -> Spoil:
    """A layer passes its input on, as if it were not there."""

    def spoil(network: Any, _: int) -> None:
        layer: nn.Module = network.get_submodule(path)

        def skip(_module: nn.Module, args: Any, named: Any, result: Any) -> Any:
            given = args[0] if args else named["hidden_states"]
            return (given, *result[1:]) if isinstance(result, tuple) else given

        layer.register_forward_hook(skip, with_kwargs=True)

    return spoil


def duplicated(source: str, target: str) -> Spoil:
    """A layer gets the weights of another one."""

    def spoil(network: Any, _: int) -> None:
        network.get_submodule(target).load_state_dict(network.get_submodule(source).state_dict())

    return spoil


def rounded(bits: int, *, by_row: bool) -> Spoil:
    """Matrices rounded to ``bits`` bits, symmetrically, with one scale each or one for each row."""

    def spoil(network: Any, _: int) -> None:
        top = 2 ** (bits - 1) - 1
        for value in _parameters(network):
            if value.ndim < 2:
                continue
            flat = value.flatten(1)
            largest = flat.abs().amax(1, keepdim=True) if by_row else flat.abs().max()
            scale = (largest / top).clamp_min(torch.finfo(torch.float32).tiny)
            value.copy_(((flat / scale).round() * scale).view_as(value))

    return spoil


def shifted_embeddings() -> Spoil:
    """Word embeddings shifted by one row, as if the vocabulary was that of another version."""

    def spoil(network: Any, _: int) -> None:
        table = network.encoder.embed_tokens.weight.data
        table.copy_(table.roll(1, 0))

    return spoil


def stale_embeddings(share: float) -> Spoil:
    """A share of the words get the mean embedding, as if they had never been trained."""

    def spoil(network: Any, seed: int) -> None:
        table = network.encoder.embed_tokens.weight.data
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randperm(len(table), generator=generator)[: round(share * len(table))]
        table[rows] = table.mean(0)

    return spoil


def half_loaded(prefix: str) -> Spoil:
    """The parameters below ``prefix`` are random, as if the checkpoint did not have them."""

    def spoil(network: Any, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for value in _parameters(network, prefix):
            mean, deviation = float(value.mean()), float(value.std(correction=0))
            value.copy_(mean + deviation * torch.randn(value.shape, generator=generator))

    return spoil
