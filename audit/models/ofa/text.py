"""Make the prompt of a query, check that the model can read it, and find its words and tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from audit.base.errors import ModelError, TextError
from audit.base.words import word_spans
from audit.maps.trace import Word
from audit.models.kit import words as kit
from audit.models.kit.words import touching
from audit.models.protocol import Query

ONE_TEXT = ' does the image describe " {} "?'
TWO_TEXTS = ' can image and text1 " {} " imply text2 " {} "?'
"""modelscope's prompts, used if the checkpoint's configuration names none."""


@dataclass(frozen=True)
class Prompt:
    """What the model gets for a query's texts.

    Attributes:
        text: as modelscope's preprocessor builds it, before it is cut.
        tokens: as the model sees them, with its begin and end marks.
        words: the words of the hypothesis that the model sees.
        span: where the hypothesis begins and ends in ``tokens``.
    """

    text: str
    tokens: tuple[str, ...]
    words: tuple[Word, ...]
    span: tuple[int, int]


def texts_alone(tokenizer: Any) -> None:
    """Make a tokenizer read ``<mask>`` or ``<s>`` in a text as ordinary text.

    modelscope takes them for its own marks, so a hypothesis could end the prompt too early.
    """
    tokenizer.split_special_tokens = True


def prompt_of(query: Query, preprocess: Any, template: str | None) -> Prompt:
    """The prompt of a query.

    Args:
        preprocess: modelscope's preprocessor of the task.
        template: the prompt in the checkpoint's configuration, if it has one.

    Raises:
        TextError: the preprocessor leaves nothing of a text, or the model would cut the prompt and
            the query does not allow it.
        ModelError: the template does not have a slot for each text, or the tokens do not spell the
            prompt.
    """
    _check_slots(query, template)
    # Cut to this many words only if that is allowed; else the tokens of the whole text count.
    words = preprocess.max_src_length if query.truncate else None

    def kept(text: str, what: str) -> str:
        left: str = preprocess.pre_caption(text, words)
        if not left.strip():
            raise TextError(
                f"nothing is left of {what} {text[:40]!r}: the model's preprocessor removes "
                "punctuation at the beginning of a text"
            )
        return left

    hypothesis = kept(query.text, "the hypothesis")
    if query.premise is None:
        template = template or ONE_TEXT
        text = template.format(hypothesis)
    else:
        template = template or TWO_TEXTS
        text = template.format(kept(query.premise, "the premise"), hypothesis)
    tokenizer = preprocess.tokenizer
    pieces = tokenizer.tokenize(text)
    if sum(map(len, pieces)) != len(text.encode()):
        raise ModelError("the tokenizer's pieces are not bytes of the prompt: words are not known")
    fit = preprocess.max_src_length
    if len(pieces) > fit and not query.truncate:
        raise TextError(
            f"the prompt has {len(pieces)} tokens with this text, and {fit} fit: the model would "
            f"not see its end; shorten {'the text' if query.premise is None else 'the texts'}, or "
            "allow it: truncate: true in a case, --truncate, truncate=True in Python"
        )
    pieces = pieces[:fit]
    stop = len(text) - len(template.rpartition("{}")[2])
    found, span = words_of(text, (stop - len(hypothesis), stop), pieces)
    # Through their ids, so that a piece that is not in the vocabulary shows as unknown.
    seen = tokenizer.convert_ids_to_tokens(tokenizer.convert_tokens_to_ids(pieces))
    return Prompt(text, (tokenizer.bos_token, *seen, tokenizer.eos_token), found, span)


def _check_slots(query: Query, template: str | None) -> None:
    if template is None:
        return
    slots = template.count("{}")
    wanted = 1 if query.premise is None else 2
    if slots != wanted:
        raise ModelError(
            f"the checkpoint's prompt {template!r} has {slots} slot(s), but this case needs "
            f"{wanted}: modelscope would {'drop the hypothesis' if slots < wanted else 'fail'}"
        )


def words_of(
    prompt: str, span: tuple[int, int], pieces: Sequence[str]
) -> tuple[tuple[Word, ...], tuple[int, int]]:
    """The words of the hypothesis and their tokens, found by their characters.

    Args:
        prompt: the text that was tokenized.
        span: where the hypothesis begins and ends in it, in characters.
        pieces: its byte-level pieces as the tokenizer names them, one character for each byte; the
            last ones may have been cut off.

    Returns:
        The words, with tokens counted from the hypothesis's first token; and where the hypothesis
        begins and ends among the tokens, if a begin mark comes first.
    """
    ends = list(accumulate(map(len, pieces)))
    tokens = list(pairwise([0, *ends]))

    def at(characters: int) -> int:
        return len(prompt[:characters].encode())

    inside = touching(at(span[0]), at(span[1]), tokens)
    if not inside:
        return (), (1, 2)
    first, last = inside[0], inside[-1]
    spans = (
        (text, at(span[0] + start), at(span[0] + stop))
        for text, start, stop in word_spans(prompt[span[0] : span[1]])
    )
    return kit.words_of(spans, tokens[first : last + 1]), (first + 1, last + 2)
