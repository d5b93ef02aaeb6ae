"""Reduce the attention heads of a layer to one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audit.base.errors import MapError
from audit.maps.trace import HeadChoice

Array = NDArray[np.float64]


def head_weights(heads: HeadChoice, scale: NDArray[np.float32]) -> Array | None:
    """How much each head counts: (..., heads), with sum 1 over the heads; None for the maximum.

    Args:
        scale: (..., heads) the model's own factor of each head; ones if it has none.

    Raises:
        MapError: the model has no such head, or all its head factors are zero.
    """
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
        assert isinstance(heads, tuple)
        available = scale.shape[-1]
        beyond = [n for n in heads if n > available]
        if beyond:
            raise MapError(f"head {beyond[0]} was asked for, but the model has {available}")
        weights[..., [n - 1 for n in heads]] = 1 / len(heads)
    return weights


def over_heads(
    weights: NDArray[np.float32], heads: HeadChoice, scale: NDArray[np.float32] | None = None
) -> Array:
    """Rows of attention with their heads reduced: (layers, heads, source) to (layers, source).

    Args:
        scale: (layers, heads) the model's own factors; None if it has none.

    Raises:
        MapError: see :func:`head_weights`.
    """
    values = weights.astype(np.float64)
    factors = np.ones(weights.shape[:2], np.float32) if scale is None else scale
    by_head = head_weights(heads, factors)
    if by_head is None:
        largest: Array = values.max(axis=1)
        return largest
    reduced: Array = np.einsum("lhs,lh->ls", values, by_head)
    return reduced
