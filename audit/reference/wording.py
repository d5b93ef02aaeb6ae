"""Write sentences as people do, with capitals and punctuation, and tell which have such marks."""

from __future__ import annotations

import re

import numpy as np

_ENDS = (".", ".", ".", "!", "?", "...")


def dressed(text: str, rng: np.random.Generator) -> str:
    """A sentence in lower case, written with capitals, punctuation or both."""
    words = text.split(" ")
    if rng.random() < 0.1:
        number = int(rng.integers(len(words)))
        words[number] = f'"{words[number]}"'
    if rng.random() < 0.05 and len(words) > 2:
        number = int(rng.integers(1, len(words)))
        words[number - 1 : number + 1] = ["-".join(words[number - 1 : number + 1])]
    style = rng.random()
    if style < 0.6:
        words[0] = words[0].capitalize()
    elif style < 0.75:
        words = [word.capitalize() if rng.random() < 0.4 else word for word in words]
    elif style < 0.8:
        words = [word.upper() for word in words]
    said = " ".join(words)
    if rng.random() < 0.75 and text[-1] != ".":
        said += _ENDS[rng.integers(len(_ENDS))]
    return f'"{said}"' if rng.random() < 0.06 else said


def traits(text: str) -> frozenset[str]:
    """Which of ``digits``, ``punctuation`` (or capitals) and ``negation`` a sentence has."""
    found = {
        "digits": re.search(r"\d", text),
        "punctuation": re.search(r"[^a-z0-9 ]", text),
        "negation": re.search(r"\b(?:no|not)\b|n't\b", text.lower()),
    }
    return frozenset(name for name, there in found.items() if there)
