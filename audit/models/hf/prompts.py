"""Make the prompt of a question, and find the picture's cells and the hypothesis's words in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from audit.base.errors import CaptureError, ModelError, TextError, in_a_sentence
from audit.base.geometry import Box, Grid
from audit.base.words import word_spans
from audit.maps.trace import Word
from audit.models.hf.families import Family, Seen
from audit.models.hf.needed import template_file
from audit.models.hf.pictures import prepared
from audit.models.hf.templates import check_options
from audit.models.kit.asking import Asking, AskingError, mark_in, refuse_marks
from audit.models.kit.words import Span, touching, words_of
from audit.models.protocol import Query


@dataclass(frozen=True)
class Prompt:
    """A question about a picture as the model is given it.

    Attributes:
        text: as the chat template made it, with one mark where the picture goes.
        tokens: of that text.
        words: of the hypothesis; their tokens count from ``first``.
        first: where the hypothesis begins among the tokens that the model is given.
        inputs: what the model is given, as a batch of one.
        grid, view: see :class:`audit.maps.trace.Trace`.
        image: (image tokens,) where the picture's tokens are among those the model is given.
        cells: (rows × cols,) those of them that are the grid's cells, row by row.
    """

    text: str
    tokens: tuple[str, ...]
    words: tuple[Word, ...]
    first: int
    inputs: Mapping[str, Tensor]
    grid: Grid
    view: Box
    image: Tensor
    cells: Tensor

    @property
    def length(self) -> int:
        """Tokens that the model is given."""
        return int(self.inputs["input_ids"].shape[1])


class Prompter:
    """Makes prompts for one model.

    Args:
        longest: the most tokens that the model reads.

    Raises:
        ModelError: the processor lacks something that is needed.
    """

    def __init__(
        self, family: Family, processor: Any, config: Any, asking: Asking, longest: int
    ) -> None:
        self._family, self._processor, self._config = family, processor, config
        self._asking, self._longest = asking, longest
        self._tokenizer = processor.tokenizer
        if not self._tokenizer.is_fast:
            raise ModelError(
                "the model's tokenizer is a slow one, which does not say where words are"
            )
        self._template = getattr(processor, "chat_template", None) or self._tokenizer.chat_template
        if isinstance(self._template, Mapping):  # a folder may have several, by name
            self._template = self._template.get("default")
        if not family.frame and not self._template:
            raise ModelError("the model has no chat template, so it is not known how to ask it")
        check_options("" if family.frame else self._template, asking.template)
        image = getattr(config, "image_token_id", None)
        self._image = int(config.image_token_index if image is None else image)
        added = self._tokenizer.added_tokens_decoder
        self._marks = {str(t) for n, t in added.items() if t.special or n == self._image}
        self._marks |= {getattr(processor, "image_token", None) or "<image>"}
        refuse_marks(
            self._asking, ("system", "question", "question_with_premise", "generic"), self._marks
        )

    def of(self, query: Query, image: Image.Image) -> Prompt:
        """The prompt of a query about an opened picture.

        Raises:
            ImageError: the processor cannot prepare a picture of this shape.
            ModelError: the query has a premise, and the asking file has no question for it.
            TextError: a text is too long, or holds a mark of the model's own.
        """
        if query.generic:
            query = replace(query, text=self._asking.generic)
        asked = "the generic question" if query.generic else "the hypothesis"
        for name, text in ((asked, query.text), ("the premise", query.premise or "")):
            held = mark_in(self._marks, text)
            if held:
                raise TextError(f"{name} has {held!r}, which the model takes for its own mark")
        prompt, spans = self._made(query, image)
        beyond = prompt.length - self._longest
        if beyond <= 0:
            return prompt
        if query.generic:
            raise TextError(
                f"the generic question makes a prompt of {prompt.length} tokens, and "
                f"{self._longest} fit: shorten generic in the asking file"
            )
        if not query.truncate:
            raise TextError(
                f"the prompt has {prompt.length} tokens with this text, and {self._longest} fit: "
                f"shorten {'the text' if query.premise is None else 'the texts'}, or allow it: "
                "truncate: true in a case, --truncate, truncate=True in Python"
            )
        if beyond >= len(spans):
            raise TextError(
                f"even without the text, the prompt has {prompt.length - len(spans)} tokens"
            )
        return self.of(replace(query, text=query.text[: max(spans[-beyond][0], 1)]), image)

    def asked(self, query: Query) -> tuple[str, int]:
        """The text of a prompt, and where the hypothesis begins in it."""
        question, start = (
            (query.text, 0) if query.generic else self._asking.asked(query.text, query.premise)
        )
        if self._family.frame:
            before, after = self._family.frame.split("{}")
            return f"{before}{question}{after}", start + len(before)
        said: list[dict[str, Any]] = [{"type": "image"}, {"type": "text", "text": question}]
        chat: list[dict[str, Any]] = [{"role": "user", "content": said}]
        if self._asking.system:
            system = [{"type": "text", "text": self._asking.system}]
            chat.insert(0, {"role": "system", "content": system})
        try:
            text: str = self._tokenizer.apply_chat_template(
                chat, chat_template=self._template, add_generation_prompt=True, tokenize=False,
                **self._asking.template,
            )  # fmt: skip
        except Exception as error:  # a template is a program
            name = template_file(Path(self._tokenizer.name_or_path)).name
            raise ModelError(
                f"the chat template in {name} cannot be used: {in_a_sentence(error)}"
            ) from error
        if self._asking.system.strip() not in text:
            raise AskingError(
                "the model's chat template leaves the system message out: write it into the "
                "question",
                ("system",),
            )
        stripped = question.strip()  # as many templates do
        at = text.rfind(stripped)
        if at < 0:
            raise ModelError("the model's chat template changes the question, so it is not audited")
        return text, at + start - question.index(stripped)

    def ids(self, text: str) -> Any:
        """A prompt's text as the tokenizer encodes it, with where each token lies in it."""
        return self._tokenizer(
            text, add_special_tokens=self._adds(text), return_offsets_mapping=True
        )

    def _adds(self, text: str) -> bool:
        """Whether the tokenizer adds its begin mark; most chat templates have it already."""
        begin = self._tokenizer.bos_token
        return not (begin and text.startswith(begin))

    def answers(self) -> dict[str, list[tuple[int, ...]]]:
        """The tokens of each label's answers, as they follow a prompt.

        Raises:
            ModelError: an answer has no tokens, or begins with all of another label's answer.
        """
        text = self.asked(Query(Path(), "a"))[0] + self._family.ending
        encoded = self.ids(text)
        before, (begin, end) = encoded["input_ids"], encoded["offset_mapping"][-1]
        if begin == end and not self._family.decoder:
            mark = self._tokenizer.convert_ids_to_tokens(before[-1])
            raise ModelError(
                f"the model's tokenizer writes {mark!r} behind every text (often add_eos_token in "
                "tokenizer_config.json), so the model would answer a question that has ended "
                "already; tell it not to"
            )
        found: dict[str, list[tuple[int, ...]]] = {}
        whose: dict[tuple[int, ...], tuple[str, str]] = {}
        for label, answers in self._asking.answers.items():
            for number, answer in enumerate(answers):
                loc = ("answers", label, number)
                whole = self.ids(text + answer)["input_ids"]
                if len(whole) <= len(before) or whole[: len(before)] != before:
                    # The answer's beginning merges with the prompt's end: take it by itself.
                    tokens = self._alone(before, answer)
                else:
                    tokens = tuple(whole[len(before) :])
                if not tokens or self._tokenizer.unk_token_id in tokens:
                    raise AskingError(f"the model has no tokens for the answer {answer!r}", loc)
                for other, (owner, said) in whose.items():
                    shorter = min(len(other), len(tokens))
                    if owner != label and other[:shorter] == tokens[:shorter]:
                        raise AskingError(
                            f"to the model, the answer {answer!r} of {label!r} begins as an answer "
                            f"of {owner!r} does ({said!r}), so what it says would count for both",
                            loc,
                        )
                whose[tokens] = label, answer
        for tokens, (label, _) in whose.items():
            # An answer that begins with another of its label is counted with that one already.
            if not any(tokens[:n] in whose for n in range(1, len(tokens))):
                found.setdefault(label, []).append(tokens)
        return found

    def _alone(self, before: list[int], answer: str) -> tuple[int, ...]:
        """The tokens that spell an answer behind a prompt, none of which reaches into the prompt.

        Some tokenizers write a space before a text that stands alone; behind a line break or a
        colon, they do not. Empty if none of these ways spells the answer and nothing else.
        """

        def spelled(ids: list[int]) -> str:
            text: str = self._tokenizer.decode(ids, clean_up_tokenization_spaces=False)
            return text

        for lead in ("", "\n", ":"):
            ids = self._tokenizer(lead + answer, add_special_tokens=False)["input_ids"]
            start = len(self._tokenizer(lead, add_special_tokens=False)["input_ids"])
            if spelled(before + ids[start:]) == spelled(before) + answer:
                return tuple(ids[start:])
        return ()

    def _made(self, query: Query, image: Image.Image) -> tuple[Prompt, list[Span]]:
        """A prompt, and where each of the hypothesis's tokens begins and ends in it."""
        text, start = self.asked(query)
        options = {} if self._adds(text) else {"add_special_tokens": False}
        given = prepared(self._processor, text, image, **options)
        # PaliGemma's processor brings labels for training with some versions of transformers.
        inputs = {k: v for k, v in given.items() if isinstance(v, Tensor) and k != "labels"}
        ids = inputs["input_ids"][0]
        places = (ids == self._image).nonzero()[:, 0]
        layout = self._family.layout(
            Seen(image.size, len(places), inputs, self._processor, self._config)
        )
        cells = places[layout.start :][: layout.grid.rows * layout.grid.cols]
        if len(cells) < layout.grid.rows * layout.grid.cols or layout.start < 0:
            raise CaptureError(
                f"the prompt has {len(places)} image tokens, too few for {tuple(layout.grid)} cells"
            )
        encoded = self.ids(text + self._family.ending)
        short, offsets = encoded["input_ids"], encoded["offset_mapping"]
        end = start + len(query.text)
        inside = touching(start, end, offsets)
        # The processor puts image tokens before the question, and what follows stays as it is.
        behind = len(short) - inside[0] if inside else 0
        if not inside or short[inside[0] :] != ids[len(ids) - behind :].tolist():
            raise CaptureError("the hypothesis cannot be found among the tokens of the prompt")
        spans = [
            (max(a - start, 0), min(b, end) - start) for a, b in offsets[inside[0] : inside[-1] + 1]
        ]
        found = Prompt(
            text=text,
            tokens=tuple(self._tokenizer.convert_ids_to_tokens(short)),
            words=words_of(word_spans(query.text), spans),
            first=len(ids) - behind,
            inputs=inputs,
            grid=layout.grid,
            view=layout.view,
            image=places,
            cells=cells,
        )
        return found, spans


def collated(prompts: list[Prompt], pad: int) -> dict[str, Tensor]:
    """The inputs of several prompts as one batch; shorter texts are padded on the right.

    On the right, every token keeps the position that it has alone. Pictures follow each other; what
    has a place for each picture of a prompt (tiles) is filled up with zeros.
    """
    if len(prompts) == 1:
        return dict(prompts[0].inputs)
    longest = max(prompt.length for prompt in prompts)
    batch = {}
    for name in prompts[0].inputs:
        parts = [prompt.inputs[name] for prompt in prompts]
        if all(part.shape == (1, p.length) for part, p in zip(parts, prompts, strict=True)):
            filler = pad if name == "input_ids" else 0
            batch[name] = torch.cat(
                [
                    torch.nn.functional.pad(part, (0, longest - part.shape[1]), value=filler)
                    for part in parts
                ]
            )
        elif parts[0].ndim > 4 or name == "pixel_attention_mask":
            most = max(part.shape[1] for part in parts)
            batch[name] = torch.cat([_filled(part, most) for part in parts])
        else:
            batch[name] = torch.cat(parts)
    return batch


def _filled(part: Tensor, most: int) -> Tensor:
    """(1, tiles, ...) with as many tiles as the largest has; those that are added are zero."""
    missing = part.new_zeros((1, most - part.shape[1], *part.shape[2:]))
    return torch.cat([part, missing], dim=1)
