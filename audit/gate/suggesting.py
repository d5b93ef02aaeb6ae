"""Suggest limits for cases that declare none, from what a run measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from audit.base.errors import CaseError, RunError, nearest, printable
from audit.base.files import inside, write_together
from audit.base.geometry import Box, Grid, mask
from audit.cases.editing import Limits, with_limits
from audit.cases.expectations import LABEL
from audit.cases.project import Project
from audit.cases.writing import NewCase, down, limits_to_paste
from audit.gate.headsfile import looked_up
from audit.gate.outcomes import MUCH_UNSAID, Outcome
from audit.gate.review import chosen_cases
from audit.gate.runfolder import Run
from audit.gate.tolerances import PROBABILITY_TOLERANCE
from audit.metrics.keys import FigureKey
from audit.metrics.registry import METRICS

MARGIN = 0.1
"""The share of a figure by which it may fall, before the limit is rounded down."""

MARGIN_TOLD = (
    f"a limit lies below what was measured by a tenth, or by the tolerance for drift if that is "
    f"more ({PROBABILITY_TOLERANCE:g} for probabilities, {METRICS['mass'].tolerance:g} for mass), "
    "and is then rounded down to a multiple of 0.05, or of 0.01 below 0.2"
)


@dataclass(frozen=True)
class Suggested:
    """What is suggested for a case.

    Attributes:
        limits: what to add to its file.
        reasons: what was measured, and why there is no limit for something, in clauses.
    """

    outcome: Outcome
    limits: Limits
    reasons: Sequence[str]


def suggest(outcome: Outcome) -> Suggested | str:
    """Limits for a case that declares none, or why there are none.

    The probability of the label, and the mass of each region, get a lower limit if it says more
    than chance: more than all labels alike, or than a uniform map. Every limit is one that this
    outcome passes.
    """
    if any(verdict.expectation != LABEL for verdict in outcome.verdicts):
        return "it declares limits"
    if not outcome.label or not outcome.verdicts:
        return f"it was not audited completely ({outcome.state.value})"
    if outcome.label != outcome.expected:
        return f"the answer is {outcome.label}, not {outcome.expected}"
    probability, reason = _probability(outcome)
    reasons = [reason]
    attention: list[Mapping[str, str | float]] = []
    for region in outcome.regions:
        lowest, reason = _mass(outcome, region)
        reasons.append(reason)
        if lowest is not None:
            attention.append({"metric": "mass", "region": region, "min": lowest})
    if probability is None and not attention:
        return "; ".join(reasons)
    return Suggested(outcome, Limits(probability, attention), reasons)


def lowest(value: float, tolerance: float) -> float:
    """A lower limit for a figure that is ``value`` today; see :data:`MARGIN_TOLD`.

    >>> lowest(0.93, 0.05), lowest(0.62, 0.02), lowest(0.15, 0.02), lowest(0.01, 0.02)
    (0.8, 0.55, 0.13, 0.0)
    """
    left = value - max(MARGIN * value, tolerance)
    return max(0.0, down(left, 0.05 if left >= 0.2 else 0.01))


def _probability(outcome: Outcome) -> tuple[float | None, str]:
    """The limit for the probability of the label, if any, and a clause about it."""
    value = outcome.probabilities.get(outcome.label)
    if value is None:
        return None, f"probability of {outcome.label} not measured"
    even = 1 / len(outcome.probabilities)
    told = f"probability of {outcome.label} {value:.4g}"
    if outcome.unsaid is not None and outcome.unsaid > MUCH_UNSAID:
        return None, f"{told}, but {outcome.unsaid:.2f} of what the model would say is no answer"
    found = lowest(value, PROBABILITY_TOLERANCE)
    if found <= even:
        return None, f"{told}, too near to that of {len(outcome.probabilities)} equal labels"
    return found, told


def _mass(outcome: Outcome, region: str) -> tuple[float | None, str]:
    """The limit for the mass of a region on the case's own map, if any, and a clause about it."""
    name = str(FigureKey.of("mass", region))
    value = outcome.metrics.get(outcome.default_map, {}).get(name)
    if not isinstance(value, float | int):
        return None, f"mass of {region} {f'undefined ({value})' if value else 'not measured'}"
    boxes = [Box(*box) for box in outcome.regions[region]]
    even = float(mask(boxes, Grid(1, 1), Box(*outcome.view))[0, 0])
    told = f"mass of {region} {value:.4g}, of a uniform map {even:.2g}"
    spread = outcome.spread.get(outcome.default_map, {}).get(name, 0.0)  # over repeats
    found = lowest(value, METRICS["mass"].tolerance + spread)
    if found <= even:
        return None, f"{told}: {'no better' if value <= even else 'not clearly better'} than chance"
    return found, told


@dataclass(frozen=True)
class Suggestions:
    """What is suggested for the cases of a run.

    Attributes:
        none: by case without a suggestion, why.
    """

    limits: Sequence[Suggested]
    none: Mapping[str, str]


def suggest_all(run: Run, cases: Sequence[str] = ()) -> Suggestions:
    """Suggest limits for cases of a run; variants have none of their own.

    Args:
        cases: which; all if there are none.

    Raises:
        RunError: the run cannot be read, or has no such case.
    """
    outcomes = {each.case: each for each in run.outcomes() if not each.variant_of}
    for name in cases:
        if name not in outcomes:
            raise RunError(f"{run.folder}: it has no case {name!r}; {nearest(name, outcomes)}")
    chosen = [each for name, each in outcomes.items() if not cases or name in cases]
    chosen.sort(key=lambda each: (each.file, each.line))
    limits: list[Suggested] = []
    none: dict[str, str] = {}
    for each in chosen:
        found = suggest(each)
        if isinstance(found, str):
            none[each.case] = found
        else:
            limits.append(found)
    return Suggestions(limits, none)


def to_paste(found: Suggested) -> str:
    """A suggestion as YAML, with what was measured in comments."""
    of, limits = found.outcome, found.limits
    case = NewCase(
        of.case, "", "", of.expected, probability=limits.probability, attention=limits.attention
    )
    place = printable(f"{of.file}:{of.line}")
    return limits_to_paste(case, [place, *map(printable, found.reasons)])


def write_into(found: Sequence[Suggested], run: Run, project: Project) -> dict[str, int]:
    """Add limits to the case files of a project: to all of them, or to none.

    Returns:
        By file, how many cases got limits.

    Raises:
        CaseError: a case is not in the project, changed since the run or declares limits by now, or
            a file cannot be edited; the message has a line for each.
    """
    if not found:
        return {}
    written = run.about().get("baselines", "")
    baselines = inside(project.root, written) if written else None
    known = {
        case.id: case
        for case in looked_up(chosen_cases(None, project), baselines or project.accepted)
    }
    problems: list[str] = []
    by_file: dict[Path, dict[str, Limits]] = {}
    for each in found:
        case, name = known.get(each.outcome.case), each.outcome.case
        if case is None:
            problems.append(f"{name}: no case file of the project has it")
        elif each.outcome.case_digest not in (case.digest, case.former_digest):
            problems.append(f"{name}: the case changed since the run; audit it again")
        elif len(case.expect.attention) or case.expect.probability:
            problems.append(f"{name}: it declares limits by now")
        else:
            by_file.setdefault(case.file, {})[name] = each.limits
    if problems:
        raise CaseError("nothing was written:\n" + "\n".join(problems))
    texts = {file: with_limits(file, limits) for file, limits in by_file.items()}
    write_together({file: text.encode() for file, text in texts.items()})
    return {str(file): len(limits) for file, limits in by_file.items()}
