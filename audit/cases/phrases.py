"""What is said about case files, so that it can be told in another language.

Checks write their messages in English, in plain sentences. Here is a table of these sentences, with
places for what differs; a finished message is read back by it where it is shown. English is the
default; the environment variable or an option of pytest asks for another language.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import cache

from audit.base.errors import CaseError, nearest
from audit.base.languages import LANGUAGES, Choice, Language, Message, Phrases

VARIABLE = "AUDIT_LANGUAGE"
"""The environment variable that names the language of messages about case files."""

PHRASES: Sequence[str] = (
    # Hints: what may have been meant
    "did you mean {name}?",
    "choose from: {names}",
    "choose from: {names}. Without map, each model is measured by its own default",
    "the nearest of {number} choices are {names}",
    "there are none",
    # Files
    "not a file that can be read, but {KIND}",
    "a folder",
    "a pipe",
    "a socket",
    "a device",
    "something else",
    "cannot be read: {reason}",
    "{path}: cannot be read: {reason}",
    "{size} bytes, more than the limit of {limit}",
    "not UTF-8: {REASON} at byte {place}",
    "invalid start byte",
    "invalid continuation byte",
    "unexpected end of data",
    "holds a merge conflict: resolve it",
    "the file is empty; it needs a list under 'cases'",
    "no case file matches {patterns} in {folder}",
    "no case file matches {patterns} in {folder}; without the key 'cases': {files}",
    # YAML
    "not YAML: {PROBLEM}",
    "the character {code} is not allowed in a file",
    "a second document begins here, but a file holds only one",
    "maximum recursion depth exceeded: nested more than {number} deep",
    "more than {number} keys and values",
    "the key {key} occurs twice (first in line {number})",
    "a key must be a text",
    "aliases expand without end",
    "found character {character} that cannot start any token",
    "found undefined alias {name}",
    "found invalid Unicode character escape code",
    "found unknown escape character {character}",
    "found unexpected end of stream",
    "found unexpected document separator",
    "found a tab character that violates indentation",
    "mapping values are not allowed here",
    "could not find expected ':'",
    "did not find expected {wanted}",
    "expected ',' or ']', but got {found}",
    "expected ',' or '}', but got {found}",
    "expected {wanted}, but found {found}",
    "expected {wanted}, but got {found}",
    "{PROBLEM}: a tab; indent with spaces",
    "{PROBLEM}: put a text with ': ' in quotes, or mend the indentation",
    "{PROBLEM}: indent it as the lines that it belongs to, which begin in line {number}",
    "{PROBLEM}: the bracket that opens in line {number} is not closed",
    # Values of YAML
    "in this key: {PROBLEM}",
    "half a character (the lone surrogate {code}): write the whole one",
    "the text ends before {comment}, which YAML takes for a comment; put the text in quotes, or a "
    "space after # if it is a comment",
    "only mappings can be merged: one, or a list of them",
    "{text} is not {tag}: write true or false",
    "{text} is not {tag}: write {example}",
    "a number of {number} digits; at most {all}",
    "{text}: readers of YAML differ on numbers that begin with 0; write {number}, or put "
    "it in quotes if it is a text",
    "{tag} does not fit what is written here, which is {other}",
    "the tag {tag} is not known; {HINT}",
    # Keys and types
    "unknown key; {HINT}",
    "this key is required",
    "keys and values are needed here (a mapping)",
    "a list is needed here",
    "the list is empty; at least one is needed",
    "text is needed here; put it in quotes if it looks like something else",
    "the text is empty",
    "true or false is needed here",
    "a number is needed here",
    "a number is needed here, not true or false",
    "no key of a map is true or false",
    "write true, or leave the key out",
    "{name} is not known; {HINT}",
    "{text} is read as a text; write the number: {number}?",
    "{text} is read as a text; write the number in decimal digits, without quotes",
    "needs {WHAT}, but has {given}",
    "a finite number",
    "a number",
    "a whole number",
    "a number above {number}",
    "a number of at least {number}",
    "a number below {number}",
    "a number of at most {number}",
    "at least {number} item",
    "at least {number} items",
    "at most {number} item",
    "at most {number} items",
    "at least {number} character",
    "at least {number} characters",
    "at most {number} character",
    "at most {number} characters",
    "not a choice of heads: mean, max, weighted, chosen, or a list of distinct numbers "
    "from 1, or of single heads such as L4H2",
    "not a choice of layers: all, last, last:N, or a list of distinct numbers from 1",
    "not a share of the residual connection: measured, or a number from 0 to 1",
    "not a share: a number above 0 and below 1",
    "not a tolerance: a whole number of cells, from 0",
    # Names and texts
    "an id has letters, digits, '.', '_' and '-', and begins with a letter or digit",
    "a name has small letters, digits and '-', and begins with a letter or digit",
    "the id {id} occurs twice (first in line {number})",
    "the id {id} occurs twice, as {other} in {place} (upper and lower case and punctuation "
    "make no difference)",
    "the tag {tag} cannot be a pytest marker: use letters, digits and _",
    "the tag {tag} is one of pytest's own markers",
    "a region's name has letters, digits, spaces and {marks}, begins with a letter or "
    "digit, and is at most {number} characters long",
    "{WHAT} is not a text but {type}",
    "{WHAT} has {number} characters, more than the limit of {all}",
    "{WHAT} has half a character (the lone surrogate {code}): write the whole one",
    "{WHAT} has a control character ({code})",
    "{WHAT} is empty but for white space",
    "{WHAT} is empty",
    "the text",
    "the hypothesis",
    "the premise",
    "the picture's name",
    "word",
    # Pictures
    "{path}: no such picture; {HINT}",
    "paths start from the case file's folder: write {name}",
    "a region is a list of boxes; if {name} is a key of the case, indent it less",
    "a region is a list of boxes, each in its own brackets: {example}",
    "{path}: no such picture",
    "{path}: not a picture, but {KIND}; {HINT}",
    "{path}: not a picture, but {KIND}",
    "{path}: cannot be read: {reason}; {HINT}",
    "{path}: not a picture, or damaged (supported: {formats})",
    "{path}: {size} bytes, more than the limit of {limit}",
    "{path}: {width} x {height} pixels, more than the limit of {limit}",
    "{path}: too many pixels: {reason}",
    "{path}: there is not enough memory to open the picture",
    "{path}: the picture is damaged: it ends before its last pixel",
    "{path}: the picture is damaged: {reason}",
    # Boxes
    "a region needs at least one box",
    "a box is four numbers: [left, top, right, bottom]",
    "the box {box} has a side that is not a number",
    "the box {box} is ambiguous: write 0.0 and 1.0 for fractions of the image",
    "the box {box} lies outside the image of {width} x {height} pixels",
    "the box {box} mixes pixels (integers) and fractions (decimals); use one; {HINT}",
    "the box {box} mixes pixels (integers) and fractions (decimals); use one",
    "the box {box} lies outside the image: fractions are between 0.0 and 1.0; {HINT}",
    "the box {box} lies outside the image: fractions are between 0.0 and 1.0",
    "the box {box} is empty: right must exceed left, bottom top; {HINT}",
    "the box {box} is empty: right must exceed left, bottom top",
    "decimal pixels? round them: {box}",
    "x, y, width, height? write {box}",
    # Expectations
    "{name} is not a metric; {HINT}",
    "{name} is not a region of this case; {HINT}",
    "{name} is not a region of this variant ({maker}); {HINT}",
    "{name} lies outside of the crop",
    "{name} is a region of the case's picture, and this is another one",
    "this is the measured map itself; compare it with another",
    "the metric {name} needs a region",
    "the metric {name} needs a map to compare with: against: {method: ...}",
    "the metric {name} takes no region",
    "the metric {name} takes no {key}; it takes {keys}",
    "min {value} can never pass: {metric} is at most {limit}",
    "max {value} can never pass: {metric} is at least {limit}",
    "give min, max or both",
    "min {low} is greater than max {high}: nothing can pass",
    "{text} is not a threshold: write a rule and a number between 0 and 1, as in {example}; {HINT}",
    "{text} is not a threshold: write a rule and a number between 0 and 1, as in {example}",
    # Maps
    "a map is written as {method: NAME}; {HINT}",
    "the method {method} takes no {key}; it takes {keys}",
    "single heads can be chosen for {methods}, not for {method}",
    "single heads name their layers, so 'layers' cannot be given too",
    "'relative' divides and 'subtract' subtracts: give only one of them",
    "the method word_attention needs a word of the hypothesis, as in word=birds",
    "{word} has no word in it",
    "{word} is not in the text; {HINT}",
    "a number is listed twice",
    "the model has no label {label}; {HINT}",
    "the model gives no map {method}; {HINT}",
    # Variants
    "a variant needs one of {makers}, but has none",
    "a variant needs one of {makers}, but has {given}",
    "after {maker} no map can follow that of the case: leave {keys} out",
    "{key} needs {other} beside it",
    "{maker}: say what must hold: label (same, other or a label), probability: falls, or attention",
    "write probability: falls (by at least {least}), or {falls: 0.3}",
    "the variant's name {name} occurs twice (first in line {number}); give it a name of its own",
    "{name} is made in the same way (line {number}): ask everything of one of them",
    "this is the text of the case itself",
    "this is the picture of the case itself",
    "a picture times {value} is the same picture",
    "this is the whole picture",
    "leaves {width} × {height} pixels of the picture, on which nothing can be seen; leave "
    "at least {number} in width and height",
    "the text says {word}, and mirroring exchanges left and right: say what must hold, "
    "label: same, other or a label",
    # Patterns of case files
    "the pattern {pattern} of case files: {PROBLEM}",
    "it names no file",
    "write / between folders and names; put a name with spaces in quotes",
    "'..' is not allowed; patterns are relative to {folder}",
    "'**' stands for whole folders: write {instead}, or one '*'",
    "the pattern {pattern} of case files matches no file in {folder}; it is a folder: "
    "write {instead}",
    "the pattern {pattern} of case files matches no file in {folder}; braces mean nothing "
    "here: write two patterns",
    "the pattern {pattern} of case files matches no file in {folder}",
)
"""Every sentence; see :class:`audit.base.languages.Phrases`."""

_UNREADABLE = frozenset({"PROBLEM"})
"""Places for words of others, such as a library's, which stay as they are if they are not known."""

_MOST = 12
"""How many beginnings of a sentence are tried in a message: what it quotes may have many colons."""

_KEY = re.compile(r"[A-Za-z_][\w-]*([.\[][^:]*)?: ")
"""A key, unless a name in it has a colon."""

_PLACE = re.compile(r"(?P<place>.*?:\d+(?::\d+)?: )(?P<told>.*)", re.DOTALL)


def chosen_language(asked: Choice = "auto") -> Language:
    """The language of messages about case files: as asked, or as the environment says, or English.

    Raises:
        CaseError: the environment names a language in which there are no messages.
    """
    written = os.environ.get(VARIABLE) or LANGUAGES[0] if asked == "auto" else asked
    for language in LANGUAGES:
        if written == language:
            return language
    raise CaseError(f"{VARIABLE}: {written!r} is not known; {nearest(written, LANGUAGES)}")


class Teller:
    """Tells finished messages, of one line or of several, in another language.

    Args:
        phrases: the sentences that it knows.

    >>> Teller(PHRASES).told("x.yaml:4:5: cases[0].text: this key is required", "zh")
    'x.yaml:4:5: cases[0].text: 缺少这个键'
    """

    def __init__(self, phrases: Sequence[str]) -> None:
        self._phrases = Phrases(phrases)

    def told(self, text: str, language: Language) -> str:
        """The text in a language; a line that has no known sentence stays as it is."""
        if language == "en":
            return text
        return "\n".join(self._line(line, language) for line in text.split("\n"))

    def _line(self, line: str, language: Language) -> str:
        placed = _PLACE.fullmatch(line)
        place, told = (placed["place"], placed["told"]) if placed else ("", line)
        key = _KEY.match(told)
        colons = [match.end() for match in re.finditer(": ", told)]
        # A sentence that begins with a name would take the key for a part of it.
        starts = [*([key.end()] if key else []), 0, *colons[:_MOST]]
        for start in starts:
            message = self._phrases.read(told[start:])
            if message is not None and _whole(message):
                return f"{place}{told[:start]}{message.said(language)}"
        return line


def _whole(message: Message) -> bool:
    """Whether everything in it that is to be translated can be."""
    if not any(map(str.isalpha, re.sub(r"\{\w+\}", "", message.text))):
        return all(isinstance(each, Message) and _whole(each) for each in message.values.values())
    return all(
        _whole(value) if isinstance(value, Message) else name in _UNREADABLE
        for name, value in message.values.items()
        if name.isupper()
    )


@cache
def _teller() -> Teller:
    return Teller(PHRASES)


def told(text: str, language: Language) -> str:
    """A message about case files in a language; see :class:`Teller`."""
    return text if language == "en" else _teller().told(text, language)
