"""Says the texts of a page in the language that it is in, or in that of whoever opens it.

A page for any reader has its words in English and a table of the texts on it in both languages.
Each element that holds a text has its number in that table (``data-t``), and within it an element
for each value, in the order of the English text. So the page's script says it in the other language
by moving the values, and a sentence that a thousand cases share is in the page once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import chain, zip_longest
from typing import Any

from markupsafe import Markup, escape

from audit.base.languages import (
    PLACE,
    TAGS,
    Choice,
    Language,
    Message,
    between,
    message,
    plural,
    translated,
)
from audit.report.phrases import stored

_PLACED = re.compile(r"(\*?)\{([A-Za-z_]\w*)\}\1")
"""A place for a value; a value between stars is set off."""


class Voice:
    """What templates say texts with.

    Attributes:
        choice: the language, or ``auto``.
        language: the language in which the words of the page are written.
        texts: the number of each text that was said in the page's table.
    """

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self.language: Language = "en" if choice == "auto" else choice
        self.texts: dict[str, int] = {}

    @property
    def tag(self) -> str:
        """The language of the page, as HTML names it."""
        return TAGS[self.language]

    def t(self, text: str, /, **values: object) -> Markup:
        """A text. A value that is HTML must be one element; others are escaped."""
        return self.say(message(text, **values))

    def many(self, one: str, many: str, number: int, /, **values: object) -> Markup:
        """A text about a number of things."""
        return self.say(plural(one, many, number, **values))

    def say(self, said: Message | str) -> Markup:
        """A message; a plain string is not translated."""
        if isinstance(said, str):
            return escape(said)
        whole = self._filled(said)
        if self.choice != "auto":
            return whole
        return Markup('<span data-t="{}">{}</span>').format(self.number(said.text), whole)

    def tagged(self, name: str, text: str, **attributes: str) -> Markup:
        """An element that holds a text without places, and nothing else."""
        if self.choice == "auto":
            attributes["data-t"] = str(self.number(text))
        told = Markup("").join(Markup(' {}="{}"').format(*pair) for pair in attributes.items())
        words = _words(translated(text, self.language))
        return Markup("<{0}{1}>{2}</{0}>").format(name, told, words)

    def aria(self, name: str, text: str, value: str = "") -> Markup:
        """An attribute that holds a text, with at most one value."""
        plain = message(text, **dict.fromkeys(PLACE.findall(text), value)).said(self.language)
        shown = Markup('{}="{}"').format(Markup(name), plain)
        if self.choice != "auto":
            return shown
        told = "|".join([name, str(self.number(text)), *([value] if value else [])])
        return Markup('{} data-a="{}"').format(shown, told)

    def read(self, sentence: str) -> Markup:
        """A finished English sentence that a run has stored."""
        return self.say(stored(sentence))

    def number(self, text: str) -> int:
        """The number of a text in the page's table."""
        return self.texts.setdefault(text, len(self.texts))

    def table(self) -> list[tuple[str, str]]:
        """English and Chinese of each text, in the order of their numbers."""
        return [(text, translated(text, "zh")) for text in self.texts]

    def _filled(self, said: Message) -> Markup:
        """A message's words and values, in the order of the page's language."""
        parts = _PLACED.split(translated(said.text, self.language))
        values = [self._value(said, *found) for found in zip(parts[2::3], parts[1::3], strict=True)]
        plain = [value.striptags() for value in values]
        words = map(_words, between(parts[::3], plain, self.language))
        return Markup("").join(chain.from_iterable(zip_longest(words, values, fillvalue="")))

    def _value(self, said: Message, place: str, star: str) -> Markup:
        value = said.values[place]
        if isinstance(value, str) and value.endswith(" %"):  # no line ends before the sign
            value = f"{value.removesuffix(' %')}\N{NO-BREAK SPACE}%"
        shown = self.say(value)
        if star:
            return Markup("<em>{}</em>").format(shown)
        if self.choice != "auto" or isinstance(value, Message | Markup):
            return shown
        return _bdi(shown)

    @property
    def words(self) -> Mapping[str, Any]:
        """What templates call."""
        return {
            "t": self.t, "many": self.many, "say": self.say, "tagged": self.tagged,
            "aria": self.aria, "read": self.read, "stored": stored, "code": _code,
            "bdi": _bdi,
        }  # fmt: skip


def _bdi(text: str) -> Markup:
    """A text that may be written from right to left, in an element that nothing shows of."""
    return Markup("<bdi>{}</bdi>").format(text)


def _code(text: str) -> Markup:
    return Markup("<code>{}</code>").format(text)


def _words(text: str) -> Markup:
    """Words of a text that is our own: quotes in it need no escape."""
    return Markup(text.replace("&", "&amp;").replace("<", "&lt;"))


ENGLISH = Voice("en")
"""Says everything in English, as pages do that come in no other language."""
