"""Measures every map of a model on the user's own cases with regions, against every control.

The question is that of *place* in :mod:`audit.studies.validity.measure`, asked of real pictures:
does a map lie on the regions more than the controls do? Cases about what is not there answer the
one about entropy, if there are any.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from audit.base.console import Progress
from audit.base.errors import RunError
from audit.base.files import counted
from audit.base.statistics import separation
from audit.base.words import occurrences, words_in
from audit.cases.case import Case
from audit.cases.methods import readable_methods
from audit.gate.shifts import FEWEST
from audit.maps.spec import CHOSEN, CONTROLS, MapSpec
from audit.maps.trace import Evidence
from audit.metrics.shape import entropy
from audit.models.kit.stack import stack
from audit.models.protocol import Model, Query
from audit.studies.placing import (
    OUTSIDE,
    Question,
    Row,
    answered,
    bounds,
    by_picture,
    placed,
    query_of,
    questions_of,
    read,
    region_of,
    summary,
)

MAPS = (
    "answer_attention",
    "answer_attention subtract=blank",
    "word_attention word=REGION",
    "rollout",
    "relevance",
    "occlusion",
)
"""The measured maps, as far as the model gives them, before those of the cases; REGION stands for
the name of a region, in texts that have it as a word."""

_OF_REGION = MAPS[2]

PLACE = ("pointing", "mass")

DISPERSED = ("entropy", "focus_area")
"""A case without regions that expects a least value of one of these is about something absent."""


@dataclass(frozen=True)
class _Asked:
    """A question with the maps that are read from its answer, by the names of the table."""

    picture: str
    query: Query
    specs: dict[str, MapSpec]
    question: Question | None = None


def measure_cases(
    model: Model,
    cases: Sequence[Case],
    progress: Progress,
    *,
    maps: Sequence[MapSpec] = (),
    heads: Sequence[str] = (),
    batch_size: int = 8,
) -> dict[str, Any]:
    """Measure all maps of a model on the cases with regions.

    Args:
        maps: measure only these, beside the controls.
        heads: the chosen heads, if there are any; they make a map of their own.

    Returns:
        Plain data for JSON: ``model``, ``cases`` (how many, and why others are left out), ``maps``
        (by name: ``figures``, ``differences`` to each control, ``undefined``, ``place``,
        ``entropy``), and ``notes``, what could not be told.

    Raises:
        RunError: there is no case with regions, or none was answered.
    """
    questions, left = questions_of(cases)
    absent = [case for case in cases if case.variant is None and _is_absent(case)]
    if not questions:
        raise RunError(f"no case has a region that a map should lie on: {_reasons(left)}")
    names = {spec.key: spec for spec in maps} or _maps(model, cases, heads)
    controls = [name for name in CONTROLS if name in readable_methods(model.methods)]
    names |= {name: MapSpec(method=name) for name in controls}
    asked = [_Asked(q.picture, q.query, _specs(names, q), q) for q in questions]
    asked += [_Asked(c.image_digest, query_of(c), _specs(names, None)) for c in absent]
    seen = _Seen(left_out=left)
    evidence = answered(model, ((a.query, [*a.specs.values()]) for a in asked), batch_size)
    for each, found in zip(asked, progress(evidence, len(asked), "cases"), strict=True):
        seen.add(each, found)
    if not seen.rows:
        raise RunError(f"no case with regions was answered: {_reasons(left)}")
    for case in absent:
        left.pop(case.id, None)  # it counts for the entropy
    table = {
        name: {
            **_row(name, seen.rows, controls),
            "entropy": _separated(name, seen.present, seen.absent),
        }
        for name in names
    }
    pictures = len({row.picture for row in seen.rows})
    return {
        "model": model.fingerprint.to_dict(),
        "cases": {
            "measured": len(seen.rows),
            "pictures": pictures,
            "right": seen.right,
            "absent": len(seen.absent),
            "left_out": left,
        },
        "controls": controls,
        "maps": table,
        "notes": _notes(pictures, seen.absent, table),
        "date": datetime.now(UTC).date().isoformat(),
        "stack": stack(model.fingerprint.device),
    }


Entropies = list[tuple[str, dict[str, float]]]
"""The picture of each question, and the entropy of each map."""


@dataclass
class _Seen:
    """What was seen of all questions.

    Attributes:
        left_out: by case, why it was not measured.
        rows: figures of the questions with regions.
        right: how many of these were answered as expected.
        present, absent: entropies of questions with regions, and of those about what is not there.
    """

    left_out: dict[str, str]
    rows: list[Row] = field(default_factory=list)
    right: int = 0
    present: Entropies = field(default_factory=list)
    absent: Entropies = field(default_factory=list)

    def add(self, asked: _Asked, found: Evidence | str) -> None:
        """Take in the answer to one question, or why there is none."""
        question = asked.question
        if isinstance(found, str):
            if question is not None:
                self.left_out[question.name] = found
            return
        maps = {name: read(found, spec) for name, spec in asked.specs.items()}
        entropies = {n: entropy(p) for n, p in maps.items() if not isinstance(p, str)}
        if question is None:
            self.absent.append((asked.picture, entropies))
            return
        region = region_of(question, found.trace)
        if not region.any():
            self.left_out[question.name] = OUTSIDE
            return
        figures = {n: None if isinstance(p, str) else placed(p, region) for n, p in maps.items()}
        self.rows.append(Row(asked.picture, figures))
        self.present.append((asked.picture, entropies))
        self.right += found.label == question.expected


def _reasons(left: dict[str, str]) -> str:
    return "; ".join(dict.fromkeys(left.values())) or "there is no case"


def _is_absent(case: Case) -> bool:
    return not case.regions and any(
        each.metric in DISPERSED and each.min is not None for each in case.expect.attention
    )


def _maps(model: Model, cases: Iterable[Case], heads: Sequence[str]) -> dict[str, MapSpec]:
    """The maps that are measured, by name: those that the model gives, and those of the cases.

    A map of a word that only some texts have is no row of its own.
    """
    known = readable_methods(model.methods)
    given = [MapSpec.parse(name) for name in MAPS]
    chosen = [MapSpec(heads=list(heads))] if heads else []
    own = [spec for case in cases for spec in case.maps if spec.word is None]
    return {
        spec.key: spec
        for spec in (*given, *chosen, *own)
        if spec.method in known and spec.heads != CHOSEN
    }


def _specs(names: dict[str, MapSpec], question: Question | None) -> dict[str, MapSpec]:
    """The maps of one question; that of its region's name is left out if the text has no such word.

    Without a question there are no regions, and occlusion is left out as well: for its entropy
    alone it would take too long.
    """
    found = dict(names)
    if question is None:
        found = {n: s for n, s in found.items() if s.method != "occlusion"}
    if _OF_REGION in found:
        del found[_OF_REGION]
        words = words_in(question.query.text) if question else []
        named = [n for n in question.names if occurrences(n, words)] if question else []
        if named:
            found[_OF_REGION] = MapSpec(method="word_attention", word=named[0])
    return found


def _row(name: str, rows: Sequence[Row], controls: Sequence[str]) -> dict[str, Any]:
    found = summary(name, rows, controls)
    there = [row for row in rows if row.figures.get(name) is not None]
    return {
        **found,
        "cases": len(there),
        "pictures": len({row.picture for row in there}),
        "undefined": sum(name in row.figures and row.figures[name] is None for row in rows),
        "place": None if name in CONTROLS else _beats(found["differences"], controls),
    }


def _beats(differences: dict[str, dict[str, Any]], controls: Sequence[str]) -> bool | None:
    """Whether pointing and mass surely exceed those of every control; None if it is not known."""
    lows = [differences.get(c, {}).get(f, {}).get("low") for c in controls for f in PLACE]
    known = [low for low in lows if low is not None]
    return all(low > 0 for low in known) if len(known) == len(lows) else None


def _separated(name: str, present: Entropies, absent: Entropies) -> dict[str, Any] | None:
    """Entropies by picture, and how often an absent thing has the larger one; None if too few."""
    there, gone = (
        by_picture((picture, found[name]) for picture, found in some if name in found)
        for some in (present, absent)
    )
    if min(len(there), len(gone)) < FEWEST:
        return None
    return {
        "present": bounds(there),
        "absent": bounds(gone),
        "separation": round(separation(gone, there), 4),
    }


def _notes(pictures: int, absent: Entropies, table: dict[str, dict[str, Any]]) -> list[str]:
    notes = []
    if pictures < FEWEST:
        notes.append(
            f"{counted(pictures, 'picture')} with regions: too few for intervals, so whether a map "
            f"beats the controls could not be told; {FEWEST} are needed"
        )
    if not any(row["entropy"] for row in table.values()):
        there = len({picture for picture, _ in absent})
        notes.append(
            "whether entropy tells what is there from what is not could not be told: "
            f"{counted(there, 'picture')} of cases without regions that expect a least entropy or "
            f"focus_area, and {FEWEST} are needed"
        )
    short = [n for n, row in table.items() if row["cases"] and row["pictures"] < FEWEST <= pictures]
    if short:
        notes.append(f"too few pictures for an interval: {', '.join(short)}")
    none = [n for n, row in table.items() if not row["cases"]]
    if none:
        notes.append(f"no case has such a map: {', '.join(none)}")
    return notes
