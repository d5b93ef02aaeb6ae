"""What is read of one sample's encoder while its attention passes by, a few heads at a time."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.maps.trace import HeadChoice
from audit.models.kit.heads import head_weights
from audit.models.ofa.finishing import Rollout, Wanted
from audit.models.ofa.reading import Rolling


class Stream:
    """Head by head, what :class:`audit.models.ofa.reading.EncoderReading` reads at once.

    No layer's attention is ever whole: sums over heads are, and the rows of the hypothesis.

    Args:
        wanted: what is to be read.
        scale: (layers, heads) the factors c_attn of the encoder.
        grid: cells of the image.
        text: tokens of the prompt.
        hypothesis: where the hypothesis begins and ends among them.
    """

    def __init__(
        self,
        wanted: Wanted,
        scale: NDArray[np.float32],
        cells: int,
        text: int,
        hypothesis: tuple[int, int],
    ) -> None:
        self._cells, self._scale = cells, scale
        self._words = {heads: _Heads(heads) for heads in wanted.words}
        self._rows = slice(cells + hypothesis[0], cells + hypothesis[1])
        self._word_rows: dict[HeadChoice, list[Tensor]] = {heads: [] for heads in wanted.words}
        self._rolling = [Rolling(asked, len(scale), text, None) for asked in wanted.rollouts]
        self._mixed = {asked.heads: _Heads(asked.heads) for asked in wanted.rollouts}

    @property
    def rows(self) -> slice | None:
        """The target rows that must pass by: all, those of the hypothesis, or none."""
        if self._rolling:
            return slice(None)
        return self._rows if self._words else None

    def heads(self, number: int, first: int, weights: Tensor) -> None:
        """Take in some heads of layer ``number``.

        Args:
            first: number of the first of these heads.
            weights: (heads, rows, source) after the softmax; the rows are those of ``rows``.
        """
        scale = self._scale[number]
        if self._rolling:
            for sums in self._mixed.values():
                sums.add(weights, first, scale)
            weights = weights[:, self._rows]
        for sums in self._words.values():
            sums.add(weights[..., : self._cells], first, scale)

    def layer(self, number: int, share: Tensor) -> None:
        """Conclude layer ``number``; ``share`` is (target, 1), the branch's in the residual sum."""
        for heads, sums in self._words.items():
            self._word_rows[heads].append(sums.take())
        # Taken, so that no more than one sample's are in memory.
        mixed = {heads: sums.take()[None] for heads, sums in self._mixed.items()}
        for rolling in self._rolling:
            rolling.step(number, mixed[rolling.asked.heads], share[None])

    def words(self) -> dict[HeadChoice, NDArray[np.float32]]:
        """By head choice, (layers, tokens of the hypothesis, cells)."""
        return {heads: torch.stack(rows).cpu().numpy() for heads, rows in self._word_rows.items()}

    def rollouts(self, source: int) -> dict[Rollout, tuple[NDArray[np.float32], ...]]:
        """By rollout, the factors from the encoder's outputs down to the cells."""
        return {rolling.asked: rolling.factors(0, source) for rolling in self._rolling}


class _Heads:
    """Attention over heads in float32, of which a few come at a time."""

    def __init__(self, choice: HeadChoice) -> None:
        self._choice = choice
        self._sum: Tensor | None = None

    def take(self) -> Tensor:
        """What has been summed up; the next heads are of another layer."""
        found, self._sum = self._sum, None
        assert found is not None
        return found

    def add(self, weights: Tensor, first: int, scale: NDArray[np.float32]) -> None:
        """Take in (heads, target, source); ``first`` is the number of the first of them."""
        by_head = head_weights(self._choice, scale)
        if self._sum is None:
            self._sum = torch.zeros(weights.shape[1:], device=weights.device)
        for number, one in enumerate(weights, first):
            if by_head is None:
                torch.maximum(self._sum, one, out=self._sum)
            elif by_head[number]:
                self._sum.add_(one, alpha=float(by_head[number]))
