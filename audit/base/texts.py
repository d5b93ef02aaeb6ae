"""What a hypothesis or a premise may be: text that can be seen, in one line."""

from __future__ import annotations

import re
import unicodedata

from audit.base.errors import TextError

LONGEST = 5_000
"""Characters; models read far fewer, and splitting one long word into tokens takes quadratic
time."""

_BREAK = re.compile("[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]+")
"""What ends a line or a column; how a text was laid out in its file is no part of it."""

_HALF = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")

_UNSEEN = {"Zs", "Cf"}
_BLANK = {"\u115f", "\u1160", "\u2800", "\u3164", "\uffa0"}
"""Characters that are drawn as nothing, though Unicode counts them among letters and symbols."""


def readable(text: str, what: str = "the text") -> str:
    """``text`` in one line, once it is known to be something that a model can be asked.

    Line breaks and tabs, with the spaces around them, become one space; those at the ends go.

    >>> readable("there are two birds\\n  on a branch\\n")
    'there are two birds on a branch'

    Raises:
        TextError: there is nothing to see in it, it is too long, or it has characters that no text
            has.
    """
    if not isinstance(text, str):
        raise TextError(f"{what} is not a text but {type(text).__name__}")
    if len(text) > LONGEST:
        raise TextError(f"{what} has {len(text):,} characters, more than the limit of {LONGEST:,}")
    if _BREAK.search(text):
        text = " ".join(part for part in map(str.strip, _BREAK.split(text)) if part)
    refuse_unprintable(text, what)
    if all(c in _BLANK or unicodedata.category(c) in _UNSEEN for c in text):
        raise TextError(f"{what} is empty{' but for white space' if text else ''}")
    return text


def half_character(text: str) -> str:
    """What is wrong with a text that no file can hold; empty if nothing is.

    >>> half_character("bird"), half_character(chr(0xD83D) + " bird")
    ('', 'half a character (the lone surrogate U+D83D): write the whole one')
    """
    found = _HALF.search(text)
    if found is None:
        return ""
    return f"half a character (the lone surrogate U+{ord(found[0]):04X}): write the whole one"


def refuse_unprintable(text: str, what: str) -> None:
    """Refuse what cannot be written into a file, or would be an order to a terminal.

    Raises:
        TextError: naming the character.
    """
    half = half_character(text)
    if half:
        raise TextError(f"{what} has {half}")
    control = _CONTROL.search(text)
    if control:
        raise TextError(f"{what} has a control character (U+{ord(control[0]):04X})")
