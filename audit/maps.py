"""From a trace to a map: one spatial reading of a forward pass.

A map is (rows, cols) over the patch grid, non-negative, with sum 1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt

from audit.trace import Trace

Map = NDArray[np.float64]

Method = Literal["cross_attention"]


def _layers_text(value: str) -> str:
    if not re.fullmatch(r"all|last|last:[1-9][0-9]*", value):
        raise ValueError(
            f"{value!r} is not a choice of layers: all, last, last:N, or a list of numbers"
        )
    return value


def _distinct(value: list[int]) -> list[int]:
    if len(set(value)) != len(value):
        raise ValueError("a number is listed twice")
    return value


_Numbers = Annotated[list[PositiveInt], Field(min_length=1), AfterValidator(_distinct)]
Layers = Annotated[str, AfterValidator(_layers_text)] | _Numbers
Heads = Literal["mean", "max"] | _Numbers


class MapSpec(BaseModel):
    """How to read a map from a trace."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Method = Field(
        "cross_attention", description="What to read: where the decoder looks when it answers."
    )
    layers: Layers = Field(
        "all",
        description="Decoder layers: all, last, last:N, or a list of numbers counted from 1.",
        union_mode="left_to_right",
    )
    heads: Heads = Field(
        "mean",
        description="Heads: mean or max over all, or a list of numbers counted from 1 to average.",
        union_mode="left_to_right",
    )

    @property
    def key(self) -> str:
        """A short text that tells this map from others; it names maps in files and pages.

        >>> MapSpec(layers="last:2").key
        'cross_attention layers=last:2'
        """
        said = [str(self.method)]
        for name, default in (("layers", "all"), ("heads", "mean")):
            value = getattr(self, name)
            if value != default:
                text = value if isinstance(value, str) else ",".join(map(str, value))
                said.append(f"{name}={text}")
        return " ".join(said)


def _chosen(numbers: Sequence[int], available: int, what: str) -> list[int]:
    beyond = [n for n in numbers if n > available]
    if beyond:
        raise ValueError(f"{what} {beyond[0]} was asked for, but the model has {available}")
    return [n - 1 for n in numbers]


def _layer_indices(layers: str | list[int], available: int) -> list[int]:
    if isinstance(layers, list):
        return _chosen(layers, available, "decoder layer")
    if layers == "all":
        return list(range(available))
    _, _, count = layers.partition(":")
    wanted = int(count or 1)
    if wanted > available:
        raise ValueError(f"layers: {layers} was asked for, but the model has {available}")
    return list(range(available - wanted, available))


def answer_row(trace: Trace, spec: MapSpec) -> NDArray[np.float64]:
    """The answer row over all source tokens, reduced over the chosen layers and heads: (source,).

    Heads are reduced within a layer (mean, maximum, or mean of the chosen), then layers averaged.

    Raises:
        ValueError: a layer or head is asked for that the model does not have.
    """
    layers, heads, _ = trace.cross_attention.shape
    weights = trace.cross_attention[_layer_indices(spec.layers, layers)].astype(np.float64)
    if isinstance(spec.heads, list):
        weights = weights[:, _chosen(spec.heads, heads, "head")]
    reduced = weights.max(axis=1) if spec.heads == "max" else weights.mean(axis=1)
    row: NDArray[np.float64] = reduced.mean(axis=0)
    return row


def cross_attention(trace: Trace, spec: MapSpec | None = None) -> Map:
    """Where the decoder looks when it answers: its answer row over the image's cells.

    The image's columns of an attention row do not sum to 1, since the text takes the rest; the
    map is renormalised, and the ``image_share`` metric keeps what was lost.

    Raises:
        ValueError: a layer or head is asked for that the model does not have, or the answer row
            gives the image no attention at all.
    """
    row = answer_row(trace, spec or MapSpec())
    image = row[: trace.grid.rows * trace.grid.cols]
    total = image.sum()
    if not np.isfinite(total) or total <= 0:
        raise ValueError("the answer row gives the image no attention, so there is no map")
    normalised: Map = (image / total).reshape(trace.grid)
    return normalised


def read_map(trace: Trace, spec: MapSpec) -> Map:
    """Read the map that ``spec`` describes."""
    readers: dict[str, Any] = {"cross_attention": cross_attention}
    result: Map = readers[spec.method](trace, spec)
    return result


def image_share(trace: Trace, spec: MapSpec) -> float:
    """The share of the answer row's attention that lies on the image, in [0, 1]."""
    row = answer_row(trace, spec)
    share = row[: trace.grid.rows * trace.grid.cols].sum() / row.sum()
    return float(np.clip(share, 0.0, 1.0))
