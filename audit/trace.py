"""What one forward pass leaves: plain arrays and words, no tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.geometry import Grid


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
    """

    probabilities: dict[str, float]
    label: str
    prompt: str
    tokens: tuple[str, ...]
    grid: Grid
    cross_attention: NDArray[np.float32]
