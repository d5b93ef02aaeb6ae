"""The keys of maps as records write them, in today's spelling and in that of version 0.1."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator

from audit.maps.methods import canonical, former


def method_of(key: str) -> str:
    """The method in the key of a map.

    >>> method_of("answer_attention layers=last")
    'answer_attention'
    """
    return key.partition(" ")[0]


def canonical_key(key: str) -> str:
    """The key of a map as it is written today; an unknown key comes back as it is.

    >>> canonical_key("encoder_attention word=birds")
    'word_attention word=birds'
    """
    method = method_of(key)
    return f"{canonical(method)}{key.removeprefix(method)}"


def spelled_twice(keys: Iterable[str]) -> str:
    """What is wrong with keys of one record of which two are the same map; empty if none are.

    >>> spelled_twice(["cross_attention layers=last", "answer_attention layers=last"])
    "'cross_attention layers=last' is an older name of 'answer_attention layers=last': keep one"
    """
    written = set(keys)
    older = (key for key in sorted(written) if canonical_key(key) != key)
    twice = next((key for key in older if canonical_key(key) in written), None)
    if twice is None:
        return ""
    return f"{twice[:80]!r} is an older name of {canonical_key(twice)[:80]!r}: keep one"


def former_key(key: str) -> str:
    """The key of a map as version 0.1 wrote it.

    >>> former_key("word_attention word=birds")
    'encoder_attention word=birds'
    """
    method = method_of(key)
    return f"{former(method)}{key.removeprefix(method)}"


def canonical_text(sentence: str) -> str:
    """A sentence about figures, with today's names of the methods in it.

    >>> canonical_text("js against encoder_attention word=cat (cross_attention heads=max) is 0.1")
    'js against word_attention word=cat (answer_attention heads=max) is 0.1'
    """
    return _OF_MAP.sub(lambda found: canonical(found[0]), sentence)


_OF_MAP = re.compile(r"(?:(?<=\()|(?<= against ))\w+")

Sentence = Annotated[str, AfterValidator(canonical_text)]
"""A sentence about figures in a stored record; version 0.1 spelled some methods otherwise."""
