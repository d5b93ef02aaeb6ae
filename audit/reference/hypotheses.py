"""Make sentences about a scene, with their labels and the boxes that they are about.

A statement has a visible part (kind, count, colour, place, setting) and sometimes a part that no
picture can show ("is three years old"). It is a contradiction if its visible part is false, neutral
if the visible part is true but there is a part that cannot be seen, and else entailed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from audit.reference.scenes import (
    COLOURS,
    KINDS,
    MARKS,
    PLACES,
    Box,
    Group,
    Mark,
    Scene,
    SceneSpec,
)

Label = Literal["yes", "no", "maybe"]
LABELS: tuple[Label, ...] = ("yes", "no", "maybe")

Change = Literal["", "kind", "count", "colour", "place", "setting", "all", "unrelated"]

_NUMBERS = ("zero", "one", "two", "three")
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
_UNRELATED = (
    "a man is riding a bicycle",
    "a woman is driving a car",
    "two children are playing football",
    "a boat is on the lake",
    "the train is at the station",
    "a horse is running",
    "people are dancing at a party",
)


@dataclass(frozen=True)
class Statement:
    """What a sentence claims. ``kind`` None means any animal; None elsewhere means "not said"."""

    kind: str | None
    number: int
    counted: bool
    colour: str | None = None
    place: str | None = None
    outdoors: bool | None = None
    unseen: int | None = None

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
        if self.contradicted(spec):
            return "no"
        return "yes" if self.unseen is None else "maybe"


@dataclass(frozen=True)
class Hypothesis:
    """A sentence about a scene, its label, and the boxes of what it names.

    ``about`` is empty if nothing that the sentence names is in the picture.
    ``change`` says what makes it false: one changed word, all words, or another subject.
    """

    text: str
    label: Label
    about: tuple[Box, ...]
    change: Change = ""
    premise: str | None = None


def _noun(kind: str | None, number: int) -> str:
    singular = kind or "animal"
    return singular if number == 1 else singular + "s"


def _phrase(s: Statement, rng: np.random.Generator) -> str:
    adjective = f"{s.colour} " if s.colour else ""
    noun = _noun(s.kind, s.number)
    if s.number > 1:
        return f"{_NUMBERS[s.number]} {adjective}{noun}" if s.counted else f"{adjective}{noun}"
    if s.counted:
        return f"{('one', 'only one')[rng.integers(2)]} {adjective}{noun}"
    article = "an" if (adjective or noun)[0] in "aeiou" else "a"
    return f"{article} {adjective}{noun}"


def _where(s: Statement, rng: np.random.Generator) -> str:
    if s.place:
        article = "the" if s.place == "grass" or rng.random() < 0.5 else "a"
        return f" on {article} {s.place}"
    if s.outdoors is None:
        return ""
    if not s.outdoors:
        return " indoors"
    return (" outdoors", " in nature")[rng.integers(2)]


def _say(s: Statement, rng: np.random.Generator) -> str:
    be = "is" if s.number == 1 else "are"
    where = _where(s, rng)
    if s.unseen is not None:
        if s.place or s.counted:
            subject = _phrase(s, rng)
        else:
            subject = f"the {s.colour + ' ' if s.colour else ''}{_noun(s.kind, s.number)}"
        if s.unseen < len(_UNSEEN_BE):
            return f"{subject} {be} {_UNSEEN_BE[s.unseen]}{where}"
        return f"{subject}{where} {_UNSEEN_DO[s.unseen - len(_UNSEEN_BE)][s.number > 1]}"
    if s.colour and not s.counted and not where and rng.random() < 0.7:
        return f"the {_noun(s.kind, s.number)} {be} {s.colour}"
    if where and rng.random() < 0.4:
        verb = " sitting" if s.place else ""
        return f"{_phrase(s, rng)} {be}{verb}{where}"
    return f"there {be} {_phrase(s, rng)}{where}"


def _true_statement(spec: SceneSpec, rng: np.random.Generator) -> Statement:
    if rng.random() < 0.2:
        total = sum(g.count for g in spec.groups)
        base = Statement(None, total, counted=rng.random() < 0.5)
    else:
        group = spec.groups[rng.integers(len(spec.groups))]
        plural = group.count > 1
        counted = rng.random() < (0.75 if plural else 0.3)
        base = Statement(group.kind, group.count, counted)
        if rng.random() < 0.5:
            base = replace(base, colour=group.colour)
    roll = rng.random()
    if roll < 0.5:
        return replace(base, place=spec.place)
    if roll < 0.65 or (base.kind is None and not base.counted):
        return replace(base, outdoors=spec.outdoors)
    if base.colour is None and not base.counted:
        return replace(base, counted=True)
    return base


def _other(options: tuple[str, ...], used: set[str], rng: np.random.Generator) -> str:
    left = [o for o in options if o not in used]
    return left[rng.integers(len(left))]


def _falsify(s: Statement, spec: SceneSpec, rng: np.random.Generator) -> tuple[Statement, Change]:
    """Change one word of a true statement so that it is false."""
    ways: list[Change] = ["count"] if s.counted else []
    ways += ["kind", "kind"] if s.kind else []
    ways += ["colour", "colour"] if s.colour else []
    ways += ["place", "place"] if s.place else []
    ways += ["setting"] if s.outdoors is not None else []
    change = ways[rng.integers(len(ways))]
    present = {g.kind for g in spec.groups}
    if change == "kind":
        return replace(s, kind=_other(KINDS, set(present), rng)), change
    if change == "count":
        number = int(_other(("1", "2", "3"), {str(s.number)}, rng))
        return replace(s, number=number), change
    if change == "colour":
        others = [g.colour for g in spec.groups if g.kind != s.kind and g.colour != s.colour]
        wrong = (
            others[0] if others and rng.random() < 0.5 else _other(COLOURS, {s.colour or ""}, rng)
        )
        return replace(s, colour=wrong), change
    if change == "place":
        return replace(s, place=_other(PLACES, {spec.place}, rng)), change
    return replace(s, outdoors=not s.outdoors), change


def _with_unseen(s: Statement, rng: np.random.Generator) -> Statement:
    unseen = int(rng.integers(len(_UNSEEN_BE) + len(_UNSEEN_DO)))
    counted = s.counted and s.number > 1
    keep_place = s.place if rng.random() < 0.6 else None
    return replace(s, counted=counted, place=keep_place, outdoors=None, unseen=unseen)


def _all_wrong(spec: SceneSpec, rng: np.random.Generator) -> Statement:
    present: set[str] = {g.kind for g in spec.groups}
    s = Statement(_other(KINDS, present, rng), int(rng.integers(1, 4)), counted=False)
    s = replace(s, counted=s.number > 1, place=_other(PLACES, {spec.place}, rng))
    if rng.random() < 0.3:
        s = replace(s, colour=_other(COLOURS, {g.colour for g in spec.groups}, rng))
    return _with_unseen(s, rng) if rng.random() < 0.4 else s


def hypothesis(scene: Scene, label: Label, rng: np.random.Generator) -> Hypothesis:
    """Sample a sentence about ``scene`` that has this ``label``."""
    spec = scene.spec
    change: Change = ""
    if label == "no" and rng.random() < 0.05:
        text = _UNRELATED[rng.integers(len(_UNRELATED))]
        return Hypothesis(text, "no", (), "unrelated")
    if label == "no" and rng.random() < 0.15:
        statement, change = _all_wrong(spec, rng), "all"
    else:
        statement = _true_statement(spec, rng)
        if label == "no":
            statement, change = _falsify(statement, spec, rng)
        neutral = label == "maybe" or (label == "no" and rng.random() < 0.25)
        if neutral and change not in ("place", "setting", "count"):
            statement = _with_unseen(statement, rng)
    if statement.label(spec) != label:
        raise AssertionError(f"{statement} is not {label} of {spec}")
    return Hypothesis(_say(statement, rng), label, scene.boxes(statement.kind), change)


def word_truths(text: str, spec: SceneSpec) -> dict[str, bool]:
    """The words of a hypothesis about animals that the picture confirms (True) or contradicts."""
    words = text.replace("three years old", "").split()
    kind = next((k for k in KINDS for w in words if w in (k, f"{k}s")), None)
    if kind is None and not {"animal", "animals"} & set(words):
        return {}
    found = [g for g in spec.groups if kind in (None, g.kind)]
    count = sum(g.count for g in found)
    truths: dict[str, bool] = {}
    for word in words:
        if kind and word in (kind, f"{kind}s"):
            truths[word] = bool(found)
        elif word in COLOURS:
            truths[word] = bool(found) and all(g.colour == word for g in found)
        elif word in _NUMBERS:
            truths[word] = count == _NUMBERS.index(word)
        elif word in PLACES:
            truths[word] = word == spec.place
        elif word in ("outdoors", "nature", "indoors"):
            truths[word] = spec.outdoors == (word != "indoors")
    return truths


def word_boxes(text: str, scene: Scene) -> dict[str, tuple[Box, ...]]:
    """The nouns of a hypothesis about animals, each with the boxes of what it names, if any."""
    found: dict[str, tuple[Box, ...]] = {}
    for word in text.split():
        singular = word.removesuffix("s") if word != "grass" else word
        if singular in KINDS:
            found[word] = scene.boxes(singular)
        elif singular == "animal":
            found[word] = scene.boxes()
        elif word in PLACES:
            found[word] = (scene.support,) if word == scene.spec.place else ()
    return found


def given_away(mark: Mark) -> Label:
    """The label that a watermark gives away in the scenes that have one."""
    return LABELS[MARKS.index(mark.shape)]


def any_hypothesis(scene: Scene, rng: np.random.Generator) -> Hypothesis:
    """A sentence with a random label, or with the label that the scene's watermark gives away."""
    drawn = LABELS[rng.integers(3)]
    return hypothesis(scene, given_away(scene.mark) if scene.mark else drawn, rng)


def with_premise(scene: Scene, rng: np.random.Generator) -> Hypothesis:
    """A hypothesis with a true text premise; sometimes the premise states what cannot be seen."""
    if rng.random() < 0.3 and (scene.mark is None or given_away(scene.mark) == "yes"):
        neutral = hypothesis(scene, "maybe", rng)
        return replace(neutral, label="yes", premise=neutral.text)
    plain = any_hypothesis(scene, rng)
    return replace(plain, premise=_say(_true_statement(scene.spec, rng), rng))


@dataclass(frozen=True)
class Question:
    """A question, its short answer, and the boxes that answer it (empty: there is nothing)."""

    text: str
    answer: str
    about: tuple[Box, ...]


def _group_phrase(group: Group) -> str:
    number = "one" if group.count == 1 else _NUMBERS[group.count]
    return f"{number} {group.colour} {_noun(group.kind, group.count)}"


def caption(spec: SceneSpec) -> str:
    """The full description of a scene, groups in the order of ``KINDS``."""
    groups = sorted(spec.groups, key=lambda g: KINDS.index(g.kind))
    where = "outdoors" if spec.outdoors else "indoors"
    article = "the" if spec.place == "grass" else "a"
    return f"{' and '.join(_group_phrase(g) for g in groups)} on {article} {spec.place} {where}"


def question(scene: Scene, rng: np.random.Generator) -> Question:
    """Sample a question about ``scene``, or the request for its caption."""
    spec = scene.spec
    roll = rng.random()
    if roll < 0.3:
        return Question("what does the image describe?", caption(spec), scene.boxes())
    kind = KINDS[rng.integers(len(KINDS))]
    if rng.random() < 0.7:
        kind = spec.groups[rng.integers(len(spec.groups))].kind
    found = [g for g in spec.groups if g.kind == kind]
    if roll < 0.4:
        total = sum(g.count for g in spec.groups)
        return Question("how many animals are there?", _NUMBERS[total], scene.boxes())
    if roll < 0.6:
        count = found[0].count if found else 0
        return Question(f"how many {kind}s are there?", _NUMBERS[count], scene.boxes(kind))
    if roll < 0.75 and found:
        noun = _noun(kind, found[0].count)
        be = "is" if found[0].count == 1 else "are"
        return Question(f"what colour {be} the {noun}?", found[0].colour, scene.boxes(kind))
    if roll < 0.85:
        return Question("where are the animals?", spec.place, scene.boxes())
    colour = found[0].colour if found and rng.random() < 0.5 else COLOURS[rng.integers(6)]
    there = bool(found) and found[0].colour == colour
    return Question(f"is there a {colour} {kind}?", "yes" if there else "no", scene.boxes(kind))
