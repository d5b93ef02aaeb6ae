"""Which matchers are known: models that score how well a text and a picture belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from audit.base.errors import ModelError


@dataclass(frozen=True)
class Matcher:
    """A family of matchers.

    Attributes:
        title: its name, for people.
        architecture: the class of transformers that has the matching head.
        methods: the maps that it gives, its default first.
        scores: 2 if its head scores no match and match; 1 if it has one score, which a threshold
            turns into a label.
    """

    title: str
    architecture: str
    methods: tuple[str, ...]
    scores: int


MATCHERS: Mapping[str, Matcher] = {
    "blip": Matcher(
        "BLIP image-text matching", "BlipForImageTextRetrieval",
        ("answer_attention", "word_attention", "relevance"), 2,
    ),
    "blip-2": Matcher(
        "BLIP-2 image-text matching", "Blip2ForImageTextRetrieval",
        ("answer_attention", "relevance"), 2,
    ),
    "vilt": Matcher(
        "ViLT retrieval", "ViltForImageAndTextRetrieval",
        ("answer_attention", "word_attention", "relevance"), 1,
    ),
    "siglip": Matcher("SigLIP", "SiglipModel", ("answer_attention", "relevance"), 1),
    "siglip2": Matcher(
        "SigLIP 2 with pictures of any shape", "Siglip2Model", ("answer_attention", "relevance"), 1
    ),
}  # fmt: skip
"""By ``model_type`` of ``config.json``."""


def matcher_of(config: Mapping[str, Any], where: object) -> Matcher | None:
    """The matcher that a ``config.json`` describes; None if its model is of another kind.

    Raises:
        ModelError: it is of a matcher's family, but without the head that matches.
    """
    model_type = config.get("model_type")
    found = MATCHERS.get(model_type) if isinstance(model_type, str) else None
    named = config.get("architectures")
    if found is None or not named or found.architecture in named:
        return found
    raise ModelError(
        f"{where}: is a {', '.join(map(str, named))}; of {found.title}, only "
        f"{found.architecture} says whether a text and a picture match"
    )
