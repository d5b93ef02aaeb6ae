"""Find the tokens that spell the words of a hypothesis, and the keys that ask about them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from audit.base.words import occurrences, words_in
from audit.maps.trace import ReadingKey, Word

Span = tuple[int, int]


def touching(start: int, stop: int, tokens: Sequence[Span]) -> list[int]:
    """The indices of the tokens that overlap the text from ``start`` to ``stop``."""
    return [i for i, (a, b) in enumerate(tokens) if a < stop and b > start]


def words_of(spans: Iterable[tuple[str, int, int]], tokens: Sequence[Span]) -> tuple[Word, ...]:
    """Each word with the tokens that spell it; a word that no token spells is left out.

    A model that cuts a long text does not see its last words, and has no tokens for them.

    Args:
        spans: each word and where it begins and ends, as :func:`audit.base.words.word_spans`
            gives them.
        tokens: where each token begins and ends in the same text, in the same unit (characters or
            bytes). A token that spells nothing, such as a begin mark, ends where it begins.

    >>> from audit.base.words import word_spans
    >>> words_of(word_spans("Two birds"), [(0, 0), (0, 3), (4, 8), (8, 9)])
    (Word(text='two', tokens=(1,)), Word(text='birds', tokens=(2, 3)))
    """
    found = ((text, touching(start, stop, tokens)) for text, start, stop in spans)
    return tuple(Word(text, tuple(places)) for text, places in found if places)


def tokens_of(word: str | int, words: Sequence[Word]) -> list[int]:
    """The tokens of a phrase, wherever it occurs, or of the word at a place, from 0.

    Empty if the words do not contain the phrase, or if there are not so many words.
    """
    if isinstance(word, int):
        return list(words[word].tokens) if 0 <= word < len(words) else []
    starts = occurrences(word, [w.text for w in words])
    places = [words[i + k] for i in starts for k in range(len(words_in(word)))]
    return sorted({token for each in places for token in each.tokens})


def singly(need: Iterable[ReadingKey], words: int) -> Iterator[ReadingKey]:
    """The keys of ``need``; a key that asks for each word is replaced by one key per word."""
    for key in need:
        if key.method == "word_attention" and key.word is None:
            yield from (key._replace(word=place) for place in range(words))
        else:
            yield key
