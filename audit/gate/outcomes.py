"""The typed result of a case: its state, what was measured, and how it compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass as checked

from audit.base.files import counted
from audit.base.records import (
    CaseName,
    Count,
    Digest,
    DigestOrNone,
    Figure,
    Finite,
    Fraction,
    Positive,
    Probability,
    T,
    View,
)
from audit.cases.expectations import LABEL, Verdict
from audit.gate.stack import Weights
from audit.maps.keys import Sentence
from audit.metrics.registry import Better


class State(StrEnum):
    """How a case ended, worst first."""

    ERROR = "error"
    UNDEFINED = "undefined"
    BROKEN = "contract broken"
    DRIFTED = "drifted"
    STACK = "stack"
    CREPT = "creep"
    STALE = "stale"
    NEW = "new"
    IMPROVED = "improved"
    PASSED = "passed"

    @property
    def failed(self) -> bool:
        """Whether a case in this state fails its run."""
        return self not in (State.PASSED, State.IMPROVED)


@dataclass(frozen=True)
class DriftRow:
    """One figure beside its baseline.

    ``verdict`` is ``within``, ``drifted``, ``improved``, or ``crept``: within the tolerance of the
    value accepted last, but not of the one accepted first, the anchor. ``tolerance`` is absolute.
    ``better`` says which direction would be an improvement; against a baseline of the same weights
    a move in that direction has drifted, too. The rows named ``label`` and ``view`` are not about
    figures.
    """

    figure: str
    baseline: str
    observed: str
    change: Finite
    tolerance: Positive
    verdict: Literal["within", "drifted", "improved", "crept"]
    anchor: str = ""
    better: Better = "neither"


@checked(config=ConfigDict(extra="forbid"))
class Outcome:
    """The result of auditing one case, without its maps, for which see :meth:`Run.maps`.

    Attributes:
        metrics: by map key, then by stored metric name: the value, or why it is undefined.
        unsaid: of a model that talks, the probability of all that is no label's answer.
        default_map: key of the case's own map.
        regions: boxes [left, top, right, bottom] as fractions of the image, by region.
        view: the part of the picture that the grid covers, in fractions of its sides.
        image_digest: the picture's identity, which is the name of its copy in the run folder.
        expected: the label that is right; empty for a variant that leaves it open.
        case_digest: fingerprint of what was asked: picture, texts, regions, maps, metric registry.
        former_digest: the fingerprint in which the picture is its file's bytes; see :class:`Case`.
        baseline_digest: SHA-256 of the baseline that this was compared with; empty if none.
        weights: whether that baseline is of the same weights; empty if there was none.
        wanted: by region, whether it is better if more of a map falls there, less, or neither.
        critical: whether a regression of this case alone is a veto.
        xfail: why the case is known to fail; empty if it is expected to pass.
        spread: largest minus smallest value, by map key and stored metric name, if the model was
            asked more than once.
        seconds: time that the model spent on this case, its share of the batch.
        variant_of: the case that a variant is made from; empty for a case.
        variant_of_image: digest of that case's picture.
        variant_of_view: the part of that picture that its map covers.
        made: how a variant is made, in words.
        case_file_digest: SHA-256 of the case file as it was read, with the limits that were judged
            by; empty in runs of earlier versions.
    """

    case: CaseName
    file: str
    line: Count
    state: State
    sentence: Sentence
    text: str
    premise: str | None
    tags: list[str]
    expected: str
    image: str
    image_digest: Digest
    image_size: tuple[Count, Count]
    case_digest: DigestOrNone
    regions: dict[str, list[tuple[Fraction, Fraction, Fraction, Fraction]]]
    label: str = ""
    probabilities: dict[str, Probability] = field(default_factory=dict)
    prompt: str = ""
    tokens: list[str] = field(default_factory=list)
    grid: tuple[Count, Count] = (0, 0)
    view: View = (0.0, 0.0, 1.0, 1.0)
    default_map: str = ""
    metrics: dict[str, dict[str, Figure]] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)
    drift: list[DriftRow] = field(default_factory=list)
    former_digest: DigestOrNone = ""
    baseline_digest: str = ""
    weights: Weights = ""
    wanted: dict[str, Better] = field(default_factory=dict)
    critical: bool = False
    xfail: str = ""
    spread: dict[str, dict[str, Finite]] = field(default_factory=dict)
    seconds: Positive = 0.0
    variant_of: CaseName | Literal[""] = ""
    variant_of_image: DigestOrNone = ""
    variant_of_view: View = (0.0, 0.0, 1.0, 1.0)
    made: str = ""
    unsaid: Probability | None = None
    case_file_digest: DigestOrNone = ""

    @property
    def source_image(self) -> str:
        """Digest of the picture that this is about; for a variant, that of its case."""
        return self.variant_of_image or self.image_digest

    @property
    def undefined(self) -> bool:
        """Whether an expectation is about a figure without a value; then nobody may accept it."""
        return any(verdict.undefined for verdict in self.verdicts)

    @property
    def failed(self) -> bool:
        """Whether this fails its run.

        A case that is known to fail does not, unless it could not be audited: then nobody can tell
        whether it fails as it is known to.
        """
        return self.state.failed and not (self.xfail and self.state is not State.ERROR)

    @property
    def known(self) -> bool:
        """Whether this failed as it is known to, which fails no run."""
        return self.state.failed and not self.failed

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; an undefined metric becomes ``{"undefined": reason}``."""
        data = schema_of(Outcome).dump_python(self, mode="json")
        data["metrics"] = {
            key: {k: {"undefined": v} if isinstance(v, str) else v for k, v in values.items()}
            for key, values in self.metrics.items()
        }
        plain: dict[str, Any] = data
        return plain


@cache
def schema_of(of: type[T]) -> TypeAdapter[T]:
    """Reads and writes records of a type strictly."""
    return TypeAdapter(of)


def labels_told(outcomes: Sequence[Outcome]) -> str:
    """How many labels are right, in words.

    The label of a variant is right if it stands to its case's as it must, whatever label that is.
    """
    cases = [o for o in outcomes if not o.variant_of]
    asked = [o for o in outcomes if o.variant_of and _label_asked(o)]
    told = []
    if cases or not asked:
        right = sum(o.label == o.expected for o in cases)
        told.append(f"{right} of {len(cases)} as expected")
    if asked:
        held = sum(v.passed for o in asked for v in o.verdicts if v.expectation == LABEL)
        told.append(f"of variants {held} of {len(asked)} as they must be")
    return "; ".join(told)


def _label_asked(variant: Outcome) -> bool:
    """Whether something is asked of its label; without an answer, as far as is known."""
    asked = any(verdict.expectation == LABEL for verdict in variant.verdicts)
    return asked or (not variant.label and variant.expected != "")


MUCH_UNSAID = 0.5
"""Above this, most of what the model would say is none of the answers it is read for."""


def unsaid_told(unsaid: Sequence[float | None]) -> str:
    """That probabilities are those of the little that is said; empty if enough is.

    Args:
        unsaid: what is left unsaid in each case; None if the model has no such.

    >>> unsaid_told([0.2, 0.6, 0.99])
    '2 cases leave more than half of the probability unsaid (up to 0.99): the answers of the \
asking file are not what the model says'
    """
    much = [each for each in unsaid if each is not None and each > MUCH_UNSAID]
    if not much:
        return ""
    leave, most = ("leaves", "") if len(much) == 1 else ("leave", "up to ")
    return (
        f"{counted(len(much), 'case')} {leave} more than half of the probability unsaid "
        f"({most}{max(much):.2f}): the answers of the asking file are not what the model says"
    )


def totals(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """The number of cases in each state that occurs, worst first."""
    counts = {state.value: sum(o.state is state for o in outcomes) for state in State}
    return {state: count for state, count in counts.items() if count}
