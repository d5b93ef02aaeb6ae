"""Plants regressions in a model's input: other pictures, other texts, or another prompt."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from PIL import Image, ImageDraw

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

    def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
        """See :class:`audit.models.protocol.Model`."""
        changed = [self._change(query) for query in queries]
        if self._prompts is None:
            return self._model.trace(changed, need)
        found: list[Trace] = []
        for query in changed:  # one by one, because the template depends on the premise
            template = self._prompts[query.premise is not None]
            self._model.configuration["model"]["prompt"] = template
            self._model.preprocessing.cfg.model.prompt = template
            found += self._model.trace([query], need)
        return found


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
