"""Training batches: texts about pictures, each with its answer and where to look for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audit.models.ofa.text import ONE_TEXT, TWO_TEXTS
from audit.reference.data import coverage
from audit.reference.hypotheses import any_hypothesis, with_premise, word_boxes, word_truths
from audit.reference.questions import question
from audit.reference.recipe import GRID, Recipe
from audit.reference.scenes import SIZE, Box, Scene
from audit.reference.tokens import MOST_TOKENS, as_read


@dataclass(frozen=True)
class Item:
    """A prompt, its answer, and the boxes to look at (empty: look everywhere equally).

    Boxes are counted in pixels of ``size``. ``words`` says of some words whether the picture
    confirms or contradicts them; ``nouns`` gives the boxes of those that name something.
    """

    prompt: str
    answer: str
    about: tuple[Box, ...]
    words: dict[str, bool] = field(default_factory=dict)
    nouns: dict[str, tuple[Box, ...]] = field(default_factory=dict)
    size: tuple[int, int] = (SIZE, SIZE)


@dataclass(frozen=True)
class Batch:
    """Padded ids and targets of one step.

    ``focus`` is (batch, cells); a zero row means "nowhere". ``truth`` is (batch, source tokens):
    1 for words that the picture confirms, 0 for those it contradicts, -1 for all others. ``nouns``
    is (nouns, 2), the indices of text and source token; ``noun_focus`` is (nouns, cells).
    """

    source: Tensor
    target: Tensor
    read: Tensor
    loss_rows: Tensor
    wanted: Tensor
    focus: Tensor
    truth: Tensor
    nouns: Tensor
    noun_focus: Tensor


def questions(truth: Scene, rng: np.random.Generator) -> Item:
    """Stage b: a caption or a short question."""
    asked = question(truth, rng)
    return Item(f" {asked.text}", asked.answer, asked.about, size=truth.size)


def entailment(truth: Scene, rng: np.random.Generator) -> Item:
    """Stages c and d: a hypothesis in OFA's prompt."""
    drawn = any_hypothesis(truth, rng, freely=True)
    return Item(
        ONE_TEXT.format(as_read(drawn.text)),
        drawn.label,
        drawn.about,
        word_truths(drawn.text, truth.spec),
        word_boxes(drawn.text, truth),
        truth.size,
    )


def premised(truth: Scene, rng: np.random.Generator) -> Item:
    """Stages c and d: a hypothesis with a text premise, in OFA's second prompt."""
    drawn = with_premise(truth, rng, freely=True)
    prompt = TWO_TEXTS.format(as_read(drawn.premise or ""), as_read(drawn.text))
    return Item(prompt, drawn.label, drawn.about, size=truth.size)


class Batcher:
    """Draws batches; a text has the same token ids as in modelscope's preprocessor."""

    def __init__(self, recipe: Recipe, tokenizer: Any, truths: list[Scene]) -> None:
        self.recipe = recipe
        self.tokenizer = tokenizer
        self.truths = truths
        self._ids: dict[str, list[int]] = {}

    def ids(self, text: str) -> list[int]:
        """Token ids of ``text``, without those that mark its beginning and end."""
        if text not in self._ids:
            ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            self._ids[text] = ids[:MOST_TOKENS]
        return self._ids[text]

    def places(self, word: str, source: list[int]) -> list[int]:
        """Where the first token of a word is in a prompt, or nothing if quotes hide the word."""
        first = self.ids(f" {word}")[0]
        return [place for place, token in enumerate(source) if token == first]

    def collate(self, items: list[Item]) -> Batch:
        """Pad ``items`` into one batch."""
        bos, pad, eos = 0, 1, 2
        source, target, wanted, read, truth = [], [], [], [], []
        nouns, noun_focus = [], []
        for number, item in enumerate(items):
            prompt, answer = [bos, *self.ids(item.prompt)], self.ids(f" {item.answer}")
            source.append([*prompt, eos])
            target.append([*prompt, *answer])
            wanted += [*answer, eos]
            read.append(len(prompt) - 1)
            known = {self.ids(f" {word}")[0]: float(true) for word, true in item.words.items()}
            truth.append([known.get(token, -1.0) for token in source[-1]])
            for word, boxes in item.nouns.items():
                for place in self.places(word, source[-1])[:1]:
                    nouns.append((number, place))
                    noun_focus.append(coverage(boxes, GRID, item.size).ravel())
        width, steps = max(map(len, source)), max(map(len, target))
        rows = torch.zeros(len(items), steps, dtype=torch.bool)
        for i, (start, ids) in enumerate(zip(read, target, strict=True)):
            rows[i, start : len(ids)] = True
        focus = np.stack([coverage(item.about, GRID, item.size).ravel() for item in items])
        return Batch(
            torch.tensor([s + [pad] * (width - len(s)) for s in source]),
            torch.tensor([t + [pad] * (steps - len(t)) for t in target]),
            torch.tensor(read),
            rows,
            torch.tensor(wanted),
            torch.from_numpy(focus),
            torch.tensor([t + [-1.0] * (width - len(t)) for t in truth]),
            torch.tensor(nouns, dtype=torch.long).view(-1, 2),
            torch.from_numpy(np.asarray(noun_focus, np.float32).reshape(-1, GRID * GRID)),
        )

    def sample(self, make: Any, rng: np.random.Generator) -> tuple[np.ndarray[Any, Any], Batch]:
        """The indices of a batch's pictures, and the batch."""
        chosen = rng.choice(len(self.truths), self.recipe.images_per_batch, replace=False)
        texts = range(self.recipe.texts_per_image)
        return chosen, self.collate([make(self.truths[i], rng) for i in chosen for _ in texts])
