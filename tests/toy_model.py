"""A model without weights, whose answers and attention follow simple rules.

It says ``no`` to texts with "cat", ``maybe`` to texts with "hungry", else ``yes``. Its attention
lies on one cell of a 4 x 4 grid, given by the environment variable ``TOY_CELL`` (default 5), or is
uniform if the label is ``no``. ``TOY_LEAN`` says how much of it moves to the cell below. All of it
is mirrored if the picture's left half is the brighter one. It answers ``maybe`` to every
``TOY_UNSTEADY``-th question.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from audit.base.errors import MapError
from audit.base.files import digest
from audit.base.geometry import Grid
from audit.base.images import picture_of
from audit.base.words import words_in
from audit.maps.trace import NOTHING_MORE, Need, Reading, ReadingKey, Trace, Word
from audit.models.kit.heads import head_weights
from audit.models.protocol import Fingerprint, Query


class ToyModel:
    asked = 0
    labels = ("no", "yes", "maybe")
    methods = ("answer_attention",)
    fingerprint = Fingerprint(
        "toy", "toy", "r1", "d" * 64, "w" * 64, "c" * 64, "t" * 64, "p" * 64, "cpu", "float32", {}
    )

    def __init__(self) -> None:
        """A toy that the environment makes look elsewhere has other weights."""
        cell, lean = os.environ.get("TOY_CELL", "5"), float(os.environ.get("TOY_LEAN", "0"))
        if (cell, lean) != ("5", 0.0):
            self.fingerprint = replace(self.fingerprint, weights=digest(cell, str(lean)))

    def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
        time.sleep(float(os.environ.get("TOY_SECONDS", "0")))
        log = os.environ.get("TOY_LOG")
        if log:
            with Path(log).open("a") as file:
                file.write(f"{len(queries)}\n")
        return [self._one(query, need) for query in queries]

    def _one(self, query: Query, need: Need = NOTHING_MORE) -> Trace:
        for key in need:
            if key.method not in self.methods:
                raise MapError(f"the toy gives no {key.method}")
            head_weights(key.heads, np.ones(2, np.float32))
        picture = picture_of(query.image)
        left, right = picture.convert("L").resize((2, 1), Image.Resampling.BOX).tobytes()
        self.asked += 1
        steady = self.asked % int(os.environ.get("TOY_UNSTEADY", "1000000"))
        label = "no" if "cat" in query.text else "maybe" if "hungry" in query.text else "yes"
        if steady == 0:
            label = "maybe"
        row = np.full(18, 0.5 / 16, np.float32)
        row[16:] = 0.25
        if label != "no":
            row[:16] = 0.1 / 15
            cell = int(os.environ.get("TOY_CELL", "5"))
            lean = float(os.environ.get("TOY_LEAN", "0"))
            row[cell] = 0.4 - lean
            row[cell + 4] += lean
        if left > right:
            row[:16] = row[:16].reshape(4, 4)[:, ::-1].ravel()
        probabilities = {a: 0.9 if a == label else 0.05 for a in self.labels}
        readings = {key: reading_of_row(row, Grid(4, 4)) for key in need}
        prompt = query.text if query.premise is None else f"{query.premise} {query.text}"
        tokens = tuple(prompt.split())
        return Trace(probabilities, label, prompt, tokens, Grid(4, 4), readings=readings)


class ToyOfWords(ToyModel):
    """The toy with word attention: the first word looks at the first cell, and so on."""

    methods = ("answer_attention", "word_attention")

    def _one(self, query: Query, need: Need = NOTHING_MORE) -> Trace:
        texts = words_in(query.text)
        found = super()._one(query, frozenset(k for k in need if k.method != "word_attention"))
        readings = dict(found.readings)
        for key in need:
            if key.method == "word_attention" and key.word is None:
                every = (key._replace(word=place) for place in range(len(texts)))
                readings |= {each: self._of_word(each, texts) for each in every}
            elif key.method == "word_attention":
                readings[key] = self._of_word(key, texts)
        words = tuple(Word(text, (place,)) for place, text in enumerate(texts))
        return replace(found, words=words, readings=readings)

    @staticmethod
    def _of_word(key: ReadingKey, texts: Sequence[str]) -> Reading:
        row = np.full(18, 0.02, np.float32)
        place = key.word if isinstance(key.word, int) else texts.index(str(key.word))
        row[place] = 1 - 0.02 * 17
        return reading_of_row(row, Grid(4, 4))


def reading_of_row(row: NDArray[np.float32], grid: Grid, layers: int = 2) -> Reading:
    """A reading of one attention row over cells and text, the same in every layer."""
    wide = row.astype(np.float64)
    cells, total = wide[: grid.rows * grid.cols], wide.sum()
    return Reading(
        np.tile(cells.reshape(grid), (layers, 1, 1)),
        np.full(layers, cells.sum() / total),
        np.full(layers, total),
    )
