"""Which words a prompt has, and which of its tokens spell them."""

from __future__ import annotations

from collections.abc import Sequence

from audit.errors import ModelError
from audit.mapspec import word_spans
from audit.trace import Word


def words_of(
    prompt: str, span: tuple[int, int], tokens: Sequence[str]
) -> tuple[tuple[Word, ...], tuple[int, int]]:
    """The words of the hypothesis and their tokens, found by their characters.

    Args:
        prompt: the text that was tokenized.
        span: where the hypothesis begins and ends in it, in characters.
        tokens: byte-level pieces as the tokenizer names them, one character a byte, between the
            begin and the end mark; the prompt may have been cut.

    Returns:
        The words, with tokens counted from the hypothesis's first; and where the hypothesis
        begins and ends in ``tokens``.

    Raises:
        ModelError: the tokens do not spell the prompt.
    """
    starts, place = [], 0
    for piece in tokens[1:-1]:
        starts.append(place)
        place += len(piece)
    ends = [*starts[1:], place]
    if place > len(prompt.encode()):
        raise ModelError("the tokenizer's pieces are not bytes of the prompt: words are not known")

    def at(characters: int) -> int:
        return len(prompt[:characters].encode())

    def touching(start: int, stop: int) -> list[int]:
        return [
            i for i, (a, b) in enumerate(zip(starts, ends, strict=True)) if a < stop and b > start
        ]

    inside = touching(at(span[0]), at(span[1]))
    if not inside:
        return (), (1, 2)
    first = inside[0]
    words = []
    for text, start, stop in word_spans(prompt[span[0] : span[1]]):
        found = touching(at(span[0] + start), at(span[0] + stop))
        if found:
            words.append(Word(text, tuple(i - first for i in found)))
    return tuple(words), (first + 1, inside[-1] + 2)
