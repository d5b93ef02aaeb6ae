"""Prepare a text and a picture for a matcher, and find words and cells in what it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from audit.base.errors import ModelError, TextError
from audit.base.geometry import WHOLE, Box, Grid
from audit.base.words import word_spans
from audit.maps.trace import Word
from audit.models.hf.families import Seen, view_of
from audit.models.hf.pictures import prepared
from audit.models.kit.asking import mark_in, refuse_marks
from audit.models.kit.matching import Matching
from audit.models.kit.words import touching, words_of
from audit.models.protocol import Query


@dataclass(frozen=True)
class Pair:
    """A text and a picture as a matcher is given them.

    Attributes:
        text: with the hypothesis in it.
        tokens: of that text.
        words: of the hypothesis; their tokens count from ``first``. Empty if the tokenizer does not
            say where its tokens lie in the text.
        first: where the hypothesis begins among the tokens.
        inputs: what the model is given, as a batch of one.
        grid, view: see :class:`audit.maps.trace.Trace`.
    """

    text: str
    tokens: tuple[str, ...]
    words: tuple[Word, ...]
    first: int
    inputs: Mapping[str, Tensor]
    grid: Grid
    view: Box


class Pairer:
    """Makes pairs for one model.

    Args:
        kind: the ``model_type`` of the model's family.
    """

    def __init__(self, kind: str, processor: Any, config: Any, matching: Matching) -> None:
        self._kind, self._processor, self._config = kind, processor, config
        self._matching, self._tokenizer = matching, processor.tokenizer
        self._longest = int(_of_texts(kind, config).max_position_embeddings)
        self._options: dict[str, Any] = {}
        if kind in ("siglip", "siglip2"):  # they were trained on texts that are always as long
            self._options = {
                "padding": "max_length", "max_length": self._longest, "truncation": True,
            }  # fmt: skip
        if kind == "siglip2":  # else its processor would take numbers that are not in its files
            steps = processor.image_processor
            self._options["patch_size"] = steps.patch_size
            self._options["max_num_patches"] = steps.max_num_patches
        added = self._tokenizer.added_tokens_decoder.values()
        self._marks = {str(token) for token in added if token.special}
        refuse_marks(matching, ("text", "text_with_premise"), self._marks)

    def of(self, query: Query, image: Image.Image) -> Pair:
        """The pair of a query about an opened picture.

        Raises:
            ImageError: the processor cannot scale a picture of this shape.
            ModelError: the query has a premise, and the asking file has no text for it.
            TextError: a text is too long, or holds a mark of the model's own.
        """
        for name, text in (("the hypothesis", query.text), ("the premise", query.premise)):
            if held := mark_in(self._marks, text):
                raise TextError(f"{name} has {held!r}, which the model takes for its own mark")
        if not self._fits(query):
            if not query.truncate:
                raise TextError(
                    f"the text has {self._length(query)} tokens, and the model reads "
                    f"{self._longest}: shorten it, or allow it: truncate: true in a "
                    "case, --truncate, truncate=True in Python"
                )
            query = self._cut(query)
        return self._made(query, image)

    def _length(self, query: Query) -> int:
        text = self._matching.shown(query.text, query.premise).question
        return len(self._tokenizer(text, verbose=False)["input_ids"])

    def _fits(self, query: Query) -> bool:
        return self._length(query) <= self._longest

    def _cut(self, query: Query) -> Query:
        """The query with the longest beginning of its text that fits."""
        fits, too_long = 0, len(query.text)
        while too_long - fits > 1:
            middle = (fits + too_long) // 2
            if self._fits(replace(query, text=query.text[:middle])):
                fits = middle
            else:
                too_long = middle
        if not fits:
            raise TextError(f"even without the text, there are more tokens than {self._longest}")
        return replace(query, text=query.text[:fits])

    def _made(self, query: Query, image: Image.Image) -> Pair:
        text, start = self._matching.shown(query.text, query.premise)
        given = prepared(self._processor, text, image, **self._options)
        inputs = {name: value for name, value in given.items() if isinstance(value, Tensor)}
        tokens, words, first = self._encoded(text, start, query.text)
        grid, view = self._layout(image.size, inputs)
        return Pair(text, tokens, words, first, inputs, grid, view)

    def _encoded(
        self, text: str, start: int, hypothesis: str
    ) -> tuple[tuple[str, ...], tuple[Word, ...], int]:
        """The text's tokens, the hypothesis's words, and which token is its first."""
        fast = bool(self._tokenizer.is_fast)
        encoded = self._tokenizer(text, **({"return_offsets_mapping": True} if fast else {}))
        tokens = tuple(self._tokenizer.convert_ids_to_tokens(encoded["input_ids"]))
        if not fast:
            return tokens, (), 0
        end = start + len(hypothesis)
        inside = touching(start, end, encoded["offset_mapping"])
        if not inside:
            raise TextError("the model would see nothing of the text: no token stands for it")
        spans = [
            (max(a - start, 0), min(b, end) - start)
            for a, b in encoded["offset_mapping"][inside[0] : inside[-1] + 1]
        ]
        return tokens, words_of(word_spans(hypothesis), spans), inside[0]

    def _layout(self, size: tuple[int, int], inputs: Mapping[str, Tensor]) -> tuple[Grid, Box]:
        """The grid of patches, and the part of the picture that it covers."""
        if self._kind == "siglip2":  # as many patches as keep the picture's shape
            return Grid(*inputs["spatial_shapes"][0].tolist()), WHOLE
        height, width = inputs["pixel_values"].shape[-2:]
        if self._kind == "vilt":  # the sides are rounded to whole patches; nothing is cut
            patch = self._config.patch_size
            return Grid(height // patch, width // patch), WHOLE
        patch = self._config.vision_config.patch_size
        seen = Seen(size, 0, inputs, self._processor, self._config)
        return Grid(height // patch, width // patch), view_of(seen)


def _of_texts(kind: str, config: Any) -> Any:
    """The part of a configuration that says how long texts may be."""
    if kind == "vilt":
        return config
    return config.qformer_config if kind == "blip-2" else config.text_config


def collated(pairs: Sequence[Pair], pad: int) -> dict[str, Tensor]:
    """The inputs of several pairs as one batch; shorter texts are padded on the right.

    Args:
        pad: the number of the padding token.

    Raises:
        ModelError: pictures differ in size, which only a model of its own kind can put together.
    """
    batch: dict[str, Tensor] = {}
    longest = max(pair.inputs["input_ids"].shape[1] for pair in pairs)
    for name in pairs[0].inputs:
        parts = [pair.inputs[name] for pair in pairs]
        if parts[0].shape == pairs[0].inputs["input_ids"].shape:
            filler = pad if name == "input_ids" else 0
            parts = [
                torch.nn.functional.pad(part, (0, longest - part.shape[1]), value=filler)
                for part in parts
            ]
        if len({part.shape for part in parts}) > 1:
            raise ModelError(f"{name} of two pictures have different shapes")
        batch[name] = torch.cat(parts)
    return batch
