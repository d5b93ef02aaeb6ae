"""Split texts into words: as maps name them, and as lines may be broken."""

from __future__ import annotations

import unicodedata

import regex

# Scripts that are written without spaces between words.
_UNSPACED = (
    r"(?=\p{L})[\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Bopomofo}"
    r"\p{scx=Thai}\p{scx=Lao}\p{scx=Khmer}\p{scx=Myanmar}"
    r"\p{scx=Tai_Le}\p{scx=New_Tai_Lue}\p{scx=Tai_Tham}\p{scx=Tai_Viet}"
    r"\p{scx=Javanese}\p{scx=Balinese}]"
)
_EMOJI = r"\p{Emoji_Presentation}|\p{Extended_Pictographic}\uFE0F"
# \X is an extended grapheme cluster (Unicode's annex 29): a letter with all its marks.
_SPACED = rf"(?:(?!{_UNSPACED})(?=[\p{{L}}\p{{N}}_])\X)+"
_WORD = regex.compile(rf"(?={_UNSPACED}|{_EMOJI})\X|{_SPACED}(?:['’]{_SPACED})*")

# A line must not begin with closing punctuation or end with opening punctuation.
_PIECE = regex.compile(
    rf"[\p{{Ps}}\p{{Pi}}]*(?={_UNSPACED})\X[\p{{Pe}}\p{{Pf}}\p{{Po}}\p{{Lm}}]*"
    rf"|(?:(?![\p{{Ps}}\p{{Pi}}]*(?:{_UNSPACED}))\X)+"
)


def words_in(text: str) -> list[str]:
    """The words of a text as maps name them: lower case, without punctuation.

    In a script without spaces between words, each letter with its marks counts as a word; a longer
    word is then found as a phrase. An emoji is a word too.

    >>> words_in("Two birds' nest-boxes, aren't they?")
    ['two', 'birds', 'nest', 'boxes', "aren't", 'they']
    >>> words_in("两只小鸟。")
    ['两', '只', '小', '鸟']
    """
    return [word for word, _, _ in word_spans(text)]


def word_spans(text: str) -> list[tuple[str, int, int]]:
    """The words of :func:`words_in`, each with its start and end in ``text``, in characters."""
    # Each word is lowercased separately: lowercasing the whole text can shift its characters.
    return [
        (unicodedata.normalize("NFC", match.group().lower()), *match.span())
        for match in _WORD.finditer(text)
    ]


def occurrences(phrase: str, words: list[str]) -> list[int]:
    """The index of each place in ``words`` where the words of ``phrase`` begin.

    >>> occurrences("a bird", ["a", "bird", "and", "a", "bird"])
    [0, 3]
    """
    sought = words_in(phrase)
    starts = range(len(words) - len(sought) + 1)
    return [i for i in starts if words[i : i + len(sought)] == sought]


def characters(text: str) -> list[str]:
    """The characters of a text as a reader counts them: each with its marks and joiners.

    >>> len("ที่นี่"), len(characters("ที่นี่"))
    (6, 2)
    """
    found: list[str] = regex.findall(r"\X", text)
    return found


def pieces(text: str) -> list[str]:
    """The parts of a text between which a line may be broken.

    >>> pieces("birds,"), pieces("有两只鸟。")
    (['birds,'], ['有', '两', '只', '鸟。'])
    """
    found: list[str] = _PIECE.findall(text)
    return found
