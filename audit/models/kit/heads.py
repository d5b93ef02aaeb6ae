"""Reduce the attention heads of a layer to one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audit.base.errors import MapError
from audit.maps.trace import EACH, HeadChoice, HeadPlace

Array = NDArray[np.float64]


def head_weights(heads: HeadChoice, scale: NDArray[np.float32]) -> Array | None:
    """How much each head counts: (..., heads), with sum 1 over the heads; None for the maximum.

    Args:
        scale: (..., heads) the model's own factor of each head; ones if it has none.

    Raises:
        MapError: the model has no such head, all its head factors are zero, or the choice is not
            one within a layer: see :func:`over_heads`.
    """
    if leaves_layers(heads):
        raise MapError("single heads of single layers cannot be read here, only one choice for all")
    if heads == "max":
        return None
    if heads == "weighted":
        size = np.abs(scale.astype(np.float64))
        total = size.sum(axis=-1, keepdims=True)
        if (total <= 0).any():
            raise MapError("heads: weighted has no meaning where all head factors are zero")
        weighted: Array = size / total
        return weighted
    weights = np.zeros(scale.shape)
    if heads == "mean":
        weights[...] = 1 / scale.shape[-1]
    else:
        numbers = [n for n in heads if isinstance(n, int)]
        available = scale.shape[-1]
        beyond = [n for n in numbers if n > available]
        if beyond:
            raise MapError(f"head {beyond[0]} was asked for, but the model has {available}")
        weights[..., [n - 1 for n in numbers]] = 1 / len(numbers)
    return weights


def placed(heads: HeadChoice) -> list[HeadPlace]:
    """The places of a choice of heads at their places; empty for any other choice."""
    return [] if isinstance(heads, str) else [h for h in heads if isinstance(h, HeadPlace)]


def leaves_layers(heads: HeadChoice) -> bool:
    """Whether a choice is of single heads, so that it is not made layer by layer."""
    return heads == EACH or bool(placed(heads))


def over_heads(
    weights: NDArray[np.float32], heads: HeadChoice, scale: NDArray[np.float32] | None = None
) -> Array:
    """Rows of attention with their heads reduced: (layers, heads, source) to (layers, source).

    Heads at their places give one layer, (1, source), and each head by itself a layer for each
    head, (layers · heads, source).

    Args:
        scale: (layers, heads) the model's own factors; None if it has none.

    Raises:
        MapError: see :func:`head_weights`; or the model has no head at one of the places.
    """
    values = weights.astype(np.float64)
    if heads == EACH:
        each: Array = values.reshape(-1, values.shape[-1])
        return each
    if places := placed(heads):
        beyond = [p for p in places if p.layer > len(values) or p.head > values.shape[1]]
        if beyond:
            raise MapError(
                f"head {beyond[0]} was asked for, but the model has {len(values)} layers of "
                f"{values.shape[1]} heads"
            )
        chosen: Array = values[[p.layer - 1 for p in places], [p.head - 1 for p in places]]
        together: Array = chosen.mean(axis=0, keepdims=True)
        return together
    factors = np.ones(weights.shape[:2], np.float32) if scale is None else scale
    by_head = head_weights(heads, factors)
    if by_head is None:
        largest: Array = values.max(axis=1)
        return largest
    reduced: Array = np.einsum("lhs,lh->ls", values, by_head)
    return reduced
