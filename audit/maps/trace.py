"""What one forward pass leaves: an answer, and finished readings of where the model looked.

A trace has no tensors and nothing as large as the attention itself: the adapter reduces heads and
tokens, and a reading is a few numbers for each cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from audit.base.geometry import WHOLE, Box, Grid


class HeadPlace(NamedTuple):
    """One head of one layer, both counted from 1; written ``L4H2``."""

    layer: int
    head: int

    def __str__(self) -> str:
        """As it is written in case files and in the keys of maps."""
        return f"L{self.layer}H{self.head}"


HeadChoice = str | tuple[int, ...] | tuple[HeadPlace, ...]
"""How heads become one: ``mean``, ``max``, ``weighted`` (by the model's own factors), or the mean
of heads by their numbers from 1, in every layer. Two choices leave the layers: the mean of heads at
their places, which gives one layer for all, and :data:`EACH`."""

EACH = "each"
"""Every head by itself: a reading has one layer for each head, all those of the first layer first.
No map is made of it; it is how heads are compared."""


class Window(NamedTuple):
    """The side of a square that is greyed, and the step by which it moves, both in cells.

    None means a sixth of the grid for the side, and half the side for the step.
    """

    side: int | None = None
    stride: int | None = None


class ReadingKey(NamedTuple):
    """What is asked of a model: the method of a map, and the keys that change what is read.

    The choice of layers, temperature, smoothing and subtraction are not part of it: they are
    applied later, when a map is read from the trace.

    Attributes:
        method: ``answer_attention``, ``word_attention``, ``rollout`` or ``relevance``.
        heads: how heads are reduced within a layer, or which heads are read whatever their layer.
        word: for ``word_attention``, a phrase of the hypothesis, or the place of a word in
            :attr:`Trace.words`, from 0. None asks for each of those words separately.
        start_layer: first encoder layer that counts, from 1.
        residual: share of the residual connection; None measures it.
        variant: how the decoder's own attention enters relevance.
    """

    method: str
    heads: HeadChoice = "mean"
    word: str | int | None = None
    start_layer: int = 1
    residual: float | None = None
    variant: str = "causal"


ANSWER = ReadingKey("answer_attention")
"""Where the model looks when it answers, heads averaged."""

EACH_HEAD = ReadingKey("answer_attention", EACH)
"""Where each head of each layer looks when the model answers."""

EACH_WORD = ReadingKey("word_attention")
"""Where the model looks from each word of the hypothesis, heads averaged."""

Need = frozenset[ReadingKey]
"""The readings that a trace must hold."""

NOTHING_MORE: Need = frozenset()
"""Only the answer."""


class Reading(NamedTuple):
    """Where a model looked, by one method.

    Attributes:
        cells: (layers, rows, cols) what fell on each cell, non-negative, in no particular unit;
            one layer if the method is not read layer by layer, or if heads are given by place; one
            for each head of all layers, if each is asked for.
        share: (layers,) how much of the attention fell on the image, in [0, 1]; the text takes the
            rest. Methods that are not attention give the share of the answer's attention.
        weight: (layers,) how much each layer's share counts when they are averaged; None counts
            them equally. If attention rows do not sum to 1 (``heads: max``), it holds their sums.
    """

    cells: NDArray[np.float64]
    share: NDArray[np.float64]
    weight: NDArray[np.float64] | None = None


class Word(NamedTuple):
    """A word of the hypothesis, and the indices of the hypothesis's tokens that spell it."""

    text: str
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Trace:
    """One case as a model saw it.

    Attributes:
        probabilities: probability of each answer, in the model's order; they sum to 1.
        label: the answer that the model gives.
        prompt: the text as the model's preprocessor built it.
        tokens: the prompt's tokens, as text.
        grid: rows and columns of the grid that readings have.
        words: the words of the hypothesis that the model sees.
        readings: the readings that were asked for, by key; a reading for a phrase or a place that
            is not in ``words`` is missing.
        view: the part of the picture that the grid covers, in fractions of its width and height.
            If the model crops, it is smaller than the picture; if the model pads, it reaches beyond
            the picture, below 0 or above 1.
        unsaid: of a model that talks, the probability of all that is no label's answer; None of a
            model that can only give its labels.
    """

    probabilities: dict[str, float]
    label: str
    prompt: str
    tokens: tuple[str, ...]
    grid: Grid
    words: tuple[Word, ...] = ()
    readings: Mapping[ReadingKey, Reading] = field(default_factory=dict)
    view: Box = WHOLE
    unsaid: float | None = None


@dataclass(frozen=True)
class Evidence:
    """A trace, and the answers of the same model to further questions.

    Attributes:
        blank: the trace of a grey picture of the same size, if it was needed.
        generic: the trace of the same picture under a question that asks nothing, if it was needed.
        occlusion: by window, (rows, cols): how much the answer's probability falls, on average,
            when a cell is hidden; negative if hiding raises it.
    """

    trace: Trace
    blank: Trace | None = None
    generic: Trace | None = None
    occlusion: Mapping[Window, NDArray[np.float64]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The answer that the model gives."""
        return self.trace.label

    @property
    def probabilities(self) -> dict[str, float]:
        """Probability of each answer."""
        return self.trace.probabilities


def evidence_of(seen: Trace | Evidence) -> Evidence:
    """A trace as evidence with nothing else in it; evidence comes back as it is.

    Raises:
        ValueError: it is neither.
    """
    given: object = seen  # in a notebook nobody checks types
    if isinstance(given, Trace):
        return Evidence(given)
    if not isinstance(given, Evidence):
        hint = "; take one of them" if isinstance(given, list | tuple) else ""
        raise ValueError(
            "a map is read from a trace or from what audit.gather gives for a query, not from an "
            f"object of the type {type(given).__name__}{hint}"
        )
    return given
