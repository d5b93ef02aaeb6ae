"""The languages that pages and messages come in: English in the code, others from a catalogue.

Every text that a person reads stays in English where it is used, and that text is its own key
(gettext's way). Translations are in ``translations/LANGUAGE/LC_MESSAGES/DOMAIN.po``; what is read
here are the ``.mo`` files, which ``python -m tools.translations`` compiles from them.

Places for values are named, because another language may need another order. A name in capitals
stands for a text that is translated in its turn, one in lower case for a name or a figure, which
stays as it is: ``{WHAT} is {value}, and must be {LIMIT}``.
"""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib import resources
from itertools import chain, zip_longest
from typing import Literal

Language = Literal["en", "zh"]
Choice = Literal["auto", "en", "zh"]
"""A language, or that of whoever reads."""

LANGUAGES: tuple[Language, ...] = ("en", "zh")
CHOICES: tuple[Choice, ...] = ("auto", *LANGUAGES)

TAGS: Mapping[Language, str] = {"en": "en", "zh": "zh-CN"}
"""What HTML's ``lang`` calls them."""

NAMES: Mapping[Language, str] = {"en": "English", "zh": "中文"}
"""What each calls itself."""

DOMAINS = ("report", "app", "cases")
"""The files of a language. A text that is in several is translated alike in each."""

PLACE = re.compile(r"\{([A-Za-z_]\w*)\}")
"""A place for a value. Other braces in a text are just braces."""

_JOINED = re.compile(r"\{[A-Z]+\}([;:,] |[;:,]? and )\{[A-Z]+\}")

_LATIN_HAN = re.compile("[\u3400-\u9fff][A-Za-z0-9]|[A-Za-z0-9%][\u3400-\u9fff]")
_WIDE = re.compile("[\u3400-\u9fff，。；：、（）“”]{2}")
"""What two characters side by side are: with a space between them, and with none."""

_LONGEST = 1500
"""Longer sentences are not read: a run may come from anywhere, and one could be made to last."""

_HELD = {
    **dict.fromkeys(("number", "of", "all"), r"[+−-]?[0-9][0-9,.]*"),
    "metric": r"\w+",
}
"""What some places hold: nothing but a number, or one word."""


def marked(text: str) -> str:
    """The same text, which by this is known as one to translate."""
    return text


@cache
def _catalogue(language: Language) -> gettext.NullTranslations:
    """All texts of a language; English has none, so that its texts stay as they are."""
    found = gettext.NullTranslations()
    folder = resources.files("audit.base").joinpath("translations", language, "LC_MESSAGES")
    for domain in DOMAINS:
        file = folder.joinpath(f"{domain}.mo")
        if file.is_file():
            with file.open("rb") as opened:
                found.add_fallback(gettext.GNUTranslations(opened))
    return found


def translated(text: str, language: Language) -> str:
    """A text in another language, its places still open; itself if it is not translated.

    >>> translated("How to review", "zh"), translated("How to review", "en")
    ('如何评审', 'How to review')
    """
    return _catalogue(language).gettext(text) if text else ""


def filled(text: str, values: Mapping[str, str]) -> str:
    """A text with its places filled, as far as there are values for them.

    >>> filled("{now} of {all}: {method: rollout}", {"now": "2", "all": "3"})
    '2 of 3: {method: rollout}'
    """
    return PLACE.sub(lambda match: values.get(match[1], match[0]), text)


def seamed(text: str, values: Mapping[str, str], language: Language) -> str:
    """:func:`filled`, with spaces around the values as the language sets them.

    >>> seamed("{WHAT} 为 {value}", {"WHAT": "yes 的概率", "value": "0.4"}, "zh")
    'yes 的概率为 0.4'
    """
    words, names = PLACE.split(text)[::2], PLACE.findall(text)
    known = [values.get(name, f"{{{name}}}") for name in names]
    return "".join(
        chain.from_iterable(zip_longest(between(words, known, language), known, fillvalue=""))
    )


def between(words: Sequence[str], values: Sequence[str], language: Language) -> list[str]:
    """The words before, between and after values, with a space in Chinese where Latin meets Han.

    A translation cannot know what is in its places, and whether a space belongs there depends on
    it: ``而 {WHAT}`` is right for ``mass`` and wrong for Chinese.
    """
    if language != "zh":
        return list(words)
    ends = ["", *values, ""]
    return [_set(each, ends[i][-1:], ends[i + 1][:1]) for i, each in enumerate(words)]


def _set(words: str, before: str, after: str) -> str:
    inner = words.strip(" ")
    if not inner:
        return _seam(before, words, after)
    lead, _, trail = words.partition(inner)
    return _seam(before, lead, inner[0]) + inner + _seam(inner[-1], trail, after)


def _seam(before: str, space: str, after: str) -> str:
    if _LATIN_HAN.fullmatch(before + after):
        return " "
    return "" if _WIDE.fullmatch(before + after) else space


@dataclass(frozen=True)
class Message:
    """A text with its values, to be said in any language. ``str()`` gives the English.

    Attributes:
        text: the English text, with places.
        values: by place; those that are messages are translated too.
    """

    text: str
    values: Mapping[str, str | Message] = field(default_factory=dict)

    def said(self, language: Language) -> str:
        """The whole in a language.

        >>> plural("{number} case", "{number} cases", 3).said("zh")
        '3 个用例'
        """
        values = {k: v.said(language) if isinstance(v, Message) else v for k, v in
                  self.values.items()}  # fmt: skip
        return seamed(translated(self.text, language), values, language)

    def __str__(self) -> str:
        return self.said("en")


def message(text: str, /, **values: object) -> Message:
    """A message of a text and its values; what is not a message counts as text.

    >>> str(message("{right} of {all} wrong", right=2, all=f"{2000:,}"))
    '2 of 2,000 wrong'
    """
    return Message(text, {k: v if isinstance(v, Message | str) else str(v) for k, v in
                          values.items()})  # fmt: skip


def plural(one: str, many: str, number: int, /, **values: object) -> Message:
    """A message about a number of things, which goes into the place ``{number}``.

    >>> str(plural("{number} case", "{number} cases", 2000))
    '2,000 cases'
    """
    return message(one if number == 1 else many, number=f"{number:,}", **values)


class Phrases:
    """Reads sentences that are already finished in English, such as those that a run has stored.

    What is in a place with a name in capitals is read in the same way, and stays English if nothing
    fits it. Of several readings the one that knows most letters is taken. A text that only joins
    two, such as ``{FIRST}; {SECOND}``, is read only where both can be.

    >>> known = Phrases(["{WHAT} is {value}, and must be {LIMIT}", "at least {value}"])
    >>> found = known.read("mass is 0.1, and must be at least 0.5")
    >>> found.values["LIMIT"]
    Message(text='at least {value}', values={'value': '0.5'})
    >>> known.read("something else") is None
    True
    """

    def __init__(self, texts: Iterable[str]) -> None:
        unique = list(dict.fromkeys(texts))
        self._joints = [(text, found[1]) for text in unique if (found := _JOINED.fullmatch(text))]
        joined = {text for text, _ in self._joints}
        # A search for the longest words of a text is quicker than to match its whole pattern.
        self._patterns = [
            (text, max(PLACE.split(text)[::2], key=len), _pattern(text))
            for text in unique
            if text not in joined
        ]
        # Many cases of a run say the same.
        self._best = lru_cache(maxsize=20_000)(self._readings)

    def read(self, sentence: str) -> Message | None:
        """The message that a sentence is in English; None if it is none of these texts."""
        if len(sentence) > _LONGEST or not any(map(str.isalpha, sentence)):
            return None
        return self._best(sentence)[1]

    def _readings(self, sentence: str) -> tuple[int, Message | None]:
        """How many letters of a sentence the best reading knows, and that reading."""
        best: tuple[int, Message | None] = (0, None)
        for text, joint in self._joints:
            at = sentence.find(joint)
            while at > 0:
                # The second is read only if the first can be: most text is in no table.
                first = self._best(sentence[:at])
                second = self._best(sentence[at + len(joint) :]) if first[1] else first
                known = first[0] + second[0]
                if first[1] and second[1] and known > best[0]:
                    parts = zip(PLACE.findall(text), (first[1], second[1]), strict=True)
                    best = known, Message(text, dict(parts))
                at = sentence.find(joint, at + 1)
        for text, words, pattern in self._patterns:
            if words in sentence and (match := pattern.fullmatch(sentence)):
                found = match.groupdict()
                inner = {name: self._best(found[name]) for name in found if name.isupper()}
                known = 1 + _letters(text) + sum(letters for letters, _ in inner.values())
                if known > best[0]:
                    read = {name: each for name, (_, each) in inner.items() if each}
                    best = known, Message(text, found | read)
        return best

    def said(self, sentence: str, language: Language) -> str:
        """A finished sentence in a language; as it is if it is none of these texts."""
        found = self.read(sentence) if language != "en" else None
        return found.said(language) if found else sentence


def _letters(text: str) -> int:
    """How many letters a text has besides its places."""
    return sum(map(str.isalpha, PLACE.sub("", text)))


def _pattern(text: str) -> re.Pattern[str]:
    """What matches a text whose places are filled."""
    parts, seen = [], set()
    for n, part in enumerate(PLACE.split(text)):
        if n % 2 == 0:
            parts.append(re.escape(part))
        elif part in seen:
            parts.append(f"(?P={part})")
        else:
            seen.add(part)
            parts.append(f"(?P<{part}>{_HELD.get(part, '.+?')})")
    return re.compile("".join(parts), re.DOTALL)


def choice_of(given: str) -> Choice:
    """The choice of that name.

    Raises:
        ValueError: there is none.
    """
    for choice in CHOICES:
        if choice == given:
            return choice
    raise ValueError(f"{given!r} is not {', '.join(CHOICES[:-1])} or {CHOICES[-1]}")


def preferred(tags: Iterable[str]) -> Language:
    """The first language among those that a reader understands, the best first; else English.

    >>> preferred(["fr-CH", "zh-Hans-CN", "en"]), preferred(["EN_us", "zh"]), preferred(["fr"])
    ('zh', 'en', 'en')
    """
    for tag in tags:
        for language in LANGUAGES:
            if re.split("[-_.]", tag.strip().lower(), maxsplit=1)[0] == language:
                return language
    return "en"


def accepted(header: str) -> Language:
    """The language that a browser asks for in ``Accept-Language`` (RFC 9110, 12.5.4).

    >>> accepted("fr, en;q=0.5, zh-CN;q=0.8"), accepted(""), accepted("zh;q=much")
    ('zh', 'en', 'en')
    """
    weighed = []
    for part in header.split(","):
        tag, _, rest = part.partition(";")
        weight = rest.strip().removeprefix("q=") if rest else "1"
        if re.fullmatch(r"[01](\.[0-9]{0,3})?", weight) and float(weight) > 0:
            weighed.append((float(weight), tag))
    return preferred(tag for _, tag in sorted(weighed, key=lambda each: -each[0]))
