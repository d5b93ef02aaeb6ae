"""Plants regressions in a model's input: other pictures, other texts, or another prompt."""

from __future__ import annotations

import io
import string
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from audit.base.images import open_image, picture_of
from audit.base.pixels import orientation, turned
from audit.maps.trace import NOTHING_MORE, Need, Trace
from audit.models.ofa.adapter import OFAVisualEntailment
from audit.models.protocol import Fingerprint, Query
from audit.runs.evidence import picture

Draw = Callable[[Image.Image], Image.Image]


class Altered:
    """A model that applies ``change`` to each query and then asks ``model``.

    Args:
        prompts: templates without and with a premise, instead of the model's own.
    """

    def __init__(
        self,
        model: OFAVisualEntailment,
        change: Callable[[Query], Query],
        prompts: tuple[str, str] | None = None,
    ) -> None:
        self._model, self._change, self._prompts = model, change, prompts

    @property
    def labels(self) -> tuple[str, ...]:
        """The model's labels."""
        return self._model.labels

    @property
    def methods(self) -> tuple[str, ...]:
        """The model's methods."""
        return self._model.methods

    @property
    def fingerprint(self) -> Fingerprint:
        """The model's own fingerprint; it does not cover what is changed here."""
        return self._model.fingerprint

    def input_of(self, query: Query) -> Input:
        """What the network gets for a query."""
        changed = self._change(query)
        if self._prompts is not None:
            self._prompt_for(changed)
        return input_of(self._model, changed)

    def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
        """See :class:`audit.models.protocol.Model`."""
        changed = [self._change(query) for query in queries]
        if self._prompts is None:
            return self._model.trace(changed, need)
        found: list[Trace] = []
        for query in changed:  # one by one, because the template depends on the premise
            self._prompt_for(query)
            found += self._model.trace([query], need)
        return found

    def _prompt_for(self, query: Query) -> None:
        assert self._prompts is not None
        template = self._prompts[query.premise is not None]
        self._model.configuration["model"]["prompt"] = template
        self._model.preprocessing.cfg.model.prompt = template


Input = tuple[bytes, bytes]
"""What a network gets for a query: token ids and normalised pixels."""


def input_of(model: OFAVisualEntailment, query: Query) -> Input:
    """What the network gets from the model's own preprocessing for a query."""
    data = {"image": picture_of(query.image), "text": query.text}
    if query.premise is not None:
        data["text2"] = query.premise
    sample = model.preprocessing(data)
    return sample["source"].numpy().tobytes(), sample["patch_image"].numpy().tobytes()


def pictures(draw: Draw) -> Callable[[Query], Query]:
    """A change that applies ``draw`` to the picture only."""
    return lambda query: replace(query, image=draw(picture(query)))


def texts(say: Callable[[str], str]) -> Callable[[Query], Query]:
    """A change that applies ``say`` to hypothesis and premise."""

    def change(query: Query) -> Query:
        premise = None if query.premise is None else say(query.premise)
        return replace(query, text=say(query.text), premise=premise)

    return change


def exchanged(query: Query) -> Query:
    """Premise and hypothesis exchanged, if there is a premise."""
    if query.premise is None:
        return query
    return replace(query, text=query.premise, premise=query.text)


def reencoded(kind: str, **options: Any) -> Draw:
    """The picture written in a file format and read again."""

    def draw(image: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return Image.open(buffer).convert("RGB")

    return draw


def other_channels(image: Image.Image) -> Image.Image:
    """Channels in the order blue, green, red, as OpenCV reads them."""
    return Image.merge("RGB", image.split()[::-1])


def cropped(share: float) -> Draw:
    """The middle of the picture, cropped as classifiers do for evaluation."""

    def draw(image: Image.Image) -> Image.Image:
        wide, high = (round(side * (1 - share) / 2) for side in image.size)
        return image.crop((wide, high, image.width - wide, image.height - high))

    return draw


def coarse(side: int, resampling: Image.Resampling) -> Draw:
    """The picture scaled to ``side`` pixels wide and high before the model gets it."""
    return lambda image: image.resize((side, side), resampling)


def corner(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """The picture with a coloured square in a corner, a sixth of its width."""
    marked = image.copy()
    side = image.width // 6
    ImageDraw.Draw(marked).rectangle((image.width - side, 0, image.width, side), fill=colour)
    return marked


def letterboxed(image: Image.Image) -> Image.Image:
    """The picture on a black square, instead of squashed to one."""
    side = max(image.size)
    square = Image.new("RGB", (side, side))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def centre(image: Image.Image) -> Image.Image:
    """The largest square in the middle of the picture, instead of the whole squashed to one."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


_BACK = {6: 8, 8: 6}
"""EXIF orientations whose turn is undone by another one; all others undo themselves."""


def unturned(query: Query) -> Query:
    """The picture as it is stored, without the turn that EXIF asks for."""
    if not isinstance(query.image, Path):
        return query
    with Image.open(query.image) as stored:
        held = orientation(stored)
    return replace(query, image=turned(open_image(query.image), _BACK.get(held, held)))


def without_punctuation(text: str) -> str:
    """The text without punctuation; what is nothing but punctuation stays."""
    return text.translate({ord(mark): None for mark in string.punctuation}).strip() or text


def caption_as_typed(caption: str, words: int | None = None) -> str:
    """modelscope's ``pre_caption`` without lower case."""
    kept = caption.lstrip(",.!?*#:;~").replace("-", " ").replace("/", " ")
    return " ".join(kept.replace("<person>", "person").split()[:words])


def caption_with_punctuation(caption: str, words: int | None = None) -> str:
    """modelscope's ``pre_caption`` without what it does to punctuation."""
    return " ".join(caption.lower().split()[:words])
