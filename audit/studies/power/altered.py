"""A model that is given other pictures or texts than it was asked about, or another prompt."""

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
    """Passes on to ``model`` what ``change`` makes of each query.

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
        """Those of the model."""
        return self._model.labels

    @property
    def methods(self) -> tuple[str, ...]:
        """Those of the model."""
        return self._model.methods

    @property
    def fingerprint(self) -> Fingerprint:
        """That of the model: what is changed is what such a digest cannot see."""
        return self._model.fingerprint

    def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
        """See :class:`audit.models.protocol.Model`."""
        changed = [self._change(query) for query in queries]
        if self._prompts is None:
            return self._model.trace(changed, need)
        found: list[Trace] = []
        for query in changed:  # one by one, since the template depends on the premise
            template = self._prompts[query.premise is not None]
            self._model.configuration["model"]["prompt"] = template
            self._model.preprocessing.cfg.model.prompt = template
            found += self._model.trace([query], need)
        return found


def pictures(draw: Draw) -> Callable[[Query], Query]:
    """A change of the picture alone."""
    return lambda query: replace(query, image=draw(picture(query)))


def texts(say: Callable[[str], str]) -> Callable[[Query], Query]:
    """A change of hypothesis and premise alike."""

    def change(query: Query) -> Query:
        premise = None if query.premise is None else say(query.premise)
        return replace(query, text=say(query.text), premise=premise)

    return change


def exchanged(query: Query) -> Query:
    """Premise and hypothesis in each other's place, where there are both."""
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
    """Blue, green, red, as OpenCV reads."""
    return Image.merge("RGB", image.split()[::-1])


def cropped(share: float) -> Draw:
    """The middle of the picture, as evaluation transforms of classifiers cut it."""

    def draw(image: Image.Image) -> Image.Image:
        wide, high = (round(side * (1 - share) / 2) for side in image.size)
        return image.crop((wide, high, image.width - wide, image.height - high))

    return draw


def coarse(side: int, resampling: Image.Resampling) -> Draw:
    """The picture made ``side`` pixels wide and high on its way to the model."""
    return lambda image: image.resize((side, side), resampling)


def corner(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """The picture with a coloured square in a corner, a sixth of its width."""
    marked = image.copy()
    side = image.width // 6
    ImageDraw.Draw(marked).rectangle((image.width - side, 0, image.width, side), fill=colour)
    return marked
