"""From a trace to a map: one spatial reading of a forward pass.

A map is (rows, cols) over the patch grid, non-negative, with sum 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from audit.base.errors import Undefined, nearest
from audit.base.words import occurrences, words_in
from audit.maps.spec import MapSpec
from audit.maps.trace import HeadChoice, Need, Trace
from audit.models.kit.flow import relevance

__all__ = ["Map", "MapSpec", "UndefinedMap", "image_share", "layer_maps", "need_of", "read_map"]

Map = NDArray[np.float64]
Array = NDArray[np.float64]


class UndefinedMap(Undefined):
    """There is nothing to draw; the message says why."""


def need_of(specs: Sequence[MapSpec]) -> Need:
    """What a trace must hold for all of ``specs``."""
    need = Need()
    for spec in specs:
        need = need | spec.need
    return need


def _chosen(numbers: Sequence[int], available: int, what: str) -> list[int]:
    beyond = [n for n in numbers if n > available]
    if beyond:
        raise ValueError(f"{what} {beyond[0]} was asked for, but the model has {available}")
    return [n - 1 for n in numbers]


def layer_indices(layers: str | list[int], available: int) -> list[int]:
    """Indices of a choice of layers, from 0.

    Raises:
        ValueError: the model has no such layer.
    """
    if isinstance(layers, list):
        return _chosen(layers, available, "layer")
    if layers == "all":
        return list(range(available))
    _, _, count = layers.partition(":")
    wanted = int(count or 1)
    if wanted > available:
        raise ValueError(f"layers: {layers} was asked for, but the model has {available}")
    return list(range(available - wanted, available))


def head_weights(heads: HeadChoice, scale: NDArray[np.float32]) -> Array | None:
    """How much each head counts: (..., heads) with sum 1 over heads; None for the maximum.

    Args:
        scale: (..., heads) the factor c_attn of each head.

    Raises:
        ValueError: the model has no such head, or all its head factors are zero.
    """
    if heads == "max":
        return None
    if heads == "weighted":
        size = np.abs(scale.astype(np.float64))
        total = size.sum(axis=-1, keepdims=True)
        if (total <= 0).any():
            raise ValueError("heads: weighted has no meaning where all head factors are zero")
        weighted: Array = size / total
        return weighted
    weights = np.zeros(scale.shape)
    if heads == "mean":
        weights[...] = 1 / scale.shape[-1]
    else:
        assert isinstance(heads, tuple)
        weights[..., _chosen(heads, scale.shape[-1], "head")] = 1 / len(heads)
    return weights


def answer_rows(trace: Trace, spec: MapSpec) -> Array:
    """The answer row over all source tokens in each chosen layer: (chosen layers, source).

    Raises:
        ValueError: a layer or head is asked for that the model does not have.
    """
    weights = trace.cross_attention
    layers = layer_indices(spec.layers, len(weights))
    values = weights[layers].astype(np.float64)
    scale = (
        np.ones(weights.shape[:2], np.float32) if trace.cross_scale is None else trace.cross_scale
    )
    by_head = head_weights(spec.head_choice, scale[layers])
    if by_head is None:
        largest: Array = values.max(axis=1)
        return largest
    reduced: Array = np.einsum("lhs,lh->ls", values, by_head)
    return reduced


def _cells(trace: Trace) -> int:
    return trace.grid.rows * trace.grid.cols


def _cross(trace: Trace, spec: MapSpec) -> Array:
    return answer_rows(trace, spec)[:, : _cells(trace)]


def word_tokens(trace: Trace, phrase: str) -> list[int]:
    """Which tokens of the hypothesis spell ``phrase``, at every place where it occurs.

    Raises:
        ValueError: it does not occur in what the model sees of the hypothesis.
    """
    words = [word.text for word in trace.words]
    starts = occurrences(phrase, words)
    if not starts:
        raise ValueError(
            f"the model sees no {phrase!r} in the hypothesis; {nearest(phrase, words)}"
        )
    places = [trace.words[i + k] for i in starts for k in range(len(words_in(phrase)))]
    return sorted({token for word in places for token in word.tokens})


def _encoder(trace: Trace, spec: MapSpec) -> Array:
    assert spec.word is not None
    return _word_rows(trace, spec, word_tokens(trace, spec.word))


def _word_rows(trace: Trace, spec: MapSpec, tokens: list[int]) -> Array:
    """Where the encoder looks from ``tokens``, averaged: (chosen layers, cells)."""
    held = trace.word_attention.get(spec.head_choice)
    if held is None:
        raise ValueError("the trace holds no attention of words; ask the model for it")
    rows: Array = held[layer_indices(spec.layers, len(held))][:, tokens].astype(np.float64)
    mean: Array = rows.mean(axis=1)
    return mean


def _rollout(trace: Trace, spec: MapSpec) -> Array:
    rolled = trace.rollouts.get(spec.rollout_choice)
    if rolled is None:
        raise ValueError("the trace holds no such rollout; ask the model for it")
    rows = answer_rows(trace, spec).astype(np.float32)
    for factor in rolled:
        rows = rows @ factor
    return rows.astype(np.float64)


def _relevance(trace: Trace, spec: MapSpec) -> Array:
    traced = trace.relevances.get(spec.head_choice)
    if traced is None:
        raise ValueError("the trace holds no gradients; ask the model for them")
    found = relevance(traced, variant=spec.variant, start_layer=spec.start_layer)
    return found[None, : _cells(trace)]


def _occlusion(trace: Trace, spec: MapSpec) -> Array:
    drops = trace.occlusion.get(spec.window_choice)
    if drops is None:
        raise ValueError("the trace holds no occlusion; ask the model for it")
    if drops.max() <= 0:
        raise UndefinedMap("hiding any part of the picture does not lower the answer's probability")
    return np.clip(drops, 0.0, None).reshape(1, -1)


def _uniform(trace: Trace, _: MapSpec) -> Array:
    return np.ones((1, _cells(trace)))


def _centre(trace: Trace, _: MapSpec) -> Array:
    rows, cols = trace.grid
    y, x = ((np.arange(n) + 0.5) / n - 0.5 for n in (rows, cols))
    return np.exp(-(y[:, None] ** 2 + x[None, :] ** 2) / (2 * 0.25**2)).reshape(1, -1)


def _random(trace: Trace, spec: MapSpec) -> Array:
    # The text is part of the seed: else every case of a set would get the same "random" map.
    text = np.frombuffer(trace.prompt.encode(), np.uint8)
    return np.random.default_rng([spec.seed, *text]).random((1, _cells(trace)))


def _blank(trace: Trace, spec: MapSpec) -> Array:
    return _cross(_grey(trace), spec)


def _grey(trace: Trace) -> Trace:
    if trace.blank is None:
        raise ValueError("the trace holds no answer to a grey picture; ask the model for it")
    return trace.blank


_READERS: dict[str, Callable[[Trace, MapSpec], Array]] = {
    "cross_attention": _cross,
    "encoder_attention": _encoder,
    "rollout": _rollout,
    "relevance": _relevance,
    "occlusion": _occlusion,
    "uniform": _uniform,
    "centre": _centre,
    "random": _random,
    "blank": _blank,
}


def _raw(trace: Trace, spec: MapSpec, layer: int | None = None) -> Map:
    """The map before post-processing, of all chosen layers or of the one at ``layer``."""
    by_layer = _READERS[spec.method](trace, spec)
    values = by_layer.mean(axis=0) if layer is None else by_layer[layer]
    if not np.isfinite(values).all():
        raise ValueError("the model's attention is not finite")
    total = values.sum()
    if total <= 0:
        raise UndefinedMap("nothing falls on the image, so there is no map")
    normalised: Map = (values / total).reshape(trace.grid)
    return normalised


def processed(p: Map, spec: MapSpec) -> Map:
    """Temperature, then smoothing; what is explicit in ``spec`` and nothing else.

    Smoothing reflects at the border, so that no mass is lost.
    """
    if spec.temperature != 1.0:
        with np.errstate(divide="ignore"):
            logs = np.log(p) / spec.temperature
        p = np.exp(logs - logs.max())
        p = p / p.sum()
    if spec.smooth:
        p = gaussian_filter(p, spec.smooth, mode="reflect")
        p = p / p.sum()
    return p


def _read(trace: Trace, spec: MapSpec, layer: int | None) -> Map:
    p = _raw(trace, spec, layer)
    if spec.subtract == "blank":
        left = np.clip(p - _raw(_grey(trace), spec, layer), 0.0, None)
        if left.sum() <= 0:
            raise UndefinedMap("the map is the same over a grey picture, so nothing is left")
        p = left / left.sum()
    return processed(p, spec)


def read_map(trace: Trace, spec: MapSpec) -> Map:
    """Read the map that ``spec`` describes: layers averaged, blank subtracted, post-processed.

    The image's columns of an attention row do not sum to 1, since the text takes the rest; the
    map is renormalised, and the ``image_share`` metric keeps what was lost.

    Raises:
        UndefinedMap: there is nothing on the image.
        ValueError: a layer, head or word is asked for that is not there, or the trace does not
            hold what the map needs.
    """
    return _read(trace, spec, None)


def layer_maps(trace: Trace, spec: MapSpec) -> list[tuple[int, Map]]:
    """Number, from 1, and map of each chosen layer alone, in order; methods of layers only.

    A layer that gives the image nothing has no map and is left out.

    Raises:
        ValueError: the method does not read layer by layer, or see :func:`read_map`.
    """
    if not spec.per_layer:
        raise ValueError(f"the method {spec.method} is not read layer by layer")
    of_words = spec.method == "encoder_attention"
    held = trace.word_attention.get(spec.head_choice, ()) if of_words else trace.cross_attention
    found = []
    for place, layer in enumerate(layer_indices(spec.layers, len(held))):
        try:
            found.append((layer + 1, _read(trace, spec, place)))
        except UndefinedMap:
            continue
    return found


def word_maps(trace: Trace, spec: MapSpec | None = None) -> list[tuple[str, Map]]:
    """Each word of the hypothesis, in its order, and the encoder's attention from it.

    A word that gives the image nothing has no map and is left out.

    Args:
        spec: says which layers and heads, and how to post-process; its word does not matter.

    Raises:
        ValueError: the trace holds no attention of words.
    """
    wanted = spec or MapSpec(method="encoder_attention", word="any")
    found = []
    for word in trace.words:
        values = _word_rows(trace, wanted, list(word.tokens)).mean(axis=0)
        if values.sum() > 0:
            p = (values / values.sum()).reshape(trace.grid)
            found.append((word.text, processed(p, wanted)))
    return found


def cross_attention(trace: Trace, spec: MapSpec | None = None) -> Map:
    """The default map: where the decoder looks when it answers."""
    return read_map(trace, spec or MapSpec())


def image_share(trace: Trace, spec: MapSpec) -> float:
    """The share of the attention row that lies on the image, in [0, 1].

    Of the words' rows for ``encoder_attention``, of the grey picture for ``blank``, else of the
    answer's row of the decoder's cross-attention.
    """
    if spec.method == "encoder_attention":
        share = _encoder(trace, spec).sum(axis=1).mean()
    else:
        read = _grey(trace) if spec.method == "blank" else trace
        row = answer_rows(read, spec if spec.per_layer else MapSpec()).mean(axis=0)
        share = row[: _cells(trace)].sum() / row.sum()
    return float(np.clip(share, 0.0, 1.0))
