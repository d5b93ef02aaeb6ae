"""Adapters with one fault each, and what the conformance suite must say about it."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from audit.base.errors import AuditError, MapError, TextError
from audit.base.geometry import Box
from audit.base.images import open_image, picture_of
from audit.base.words import word_spans
from audit.maps.trace import (
    ANSWER,
    EACH_HEAD,
    NOTHING_MORE,
    HeadPlace,
    Need,
    Reading,
    ReadingKey,
    Trace,
)
from audit.models.kit.words import singly, tokens_of, words_of
from audit.models.protocol import Query
from tests.toy_model import ToyModel


class Toy(ToyModel):
    """The toy with attention of words too, and with a network on which something can be left."""

    methods: tuple[str, ...] = ("answer_attention", "word_attention")

    def __init__(self) -> None:
        self.torch_model = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).eval()

    def _one(self, query: Query, need: Need = NOTHING_MORE) -> Trace:
        trace = super()._one(query, need | {ANSWER})
        spans = [match.span() for match in re.finditer(r"\S+", query.text)]
        words = words_of(word_spans(query.text), spans)
        answer, readings = trace.readings[ANSWER], {}
        for key in singly(need, len(words)):
            tokens = [0] if key.word is None else tokens_of(key.word, words)
            if tokens:
                cells = np.roll(answer.cells, min(tokens), axis=2)
                readings[key] = answer._replace(cells=cells)
        return replace(trace, words=words, readings=readings)


def after(change: Callable[[Trace], Trace]) -> type[Toy]:
    """A toy whose every trace is changed."""

    class Changed(Toy):
        def _one(self, query: Query, need: Need = NOTHING_MORE) -> Trace:
            return change(super()._one(query, need))

    return Changed


def read(change: Callable[[ReadingKey, Reading], Reading | None]) -> type[Toy]:
    """A toy whose every reading is changed, or missing."""

    def changed(trace: Trace) -> Trace:
        found = {key: change(key, reading) for key, reading in trace.readings.items()}
        return replace(trace, readings={k: r for k, r in found.items() if r is not None})

    return after(changed)


def leaving(what: Callable[[Toy, Query], object], *, at_errors: bool = False) -> type[Toy]:
    """A toy that does something more at every pass, or where it refuses what it is asked."""

    class Leaving(Toy):
        def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
            try:
                return super().trace(queries, need)
            except AuditError:
                what(self, queries[0])
                raise
            finally:
                if queries and not at_errors:
                    what(self, queries[0])

    return Leaving


class OddLabels(Toy):
    labels = ("yes", "no", "maybe")

    def _one(self, query: Query, need: Need = NOTHING_MORE) -> Trace:
        trace = super()._one(query, need)
        turned = dict(reversed(trace.probabilities.items()))
        return replace(trace, probabilities=turned)


class OddMethod(Toy):
    methods = ("answer_attention", "word_attention", "answer_attentoin")


class MoreThanAsked(Toy):
    def _one(self, query: Query, need: Need = NOTHING_MORE) -> Trace:
        return super()._one(query, need | {ANSWER})


class UnmaskedPadding(Toy):
    def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
        longest = max((len(query.text) for query in queries), default=0)
        found = super().trace(queries, need)
        return [
            replace(trace, probabilities=moved(trace.probabilities, longest - len(query.text)))
            for query, trace in zip(queries, found, strict=True)
        ]


def moved(probabilities: dict[str, float], padding: int) -> dict[str, float]:
    off = 0.01 if padding else 0.0
    return probabilities | {"no": probabilities["no"] - off, "yes": probabilities["yes"] + off}


class Sorting(Toy):
    """Sorts a batch by length, and never sorts its answers back."""

    def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
        return super().trace(sorted(queries, key=lambda query: len(query.text)), need)


class ViewOfText(Toy):
    def _one(self, query: Query, need: Need = NOTHING_MORE) -> Trace:
        view = Box(0.0, 0.0, 1.0, 0.5 if "white" in query.text else 1.0)
        return replace(super()._one(query, need), view=view)


class Blind(Toy):
    def _one(self, query: Query, need: Need = NOTHING_MORE) -> Trace:
        size = picture_of(query.image).size
        return super()._one(replace(query, image=Image.new("RGB", size)), need)


class NoPremise(Toy):
    def _one(self, query: Query, need: Need = NOTHING_MORE) -> Trace:
        return super()._one(replace(query, premise=None), need)


class AsHeld(Toy):
    """Opens pictures without turning them."""

    def _one(self, query: Query, need: Need = NOTHING_MORE) -> Trace:
        if isinstance(query.image, Path):
            open_image(query.image)
            query = replace(query, image=Image.open(query.image).convert("RGB"))
        return super()._one(query, need)


Cells = NDArray[np.float64]


def single_heads(cells: Callable[[Cells, ReadingKey], Cells]) -> type[Toy]:
    """A toy that gives single heads: what is made of its layers, (2, 4, 4), for such a key."""

    class Single(Toy):
        def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
            single = {k for k in need if k == EACH_HEAD or isinstance(k.heads[0], HeadPlace)}
            if not single:
                return super().trace(queries, need)
            found = super().trace(queries, (need - single) | {ANSWER})
            return [replace(t, readings=self._with(t, single, need)) for t in found]

        def _with(
            self, trace: Trace, single: set[ReadingKey], need: Need
        ) -> dict[ReadingKey, Reading]:
            readings = {k: r for k, r in trace.readings.items() if k != ANSWER or k in need}
            for key in single:
                made = cells(trace.readings[ANSWER].cells, key)
                readings[key] = Reading(made, np.full(len(made), 0.5))
            return readings

    return Single


def two_heads(layers: Cells, key: ReadingKey) -> Cells:
    """Two heads in each layer; every place is given the first of them, which is wrong."""
    each = np.stack([layers * 1.5, layers * 0.5], axis=1).reshape(-1, *layers.shape[1:])
    return each if key == EACH_HEAD else each[:1]


class KeyErrors(Toy):
    def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
        try:
            return super().trace(queries, need)
        except MapError as error:
            if EACH_HEAD in need:
                raise  # which is another check's
            raise KeyError("no_such_method") from error


class AnyHead(Toy):
    def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
        if EACH_HEAD in need:
            raise MapError("no single heads")
        found = super().trace(queries, frozenset(key._replace(heads="mean") for key in need))
        return [
            replace(t, readings={k: t.readings[k._replace(heads="mean")]
                                 for k in singly(need, len(t.words))
                                 if k._replace(heads="mean") in t.readings})
            for t in found
        ]  # fmt: skip


class Stained(Toy):
    """The first answer after an error is another."""

    failed = False

    def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
        before, self.failed = self.failed, True
        found = super().trace(queries, need)
        self.failed = False
        return [
            replace(t, probabilities=moved(t.probabilities, int(before))) for t in found
        ]  # fmt: skip


class Formatting(Toy):
    def _one(self, query: Query, need: Need = NOTHING_MORE) -> Trace:
        query.text.format("a picture")
        return super()._one(query, need)


class Unbraced(Toy):
    def _one(self, query: Query, need: Need = NOTHING_MORE) -> Trace:
        trace = super()._one(query, need)
        return replace(trace, prompt=re.sub(r"\{.*?\}", "", trace.prompt))


class NeverCuts(Toy):
    def _one(self, query: Query, need: Need = NOTHING_MORE) -> Trace:
        if len(query.text) > 1000:
            raise TextError("too long")
        return super()._one(query, need)


numbers = count()


class NewDigest(Toy):
    def __init__(self) -> None:
        super().__init__()
        self.fingerprint = replace(Toy.fingerprint, weights=f"{next(numbers):064d}")


class NewWeights(Toy):
    def __init__(self) -> None:
        super().__init__()
        self.number = next(numbers)

    def _one(self, query: Query, need: Need = NOTHING_MORE) -> Trace:
        trace = super()._one(query, need)
        return replace(trace, probabilities=moved(trace.probabilities, self.number % 2))


class OnAuto(Toy):
    fingerprint = replace(Toy.fingerprint, device="auto")


class NameOfTwo(Toy):
    fingerprint = replace(Toy.fingerprint, name="a/toy")


def hook(toy: Toy, _: Query) -> None:
    toy.torch_model[0].register_forward_hook(lambda *_: None)


def gradient(toy: Toy, _: Query) -> None:
    toy.torch_model(torch.ones(2)).sum().backward()


def keep(toy: Toy, _: Query) -> None:
    toy.torch_model[0].attention_map = torch.ones(2)  # type: ignore[assignment]


def paint(_: Toy, query: Query) -> None:
    if isinstance(query.image, Image.Image):
        query.image.putpixel((0, 0), (1, 2, 3))


def learn(toy: Toy, _: Query) -> None:
    with torch.no_grad():
        toy.torch_model[0].weight += 1


def odds(trace: Trace) -> list[tuple[str, float]]:
    return list(trace.probabilities.items())


def unlikely(trace: Trace) -> Trace:
    return replace(trace, label=min(trace.probabilities, key=trace.probabilities.__getitem__))


BROKEN: list[tuple[str, type[Toy], str]] = [
    ("labels", OddLabels, "must be the same, in the same order"),
    ("methods", OddMethod, "did you mean 'answer_attention'"),
    (
        "probabilities",
        after(lambda t: replace(t, probabilities={a: p + 0.03 for a, p in odds(t)})),
        r"sum to 1\.09; they must sum to 1",
    ),
    ("label", after(unlikely), r"with 0\.0500, but 'yes' has 0\.9000"),
    ("readings", read(lambda _, r: r._replace(cells=r.cells - 0.01)), "negative somewhere"),
    ("readings", read(lambda _, r: r._replace(cells=r.cells[:, :3])), r"shape \(2, 3, 4\)"),
    ("readings", read(lambda _, r: r._replace(share=r.share + 0.9)), "share outside of 0 to 1"),
    ("readings", read(lambda k, r: None if k.heads == "max" else r), "holds no reading of .*max"),
    ("readings", read(lambda _, r: r._replace(weight=[1, 1])), "NumPy arrays"),
    (
        "single_heads",
        single_heads(lambda layers, _: np.concatenate([layers, layers * 2])),
        "4 single heads of 2 layers do not have the mean",
    ),
    ("single_heads", single_heads(two_heads), "another reading than the last of all heads"),
    ("nothing_more", MoreThanAsked, "no reading was asked for, and the trace holds 1"),
    (
        "words",
        read(lambda k, r: r._replace(cells=r.cells[::, ::-1]) if isinstance(k.word, str) else r),
        "another reading by its name than by its place",
    ),
    (
        "words",
        after(lambda t: replace(t, words=tuple(w._replace(text=f"_{w.text}") for w in t.words))),
        "must be audit.base.words.words_in",
    ),
    ("batch", UnmaskedPadding, r"probability 0\.050000 and 0\.040000 of 'no'; is padding masked"),
    ("order", Sorting, "must come in the order of the queries"),
    ("grid_and_view", ViewOfText, "with one text and .* with another"),
    (
        "grid_and_view",
        after(lambda t: replace(t, view=Box(0.5, 0, 0.5, 1))),
        "must be left, top",
    ),
    (
        "grid_and_view",
        after(lambda t: replace(t, view=Box(2, 0, 3, 1))),
        "hold some of the picture",
    ),
    ("pictures_matter", Blind, "answer_attention is the same .* flipped left to right"),
    ("texts_matter", after(lambda t: replace(t, tokens=("a",))), "two texts gave the same prompt"),
    ("texts_matter", NoPremise, "a premise is not in the prompt"),
    ("paths", AsHeld, "a picture that EXIF turns"),
    ("errors", KeyErrors, "raised KeyError: 'no_such_method'; it must raise an AuditError"),
    ("errors", AnyHead, "asked for head 10000 of answer_attention, the model gave a trace"),
    ("usable_after_errors", Stained, "before and after it was asked for a picture that is not"),
    ("odd_texts", Formatting, "the model raised ValueError: cannot switch"),
    ("odd_texts", Unbraced, "do not format the user's text"),
    ("odd_texts", NeverCuts, r"may be cut \(truncate\) was refused: too long"),
    ("nothing_left", leaving(hook), r"hooks on the network changed \(1 of them, such as 0_forward"),
    ("nothing_left", leaving(hook, at_errors=True), "asked for a picture that is not there"),
    ("nothing_left", leaving(gradient), "gradients of parameters changed"),
    ("nothing_left", leaving(keep), r"modules keep changed .*0\.attention_map"),
    ("nothing_left", leaving(paint), "what is in the pictures changed"),
    ("nothing_left", leaving(learn), "the network's weights changed"),
    ("nothing_left", leaving(lambda toy, _: toy.torch_model.train()), "training modes of modules"),
    (
        "nothing_left",
        leaving(lambda toy, _: toy.torch_model.requires_grad_(False)),
        "settings of requires_grad changed",
    ),
    ("nothing_left", leaving(lambda *_: torch.rand(1)), "torch's random state changed"),
    ("nothing_left", leaving(lambda *_: np.random.random()), "NumPy's random state changed"),
    ("nothing_left", leaving(lambda *_: random.random()), "Python's random state changed"),
    ("fingerprint", NewDigest, "fingerprint's weights is 0+… of one load and 0+… of another"),
    ("fingerprint", NewWeights, "loaded twice, the model has probability"),
    ("fingerprint", OnAuto, "device is 'auto'; it must be where the model runs"),
    ("fingerprint", NameOfTwo, "baselines lie in a folder of it"),
]
