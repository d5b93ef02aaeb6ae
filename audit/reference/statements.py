"""What a sentence about a scene claims, whether that is true, and the ways to say it.

A statement has a visible part (kind, count, colour, place, setting) and sometimes a part that no
picture can show ("is three years old"). It is a contradiction if its visible part is false, neutral
if the visible part is true but there is a part that cannot be seen, and else entailed. A negated
statement is entailed if its visible part is false.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from audit.reference.scenes import SceneSpec

Label = Literal["yes", "no", "maybe"]
LABELS: tuple[Label, ...] = ("yes", "no", "maybe")

NUMBERS = ("zero", "one", "two", "three")

_UNSEEN_BE = (
    "three years old",
    "hungry",
    "sleeping",
    "tired",
    "waiting for dinner",
    "dreaming of the sea",
    "afraid of thunder",
)
_UNSEEN_DO = (
    ("likes music", "like music"),
    ("lives nearby", "live nearby"),
    ("belongs to a farmer", "belong to a farmer"),
    ("was born in spring", "were born in spring"),
    ("has a name", "have a name"),
)
UNSEEN = len(_UNSEEN_BE) + len(_UNSEEN_DO)
"""How many things there are that no picture can show."""


@dataclass(frozen=True)
class Statement:
    """What a sentence claims. ``kind`` None means any animal; None elsewhere means "not said".

    ``denied`` is what a negation denies: that there are such animals at all, or what is said of
    animals that are there.
    """

    kind: str | None
    number: int
    counted: bool
    colour: str | None = None
    place: str | None = None
    outdoors: bool | None = None
    unseen: int | None = None
    denied: Literal["", "presence", "property"] = ""

    def contradicted(self, spec: SceneSpec) -> bool:
        """Whether the visible part is false for ``spec``."""
        count = sum(g.count for g in spec.groups if self.kind in (None, g.kind))
        if count == 0 or (self.counted and count != self.number):
            return True
        if self.colour and not all(
            g.colour == self.colour for g in spec.groups if self.kind in (None, g.kind)
        ):
            return True
        if self.place and self.place != spec.place:
            return True
        return self.outdoors is not None and self.outdoors != spec.outdoors

    def label(self, spec: SceneSpec) -> Label:
        """The label of the sentence for ``spec``."""
        if self.unseen is not None:
            return "no" if self.contradicted(spec) else "maybe"
        return "yes" if self.contradicted(spec) == bool(self.denied) else "no"


def noun(kind: str | None, number: int) -> str:
    """The noun for this many animals of a kind, or of any."""
    singular = kind or "animal"
    return singular if number == 1 else singular + "s"


def say(s: Statement, rng: np.random.Generator, freely: bool = False) -> str:
    """One of the sentences that make a statement, in lower case and without punctuation.

    With ``freely`` numbers may be digits, and there are more ways to say it.
    """
    if s.denied:
        return _deny(s, rng)
    where = _where(s, rng)
    if s.unseen is not None:
        return _say_unseen(s, s.unseen, where, rng, freely)
    if freely and rng.random() < 0.35:
        return _otherwise(s, where, rng)
    be = _be(s)
    if s.colour and not s.counted and not where and rng.random() < 0.7:
        return f"the {noun(s.kind, s.number)} {be} {s.colour}"
    if where and rng.random() < 0.4:
        verb = " sitting" if s.place else ""
        return f"{_phrase(s, rng, freely)} {be}{verb}{where}"
    return f"there {be} {_phrase(s, rng, freely)}{where}"


def _say_unseen(
    s: Statement, unseen: int, where: str, rng: np.random.Generator, freely: bool
) -> str:
    subject = _phrase(s, rng, freely) if s.place or s.counted else _definite(s)
    if unseen < len(_UNSEEN_BE):
        return f"{subject} {_be(s)} {_state(unseen, rng, freely)}{where}"
    return f"{subject}{where} {_UNSEEN_DO[unseen - len(_UNSEEN_BE)][s.number > 1]}"


def _be(s: Statement) -> str:
    return "is" if s.number == 1 else "are"


def _state(unseen: int, rng: np.random.Generator, freely: bool) -> str:
    said = _UNSEEN_BE[unseen]
    return said.replace("three", "3") if freely and rng.random() < 0.4 else said


def _definite(s: Statement) -> str:
    return f"the {s.colour + ' ' if s.colour else ''}{noun(s.kind, s.number)}"


def _phrase(s: Statement, rng: np.random.Generator, freely: bool) -> str:
    adjective = f"{s.colour} " if s.colour else ""
    name = noun(s.kind, s.number)
    digits = freely and s.counted and rng.random() < 0.35
    if s.number > 1:
        number = str(s.number) if digits else NUMBERS[s.number]
        return f"{number} {adjective}{name}" if s.counted else f"{adjective}{name}"
    if s.counted:
        number = "1" if digits else "one"
        return f"{(number, f'only {number}')[rng.integers(2)]} {adjective}{name}"
    article = "an" if (adjective or name)[0] in "aeiou" else "a"
    return f"{article} {adjective}{name}"


def _where(s: Statement, rng: np.random.Generator) -> str:
    if s.place:
        article = "the" if s.place == "grass" or rng.random() < 0.5 else "a"
        return f" on {article} {s.place}"
    if s.outdoors is None:
        return ""
    if not s.outdoors:
        return " indoors"
    return (" outdoors", " in nature")[rng.integers(2)]


def _otherwise(s: Statement, where: str, rng: np.random.Generator) -> str:
    """The ways to say it that :func:`say` uses only ``freely``."""
    be, subject = _be(s), _phrase(s, rng, freely=True)
    if where and rng.random() < 0.5:
        comma = ("", ",")[rng.integers(2)]
        return f"{where.strip()}{comma} there {be} {subject}"
    if be == "is" and rng.random() < 0.4:
        return f"there's {subject}{where}"
    return f"{subject} can be seen{where}"


def _deny(s: Statement, rng: np.random.Generator) -> str:
    """A sentence with a negation."""
    be, where = _be(s), _where(s, rng)
    not_be = (f"{be} not", f"{be}n't")[rng.integers(2)]
    if s.unseen is not None:
        if s.unseen < len(_UNSEEN_BE):
            return f"{_definite(s)} {not_be} {_state(s.unseen, rng, freely=True)}{where}"
        done = _UNSEEN_DO[s.unseen - len(_UNSEEN_BE)][1]
        if done.startswith("were "):
            was = ("was" if s.number == 1 else "were") + (" not", "n't")[rng.integers(2)]
            return f"{_definite(s)}{where} {was} {done.removeprefix('were ')}"
        do = ("does" if s.number == 1 else "do") + (" not", "n't")[rng.integers(2)]
        return f"{_definite(s)}{where} {do} {done}"
    if s.denied == "property":
        if s.colour:
            return f"the {noun(s.kind, s.number)} {not_be} {s.colour}"
        return f"{_definite(s)} {not_be}{where}"
    name = f"{s.colour + ' ' if s.colour else ''}{noun(s.kind, s.number)}"
    one = "an" if name[0] in "aeiou" else "a"
    forms = [
        f"there {be} no {name}{where}",
        f"there {be} no {name}{where}",
        f"there {not_be} {one if s.number == 1 else 'any'} {name}{where}",
        f"no {name} can be seen{where}",
    ]
    if where:
        forms.append(f"no {name} {be}{' sitting' if s.place else ''}{where}")
    return forms[rng.integers(len(forms))]
