"""Make readings from the attention that a matcher has shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.base.errors import MapError, nearest
from audit.base.geometry import Grid
from audit.maps.trace import ANSWER, HeadChoice, Need, Reading, ReadingKey, Word
from audit.models.kit.attention import reduced
from audit.models.kit.heads import leaves_layers, over_heads
from audit.models.kit.rows import Attended
from audit.models.kit.words import singly, tokens_of

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Places:
    """Where things are in the attention of a matcher.

    Attributes:
        answer: the rows that the score is taken from.
        words: the row of the hypothesis's first token.
        cells: the column of the picture's first cell; the others follow it, row by row.
    """

    answer: Sequence[int]
    words: int
    cells: int


@dataclass(frozen=True)
class Look:
    """What one pass showed of one pair.

    Attributes:
        layers: each site's attention, as a batch of one.
        weighted: each site's attention times the positive part of its gradient: (1, heads, rows,
            columns), if it was needed.
        joint: whether rows and columns are the same tokens.
    """

    layers: Sequence[Attended]
    weighted: Sequence[Tensor]
    places: Places
    grid: Grid
    words: Sequence[Word]
    joint: bool


def refuse_unknown(need: Need, title: str, methods: Sequence[str], layers: int) -> None:
    """Refuse readings that a model does not give.

    Raises:
        MapError: it has no such method, or starts beyond the last layer.
    """
    for key in need:
        if key.method not in methods:
            raise MapError(f"{title} gives no {key.method}; {nearest(key.method, methods)}")
        if key.start_layer > layers:
            raise MapError(
                f"start_layer {key.start_layer} was asked for, but the model has {layers}"
            )


def readings(look: Look, need: Need) -> dict[ReadingKey, Reading]:
    """The readings of one pair, by key; a word that is not there has none.

    Raises:
        MapError: the model does not have one of the heads.
    """
    found = {}
    for key in singly(need, len(look.words)):
        places = look.places.answer
        if key.method == "word_attention":
            assert key.word is not None
            places = [look.places.words + token for token in tokens_of(key.word, look.words)]
        if not places:
            continue
        single = key.method == ANSWER.method and leaves_layers(key.heads)
        rows = (_single if single else _rows)(look, places, key.heads)
        if key.method == "relevance":
            answer = _rows(look, look.places.answer, ANSWER.heads).mean(0, keepdims=True)
            found[key] = _reading(look, _relevance(look, key), answer)
        else:
            found[key] = _reading(look, rows, rows)
    return found


def _rows(look: Look, places: Sequence[int], heads: HeadChoice) -> Array:
    """Rows of attention, averaged over the places: (layers, columns)."""
    at = torch.tensor([list(places)])
    layers = [
        reduced(layer.rows(at.to(layer.query.device)), heads)[0].mean(0) for layer in look.layers
    ]
    return _array(torch.stack(layers))


def _single(look: Look, places: Sequence[int], heads: HeadChoice) -> Array:
    """The same of single heads, which are not reduced layer by layer."""
    at = torch.tensor([list(places)])
    layers = [layer.rows(at.to(layer.query.device))[0].mean(1) for layer in look.layers]
    return over_heads(torch.stack(layers).cpu().numpy(), heads)


def _reading(look: Look, columns: Array, rows: Array) -> Reading:
    """Cells of (layers, columns), with the share of the picture in ``rows``: (layers, columns)."""
    first, size = look.places.cells, look.grid.rows * look.grid.cols
    total, fell = rows.sum(1), rows[:, first : first + size].sum(1)
    share = np.divide(fell, total, out=np.zeros_like(fell), where=total > 0)
    cells = columns[:, first : first + size].reshape(-1, *look.grid)
    return Reading(cells, share.clip(0, 1), total)


def _relevance(look: Look, key: ReadingKey) -> Array:
    """Gradient-weighted attention of all layers from ``start_layer`` on: (1, columns).

    Where text looks at the picture (cross-attention), it is the sum over all rows, as in the
    Grad-CAM of ALBEF (Li et al., "Align before Fuse", NeurIPS 2021), averaged over the layers.
    Where one sequence looks at itself, the answer's row of the product of all layers' I + A-bar is
    taken, which is the rule of Chefer, Gur & Wolf (ICCV 2021, equation 6) for such models.
    """
    layers = [reduced(each, key.heads)[0] for each in look.weighted[key.start_layer - 1 :]]
    if not look.joint:
        return _array(torch.stack([each.sum(0) for each in layers]).mean(0, keepdim=True))
    carried = torch.zeros(layers[0].shape[-1], device=layers[0].device)
    carried[list(look.places.answer)] = 1.0
    for layer in reversed(layers):
        carried = carried + carried @ layer
    return _array(carried[None])


def _array(tensor: Tensor) -> Array:
    return tensor.double().cpu().numpy()
