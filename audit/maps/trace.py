"""What one forward pass leaves: an answer, and finished readings of where the model looked.

No tensors and nothing of the size of the attention itself: the adapter reduces heads and tokens,
and a reading is a few numbers for each cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from audit.base.geometry import WHOLE, Box, Grid

HeadChoice = str | tuple[int, ...]
"""``mean``, ``max``, ``weighted`` (by the model's own factors), or numbers of heads from 1."""


class Window(NamedTuple):
    """A square of cells that is greyed, and the steps it moves by; None is a sixth and a half."""

    side: int | None = None
    stride: int | None = None


class ReadingKey(NamedTuple):
    """What is asked of a model: a map's method and keys that decide what is read, and no more.

    The choice of layers, the temperature, smoothing and subtraction are left to whoever reads.

    Attributes:
        method: ``answer_attention``, ``word_attention``, ``rollout`` or ``relevance``.
        heads: how heads are reduced within a layer.
        word: for ``word_attention``, a phrase of the hypothesis, or the place of a word in
            :attr:`Trace.words`, from 0. None asks for each of those words by itself.
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

EACH_WORD = ReadingKey("word_attention")
"""Where the model looks from each word of the hypothesis, heads averaged."""

Need = frozenset[ReadingKey]
"""The readings that a trace must hold."""

NOTHING_MORE: Need = frozenset()
"""The answer alone."""


class Reading(NamedTuple):
    """Where a model looked, by one method.

    Attributes:
        cells: (layers, rows, cols) what fell on each cell, non-negative, in no particular unit;
            one layer where the method is not read layer by layer.
        share: (layers,) how much of the attention fell on the image, in [0, 1]; the text takes the
            rest. For methods that are no attention, that of the answer.
        weight: (layers,) how much each layer's share counts where they are averaged; None counts
            them alike. A row of attention that does not sum to 1 (``heads: max``) has its sum here.
    """

    cells: NDArray[np.float64]
    share: NDArray[np.float64]
    weight: NDArray[np.float64] | None = None


class Word(NamedTuple):
    """A word of the hypothesis, and which of the hypothesis's tokens spell it."""

    text: str
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Trace:
    """One case seen by a model.

    Attributes:
        probabilities: probability of each answer, in the model's order; they sum to 1.
        label: the answer that the model gives.
        prompt: the text as the model's preprocessor built it.
        tokens: the prompt's tokens, as text.
        grid: rows and columns of the grid that readings have.
        words: the words of the hypothesis, as far as the model sees them.
        readings: those that were asked for, by key. One for a phrase or a place that is not among
            ``words`` is missing.
        view: the part of the picture that the grid covers, in fractions of its width and height.
            A model that crops sees less than the whole; one that pads has a view that reaches
            beyond the picture, to below 0 or above 1.
    """

    probabilities: dict[str, float]
    label: str
    prompt: str
    tokens: tuple[str, ...]
    grid: Grid
    words: tuple[Word, ...] = ()
    readings: Mapping[ReadingKey, Reading] = field(default_factory=dict)
    view: Box = WHOLE


@dataclass(frozen=True)
class Evidence:
    """A trace, and what the same model said when it was asked further.

    Attributes:
        blank: the trace of a grey picture of the same size, if it was needed.
        occlusion: by window, (rows, cols): how much the answer's probability falls, on average,
            when a cell is hidden; negative where hiding raises it.
    """

    trace: Trace
    blank: Trace | None = None
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
    """A trace as evidence of which nothing more is known."""
    return Evidence(seen) if isinstance(seen, Trace) else seen
