"""Measures how maps lie on true boxes: of drawn scenes, or of the user's own cases.

Every picture has one vote: the figures of questions about the same picture are averaged first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.base.errors import AuditError, MapError, Undefined
from audit.base.geometry import Box, mask
from audit.base.statistics import t_interval
from audit.cases.case import Case
from audit.gate.shifts import FEWEST
from audit.maps.reading import Map, UndefinedMap, read_map
from audit.maps.spec import MapSpec
from audit.maps.trace import Evidence, Trace
from audit.metrics.placement import auc, lift, mass, pointing, rank
from audit.models.protocol import Model, Query
from audit.reference.hypotheses import hypothesis
from audit.reference.scenes import SIZE, scene
from audit.runs.evidence import gather

Array = NDArray[np.float64]

FIGURES: dict[str, Callable[[Map, Array], float]] = {
    "pointing": pointing,
    "mass": mass,
    "lift": lift,
    "rank": rank,
    "auc": auc,
}

Bounds = dict[str, float]
"""``mean``, and ``low`` and ``high`` if there are enough values for an interval."""

OUTSIDE = "its boxes lie outside of what the model sees"


@dataclass(frozen=True)
class Question:
    """A question whose answer is to be seen in known boxes.

    Attributes:
        name: the case's id, or the scene's number.
        picture: identity of its picture.
        boxes: where a map should lie, in fractions of the picture.
        names: what the boxes are called.
        expected: the right label.
    """

    name: str
    picture: str
    query: Query
    boxes: tuple[Box, ...]
    expected: str
    names: tuple[str, ...] = ()


def drawn(seed: int, number: int) -> Iterator[Question]:
    """Entailed hypotheses about scenes that the reference models were not trained on."""
    for index in range(number):
        made = scene(seed, index)
        said = hypothesis(made, "yes", np.random.default_rng([seed, index, 5]))
        boxes = tuple(Box(*(v / SIZE for v in box)) for box in said.about)
        yield Question(f"scene {index}", str(index), Query(made.image, said.text), boxes, "yes")


def questions_of(cases: Iterable[Case]) -> tuple[list[Question], dict[str, str]]:
    """The cases with boxes as questions, and by id why the others are left out.

    The boxes are those of all regions where the case wants more of the map; if it has limits for
    none, those of all regions. Regions to avoid say only where a map should not lie.
    """
    asked, left = [], {}
    for case in cases:
        wanted = case.wanted
        named = [name for name, better in wanted.items() if better == "higher"]
        named = named or [name for name, better in wanted.items() if better == "neither"]
        if case.variant is not None:
            left[case.id] = "it is made from another case, which is measured"
        elif not case.regions:
            left[case.id] = "it has no regions"
        elif not named:
            left[case.id] = "it has only regions to avoid"
        else:
            boxes = tuple(box for name in named for box in case.regions[name])
            query = query_of(case)
            found = Question(case.id, case.image_digest, query, boxes, case.expected, tuple(named))
            asked.append(found)
    return asked, left


def query_of(case: Case) -> Query:
    """What the model is asked about a case that is no variant."""
    return Query(case.image, case.text, case.premise, case.truncate)


def region_of(question: Question, trace: Trace) -> Array:
    """The boxes as a mask over the model's grid; empty if the model sees nothing of them."""
    return mask(question.boxes, trace.grid, trace.view)


def answered(
    model: Model,
    asked: Iterable[tuple[Query, Sequence[MapSpec]]],
    batch_size: int,
) -> Iterator[Evidence | str]:
    """The evidence for each question, or why the model gives none; an error stops no other one."""
    waiting = iter(asked)
    while batch := list(islice(waiting, batch_size)):
        yield from _answered(model, batch, batch_size)


def _answered(
    model: Model, batch: Sequence[tuple[Query, Sequence[MapSpec]]], batch_size: int
) -> list[Evidence | str]:
    try:
        return [*gather(model, [q for q, _ in batch], [s for _, s in batch], batch_size)]
    except AuditError as error:
        if len(batch) == 1:
            return [str(error)]
    return [one for each in batch for one in _answered(model, [each], batch_size)]


def read(evidence: Evidence, spec: MapSpec) -> Map | str:
    """The map, or why there is none."""
    try:
        return read_map(evidence, spec)
    except (UndefinedMap, MapError) as reason:
        return str(reason)


def placed(p: Map, region: Array) -> dict[str, float]:
    """The figures of a map on a region; one that is undefined is missing."""
    found = {}
    for name, measured in FIGURES.items():
        try:
            found[name] = measured(p, region)
        except Undefined:
            continue
    return found


@dataclass(frozen=True)
class Row:
    """The figures of one question by map; None for a map that it does not have."""

    picture: str
    figures: Mapping[str, Mapping[str, float] | None]


def bounds(values: Sequence[float]) -> Bounds:
    """A mean over pictures, with the 95 % interval of Student's t from five pictures on."""
    if len(values) < FEWEST:
        return {"mean": _short(float(np.mean(values)))}
    return {name: _short(value) for name, value in t_interval(values)._asdict().items()}


def _short(value: float) -> float:
    return round(value, 4) + 0.0


def by_picture(values: Iterable[tuple[str, float]]) -> list[float]:
    """The mean value of each picture, in the order in which pictures come first."""
    found: dict[str, list[float]] = {}
    for picture, value in values:
        found.setdefault(picture, []).append(value)
    return [float(np.mean(each)) for each in found.values()]


def minus(rows: Sequence[Row], name: str, other: str, figure: str) -> list[float]:
    """By picture, how much one map's figure exceeds another's, where both have it."""
    pairs = [(row.picture, row.figures.get(name), row.figures.get(other)) for row in rows]
    return by_picture(
        (picture, a[figure] - b[figure])
        for picture, a, b in pairs
        if a is not None and b is not None and figure in a and figure in b
    )


def summary(
    name: str,
    rows: Sequence[Row],
    others: Iterable[str],
    interval: Callable[[Sequence[float]], Bounds] = bounds,
) -> dict[str, dict[str, Any]]:
    """Means of one map's figures over pictures, and of their differences to other maps."""
    mine = [(row.picture, row.figures.get(name)) for row in rows]
    figures: dict[str, Bounds] = {}
    differences: dict[str, dict[str, Bounds]] = {}
    for figure in FIGURES:
        values = by_picture((p, f[figure]) for p, f in mine if f is not None and figure in f)
        if values:
            figures[figure] = interval(values)
    for other in others:
        pairs = {figure: minus(rows, name, other, figure) for figure in FIGURES}
        if other != name and any(pairs.values()):
            differences[other] = {f: interval(values) for f, values in pairs.items() if values}
    return {"figures": figures, "differences": differences}
