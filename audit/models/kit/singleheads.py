"""The conformance suite's check of single heads."""

from __future__ import annotations

from audit.base.errors import MapError
from audit.maps.trace import ANSWER, EACH_HEAD, HeadPlace, ReadingKey
from audit.models.kit.subject import Failure, Subject, apart, off, refuse_missing, told_key


def check_single_heads(subject: Subject) -> None:
    """Single heads, if the model gives them, have the mean that its reading over all heads has.

    The last one must be the same by its place as among all.
    """
    if ANSWER.method not in subject.model.methods:
        return
    for query in subject.queries:
        try:
            (trace,) = subject.ask([query], frozenset({ANSWER, EACH_HEAD}))
        except Failure as failure:
            if isinstance(failure.__cause__, MapError):
                return
            raise
        refuse_missing({ANSWER, EACH_HEAD}, trace)
        together, each = (trace.readings[key].cells for key in (ANSWER, EACH_HEAD))
        layers, (heads, left) = len(together), divmod(len(each), len(together))
        means = each[: layers * heads].reshape(layers, heads, *trace.grid).mean(axis=1)
        if left or apart(means, together) > subject.tolerance.cell * together.max():
            raise Failure(
                f"{len(each)} single heads of {layers} layers do not have the mean that all heads "
                "have; there must be one for each head, those of the first layer first"
            )
        last = ReadingKey(ANSWER.method, (HeadPlace(layers, heads),))
        (alone,) = subject.ask([query], frozenset({last}))
        refuse_missing({last}, alone)
        if off(alone.readings[last], trace.readings[EACH_HEAD]._replace(cells=each[-1:])) > (
            subject.tolerance.cell
        ):
            raise Failure(f"{told_key(last)} is another reading than the last of all heads")
