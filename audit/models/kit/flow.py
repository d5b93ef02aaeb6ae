"""Follow attention through the layers: rollout, and gradient relevance of an encoder-decoder.

No N × N product is ever formed.

Chefer, Gur & Wolf, "Generic Attention-model Explainability for Interpreting Bi-Modal and
Encoder-Decoder Transformers", ICCV 2021, equations 5 to 11.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.base.errors import MapError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Relevance:
    """The positive part of attention times gradient, reduced over heads: A-bar of Chefer et al.

    It is the gradient of the margin between the answer's log-probability and the runner-up's.

    Attributes:
        encoder: (layers, source, source).
        decoder: (layers, target, target), up to the answer row, which is the last.
        cross: (layers, target, source).
    """

    encoder: NDArray[np.float32]
    decoder: NDArray[np.float32]
    cross: NDArray[np.float32]


def rolled_out(rows: Array, factors: Sequence[NDArray[np.float32]]) -> Array:
    """Rows over the encoder's outputs, carried down to the cells.

    From (layers, source) to (layers, cells).

    Abnar & Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020: the product of all
    layers' mixtures of attention and residual. The product itself is never formed here.

    Args:
        rows: the answer's attention in each layer of the decoder.
        factors: matrices whose product leads from the encoder's outputs to the cells.
    """
    carried = rows.astype(np.float32)
    for factor in factors:
        carried = carried @ factor
    return carried.astype(np.float64)


def relevance(traced: Relevance, *, variant: str = "causal", start_layer: int = 1) -> Array:
    """Relevance of every source token for the answer: (source,), non-negative.

    The normalised encoder relevance N(R_qq) is a factor common to all decoder layers. So M, the
    answer's relevance to the encoder's outputs, is accumulated without it, and only its last row w
    is multiplied by N(R_qq) at the end: with S the row sums of R_qq − I and y = w / S (0 where S is
    0), w · N(R_qq) = w + y · Π(I + A-bar) − y. O(layers · N²), exact.

    Args:
        traced: A-bar of every layer.
        variant: ``paper`` transposes the decoder's own relevance, as equation 10 prints it. In a
            causal decoder that leaves the answer row without any mixing, so ``causal`` does not.
        start_layer: encoder layers before this one, counted from 1, count as the identity.

    Raises:
        MapError: ``start_layer`` is beyond the model's layers.
    """
    if start_layer > len(traced.encoder):
        raise MapError(
            f"start_layer {start_layer} was asked for, but the encoder has {len(traced.encoder)}"
        )
    encoder = [a.astype(np.float64) for a in traced.encoder[start_layer - 1 :]]
    w = _decoder_row(traced, variant)
    sums = np.ones(traced.encoder.shape[-1])
    for a in encoder:
        sums = sums + a @ sums
    sums = sums - 1.0
    # A row without relevance stays the identity; dividing by 0 would turn the map into NaN.
    y = np.divide(w, sums, out=np.zeros_like(w), where=sums > 0)
    z = y
    for a in reversed(encoder):
        z = z + z @ a
    found: Array = np.clip(w + z - y, 0.0, None)
    return found


def _decoder_row(traced: Relevance, variant: str) -> Array:
    """The answer's row of M: (source,)."""
    steps = traced.decoder.shape[-1]
    own = np.eye(steps)
    m = np.zeros(traced.cross.shape[1:])
    for a_own, a_cross in zip(traced.decoder, traced.cross, strict=True):
        a = a_own.astype(np.float64)
        own, m = own + a @ own, m + a @ m
        mixing = normalised(own)
        m = m + (mixing.T if variant == "paper" else mixing) @ a_cross.astype(np.float64)
    row: Array = m[-1]
    return row


def normalised(r: Array) -> Array:
    """Row-normalise R − I and add the identity back (equations 8 and 9); a zero row stays zero."""
    rest = r - np.eye(len(r))
    sums = rest.sum(axis=1, keepdims=True)
    shares: Array = np.divide(rest, sums, out=np.zeros_like(rest), where=sums > 0)
    return shares + np.eye(len(r))
