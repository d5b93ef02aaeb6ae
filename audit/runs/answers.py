"""Keeps the answers of a process until they are needed, and asks for those that are missing.

A variant needs the answer to its case as well. That case may come later in this process, or in
another one, or may not be selected; so it is asked with the variant, unless its answer is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from audit.base.errors import in_a_sentence
from audit.base.geometry import WHOLE
from audit.cases.case import Case
from audit.cases.variants import Answered
from audit.models.protocol import Model
from audit.runs.asking import Answer, Original, Patience
from audit.runs.figures import measure_case, merged

_WAITING = 64
"""How many answers may wait for their case to be audited, beside two batches. Those to cases that
were asked only for their variants may wait for ever. One that is dropped is asked again if needed.
"""


@dataclass
class Answers:
    """The answers of one process.

    Attributes:
        patience: through which the model is asked.
    """

    patience: Patience = field(default_factory=Patience)
    _waiting: dict[str, Answer] = field(default_factory=dict)
    _originals: dict[str, Original] = field(default_factory=dict)

    def to(
        self, case: Case, ahead: Callable[[], Iterable[Case]], model: Model, batch_size: int
    ) -> Answer:
        """The answer to ``case``; the model answers cases of ``ahead`` in the same batch."""
        while missing := self._missing(case):
            batch = {each.id: each for each in missing}
            for other in ahead():
                if len(batch) >= batch_size:
                    break
                for each in self._missing(other):
                    batch.setdefault(each.id, each)
            self._ask(list(batch.values())[:batch_size], model, batch_size)
        answer = self._waiting.pop(case.id)
        if case.original is None:
            return answer
        return replace(answer, original=self._originals[case.original.id])

    def _missing(self, case: Case) -> list[Case]:
        """What must be asked before ``case`` can be judged."""
        found = []
        if case.original is not None and case.original.id not in self._originals:
            found.append(case.original)
        if case.id not in self._waiting:
            found.append(case)
        return found

    def _ask(self, batch: Sequence[Case], model: Model, batch_size: int) -> None:
        answers = self.patience.answers(batch, model, batch_size)
        for case, answer in zip(batch, answers, strict=True):
            self._waiting[case.id] = answer
            if case.varied:
                self._originals[case.id] = _original(case, answer)
        while len(self._waiting) > 2 * batch_size + _WAITING:
            del self._waiting[next(iter(self._waiting))]


def _original(case: Case, answer: Answer) -> Original:
    """What variants need of the answer to their case."""
    if answer.evidence is None:
        return Original(Answered("", {}), "", WHOLE, answer.error)
    try:
        repeats = [answer.evidence, *answer.again]
        found = merged([measure_case(case, each, answer.curves) for each in repeats])
    except Exception as error:  # the case itself reports it as well
        return Original(Answered("", {}), "", WHOLE, in_a_sentence(error))
    key = case.map.key
    p = found.maps.get(key)
    return Original(
        Answered(found.label, found.probabilities),
        next(str(value) for value in found.metrics[key].values()) if p is None else p,
        answer.evidence.trace.view,
    )
