"""Turn what was captured of OFA's layers into finished readings; the linear algebra ends here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from audit.base.errors import MapError
from audit.base.geometry import Grid
from audit.maps.trace import ANSWER, HeadChoice, Need, Reading, ReadingKey, Word
from audit.models.kit.flow import Relevance, relevance, rolled_out
from audit.models.kit.heads import over_heads
from audit.models.kit.words import singly, tokens_of

Array = NDArray[np.float64]


class Rollout(NamedTuple):
    """How to roll out the encoder's attention.

    Attributes:
        heads: how heads are reduced within a layer.
        start_layer: first encoder layer that counts, from 1; earlier layers pass their input on.
        residual: share of the residual connection, the same for all tokens; None measures it for
            every token of every layer.
    """

    heads: HeadChoice = "mean"
    start_layer: int = 1
    residual: float | None = None


@dataclass(frozen=True)
class Wanted:
    """What must be captured, besides the answer row of the decoder's cross-attention.

    Attributes:
        words: head choices of the attention from the hypothesis's tokens to the image, in every
            encoder layer.
        rollouts: rollouts of the encoder.
        relevances: head choices of gradient relevance; one backward pass serves them all.
    """

    words: frozenset[HeadChoice] = frozenset()
    rollouts: frozenset[Rollout] = frozenset()
    relevances: frozenset[HeadChoice] = frozenset()

    @classmethod
    def of(cls, need: Need, layers: int) -> Wanted:
        """What must be captured for all of ``need``.

        Args:
            layers: number of the encoder's layers.

        Raises:
            MapError: OFA does not have the method of a key, or a key starts beyond the last layer.
        """
        for key in need:
            if key.method not in _FINISH:
                raise MapError(f"OFA gives no {key.method}; it gives {', '.join(_FINISH)}")
            if key.start_layer > layers:
                raise MapError(
                    f"start_layer {key.start_layer} was asked for, but the encoder has {layers}"
                )

        def of_method(method: str) -> list[ReadingKey]:
            return [key for key in need if key.method == method]

        return cls(
            frozenset(key.heads for key in of_method("word_attention")),
            frozenset(_rollout(key) for key in of_method("rollout")),
            frozenset(key.heads for key in of_method("relevance")),
        )


@dataclass(frozen=True)
class Captured:
    """What was captured in the passes over one sample.

    Attributes:
        grid: rows and columns of the image's cells, which come before the text's tokens.
        words: the words of the hypothesis.
        cross: (layers, heads, source) attention of the decoder's answer row over the encoder's
            tokens; each row sums to 1.
        scale: (layers, heads) the factor c_attn of each head of the decoder's cross-attention.
        of_words: by head choice, (encoder layers, tokens of the hypothesis, cells).
        rollouts: by rollout, matrices whose product is (source, cells).
        relevances: A-bar of every layer, by head choice.
    """

    grid: Grid
    words: tuple[Word, ...]
    cross: NDArray[np.float32]
    scale: NDArray[np.float32]
    of_words: Mapping[HeadChoice, NDArray[np.float32]]
    rollouts: Mapping[Rollout, Sequence[NDArray[np.float32]]]
    relevances: Mapping[HeadChoice, Relevance]

    def _rows(self, heads: HeadChoice) -> Array:
        return over_heads(self.cross, heads, self.scale)

    def _reading(self, cells: Array, rows: Array) -> Reading:
        """A reading whose image share is that of the answer's ``rows``: (layers, source)."""
        image = self.grid.rows * self.grid.cols
        total = rows.sum(axis=1)
        fell = rows[:, :image].sum(axis=1)
        share = np.divide(fell, total, out=np.zeros_like(fell), where=total > 0)
        shaped = cells.reshape(len(cells), *self.grid)
        return Reading(shaped, np.clip(share, 0.0, 1.0), total)

    def answer(self, key: ReadingKey) -> Reading:
        """The answer row over the image."""
        rows = self._rows(key.heads)
        return self._reading(rows[:, : self.grid.rows * self.grid.cols], rows)

    def rollout(self, key: ReadingKey) -> Reading:
        """The answer row carried through the encoder."""
        rows = self._rows(key.heads)
        return self._reading(rolled_out(rows, self.rollouts[_rollout(key)]), rows)

    def relevance(self, key: ReadingKey) -> Reading:
        """Relevance of every cell; its image share is that of the answer row, over all layers."""
        found = relevance(
            self.relevances[key.heads], variant=key.variant, start_layer=key.start_layer
        )
        row = self._rows(ANSWER.heads).mean(axis=0, keepdims=True)
        return self._reading(found[None, : self.grid.rows * self.grid.cols], row)

    def word(self, key: ReadingKey) -> Reading | None:
        """The rows of a word's tokens, averaged; None if the model sees no such word."""
        assert key.word is not None
        tokens = tokens_of(key.word, self.words)
        if not tokens:
            return None
        rows: Array = self.of_words[key.heads][:, tokens].astype(np.float64)
        cells: Array = rows.mean(axis=1)
        return Reading(
            cells.reshape(len(cells), *self.grid), np.clip(cells.sum(axis=1), 0.0, 1.0), None
        )


def _rollout(key: ReadingKey) -> Rollout:
    return Rollout(key.heads, key.start_layer, key.residual)


_FINISH = {
    "answer_attention": Captured.answer,
    "word_attention": Captured.word,
    "rollout": Captured.rollout,
    "relevance": Captured.relevance,
}


def finished(need: Need, captured: Captured) -> dict[ReadingKey, Reading]:
    """The readings of one sample, by key.

    Raises:
        MapError: the model does not have one of the heads.
    """
    found = {}
    for key in singly(need, len(captured.words)):
        try:
            reading = _FINISH[key.method](captured, key)
        except MapError as error:
            raise MapError(f"no {key.method} can be read: {error}") from None
        if reading is not None:
            found[key] = reading
    return found
