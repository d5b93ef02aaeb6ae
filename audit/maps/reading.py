"""From a trace to a map: one spatial reading of a forward pass.

A map is (rows, cols) over the model's grid, non-negative, with sum 1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from audit.base.errors import MapError, Undefined, nearest
from audit.maps.methods import METHODS, UndefinedMap, grey_of, reading_of
from audit.maps.spec import MapSpec
from audit.maps.trace import ANSWER, EACH_WORD, Evidence, Need, Trace, evidence_of

__all__ = ["Map", "MapSpec", "UndefinedMap", "image_share", "layer_maps", "need_of", "read_map"]

Map = NDArray[np.float64]
Array = NDArray[np.float64]

_WORDS = MapSpec(method="word_attention", word="any")


def need_of(specs: Iterable[MapSpec], methods: Collection[str]) -> Need:
    """What a trace must hold for all of ``specs`` to be read.

    Args:
        methods: those that the model offers.

    Raises:
        MapError: the model does not offer what a map is made of.
    """
    need = set()
    for spec in specs:
        method = spec.reading.method
        if method in methods:
            need.add(spec.reading)
        elif spec.row.from_model or spec.method == "blank":
            others = nearest(method, methods) if methods else "it has no maps of its own"
            raise MapError(
                f"the model gives no {method}, which the map {spec.key!r} is made of; {others}"
            )
    return frozenset(need)


def layer_indices(layers: str | list[int], available: int) -> list[int]:
    """Indices of a choice of layers, from 0.

    Raises:
        MapError: the model has no such layer.
    """
    if isinstance(layers, list):
        beyond = [n for n in layers if n > available]
        if beyond:
            raise MapError(f"layer {beyond[0]} was asked for, but the model has {available}")
        return [n - 1 for n in layers]
    if layers == "all":
        return list(range(available))
    _, _, count = layers.partition(":")
    wanted = int(count or 1)
    if wanted > available:
        raise MapError(f"layers: {layers} was asked for, but the model has {available}")
    return list(range(available - wanted, available))


def _chosen(spec: MapSpec, layers: int) -> list[int]:
    return layer_indices(spec.layers if spec.per_layer else "all", layers)


def _raw(evidence: Evidence, spec: MapSpec, layer: int | None = None) -> Map:
    """The map before post-processing, of all chosen layers or of the one at ``layer``, from 0."""
    by_layer = METHODS[spec.method].read(evidence, spec)
    chosen = by_layer[_chosen(spec, len(by_layer))]
    values = chosen.mean(axis=0) if layer is None else by_layer[layer]
    if not np.isfinite(values).all():
        raise MapError("the model's attention is not finite")
    total = values.sum()
    if total <= 0:
        raise UndefinedMap("nothing falls on the image, so there is no map")
    normalised: Map = values / total
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


def _read(evidence: Evidence, spec: MapSpec, layer: int | None) -> Map:
    p = _raw(evidence, spec, layer)
    if spec.subtract == "blank":
        left = np.clip(p - _raw(Evidence(grey_of(evidence)), spec, layer), 0.0, None)
        if left.sum() <= 0:
            raise UndefinedMap("the map is the same over a grey picture, so nothing is left")
        p = left / left.sum()
    return processed(p, spec)


def read_map(seen: Trace | Evidence, spec: MapSpec | None = None) -> Map:
    """Read the map that ``spec`` describes: layers averaged, blank subtracted, post-processed.

    The image's part of an attention row does not sum to 1, since the text takes the rest; the
    map is renormalised, and the ``image_share`` metric keeps what was lost.

    Args:
        spec: the answer's attention over all layers and heads, if not said.

    Raises:
        UndefinedMap: there is nothing on the image.
        MapError: a layer or word is asked for that is not there, or the trace does not hold what
            the map needs.
    """
    return _read(evidence_of(seen), spec or MapSpec(), None)


def layer_maps(seen: Trace | Evidence, spec: MapSpec) -> list[tuple[int, Map]]:
    """Number, from 1, and map of each chosen layer alone, in order; methods of layers only.

    A layer that gives the image nothing has no map and is left out.

    Raises:
        MapError: the method does not read layer by layer, or see :func:`read_map`.
    """
    if not spec.per_layer:
        raise MapError(f"the method {spec.method} is not read layer by layer")
    evidence, found = evidence_of(seen), []
    for layer in _chosen(spec, len(spec.row.read(evidence, spec))):
        try:
            found.append((layer + 1, _read(evidence, spec, layer)))
        except UndefinedMap:
            continue
    return found


def word_maps(trace: Trace, spec: MapSpec | None = None) -> list[tuple[str, Map]]:
    """Each word of the hypothesis, in its order, and where the model looks from it.

    A word that gives the image nothing has no map and is left out.

    Args:
        trace: one that holds :data:`~audit.maps.trace.EACH_WORD`.
        spec: says which layers and heads, and how to post-process; its word does not matter.

    Raises:
        MapError: the trace holds no attention of words, or not all chosen layers.
    """
    wanted = spec or _WORDS
    found = []
    for place, word in enumerate(trace.words):
        cells = reading_of(trace, EACH_WORD._replace(heads=wanted.head_choice, word=place)).cells
        values = cells[_chosen(wanted, len(cells))].mean(axis=0)
        if values.sum() > 0:
            found.append((word.text, processed(values / values.sum(), wanted)))
    return found


def image_share(seen: Trace | Evidence, spec: MapSpec) -> float:
    """The share of the attention row that lies on the image, in [0, 1].

    Of the words' rows for ``word_attention``, of the grey picture for ``blank``, else of the
    answer's row.

    Raises:
        Undefined: the model gives no attention of its answer.
    """
    evidence = evidence_of(seen)
    trace = grey_of(evidence) if spec.method == "blank" else evidence.trace
    if spec.reading == ANSWER and ANSWER not in trace.readings:
        raise Undefined("the model gives no attention of its answer")
    reading = reading_of(trace, spec.reading)
    chosen = _chosen(spec, len(reading.share))
    weights = None if reading.weight is None else reading.weight[chosen]
    if weights is not None and weights.sum() <= 0:
        raise Undefined("the attention row is empty")
    return float(np.clip(np.average(reading.share[chosen], weights=weights), 0.0, 1.0))
