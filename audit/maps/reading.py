"""Read maps from traces; a map is one spatial reading of a forward pass.

A map is (rows, cols) over the model's grid, non-negative, with sum 1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
from numpy.typing import NDArray

from audit.base.errors import MapError, Undefined, nearest
from audit.maps.generic import generic_cells, relative_to, without_sinks
from audit.maps.methods import METHODS, ROUNDING, UndefinedMap, grey_of, reading_of
from audit.maps.spec import MapSpec
from audit.maps.trace import ANSWER, EACH_WORD, Evidence, Need, Trace, evidence_of

__all__ = ["Map", "MapSpec", "UndefinedMap", "image_share", "layer_maps", "need_of", "read_map"]

Map = NDArray[np.float64]
Array = NDArray[np.float64]

_WORDS = MapSpec(method="word_attention", word="any")


def need_of(specs: Iterable[MapSpec], methods: Collection[str]) -> Need:
    """The readings that a trace must hold so that all of ``specs`` can be read from it.

    Args:
        methods: the methods that the model offers.

    Raises:
        MapError: the model does not offer the method that a map is made from.
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
    """The indices, from 0, of a choice of layers.

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
    """The map before post-processing: of all chosen layers, or of the layer with this index."""
    return _averaged(METHODS[spec.method].read(evidence, spec), spec, layer)


def _averaged(by_layer: Array, spec: MapSpec, layer: int | None) -> Map:
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
    """The map after the temperature and then the smoothing that ``spec`` asks for, nothing else.

    Smoothing reflects at the border, so that no mass is lost.
    """
    if spec.temperature != 1.0:
        with np.errstate(divide="ignore", over="ignore"):
            logs = np.log(p)
            # The largest comes first: divided by a tiny temperature, every logarithm is infinite.
            p = np.exp((logs - logs.max()) / spec.temperature)
        p = p / p.sum()
    if spec.smooth:
        from scipy.ndimage import gaussian_filter  # noqa: PLC0415  cases are checked without it

        p = gaussian_filter(p, spec.smooth, mode="reflect")
        p = p / p.sum()
    return p


def _read(evidence: Evidence, spec: MapSpec, layer: int | None) -> Map:
    p = _raw(evidence, spec, layer)
    if spec.subtract == "blank":
        left = np.clip(p - _raw(Evidence(grey_of(evidence)), spec, layer), 0.0, None)
        if left.sum() <= ROUNDING:
            raise UndefinedMap("the map is the same over a grey picture, so nothing is left")
        p = left / left.sum()
    if spec.needs_generic:
        generic = _averaged(generic_cells(evidence, spec.reading), spec, layer)
        if spec.relative == "generic":
            p = relative_to(p, generic)
        if spec.drop == "sinks":
            p = without_sinks(p, generic)
    return processed(p, spec)


def read_map(seen: Trace | Evidence, spec: MapSpec | str | None = None) -> Map:
    """Read the map that ``spec`` describes: layers averaged, compared, post-processed.

    It is compared with the same map of a grey picture, or of a question that asks nothing, if
    ``spec`` says so: subtracted or divided first, then without sinks.

    The image's part of an attention row does not sum to 1, since the text takes the rest. So the
    map is renormalised, and the ``image_share`` metric keeps the share that the image had.

    Args:
        seen: what a model left: a trace of a single pass, or what :func:`audit.gather` gives, from
            which maps that need more than a pass can be read, too.
        spec: a spec, or a string as on the command line; by default the answer's attention over
            all layers and heads.

    Returns:
        (rows, cols) over the model's grid, float64, non-negative, with sum 1: the share of the map
        in each cell. Row 0 is the top of what the model sees, column 0 its left
        (:attr:`audit.Trace.view`).

    Raises:
        UndefinedMap: nothing falls on the image, or nothing is left of it.
        MapError: the model has no such layer or word, or the trace does not hold what the map
            needs.
        ValueError: the text describes no map.
    """
    return _read(evidence_of(seen), MapSpec() if spec is None else MapSpec.of(spec), None)


def layer_maps(seen: Trace | Evidence, spec: MapSpec) -> list[tuple[int, Map]]:
    """The number (from 1) and the map of each chosen layer by itself, in order.

    A layer of which nothing falls on the image has no map and is left out.

    Raises:
        MapError: the method is not read layer by layer, or for the reasons of :func:`read_map`.
    """
    if not spec.per_layer:
        what = f"map {spec.key!r}" if spec.row.by_layer else f"method {spec.method}"
        raise MapError(f"the {what} is not read layer by layer")
    evidence, found = evidence_of(seen), []
    for layer in _chosen(spec, len(spec.row.read(evidence, spec))):
        try:
            found.append((layer + 1, _read(evidence, spec, layer)))
        except UndefinedMap:
            continue
    return found


def word_maps(trace: Trace, spec: MapSpec | None = None) -> list[tuple[str, Map]]:
    """Each word of the hypothesis, in order, with the map of where the model looks from it.

    A word whose attention does not fall on the image has no map and is left out.

    Args:
        trace: must hold :data:`~audit.maps.trace.EACH_WORD`.
        spec: gives the layers, heads and post-processing; its word is ignored.

    Raises:
        MapError: the trace holds no attention of words, or lacks one of the chosen layers.
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

    The row is that of the word for ``word_attention``, that of the answer to a grey picture for
    ``blank``, and else that of the answer.

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
