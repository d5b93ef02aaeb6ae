"""Training batches of the chat model: conversations about pictures, with the tokens to predict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audit.base.words import words_in
from audit.reference.chat.language import ASKED, TEMPLATE
from audit.reference.chat.network import Packed, Texts, pack
from audit.reference.chat.recipe import ChatRecipe
from audit.reference.hypotheses import any_hypothesis, with_premise, word_truths
from audit.reference.questions import question
from audit.reference.scenes import COLOURS, KINDS, PLACES, Scene
from audit.reference.statements import NUMBERS, Statement, say
from audit.reference.wording import dressed

ASPECTS = 5
"""What a sentence may say of animals: kind, colour, count, place, and whether it is outdoors."""


@dataclass(frozen=True)
class Item:
    """The user's message about a picture and the answer to it.

    ``said`` is the sentence that ``words`` are of: those that the picture confirms or contradicts.
    """

    message: str
    answer: str
    said: str = ""
    words: dict[str, bool] = field(default_factory=dict)


Make = Callable[[Scene, np.random.Generator], Item]


def questions(truth: Scene, rng: np.random.Generator) -> Item:
    """A caption or a short question."""
    open_question = question(truth, rng)
    return Item(open_question.text, open_question.answer)


def entailment(truth: Scene, rng: np.random.Generator) -> Item:
    """A hypothesis."""
    drawn = any_hypothesis(truth, rng, freely=True)
    return Item(
        ASKED.asked(drawn.text).question,
        drawn.label,
        drawn.text,
        word_truths(drawn.text, truth.spec),
    )


def premised(truth: Scene, rng: np.random.Generator) -> Item:
    """A hypothesis with a text premise."""
    drawn = with_premise(truth, rng, freely=True)
    words = word_truths(drawn.text, truth.spec)
    return Item(ASKED.asked(drawn.text, drawn.premise).question, drawn.label, drawn.text, words)


def counting(truth: Scene, rng: np.random.Generator) -> Item:
    """A sentence that says how many there are, as often wrongly as rightly."""
    if not truth.spec.groups:
        return entailment(truth, rng)
    group = truth.spec.groups[rng.integers(len(truth.spec.groups))]
    kind = None if rng.random() < 0.3 else group.kind
    count = group.count if kind else sum(g.count for g in truth.spec.groups)
    others = [number for number in (1, 2, 3) if number != count]
    number = count if rng.random() < 0.5 else others[rng.integers(2)]
    said = Statement(kind, number, counted=True)
    if kind and not truth.grey and rng.random() < 0.3:
        said = replace(said, colour=group.colour)
    if rng.random() < 0.4:
        said = replace(said, place=truth.spec.place)
    text = say(said, rng, freely=True)
    if rng.random() < 0.5:
        text = dressed(text, rng)
    label, words = said.label(truth.spec), word_truths(text, truth.spec)
    return Item(ASKED.asked(text).question, label, text, words)


def how_many(truth: Scene, rng: np.random.Generator) -> Item:
    """The question how many there are of a kind, mostly of one that is there, or of all."""
    there = [g.kind for g in truth.spec.groups]
    roll = rng.random()
    kind = there[rng.integers(len(there))] if there and roll < 0.6 else None
    if kind is None and roll < 0.75:
        kind = KINDS[rng.integers(len(KINDS))]
    count = sum(g.count for g in truth.spec.groups if kind in (None, g.kind))
    return Item(f"how many {kind or 'animal'}s are there?", NUMBERS[count])


def aspect(word: str) -> int:
    """Which of the ``ASPECTS`` a word of :func:`word_truths` is about."""
    if word.removesuffix("s") in KINDS:
        return 0
    if word in COLOURS:
        return 1
    if word in PLACES:
        return 3
    return 4 if word in ("outdoors", "nature", "indoors") else 2


@dataclass(frozen=True)
class Batch:
    """One step: the layout, and what is to be predicted in it.

    ``wanted`` is (pictures, tokens), the token that should come next or -1; ``answers`` says in
    which of these columns a whole answer begins. ``truth`` is (pictures, tokens, ASPECTS): 1 if
    what the sentence says up to a token is true in this respect, 0 if it is false, -1 if it says
    nothing.
    """

    packed: Packed
    wanted: Tensor
    answers: Tensor
    truth: Tensor


class Batcher:
    """Draws batches; a conversation has the same token ids as from the shipped processor."""

    def __init__(
        self, recipe: ChatRecipe, tokenizer: Any, grids: np.ndarray[Any, Any], truths: list[Scene]
    ) -> None:
        self.recipe, self.tokenizer = recipe, tokenizer
        self.grids, self.truths = grids, truths
        self.image_token = tokenizer.convert_tokens_to_ids("<|image_pad|>")
        self._ids: dict[str, list[int]] = {}

    def ids(self, text: str) -> list[int]:
        """Token ids of a text."""
        if text not in self._ids:
            self._ids[text] = self.tokenizer(text)["input_ids"]
        return self._ids[text]

    def conversation(self, item: Item) -> tuple[list[int], list[int]]:
        """Token ids of the prompt, with one image token, and of the answer with its end."""
        content = [{"type": "image"}, {"type": "text", "text": item.message}]
        prompt = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": content}],
            chat_template=TEMPLATE,
            tokenize=False,
            add_generation_prompt=True,
        )
        return self.tokenizer(prompt)["input_ids"], self.ids(f"{item.answer}<|im_end|>")

    def told(self, item: Item, prompt: list[int]) -> list[tuple[int, int, bool]]:
        """(aspect, first token that knows it, whether it is true) of what the item's text says.

        A colour or a number is of something: it cannot be judged before the noun is read.
        """
        start = self._where(self.ids(f" {item.said}"), prompt)
        last = len(prompt) - 1
        nouns = [w for w in words_in(item.said) if w.removesuffix("s") in (*KINDS, "animal")]
        noun = max((self._place(w, prompt, start, last) for w in nouns), default=last)
        found = []
        for word, true in item.words.items():
            number, place = aspect(word), self._place(word, prompt, start, last)
            found.append((number, max(place, noun) if number < 3 else place, true))
        return found

    def _place(self, word: str, prompt: list[int], start: int, last: int) -> int:
        """Where a word ends in a prompt; the prompt's last token if it is written unusually."""
        ids = self.ids(f" {word}")
        if start < 0:
            return last
        place = self._where(ids, prompt[start:])
        return last if place < 0 else start + place + len(ids) - 1

    @staticmethod
    def _where(part: list[int], whole: list[int]) -> int:
        """Where ``part`` last begins in ``whole``, or -1."""
        starts = range(len(whole) - len(part), -1, -1)
        return next((i for i in starts if whole[i : i + len(part)] == part), -1)

    def collate(
        self, items: Sequence[Sequence[Item]], cells: Sequence[Tensor], grids: Tensor
    ) -> Batch:
        """The texts about each picture, with the cells that the model sees of it."""
        rows, targets = [], []
        for about in items:
            spoken = [self.conversation(item) for item in about]
            image = spoken[0][0].index(self.image_token)
            shortest = min(len(prompt) for prompt, _ in spoken)
            first = spoken[0][0]
            shared = next(
                (
                    i
                    for i in range(image + 1, shortest - 1)
                    if any(prompt[i] != first[i] for prompt, _ in spoken)
                ),
                shortest - 1,
            )
            texts = [prompt[shared:] + answer[:-1] for prompt, answer in spoken]
            rows.append(Texts(first[:image], first[image + 1 : shared], texts))
            targets.append(
                [
                    (len(p) - shared, a, self.told(i, p), shared)
                    for i, (p, a) in zip(about, spoken, strict=True)
                ]
            )
        packed = pack(rows, cells, grids, self.image_token, self.tokenizer.pad_token_id)
        wanted = torch.full(packed.ids.shape, -1)
        answers = torch.zeros(packed.ids.shape, dtype=torch.bool)
        truth = torch.full((*packed.ids.shape, ASPECTS), -1.0)
        for row, (starts, of) in enumerate(zip(packed.starts, targets, strict=True)):
            for start, (length, answer, told, shared) in zip(starts, of, strict=True):
                begin = start + length - 1
                wanted[row, begin : begin + len(answer)] = torch.tensor(answer)
                answers[row, begin] = True
                for number, place, true in told:
                    truth[row, start + max(place - shared, 0) : begin + 1, number] = float(true)
        return Batch(packed, wanted, answers, truth)

    def sample(
        self, make: Make, rng: np.random.Generator
    ) -> tuple[np.ndarray[Any, Any], list[list[Item]]]:
        """The indices of a batch's pictures, and the texts about each."""
        chosen = rng.choice(len(self.truths), self.recipe.images_per_batch, replace=False)
        each = range(self.recipe.texts_per_image)
        return chosen, [[make(self.truths[i], rng) for _ in each] for i in chosen]
