"""Cases put to a model in batches: what it answers to each, or why it does not."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from audit.base.errors import AuditError, NotFinite, TextError, in_a_sentence
from audit.base.files import as_typed
from audit.cases.loading import Case
from audit.maps.reading import UndefinedMap, read_map
from audit.maps.spec import RANDOM
from audit.maps.trace import EACH_WORD, Evidence
from audit.metrics.registry import METRICS
from audit.models.protocol import Model, Query
from audit.runs.evidence import Curves, curves, gather

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """What a model said of a case, or why it said nothing; with the seconds it took.

    Attributes:
        evidence: its trace and what else maps are read from; None if it said nothing.
        error: why it said nothing.
        fault: kind of the error where it speaks against the model and not against the case.
        curves: deletion and insertion by map key, where an expectation asks for them; also those
            of the random control.
        again: what the model said when it was asked again, for cases that repeat.
    """

    evidence: Evidence | None
    error: str
    seconds: float
    curves: Mapping[str, Curves] = field(default_factory=dict)
    again: Sequence[Evidence] = ()
    fault: str = ""


_ALSO = frozenset({EACH_WORD})
"""What the gallery shows of every case besides the maps that it measures."""


def answer_cases(cases: Sequence[Case], model: Model, batch_size: int) -> list[Answer]:
    """Put ``cases`` to the model as one batch; if that fails, one by one.

    An error at one case never stops the others.
    """
    queries = [Query(case.image, case.text, case.premise, case.truncate) for case in cases]
    started = time.perf_counter()
    try:
        seen = gather(model, queries, [case.maps for case in cases], batch_size, _ALSO)
        curves = [
            _curves(model, case, query, evidence, batch_size)
            for case, query, evidence in zip(cases, queries, seen, strict=True)
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
            Answer(evidence, "", seconds, found, more)
            for evidence, found, more in zip(seen, curves, again, strict=True)
        ]
    # Outside of the except block: an exception's frames hold the batch's tensors.
    return [answer for case in cases for answer in answer_cases([case], model, batch_size)]


def _fault(error: BaseException) -> str:
    """Errors that are raised on purpose are about the case: its picture, its map, its text."""
    own = isinstance(error, AuditError) and not isinstance(error, NotFinite)
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
