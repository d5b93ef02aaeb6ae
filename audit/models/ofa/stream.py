"""Read the encoder's attention for one sample while it is computed, a few heads at a time."""

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
    """Reads head by head what :class:`audit.models.ofa.reading.EncoderReading` reads at once.

    It never holds the whole attention of a layer, only sums over heads and the hypothesis's rows.

    Args:
        wanted: what to read.
        scale: (layers, heads) the factors c_attn of the encoder.
        cells: number of the image's cells.
        text: number of the prompt's tokens.
        hypothesis: where the hypothesis begins and ends among these tokens.
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
        """The target rows that :meth:`heads` needs: all, those of the hypothesis, or none."""
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
        """Finish layer ``number``; ``share`` is the branch's share of the sum, (target, 1)."""
        for heads, sums in self._words.items():
            self._word_rows[heads].append(sums.take())
        # The sums are taken out, so that only those of one sample are in memory.
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
    """Attention reduced over heads, in float32; the heads come a few at a time."""

    def __init__(self, choice: HeadChoice) -> None:
        self._choice = choice
        self._sum: Tensor | None = None

    def take(self) -> Tensor:
        """The sum so far; the next heads belong to another layer."""
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
