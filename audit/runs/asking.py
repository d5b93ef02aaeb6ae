"""Asks a model about cases in batches, and keeps what it answers or why it does not."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from PIL import Image

from audit.base.errors import AuditError, NotFinite, TextError, Unavailable, in_a_sentence
from audit.base.files import as_typed
from audit.base.geometry import Box
from audit.cases.loading import Case
from audit.cases.variants import Answered
from audit.maps.reading import Map, UndefinedMap, read_map
from audit.maps.spec import RANDOM, MapSpec
from audit.maps.trace import EACH_WORD, Evidence, Need
from audit.metrics.registry import METRICS
from audit.models.protocol import Model, Query
from audit.runs.evidence import Curves, curves, gather
from audit.runs.making import Made, kept, picture_to_ask

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Original:
    """What is left of the answer to a case, for its variants.

    Attributes:
        answered: label and probabilities; the mean over repeats.
        map: the case's own map, or why there is none.
        view: the part of the picture that the map covers.
        error: why there is no answer; the others are then empty.
    """

    answered: Answered
    map: Map | str
    view: Box
    error: str = ""


@dataclass(frozen=True)
class Answer:
    """A model's answer to a case, or the reason why there is none.

    Attributes:
        evidence: the trace and whatever else maps are read from; None if there is no answer.
        error: why there is no answer.
        seconds: time that the answer took.
        curves: deletion and insertion curves by map key, if an expectation asks for them; then
            those of the random control as well.
        again: the answers to further questions, for cases that repeat.
        fault: type of the error, if the model is to blame and not the case.
        kind: type of the error.
        made: the picture, if it was made for a variant.
        original: the answer to the case that a variant is made from.
    """

    evidence: Evidence | None
    error: str
    seconds: float
    curves: Mapping[str, Curves] = field(default_factory=dict)
    again: Sequence[Evidence] = ()
    fault: str = ""
    kind: str = ""
    made: Made | None = None
    original: Original | None = None


_ALSO = frozenset({EACH_WORD})
"""The readings that the gallery shows for every case, even if no map needs them."""


def _own_maps(case: Case) -> Sequence[MapSpec]:
    return case.maps


def answer_cases(
    cases: Sequence[Case],
    model: Model,
    batch_size: int,
    *,
    picture: Callable[[Case], Path | Image.Image] = picture_to_ask,
    maps: Callable[[Case], Sequence[MapSpec]] = _own_maps,
    also: Need = _ALSO,
) -> list[Answer]:
    """Ask the model about ``cases`` as one batch; if that fails, one by one.

    An error at one case never stops the others.

    Args:
        picture: gives the picture of a case.
        maps: gives the maps that are to be read; by default those that the case measures.
        also: readings that every trace must have besides.
    """
    started = time.perf_counter()
    try:
        queries = [Query(picture(case), case.text, case.premise, case.truncate) for case in cases]
        asked = [maps(case) for case in cases]
        seen = gather(model, queries, asked, batch_size, also)
        curves = [
            _curves(model, case, query, evidence, batch_size)
            for case, query, evidence in zip(cases, queries, seen, strict=True)
        ]
        again = [
            [gather(model, [query], [specs], batch_size, also)[0] for _ in range(case.repeat - 1)]
            for case, query, specs in zip(cases, queries, asked, strict=True)
        ]
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a model is somebody's code: it may even call sys.exit()
        if len(cases) == 1:
            _log.debug("%s: %s", cases[0].id, in_a_sentence(error), exc_info=error)
            seconds = time.perf_counter() - started
            message, kind = _message(error, cases[0]), type(error).__name__
            return [Answer(None, message, seconds, fault=_fault(error), kind=kind)]
    else:
        seconds = (time.perf_counter() - started) / len(cases)
        return [
            Answer(evidence, "", seconds, found, more, made=_made(case, query))
            for case, evidence, found, more, query in zip(
                cases, seen, curves, again, queries, strict=True
            )
        ]
    # Not in the except block, because the exception's frames keep the batch's tensors alive.
    one_by_one = partial(
        answer_cases, model=model, batch_size=batch_size, picture=picture, maps=maps, also=also
    )
    return [answer for case in cases for answer in one_by_one([case])]


def _made(case: Case, query: Query) -> Made | None:
    """What a run keeps of the picture, if it was made for a variant."""
    if case.variant is None or not isinstance(query.image, Image.Image):
        return None
    return kept(query.image)


_TO_BLAME = (NotFinite, Unavailable)
"""Errors that are raised on purpose and are not the fault of a case."""


def _fault(error: BaseException) -> str:
    """The type of the error; empty for errors raised on purpose, where the case is to blame."""
    deliberate = isinstance(error, AuditError) and not isinstance(error, _TO_BLAME)
    return "" if deliberate else type(error).__name__


@dataclass
class Patience:
    """Stops asking a model that fails on every case.

    Attributes:
        cases, seconds: how many failures, and how much time on them, are enough to be sure. One
            answer, or one error that its case is to blame for, shows that the model works.
    """

    cases: int = 8
    seconds: float = 60.0
    _failed: int = 0
    _spent: float = 0.0
    _last: str = ""
    _works: bool = False

    def answers(self, cases: Sequence[Case], model: Model, batch_size: int) -> list[Answer]:
        """Call :func:`answer_cases`, unless the model has proved to be broken."""
        if not self._works and self._failed >= self.cases and self._spent >= self.seconds:
            reason = (
                f"not asked: the model failed at all {self._failed} cases before, which took "
                f"{self._spent:.0f} seconds; at the last one: {self._last}"
            )
            return [Answer(None, reason, 0.0) for _ in cases]
        started = time.perf_counter()
        answers = answer_cases(cases, model, batch_size)
        self._spent += time.perf_counter() - started
        self._failed += len(answers)
        self._works |= any(not answer.fault for answer in answers)
        self._last = answers[-1].error
        return answers


def _message(error: BaseException, case: Case) -> str:
    """What went wrong; if the text is to blame, with the file and line where it can be mended."""
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
        with suppress(UndefinedMap):  # reported when the map is measured
            found[key] = curves(model, query, seen.trace, read_map(seen, spec), batch_size)
    return found
