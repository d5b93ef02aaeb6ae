"""The pipeline on one page: ask, read the maps, measure, judge, compare with the baseline.

It writes no files; :mod:`audit.runs.storing` stores the results in a run folder.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path

from audit.base.errors import AuditError, in_a_sentence
from audit.base.places import named_from
from audit.cases.expectations import Verdict, judge, judge_attention
from audit.cases.loading import Case
from audit.cases.variants import MAKERS, Answered, judge_relation
from audit.gate import baselines, drift
from audit.gate.baselines import Proposal
from audit.gate.outcomes import Outcome, State
from audit.gate.runfiles import FOLLOWS, ORIGINAL
from audit.gate.runfolder import Strip
from audit.gate.verdict import Policy, judge_contract
from audit.maps.reading import Map
from audit.maps.trace import Trace
from audit.models.protocol import Model
from audit.runs.answers import Answers
from audit.runs.asking import Answer
from audit.runs.figures import Measured, measure_case, merged, strips_of
from audit.runs.following import distance_from, map_of_original
from audit.runs.making import Made

_log = logging.getLogger(__name__)


@dataclass
class Concluded:
    """The results of auditing one case, before they are stored.

    Attributes:
        maps: by map key, without undefined ones.
        accepted: by map key, the maps of the baseline; empty if that is stale or its maps cover
            another part of the picture.
        strips: by name, maps to show side by side.
        proposal: what may become the baseline, if the policy proposes one.
        picture: the picture, if it was made for a variant.
    """

    case: Case
    outcome: Outcome
    maps: Mapping[str, Map] = field(default_factory=dict)
    accepted: Mapping[str, Map] = field(default_factory=dict)
    strips: Mapping[str, Strip] = field(default_factory=dict)
    proposal: Proposal | None = None
    picture: Made | None = None


def audit_cases(
    cases: Iterable[Case],
    model: Model,
    *,
    policy: Policy | None = None,
    batch_size: int = 8,
    methods: Sequence[str] | None = None,
) -> Iterator[Concluded]:
    """Audit ``cases`` in batches of ``batch_size``; without a policy, ignore baselines.

    Args:
        methods: of which the default is measured where a case names no map; None for the model's.
    """
    given = model.methods if methods is None else methods
    waiting, answers = [case.for_model(given) for case in cases], Answers()
    for number, case in enumerate(waiting):
        ahead = partial(islice, waiting, number + 1, None)
        yield conclude(case, answers.to(case, ahead, model, batch_size), policy)


def conclude(
    case: Case, answer: Answer, policy: Policy | None = None, root: Path = Path()
) -> Concluded:
    """Read the maps from the answer, measure them, judge them, compare with the baseline.

    An error becomes the outcome of this case and never stops the others.

    Args:
        root: the folder that the stored path of the case file is relative to.
    """
    outcome = unanswered(case, named_from(case.file, root))
    outcome.seconds = answer.seconds
    if policy is not None:
        outcome.xfail = outcome.xfail or policy.waived.cases.get(case.id, "")
    made = Concluded(case, outcome, picture=answer.made)
    if answer.made is not None:
        outcome.image_digest = answer.made.digest
    try:
        if answer.evidence is None:
            raise AuditError(answer.error)
        repeats = [answer.evidence, *answer.again]
        found = merged([measure_case(case, each, answer.curves) for each in repeats])
        made.maps, made.strips = found.maps, strips_of(case, answer.evidence)
        _fill(outcome, answer.evidence.trace, found)
        limited = policy is None or not policy.waived.attention
        outcome.verdicts = [*_judged(made, found, answer, limited), *found.disagreement()]
        if policy is None:
            outcome.state, outcome.sentence = judge_contract(outcome)
        else:
            _compare(made, policy)
        outcome.sentence += _about_original(case, answer)
    except Exception as error:
        _log.debug("%s: %s", case.id, in_a_sentence(error), exc_info=error)
        outcome.state, outcome.sentence = State.ERROR, in_a_sentence(error)
    return made


def _judged(made: Concluded, found: Measured, answer: Answer, limited: bool) -> list[Verdict]:
    """Judge what a case expects, or what must hold between a variant and its case.

    Args:
        limited: whether maps are judged as well.
    """
    case = made.case
    expect = case.expect if limited else case.expect.model_copy(update={"attention": ()})
    if case.variant is None:
        return judge(expect, found.label, found.probabilities, case.map, found.metrics)
    variant = case.variant if limited else replace(case.variant, js=None)
    original = answer.original
    assert original is not None
    assert answer.evidence is not None
    if original.error:
        raise AuditError(f"the case that it is made from has no answer: {original.error}")
    if not isinstance(original.map, str):
        made.strips = {**made.strips, ORIGINAL: [("the case's map", original.map)]}
        made.outcome.variant_of_view = (*original.view,)
    distance: float | str = "a map has no place there"
    if MAKERS[case.variant.maker].follows:
        there = map_of_original(case, original, answer.evidence.trace)
        distance = distance_from(there, found.maps.get(case.map.key))
        if not isinstance(there, str):
            made.strips = {**made.strips, FOLLOWS: [("the case's map, moved here", there)]}
    now = Answered(found.label, found.probabilities)
    expected = case.source.expect.label
    return [
        *judge_relation(variant, expected, original.answered, now, distance),
        *judge_attention(expect.attention, case.map, found.metrics),
    ]


def _about_original(case: Case, answer: Answer) -> str:
    """A clause for a variant whose case is answered wrongly, so that its relation says little."""
    if answer.original is None or answer.original.answered.label == case.source.expect.label:
        return ""
    wrong, right = answer.original.answered.label, case.source.expect.label
    return f"; the case itself is answered {wrong}, and must be answered {right}"


def unanswered(case: Case, file: str) -> Outcome:
    """The outcome of a case without an answer: only what was asked, no figures.

    Args:
        file: the stored path of the case file.
    """
    return Outcome(
        case=case.id,
        file=file,
        line=case.line,
        state=State.ERROR,
        sentence="",
        text=case.text,
        premise=case.premise,
        tags=list(case.tags),
        expected=case.expected,
        image=case.image.name,
        image_digest=case.image_digest,
        image_size=case.image_size,
        case_digest=case.digest,
        former_digest=case.former_digest,
        regions={
            name: [(b.left, b.top, b.right, b.bottom) for b in boxes]
            for name, boxes in case.regions.items()
        },
        default_map=case.map.key,
        wanted=case.wanted,
        critical=case.critical,
        xfail=case.xfail,
        variant_of="" if case.original is None else case.original.id,
        variant_of_image="" if case.original is None else case.original.image_digest,
        made="" if case.variant is None else case.variant.made,
        case_file_digest=case.case_file_digest,
    )


def _fill(outcome: Outcome, trace: Trace, found: Measured) -> None:
    outcome.label, outcome.probabilities = found.label, found.probabilities
    outcome.unsaid = found.unsaid
    outcome.metrics, outcome.spread = found.metrics, found.spread
    outcome.prompt, outcome.tokens = trace.prompt, list(trace.tokens)
    outcome.grid = (trace.grid.rows, trace.grid.cols)
    outcome.view = (*trace.view,)


def _compare(made: Concluded, policy: Policy) -> None:
    """Compare the outcome with its baseline, judge it, and propose it if the policy says so."""
    case, outcome = made.case, made.outcome
    held = baselines.held(policy.folder, case.id)
    before, outcome.baseline_digest = held.baseline, held.digest
    if before is not None and not policy.is_stale(outcome, before):
        outcome.weights = "same" if policy.same(before) else "other"
        outcome.drift = drift.compare(
            outcome, before, policy.noise.tolerances(case.drift), case.wanted,
            held=policy.held(case.drift, before),
        )  # fmt: skip
        if not any(row.figure == drift.VIEW for row in outcome.drift):
            made.accepted = held.maps
    outcome.state, outcome.sentence = policy.judge(outcome, held)
    if policy.proposes(outcome, held):
        made.proposal = baselines.propose(outcome, made.maps, before, policy.provenance)
