"""The pipeline on one page: cases through a model, to outcomes judged against their baselines."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.base.errors import AuditError, BaselineError, NotFinite, TextError, in_a_sentence
from audit.base.files import as_typed
from audit.base.images import open_image
from audit.base.places import named_from
from audit.base.settings import Update
from audit.cases.expectations import Verdict, judge
from audit.cases.loading import Case
from audit.gate import baselines, drift
from audit.gate.accepted import Baseline, Held
from audit.gate.outcomes import BASELINE, DriftRow, Outcome, Run, State, Strip
from audit.gate.tolerances import Floors, Tolerances
from audit.maps.reading import UndefinedMap, read_map
from audit.maps.spec import RANDOM
from audit.maps.trace import EACH_WORD, Evidence, Trace
from audit.metrics.registry import METRICS
from audit.models.protocol import Model, Query
from audit.runs.evidence import Curves, curves, gather
from audit.runs.figures import Measured, measure_case, merged, strips_of

_log = logging.getLogger(__name__)

Maps = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Gate:
    """Where accepted outcomes lie, and which of them this session may propose anew.

    Attributes:
        floors: noise floors, from which default tolerances follow.
    """

    folder: Path
    update: Update = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    floors: Floors = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """A model's trace of a case, or why there is none; with the seconds it took.

    Attributes:
        error: why there is no trace.
        fault: kind of the error where it speaks against the model and not against the case.
        curves: deletion and insertion by map key, where an expectation asks for them; also those
            of the random control.
        again: what the model said when it was asked again, for cases that repeat.
    """

    trace: Evidence | None
    error: str
    seconds: float
    curves: Mapping[str, Curves] = field(default_factory=dict)
    again: Sequence[Evidence] = ()
    fault: str = ""


_ALSO = frozenset({EACH_WORD})
"""What the gallery shows of every case besides the maps that it measures."""


def answer_cases(cases: Sequence[Case], model: Model, batch_size: int) -> list[Answer]:
    """Put ``cases`` to the model as one batch; if that fails, one by one.

    Whatever is raised costs only the case that it is raised for.
    """
    queries = [Query(case.image, case.text, case.premise, case.truncate) for case in cases]
    started = time.perf_counter()
    try:
        traces = gather(model, queries, [case.maps for case in cases], batch_size, _ALSO)
        curves = [
            _curves(model, case, query, trace, batch_size)
            for case, query, trace in zip(cases, queries, traces, strict=True)
        ]
        again = [
            [
                gather(model, [query], [case.maps], batch_size, _ALSO)[0]
                for _ in range(case.repeat - 1)
            ]
            for case, query in zip(cases, queries, strict=True)
        ]
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a model is somebody's code: it may even call sys.exit()
        if len(cases) == 1:
            _log.debug("%s: %s", cases[0].id, in_a_sentence(error), exc_info=error)
            seconds = time.perf_counter() - started
            return [Answer(None, _told(error, cases[0]), seconds, fault=_fault(error))]
    else:
        seconds = (time.perf_counter() - started) / len(cases)
        return [
            Answer(trace, "", seconds, found, more)
            for trace, found, more in zip(traces, curves, again, strict=True)
        ]
    # Outside of the except block: an exception's frames hold the batch's tensors.
    return [answer for case in cases for answer in answer_cases([case], model, batch_size)]


def _fault(error: BaseException) -> str:
    """Errors that are raised on purpose are about the case: its picture, its map, its text."""
    own = isinstance(error, AuditError | ValueError) and not isinstance(error, NotFinite)
    return "" if own else type(error).__name__


@dataclass
class Patience:
    """Ends the asking of a model that fails at whatever it is asked.

    Attributes:
        cases, seconds: failures and time that it takes to be sure. A single answer, or an error
            that is about its case, shows that the model works.
    """

    cases: int = 8
    seconds: float = 60.0
    _failed: int = 0
    _spent: float = 0.0
    _last: str = ""
    _works: bool = False

    def answers(self, cases: Sequence[Case], model: Model, batch_size: int) -> list[Answer]:
        """:func:`answer_cases`, as long as there is hope."""
        if not self._works and self._failed >= self.cases and self._spent >= self.seconds:
            reason = (
                f"not asked: the model failed at all {self._failed} cases before, which took "
                f"{self._spent:.0f} seconds; at the last one: {self._last}"
            )
            return [Answer(None, reason, 0.0) for _ in cases]
        started = time.perf_counter()
        found = answer_cases(cases, model, batch_size)
        self._spent += time.perf_counter() - started
        self._failed += len(found)
        self._works |= any(not answer.fault for answer in found)
        self._last = found[-1].error
        return found


def _told(error: BaseException, case: Case) -> str:
    """What went wrong; where the text is at fault, with the place to mend it."""
    place = f"{as_typed(case.file)}:{case.line}: " if isinstance(error, TextError) else ""
    return f"{place}{in_a_sentence(error)}"


def _curves(
    model: Model, case: Case, query: Query, seen: Evidence, batch_size: int
) -> dict[str, Curves]:
    asked = [e for e in case.expect.attention if METRICS[e.metric].kind == "model"]
    wanted = {spec.key: spec for spec in (e.map or case.map for e in asked)}
    if wanted:
        wanted[RANDOM.key] = RANDOM
    found = {}
    for key, spec in wanted.items():
        with suppress(UndefinedMap):  # the case will say so where it measures
            found[key] = curves(model, query, seen.trace, read_map(seen, spec), batch_size)
    return found


def conclude(
    case: Case, answer: Answer, gate: Gate | None, run: Run, root: Path = Path()
) -> Outcome:
    """Measure, judge, compare with the baseline, and store the outcome in ``run``.

    Whatever is raised on the way makes this case an error, and no other.

    Args:
        root: the folder that the stored name of the case file counts from.
    """
    outcome = _blank(case, root)
    outcome.seconds = answer.seconds
    maps: Maps = {}
    strips: dict[str, Strip] = {}
    try:
        if not run.image_path(case.image_digest).exists():
            run.add_image(case.image_digest, open_image(case.image))
        if answer.trace is None:
            raise AuditError(answer.error)
        traces = [answer.trace, *answer.again]
        found = merged([measure_case(case, trace, answer.curves) for trace in traces])
        maps, strips = found.maps, strips_of(case, answer.trace)
        _tell(outcome, answer.trace.trace, found)
        outcome.verdicts = [
            *judge(case.expect, found.label, found.probabilities, case.map, found.metrics),
            *found.disagreement(),
        ]
        held = baselines.held(gate.folder, case.id) if gate else Held()
        before, outcome.baseline_digest = held.baseline, held.digest
        if before is not None and before.case_digest == case.digest:
            outcome.drift = drift.compare(
                outcome,
                before,
                Tolerances(case.drift, gate.floors if gate else {}),
                case.wanted,
            )
        if held.damage and not (gate and _proposes(gate.update, held, outcome)):
            raise BaselineError(_damaged(outcome, held))
        outcome.state, outcome.sentence = _state(outcome, held, gate)
        stored = dict(maps)
        if before is not None and before.case_digest == case.digest:
            stored |= {f"{BASELINE}{key}": value for key, value in held.maps.items()}
        if gate and _proposes(gate.update, held, outcome):
            baselines.propose(run.folder / "proposals", outcome, maps, before, gate.provenance)
    except Exception as error:
        _log.debug("%s: %s", case.id, in_a_sentence(error), exc_info=error)
        outcome.state, outcome.sentence, stored = State.ERROR, in_a_sentence(error), dict(maps)
    try:
        run.add(outcome, stored, strips)
    except Exception as error:
        _log.debug("%s: %s", case.id, in_a_sentence(error), exc_info=error)
        outcome = _blank(case, root)
        outcome.sentence = f"the outcome could not be stored: {in_a_sentence(error)}"
        (run.folder / "proposals" / f"{case.id}.json").unlink(missing_ok=True)
        # On a full disk this fails too; the session still tells of the case.
        with suppress(Exception):
            run.add(outcome, {})
    return outcome


def audit_cases(
    cases: Iterable[Case], model: Model, run: Run, *, gate: Gate | None = None, batch_size: int = 8
) -> Iterator[Outcome]:
    """Audit ``cases`` in batches of ``batch_size``; each outcome is stored before it is yielded."""
    waiting, patience = list(cases), Patience()
    for start in range(0, len(waiting), batch_size):
        batch = waiting[start : start + batch_size]
        answers = patience.answers(batch, model, batch_size)
        for case, answer in zip(batch, answers, strict=True):
            yield conclude(case, answer, gate, run)


def _blank(case: Case, root: Path) -> Outcome:
    return Outcome(
        case=case.id,
        file=named_from(case.file, root),
        line=case.line,
        state=State.ERROR,
        sentence="",
        text=case.text,
        premise=case.premise,
        tags=list(case.tags),
        expected=case.expect.label,
        image=case.image.name,
        image_digest=case.image_digest,
        image_size=case.image_size,
        case_digest=case.digest,
        regions={
            name: [(b.left, b.top, b.right, b.bottom) for b in boxes]
            for name, boxes in case.regions.items()
        },
        default_map=case.map.key,
        critical=case.critical,
        xfail=case.xfail,
    )


def _tell(outcome: Outcome, trace: Trace, found: Measured) -> None:
    outcome.label, outcome.probabilities = found.label, found.probabilities
    outcome.metrics, outcome.spread = found.metrics, found.spread
    outcome.prompt, outcome.tokens = trace.prompt, list(trace.tokens)
    outcome.grid = (trace.grid.rows, trace.grid.cols)
    outcome.view = (*trace.view,)


def _state(outcome: Outcome, held: Held, gate: Gate | None) -> tuple[State, str]:
    failed = [v for v in outcome.verdicts if not v.passed]
    if failed:
        undefined = any(v.undefined for v in failed)
        said = _broken(failed)
        if held.baseline is not None and held.baseline.case_digest != outcome.case_digest:
            said += "; and its baseline is stale: the case changed since it was accepted"
        return State.UNDEFINED if undefined else State.BROKEN, said
    if gate is None:
        return State.PASSED, _kept(outcome)
    state, sentence = _drift_state(outcome, held.baseline)
    if _proposes(gate.update, held, outcome):
        kept = _kept(outcome) if state in (State.NEW, State.STALE) else sentence
        return State.PASSED, f"{kept}; proposed as its baseline{_instead(held)}"
    return state, sentence


def _instead(held: Held) -> str:
    if not held.damage:
        return ""
    lost = "; its anchors are lost and begin anew" if held.baseline is None else ""
    return f" in place of the damaged one{lost}"


def _damaged(outcome: Outcome, held: Held) -> str:
    """What is wrong with a case's baseline, and with its contract if that is broken too."""
    failed = [v for v in outcome.verdicts if not v.passed]
    return f"{_broken(failed)}; besides, {held.damage}" if failed else held.damage


def _drift_state(outcome: Outcome, before: Baseline | None) -> tuple[State, str]:
    """How a case that keeps its contract stands to its baseline."""
    if before is None:
        return State.NEW, "there is no baseline for this case; create it with --audit-update=new"
    if before.case_digest != outcome.case_digest:
        return State.STALE, (
            "the case is not the one its baseline was accepted for (picture, text, regions, maps "
            "or metric definitions changed); accept it with --audit-update=changed"
        )
    kinds = ("drifted", "crept", "improved")
    moved = {v: [r for r in outcome.drift if r.verdict == v] for v in kinds}
    if moved["drifted"]:
        return State.DRIFTED, f"{_moved(moved['drifted'])}; every declared expectation holds"
    if moved["crept"]:
        return State.CREPT, _crept(moved["crept"])
    if moved["improved"]:
        return State.IMPROVED, _moved(moved["improved"])
    return State.PASSED, _kept(outcome)


def _proposes(update: Update, held: Held, outcome: Outcome) -> bool:
    """Whether this session proposes the outcome as a baseline.

    Contract and drift are two verdicts: an outcome that breaks its contract is still measured
    whole, and may become a baseline; its contract goes on failing.
    """
    if any(v.undefined for v in outcome.verdicts):
        return False
    kinds = {row.verdict for row in outcome.drift}
    if "crept" in kinds and "drifted" not in kinds:
        return False  # an update keeps anchors, so it would creep as before
    if update == "all":
        return True
    if held.damage:
        return update == "changed"
    before = held.baseline
    if before is None:
        return update == "new"
    stale = before.case_digest != outcome.case_digest
    return update == "changed" and (stale or bool(kinds - {"within"}))


def _broken(failed: list[Verdict]) -> str:
    return failed[0].reason + _more(failed)


def _kept(outcome: Outcome) -> str:
    count = len(outcome.verdicts)
    return "the expectation holds" if count == 1 else f"all {count} expectations hold"


def _crept(rows: list[DriftRow]) -> str:
    row = rows[0]
    return (
        f"{row.figure} crept from {row.anchor}, first accepted, to {row.observed} in accepted "
        f"steps, more than the tolerance of {row.tolerance:g}{_more(rows)}; review them as one "
        "change, then audit accept"
    )


def _more(rows: Sequence[object]) -> str:
    return f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""


def _moved(rows: list[DriftRow]) -> str:
    row, more = rows[0], _more(rows)
    if row.figure == "label":
        return f"the label changed from {row.baseline} to {row.observed}{more}"
    return (
        f"{row.figure} {row.verdict} from {row.baseline} to {row.observed}, "
        f"more than the tolerance of {row.tolerance:g}{more}"
    )
