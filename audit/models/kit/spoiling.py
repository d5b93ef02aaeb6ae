"""Plants regressions in the weights of a network, in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from audit.models.kit.altering import NotPossible, Plant
from audit.models.protocol import Model

Spoil = Callable[[Any, int], None]
"""Changes a network in place; the number is a seed."""


@dataclass(frozen=True)
class Attention:
    """An attention module whose heads can be told apart in its weights.

    Attributes:
        queries: path of the linear layer whose first rows make the queries, head after head; keys
            and values may follow them.
        output: path of the linear layer whose columns take what the heads give, head after head.
        heads, size: how many heads there are, and the length of one's queries.
        normalised: whether queries are normalised afterwards, so that their length says nothing.
    """

    queries: str
    output: str
    heads: int
    size: int
    normalised: bool = False


def spoiled(spoil: Spoil) -> Plant:
    """Plants ``spoil`` in a model that shows its network.

    Raises (when it is planted):
        NotPossible: the model shows none.
    """

    def plant(model: Any, seed: int) -> Model:
        network = getattr(model, "torch_model", None)
        if network is None:
            raise NotPossible("the model does not show its network (torch_model)")
        with torch.no_grad():
            spoil(network, seed)
        found: Model = model
        return found

    return plant


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


def pruned(attention: Attention, *heads: int) -> Spoil:
    """Heads of one attention module silenced as by pruning; all heads if none is given."""

    def spoil(network: Any, _: int) -> None:
        output, size = network.get_submodule(attention.output).weight.data, attention.size
        for head in heads or range(attention.heads):
            output[:, head * size : (head + 1) * size] = 0

    return spoil


def _of_queries(network: Any, attention: Attention) -> Iterator[Tensor]:
    """The rows of the weight and of the bias, if there is one, that make the queries."""
    layer = network.get_submodule(attention.queries)
    for values in (layer.weight, layer.bias):
        if values is not None:
            yield values.data[: attention.heads * attention.size]


def swapped(attention: Attention, first: int, second: int) -> Spoil:
    """The queries of two heads exchanged, as if a conversion mixed up the rows."""

    def spoil(network: Any, _: int) -> None:
        size = attention.size
        rows = [slice(h * size, (h + 1) * size) for h in (first, second)]
        for values in _of_queries(network, attention):
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
            whole = result[0] if isinstance(result, tuple) else result
            given = given + 0 * whole  # so that a gradient can still be asked for in the layer
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


def stale_embeddings(path: str, share: float) -> Spoil:
    """A share of the words get the mean embedding, as if they had never been trained."""

    def spoil(network: Any, seed: int) -> None:
        table = network.get_submodule(path).weight.data
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


def saved_as(kind: torch.dtype) -> Spoil:
    """Parameters rounded to a shorter type, as if the checkpoint had been saved in it."""

    def spoil(network: Any, _: int) -> None:
        for value in _parameters(network):
            value.copy_(value.to(kind))

    return spoil


def scaled(path: str, factor: float) -> Spoil:
    """The gain of one layer norm multiplied by ``factor``."""

    def spoil(network: Any, _: int) -> None:
        network.get_submodule(path).weight.data.mul_(factor)

    return spoil


def tempered(attention: Attention, temperature: float) -> Spoil:
    """One attention module's scores divided by ``temperature``, except the part of positions.

    Raises (when it is planted):
        NotPossible: the queries are normalised, so that their length says nothing.
    """

    def spoil(network: Any, _: int) -> None:
        if attention.normalised:
            raise NotPossible("queries are normalised, so their size says nothing")
        for values in _of_queries(network, attention):
            values.div_(temperature)

    return spoil


def shifted_rows(path: str) -> Spoil:
    """A table of embeddings shifted by one row, as if counting began at another number."""

    def spoil(network: Any, _: int) -> None:
        table = network.get_submodule(path).weight.data
        table.copy_(table.roll(1, 0))

    return spoil


_RANK = 4


def low_rank(share: float) -> Spoil:
    """Queries and values of every layer with a random update of rank 4 (LoRA, Hu et al. 2021).

    Args:
        share: Frobenius norm of an update, as a share of its matrix's.
    """

    def spoil(network: Any, seed: int) -> None:
        generator, found = torch.Generator().manual_seed(seed), False
        for name, value in network.named_parameters():
            if name.endswith(("q_proj.weight", "v_proj.weight")):
                found = True
                left = torch.randn((value.shape[0], _RANK), generator=generator)
                update = left @ torch.randn((_RANK, value.shape[1]), generator=generator)
                value.data.add_(update, alpha=share * float(value.data.norm() / update.norm()))
        if not found:
            raise NotPossible("no layer has queries and values of its own (q_proj, v_proj)")

    return spoil


def blended(
    title: str, other: Callable[[], Mapping[str, Tensor]], share: float, prefix: str = ""
) -> Spoil:
    """``share`` of another checkpoint in every tensor below ``prefix``, as in a bad merge.

    Args:
        title: of the other model, for messages.
        other: gives its tensors by name.

    Raises (when it is planted):
        NotPossible: the other checkpoint is the same one, or has other tensors.
    """

    def spoil(network: Any, _: int) -> None:
        theirs, own = other(), network.state_dict()
        if {n: v.shape for n, v in own.items()} != {n: v.shape for n, v in theirs.items()}:
            raise NotPossible(f"{title} has other tensors than this one")
        if all(torch.equal(value, theirs[name]) for name, value in own.items()):
            raise NotPossible(f"{title} is this one")
        _blend(own, theirs, share, prefix)

    return spoil


def blended_with_shuffled(share: float, prefix: str = "") -> Spoil:
    """``share`` of a copy in which the values of each tensor below ``prefix`` are shuffled."""

    def spoil(network: Any, seed: int) -> None:
        generator, own = torch.Generator().manual_seed(seed), network.state_dict()
        shuffled = {
            name: value.flatten()[torch.randperm(value.numel(), generator=generator)].view_as(value)
            for name, value in own.items()
        }
        _blend(own, shuffled, share, prefix)

    return spoil


def _blend(
    own: Mapping[str, Tensor], other: Mapping[str, Tensor], share: float, prefix: str
) -> None:
    seen: set[int] = set()
    for name, value in own.items():
        # Shared embeddings have several names for the same memory.
        if value.data_ptr() in seen or not name.startswith(prefix):
            continue
        seen.add(value.data_ptr())
        if value.is_floating_point():
            value.lerp_(other[name], share)
