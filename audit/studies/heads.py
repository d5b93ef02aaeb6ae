"""Chooses heads by measurement: found on one half of the pictures, tested on the other.

Heads are averaged over layers and heads by default, and most heads of a large model look at the
same few cells whatever is asked. Some look at what the text names (Kang et al. 2025). Which ones is
found here on pictures with true boxes, and no picture is in both halves, so that the second half
says how good the chosen heads are on pictures that had no part in the choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from audit.base.console import Progress
from audit.base.errors import RunError
from audit.base.files import write_json
from audit.base.statistics import above_zero
from audit.gate.headsfile import HEADS_FORMAT, heads_path
from audit.gate.shifts import FEWEST
from audit.maps.spec import CONTROLS, MapSpec
from audit.models.kit.stack import stack
from audit.models.protocol import Model
from audit.studies.headchoice import Heads, Proposal, by_mass, read_heads_of, without_boxes
from audit.studies.placing import (
    OUTSIDE,
    Question,
    Row,
    answered,
    minus,
    placed,
    read,
    region_of,
    summary,
)

LEVEL = 0.05
"""Each control must be beaten with a smaller p-value, in pointing and in mass. All of them must be,
so no correction for their number is needed (Berger 1982)."""

DECIDING = ("pointing", "mass")

EVERY = MapSpec(method="answer_attention")
"""All heads of all layers, which the chosen ones should at least not be worse than."""


def halves(questions: Sequence[Question], seed: int) -> tuple[list[Question], list[Question]]:
    """The questions to fit on and those held out; no picture is in both.

    Raises:
        RunError: there are too few pictures to tell anything.
    """
    pictures = list(dict.fromkeys(question.picture for question in questions))
    if len(pictures) < 2 * FEWEST:
        raise RunError(
            f"heads cannot be chosen on {len(pictures)} pictures with boxes: {2 * FEWEST} are "
            f"needed at least, {FEWEST} to find them and {FEWEST} others to test them"
        )
    shuffled = np.random.default_rng(seed).permutation(len(pictures))
    first = {pictures[n] for n in shuffled[: len(pictures) // 2]}
    fitting = [question for question in questions if question.picture in first]
    return fitting, [question for question in questions if question.picture not in first]


def measure_heads(
    model: Model,
    questions: Sequence[Question],
    progress: Progress,
    *,
    boxes: str,
    seed: int = 0,
    batch_size: int = 8,
) -> dict[str, Any]:
    """Choose heads on one half of the pictures and test them on the other.

    Args:
        boxes: where the boxes come from, in words.
        seed: of the split and of cross-validation.

    Returns:
        The content of ``heads.json``; see :class:`audit.gate.headsfile.HeadsRecord`.

    Raises:
        MapError: the model does not give its heads one by one.
        RunError: there are too few pictures, or too few were answered.
    """
    fitting, held_out = halves(questions, seed)
    read_of = read_heads_of(model, fitting, batch_size, progress)
    proposals = [found for found in (by_mass(read_of, seed), without_boxes(read_of)) if found]
    best = max(proposals, key=lambda each: each.mass)
    tried = _names(read_of, best)
    specs = _specs(tried, [_names(read_of, each) for each in proposals if each is not best])
    failed = dict(read_of.failed)
    rows = {
        title: _rows(model, half, list(specs), batch_size, progress, title, failed)
        for title, half in (("fitting half", fitting), ("held-out half", held_out))
    }
    tested = rows["held-out half"]
    if len({row.picture for row in tested}) < FEWEST:
        raise RunError(
            f"only {len({row.picture for row in tested})} held-out pictures were answered, and "
            f"{FEWEST} are needed at least: {'; '.join(dict.fromkeys(failed.values()))}"
        )
    chosen, controls = specs[0], _controls(tried)
    p_values = p_values_of(tested, chosen, controls)
    beaten = all(len(p) == len(DECIDING) and max(p.values()) < LEVEL for p in p_values.values())
    return {
        "format": HEADS_FORMAT,
        "model": model.fingerprint.to_dict(),
        "layers": read_of.layers,
        "heads_per_layer": read_of.per_layer,
        "map": EVERY.method,
        "boxes": boxes,
        "seed": seed,
        "method": best.rule,
        "heads": tried if beaten else [],
        "tried": tried,
        "p_values": p_values,
        "fitting": _half(rows["fitting half"], specs, controls),
        "held_out": _half(tested, specs, controls),
        "failed": failed,
        "date": datetime.now(UTC).date().isoformat(),
        "stack": stack(model.fingerprint.device),
    }


def p_values_of(
    rows: Sequence[Row], chosen: MapSpec, controls: Sequence[MapSpec]
) -> dict[str, dict[str, float]]:
    """By control and figure, how likely the chosen map exceeds the control by chance alone.

    A figure that both maps have on fewer than two pictures tells nothing and has none.
    """
    return {
        control.key: {
            figure: round(above_zero(values), 6)
            for figure in DECIDING
            if len(values := minus(rows, chosen.key, control.key, figure)) > 1
        }
        for control in controls
    }


def _names(found: Heads, proposal: Proposal) -> list[str]:
    return [str(found.place(number)) for number in proposal.heads]


def _controls(heads: Sequence[str]) -> list[MapSpec]:
    """The controls; a grey picture is looked at by the same heads."""
    return [
        MapSpec(method=name, heads=list(heads)) if name == "blank" else MapSpec(method=name)
        for name in CONTROLS
    ]


def _specs(tried: Sequence[str], others: Sequence[Sequence[str]]) -> list[MapSpec]:
    """The tried heads first, then what they are compared with."""
    sets = [MapSpec(heads=list(heads)) for heads in (tried, *others)]
    return list({spec.key: spec for spec in (*sets, EVERY, *_controls(tried))}.values())


def _rows(
    model: Model,
    questions: Sequence[Question],
    specs: Sequence[MapSpec],
    batch_size: int,
    progress: Progress,
    title: str,
    failed: dict[str, str],
) -> list[Row]:
    """The figures of every map, question by question; those without an answer go to ``failed``."""
    rows = []
    evidence = answered(model, ((q.query, specs) for q in questions), batch_size)
    for question, found in zip(questions, progress(evidence, len(questions), title), strict=True):
        if isinstance(found, str):
            failed[question.name] = found
            continue
        region = region_of(question, found.trace)
        if not region.any():
            failed[question.name] = OUTSIDE
            continue
        maps = {spec.key: read(found, spec) for spec in specs}
        rows.append(
            Row(
                question.picture,
                {k: None if isinstance(p, str) else placed(p, region) for k, p in maps.items()},
            )
        )
    return rows


def _half(
    rows: Sequence[Row], specs: Sequence[MapSpec], controls: Sequence[MapSpec]
) -> dict[str, Any]:
    others = [EVERY.key, *(control.key for control in controls)]
    return {
        "pictures": len({row.picture for row in rows}),
        "questions": len(rows),
        "maps": {spec.key: summary(spec.key, rows, others) for spec in specs},
    }


def sentence(found: Mapping[str, Any]) -> str:
    """What was found, in one sentence."""
    half, tried = found["held_out"], ", ".join(found["tried"])
    own = half["maps"][MapSpec(heads=list(found["tried"])).key]["figures"]
    figures = " and ".join(f"{name} {own[name]['mean']:.3f}" for name in DECIDING if name in own)
    seen = f"on {half['pictures']} held-out pictures the map of {tried} has {figures}"
    if found["heads"]:
        return f"heads were chosen: {seen}, more than every control"
    failing = [
        f"{control.partition(' ')[0]} in {' and '.join(lost)}"
        for control, p in found["p_values"].items()
        if (lost := [figure for figure in DECIDING if p.get(figure, 1.0) >= LEVEL])
    ]
    return f"no heads beat the controls: {seen}, not surely more than {', '.join(failing)}"


def write_heads(folder: Path, found: Mapping[str, Any]) -> Path:
    """Write the choice beside the baselines of the model that it is of."""
    path = heads_path(folder)
    write_json(path, found)
    return path
