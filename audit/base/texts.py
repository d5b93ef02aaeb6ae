"""Check hypotheses and premises: they must be visible text, and become one line."""

from __future__ import annotations

import re
import unicodedata

from audit.base.errors import TextError

LONGEST = 5_000
"""Characters; models read far fewer, and splitting one long word into tokens takes quadratic
time."""

_BREAK = re.compile("[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]+")
"""Characters that end a line or a column; the layout in the file is not part of the text."""

_HALF = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")

_UNSEEN = {"Zs", "Cf"}
_BLANK = {"\u115f", "\u1160", "\u2800", "\u3164", "\uffa0"}
"""Characters that show nothing, although Unicode counts them as letters or symbols."""


def readable(text: str, what: str = "the text") -> str:
    """``text`` in one line, checked to be something that a model can be asked.

    Line breaks and tabs, with the spaces around them, become one space; at the ends they are
    removed.

    >>> readable("there are two birds\\n  on a branch\\n")
    'there are two birds on a branch'

    Raises:
        TextError: nothing in it is visible, it is too long, or it has characters that do not belong
            in a text.
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


def has_lines(text: str) -> bool:
    """Whether :func:`readable` puts a space in place of a line break or a tab.

    >>> has_lines("two\\nbirds"), has_lines("two birds\\n")
    (True, False)
    """
    return _BREAK.search(text.strip()) is not None


def half_character(text: str) -> str:
    """What is wrong with a text that cannot be written to a file; empty if nothing is wrong.

    >>> half_character("bird"), half_character(chr(0xD83D) + " bird")
    ('', 'half a character (the lone surrogate U+D83D): write the whole one')
    """
    found = _HALF.search(text)
    if found is None:
        return ""
    return f"half a character (the lone surrogate U+{ord(found[0]):04X}): write the whole one"


def refuse_unprintable(text: str, what: str) -> None:
    """Refuse characters that cannot be written to a file, or that a terminal would obey.

    Raises:
        TextError: there is one; the message names it.
    """
    half = half_character(text)
    if half:
        raise TextError(f"{what} has {half}")
    control = _CONTROL.search(text)
    if control:
        raise TextError(f"{what} has a control character (U+{ord(control[0]):04X})")
