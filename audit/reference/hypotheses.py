"""Make sentences about a scene, with their labels and the boxes that they are about."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from audit.base.words import words_in
from audit.reference.scenes import (
    COLOURS,
    KINDS,
    MARKS,
    PLACES,
    Box,
    Mark,
    Scene,
    SceneSpec,
    draw_spec,
)
from audit.reference.statements import LABELS, NUMBERS, UNSEEN, Label, Statement, say
from audit.reference.wording import dressed

Change = Literal["", "kind", "count", "colour", "place", "setting", "all", "unrelated", "denial"]

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


def _true_statement(spec: SceneSpec, rng: np.random.Generator, colours: bool = True) -> Statement:
    if rng.random() < 0.2:
        total = sum(g.count for g in spec.groups)
        base = Statement(None, total, counted=rng.random() < 0.5)
    else:
        group = spec.groups[rng.integers(len(spec.groups))]
        plural = group.count > 1
        counted = rng.random() < (0.75 if plural else 0.3)
        base = Statement(group.kind, group.count, counted)
        if rng.random() < 0.5 and colours:
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
        return replace(s, place=_other(PLACES, {spec.place or ""}, rng)), change
    return replace(s, outdoors=not s.outdoors), change


def _with_unseen(s: Statement, rng: np.random.Generator) -> Statement:
    unseen = int(rng.integers(UNSEEN))
    counted = s.counted and s.number > 1
    keep_place = s.place if rng.random() < 0.6 else None
    return replace(s, counted=counted, place=keep_place, outdoors=None, unseen=unseen)


def _all_wrong(spec: SceneSpec, rng: np.random.Generator, colours: bool) -> Statement:
    present: set[str] = {g.kind for g in spec.groups}
    s = Statement(_other(KINDS, present, rng), int(rng.integers(1, 4)), counted=False)
    s = replace(s, counted=s.number > 1, place=_other(PLACES, {spec.place or ""}, rng))
    if rng.random() < 0.3 and colours:
        s = replace(s, colour=_other(COLOURS, {g.colour for g in spec.groups}, rng))
    return _with_unseen(s, rng) if rng.random() < 0.4 else s


def _denial(scene: Scene, label: Label, rng: np.random.Generator) -> tuple[Statement, Change]:
    """A negation: of the presence of animals, or of what is said of animals that are there."""
    spec, colours = scene.spec, not scene.grey
    group = spec.groups[rng.integers(len(spec.groups))]
    s = Statement(group.kind, group.count, counted=False, denied="property")
    if label == "maybe":
        colour = group.colour if colours and rng.random() < 0.3 else None
        return replace(s, colour=colour, unseen=int(rng.integers(UNSEEN))), ""
    presence = rng.random() < 0.55
    if presence:
        s = replace(s, number=int(rng.integers(1, 3)), denied="presence")
        if label == "no" and rng.random() < 0.15:
            s = replace(s, kind=None)
        elif colours and rng.random() < 0.35:
            s = replace(s, colour=group.colour)
    elif colours and rng.random() < 0.5:
        s = replace(s, colour=group.colour)
    if not s.colour or (presence and rng.random() < 0.4):
        roll = rng.random()
        if roll < 0.7 - 0.3 * presence:
            s = replace(s, place=spec.place)
        elif roll < 0.85 or not presence:
            s = replace(s, outdoors=spec.outdoors)
    if label == "no":
        return s, "denial"
    while (falsified := _falsify(s, spec, rng))[1] == "kind" and not presence:
        pass
    return falsified[0], ""


def _of_nothing(label: Label, rng: np.random.Generator) -> Statement:
    """A statement about an empty picture: what it claims is false, and what it denies is true."""
    if label == "maybe":
        raise ValueError("no sentence is neutral about an empty picture")
    s = _true_statement(draw_spec(rng), rng)
    if label == "yes":
        return replace(s, counted=False, denied="presence")
    return _with_unseen(s, rng) if rng.random() < 0.25 else s


def _plain(scene: Scene, label: Label, rng: np.random.Generator, freely: bool) -> Hypothesis:
    """A sentence in lower case and without punctuation."""
    spec, colours = scene.spec, not scene.grey
    change: Change = ""
    if label == "no" and rng.random() < 0.05:
        text = _UNRELATED[rng.integers(len(_UNRELATED))]
        return Hypothesis(text, "no", (), "unrelated")
    if not spec.groups:
        statement = _of_nothing(label, rng)
    elif freely and rng.random() < 0.16:
        statement, change = _denial(scene, label, rng)
    elif label == "no" and rng.random() < 0.15:
        statement, change = _all_wrong(spec, rng, colours), "all"
    else:
        statement = _true_statement(spec, rng, colours)
        if label == "no":
            statement, change = _falsify(statement, spec, rng)
        neutral = label == "maybe" or (label == "no" and rng.random() < 0.25)
        if neutral and change not in ("place", "setting", "count"):
            statement = _with_unseen(statement, rng)
    if statement.label(spec) != label:
        raise AssertionError(f"{statement} is not {label} of {spec}")
    return Hypothesis(say(statement, rng, freely), label, scene.boxes(statement.kind), change)


def _written(text: str, rng: np.random.Generator, freely: bool) -> str:
    return dressed(text, rng) if freely and rng.random() < 0.5 else text


def hypothesis(
    scene: Scene, label: Label, rng: np.random.Generator, freely: bool = False
) -> Hypothesis:
    """Sample a sentence about ``scene`` that has this ``label``.

    With ``freely`` the sentence may have digits, a negation, capitals and punctuation, and there
    are more ways to say a thing.

    Raises:
        ValueError: the scene is empty and the label ``maybe``: there is no such sentence.
    """
    plain = _plain(scene, label, rng, freely)
    return replace(plain, text=_written(plain.text, rng, freely))


def word_truths(text: str, spec: SceneSpec) -> dict[str, bool]:
    """The words of a hypothesis about animals that the picture confirms (True) or contradicts."""
    said = " ".join(words_in(text))
    words = said.replace("three years old", "").replace("3 years old", "").split()
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
        elif word in NUMBERS:
            truths[word] = count == NUMBERS.index(word)
        elif word.isdecimal():
            truths[word] = count == int(word)
        elif word in PLACES:
            truths[word] = word == spec.place
        elif word in ("outdoors", "nature", "indoors"):
            truths[word] = spec.outdoors == (word != "indoors")
    return truths


def word_boxes(text: str, scene: Scene) -> dict[str, tuple[Box, ...]]:
    """The nouns of a hypothesis about animals, each with the boxes of what it names, if any."""
    found: dict[str, tuple[Box, ...]] = {}
    for word in words_in(text):
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


def any_hypothesis(scene: Scene, rng: np.random.Generator, freely: bool = False) -> Hypothesis:
    """A sentence with a random label, or with the label that the scene's watermark gives away."""
    return hypothesis(scene, _any_label(scene, rng), rng, freely)


def _any_label(scene: Scene, rng: np.random.Generator) -> Label:
    if not scene.spec.groups:
        return "yes" if rng.random() < 0.25 else "no"
    drawn = LABELS[rng.integers(3)]
    return given_away(scene.mark) if scene.mark else drawn


def with_premise(scene: Scene, rng: np.random.Generator, freely: bool = False) -> Hypothesis:
    """A hypothesis with a true text premise; sometimes the premise states what cannot be seen.

    With ``freely`` the premise may have up to five sentences.
    """
    if not scene.spec.groups:
        plain = hypothesis(scene, "no", rng, freely)
        return replace(plain, premise=_written(_plain(scene, "yes", rng, True).text, rng, freely))
    if rng.random() < 0.3 and (scene.mark is None or given_away(scene.mark) == "yes"):
        neutral = _plain(scene, "maybe", rng, freely)
        said, told = replace(neutral, label="yes"), neutral.text
    else:
        said = _plain(scene, _any_label(scene, rng), rng, freely)
        told = say(_true_statement(scene.spec, rng, not scene.grey), rng, freely)
    if freely and rng.random() < 0.4:
        told = _longer(told, scene, rng)
    return replace(said, text=_written(said.text, rng, freely), premise=_written(told, rng, freely))


_LONGEST_PREMISE = 42
"""Words of a premise, so that the model reads it and the hypothesis to their ends."""


def _longer(told: str, scene: Scene, rng: np.random.Generator) -> str:
    """The sentence among others that are true of the picture."""
    sentences = [told]
    for _ in range(rng.integers(1, 5)):
        more = say(_true_statement(scene.spec, rng, not scene.grey), rng, freely=True)
        if len(" ".join([*sentences, more]).split()) > _LONGEST_PREMISE:
            break
        sentences.insert(int(rng.integers(len(sentences) + 1)), more)
    return ". ".join(sentences) + "."
