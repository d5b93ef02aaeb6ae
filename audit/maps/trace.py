"""What one forward pass leaves: plain arrays and words, no tensors; and what to ask of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from audit.base.errors import ModelError, NotFinite
from audit.base.geometry import Grid

HeadChoice = str | tuple[int, ...]
"""``mean``, ``max``, ``weighted`` (by \\|c_attn\\|), or numbers of heads counted from 1."""


class Rollout(NamedTuple):
    """How to roll the encoder's attention out.

    Attributes:
        heads: how heads are reduced within a layer.
        start_layer: first encoder layer that counts, from 1; those before it pass their input on.
        residual: share of the residual connection, the same for all tokens; None measures it for
            every token of every layer.
    """

    heads: HeadChoice = "mean"
    start_layer: int = 1
    residual: float | None = None


class Window(NamedTuple):
    """A square of cells that is greyed, and the steps it moves by; None is a sixth and a half."""

    side: int | None = None
    stride: int | None = None


@dataclass(frozen=True)
class Need:
    """What a trace must hold besides the answer row of the decoder's cross-attention.

    Attributes:
        words: head choices of the attention from the hypothesis's tokens to the image, in every
            encoder layer.
        rollouts: rollouts of the encoder.
        relevances: head choices of gradient relevance; each takes part of one backward pass.
    """

    words: frozenset[HeadChoice] = frozenset()
    rollouts: frozenset[Rollout] = frozenset()
    relevances: frozenset[HeadChoice] = frozenset()

    def __or__(self, other: Need) -> Need:
        """What serves both."""
        return Need(
            self.words | other.words,
            self.rollouts | other.rollouts,
            self.relevances | other.relevances,
        )


class Word(NamedTuple):
    """A word of the hypothesis, and which of the hypothesis's tokens spell it."""

    text: str
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Relevance:
    """Attention times gradient, its positive part, reduced over heads: A-bar of Chefer et al.

    The gradient is that of the margin between the answer's log-probability and the runner-up's.

    Attributes:
        encoder: (layers, source, source).
        decoder: (layers, target, target), up to the answer row, which is the last.
        cross: (layers, target, source).
    """

    encoder: NDArray[np.float32]
    decoder: NDArray[np.float32]
    cross: NDArray[np.float32]


@dataclass(frozen=True)
class Trace:
    """One case seen by a model.

    Attributes:
        probabilities: probability of each answer, in the model's order; they sum to 1.
        label: the answer that the model gives.
        prompt: the text as the model's preprocessor built it.
        tokens: the prompt's tokens, as text.
        grid: rows and columns of the patch grid.
        cross_attention: (layers, heads, source) attention of the decoder's answer row over the
            encoder's tokens, after the softmax; the first ``grid.rows * grid.cols`` source
            columns are the image's cells, row by row, the rest is text. Each row sums to 1.
        cross_scale: (layers, heads) the factor c_attn of each head of the decoder's
            cross-attention; ones in a model without such factors.
        words: the words of the hypothesis, as far as the model sees them.
        word_attention: by head choice, (encoder layers, tokens of the hypothesis, cells).
        rollouts: by rollout, matrices whose product is (source, cells): from each of the
            encoder's outputs to the image.
        relevances: by head choice.
        blank: what the same model says of a grey picture of the same size, if needed.
        occlusion: by window, (rows, cols): how much the answer's probability falls, on average,
            when a cell is hidden; negative where hiding raises it.
    """

    probabilities: dict[str, float]
    label: str
    prompt: str
    tokens: tuple[str, ...]
    grid: Grid
    cross_attention: NDArray[np.float32]
    cross_scale: NDArray[np.float32] | None = None
    words: tuple[Word, ...] = ()
    word_attention: Mapping[HeadChoice, NDArray[np.float32]] = field(default_factory=dict)
    rollouts: Mapping[Rollout, tuple[NDArray[np.float32], ...]] = field(default_factory=dict)
    relevances: Mapping[HeadChoice, Relevance] = field(default_factory=dict)
    blank: Trace | None = None
    occlusion: Mapping[Window, NDArray[np.float64]] = field(default_factory=dict)


_NO_NUMBERS = "the model's answers are not numbers"
_ROUNDING = 1e-6
_SUM_ROUNDING = 1e-3


def checked_trace(trace: Trace) -> Trace:
    """The trace with its probabilities as Python's floats, if it is an answer at all.

    What a broken model says is refused before any figure is drawn from it or anything is stored.

    Raises:
        NotFinite: naming what is NaN or infinite.
        ModelError: naming what else is no answer.
    """
    if not isinstance(trace, Trace):
        raise ModelError(f"the model gave {_kind(trace)} in place of a Trace")
    probabilities = _probabilities(trace.probabilities)
    if not isinstance(trace.label, str):
        raise ModelError(f"the model's label is {_kind(trace.label)}; it must be text")
    if trace.label not in probabilities:
        raise ModelError(
            f"the model's label {trace.label!r} is none of the answers that it gives "
            f"probabilities for: {', '.join(probabilities)}"
        )
    if not isinstance(trace.prompt, str):
        raise ModelError(f"the model's prompt is {_kind(trace.prompt)}; it must be text")
    odd = [token for token in trace.tokens if not isinstance(token, str)]
    if odd:
        raise ModelError(f"among the model's tokens is {_kind(odd[0])}; they must be text")
    if not all(isinstance(n, int) and n > 0 for n in trace.grid):
        raise ModelError(f"the model's grid is {tuple(trace.grid)}; it must have whole rows, cols")
    for name, array in _arrays(trace):
        if not np.isfinite(array).all():
            raise NotFinite(f"{_NO_NUMBERS}: its {name} is not finite")
    return replace(trace, probabilities=probabilities)


def _probabilities(given: object) -> dict[str, float]:
    """``given`` as floats, those that rounding carried outside of 0 to 1 brought back."""
    if not isinstance(given, Mapping) or not given:
        raise ModelError("the model's probabilities must be a number for each answer")
    for answer, p in given.items():
        if not isinstance(answer, str):
            raise ModelError(f"among the model's answers is {_kind(answer)}; they must be text")
        if isinstance(p, bool) or not isinstance(p, Real):
            raise ModelError(
                f"the model's probability of {answer} is {_kind(p)}; it must be a number"
            )
    found = {answer: float(p) for answer, p in given.items()}
    odd = {a: p for a, p in found.items() if not math.isfinite(p)}
    if odd:
        said = ", ".join(f"{answer} {p}" for answer, p in odd.items())
        raise NotFinite(f"{_NO_NUMBERS}: its probabilities are not finite: {said}")
    for answer, p in found.items():
        if not -_ROUNDING <= p <= 1 + _ROUNDING:
            raise ModelError(
                f"the model's probability of {answer} is {p:g}; it must be between 0 and 1"
            )
    total = math.fsum(found.values())
    if abs(total - 1) > _SUM_ROUNDING:
        raise ModelError(f"the model's probabilities sum to {total:g}; they must sum to 1")
    return {answer: min(max(p, 0.0), 1.0) for answer, p in found.items()}


def _kind(value: object) -> str:
    """What a value is, for a message: short, since it may be anything."""
    return "None" if value is None else f"of the type {type(value).__name__}"


def _arrays(trace: Trace) -> Iterator[tuple[str, NDArray[np.floating]]]:
    yield "cross-attention", trace.cross_attention
    if trace.cross_scale is not None:
        yield "factor of cross-attention heads", trace.cross_scale
    for attention in trace.word_attention.values():
        yield "encoder attention", attention
    for factors in trace.rollouts.values():
        for factor in factors:
            yield "rollout", factor
    for relevance in trace.relevances.values():
        for array in (relevance.encoder, relevance.decoder, relevance.cross):
            yield "relevance", array
