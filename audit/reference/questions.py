"""Make questions about a scene, with their short answers and the boxes that answer them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from audit.reference.scenes import COLOURS, KINDS, Box, Group, Scene, SceneSpec
from audit.reference.statements import NUMBERS, noun


@dataclass(frozen=True)
class Question:
    """A question, its short answer, and the boxes that answer it (empty: there is nothing)."""

    text: str
    answer: str
    about: tuple[Box, ...]


def _group_phrase(group: Group) -> str:
    number = "one" if group.count == 1 else NUMBERS[group.count]
    return f"{number} {group.colour} {noun(group.kind, group.count)}"


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
    if not spec.groups:
        kind = (*KINDS, "animal")[rng.integers(len(KINDS) + 1)]
        return Question(f"how many {kind}s are there?", NUMBERS[0], ())
    if scene.grey:  # nothing that needs colours
        roll = (0.35, 0.5, 0.8)[rng.integers(3)]
    if roll < 0.3:
        return Question("what does the image describe?", caption(spec), scene.boxes())
    if roll < 0.4:
        total = sum(g.count for g in spec.groups)
        return Question("how many animals are there?", NUMBERS[total], scene.boxes())
    if 0.75 <= roll < 0.85:
        return Question("where are the animals?", spec.place or "", scene.boxes())
    return _of_a_kind(scene, roll, rng)


def _of_a_kind(scene: Scene, roll: float, rng: np.random.Generator) -> Question:
    kind = KINDS[rng.integers(len(KINDS))]
    if rng.random() < 0.7:
        kind = scene.spec.groups[rng.integers(len(scene.spec.groups))].kind
    found = [g for g in scene.spec.groups if g.kind == kind]
    if roll < 0.6:
        count = found[0].count if found else 0
        return Question(f"how many {kind}s are there?", NUMBERS[count], scene.boxes(kind))
    if roll < 0.75 and found:
        name = noun(kind, found[0].count)
        be = "is" if found[0].count == 1 else "are"
        return Question(f"what colour {be} the {name}?", found[0].colour, scene.boxes(kind))
    colour = found[0].colour if found and rng.random() < 0.5 else COLOURS[rng.integers(6)]
    there = bool(found) and found[0].colour == colour
    return Question(f"is there a {colour} {kind}?", "yes" if there else "no", scene.boxes(kind))
