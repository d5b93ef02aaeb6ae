"""Expectations and how they are judged: each gives a verdict with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from audit.base.errors import nearest
from audit.maps.keys import Sentence
from audit.maps.spec import MapSpec
from audit.metrics.keys import FigureKey
from audit.metrics.placement import THRESHOLD, read_threshold
from audit.metrics.registry import DEFAULTS, METRICS

_STRICT = ConfigDict(extra="forbid", frozen=True)


def number(given: object) -> object:
    """Refuse ``true`` and ``false`` where a number is needed: pydantic takes them for 1 and 0."""
    if isinstance(given, bool):
        raise ValueError("a number is needed here, not true or false")
    return given


Finite = Annotated[float, Field(allow_inf_nan=False)]


def _known_metric(name: str) -> str:
    if name not in METRICS:
        raise ValueError(f"{name!r} is not a metric; {nearest(name, METRICS)}")
    return name


def _threshold(given: object) -> str:
    rule, value = read_threshold(str(given))
    return f"{rule}:{value}"


def _schema_of_attention(schema: dict[str, Any]) -> None:
    """Copy from the registry into the schema what each metric is, and which keys it takes."""
    schema["properties"]["metric"]["oneOf"] = [
        {
            "const": name,
            "description": f"{m.summary} {m.range}; better: {m.better}; of a uniform map: "
            f"{m.chance}; undefined when: {m.undefined or 'never'}.",
        }
        for name, m in METRICS.items()
    ]
    schema["allOf"] = []
    for key in ("region", *dict.fromkeys(o for m in METRICS.values() for o in m.options)):
        takers = [name for name in METRICS if key in _taken(name)]
        rule = {
            "if": {"properties": {"metric": {"enum": takers}}},
            "else": {"properties": {key: {"type": "null"}}},
        }
        if key in _NEEDED:
            rule["then"] = {"required": [key], "properties": {key: {"not": {"type": "null"}}}}
        schema["allOf"].append(rule)


def _taken(metric: str) -> tuple[str, ...]:
    """The keys that an expectation about this metric may have, but not about every metric."""
    row = METRICS[metric]
    return (*(["region"] if row.kind == "region" else []), *row.options)


_NEEDED = {
    "region": "a region",
    "against": "a map to compare with: against: {method: ...}",
}
"""Keys that only some metrics take, and that these metrics require."""


class ProbabilityExpectation(BaseModel):
    """Limits on the probability of the expected label."""

    model_config = _STRICT

    min: Finite | None = Field(None, ge=0, le=1, description="Smallest probability that passes.")
    max: Finite | None = Field(None, ge=0, le=1, description="Largest probability that passes.")

    _number = field_validator("min", "max", mode="before")(number)

    @model_validator(mode="after")
    def _possible(self) -> ProbabilityExpectation:
        _possible_range(self.min, self.max)
        return self


class AttentionExpectation(BaseModel):
    """Limits on one metric of a map."""

    model_config = ConfigDict(**_STRICT, json_schema_extra=_schema_of_attention)

    metric: Annotated[str, AfterValidator(_known_metric)] = Field(description="Name of the metric.")
    region: str | None = Field(
        None, description="Name of one of the case's regions, for metrics of a region."
    )
    against: MapSpec | None = Field(
        None, description="The other map, for distances between two maps."
    )
    tolerance: Annotated[int, Field(strict=True, ge=0)] | None = Field(
        None,
        description="pointing: how many cells beside the region still count; default "
        f"{DEFAULTS['tolerance']}.",
    )
    threshold: (
        Annotated[
            str,
            BeforeValidator(_threshold),
            Field(json_schema_extra={"pattern": f"^({THRESHOLD})$"}),
        ]
        | None
    ) = Field(
        None,
        description="iou: which cells count, by a rule and a number between 0 and 1: quantile:0.9, "
        f"max_share:0.5 or mass:0.5; default {DEFAULTS['threshold']}.",
    )
    share: Annotated[Finite, Field(gt=0, lt=1)] | None = Field(
        None,
        description="focus_area: the share of the map that the cells must hold; default "
        f"{DEFAULTS['share']}.",
    )
    min: Finite | None = Field(None, description="Smallest value that passes.")
    max: Finite | None = Field(None, description="Largest value that passes.")
    map: MapSpec | None = Field(None, description="Which map to measure; default: the case's.")

    _number = field_validator("min", "max", "share", mode="before")(number)

    @model_validator(mode="after")
    def _possible(self) -> AttentionExpectation:
        metric = METRICS[self.metric]
        _possible_range(self.min, self.max)
        taken = _taken(self.metric)
        for key, what in _NEEDED.items():
            if key in taken and getattr(self, key) is None:
                raise ValueError(f"the metric {self.metric!r} needs {what}")
        if metric.kind != "region" and self.region is not None:
            raise ValueError(f"the metric {self.metric!r} takes no region")
        for key in ("against", *DEFAULTS):
            if key not in taken and getattr(self, key) is not None:
                takes = ", ".join((*taken, "min", "max", "map"))
                raise ValueError(f"the metric {self.metric!r} takes no {key!r}; it takes {takes}")
        if self.min is not None and metric.high is not None and self.min > metric.high:
            raise ValueError(
                f"min {self.min:g} can never pass: {self.metric} is at most {metric.high:g}"
            )
        if self.max is not None and metric.low is not None and self.max < metric.low:
            raise ValueError(
                f"max {self.max:g} can never pass: {self.metric} is at least {metric.low:g}"
            )
        return self

    @property
    def options(self) -> dict[str, int | float | str]:
        """The metric's options that differ from their defaults, as the registry names them."""
        given = {name: getattr(self, name) for name in DEFAULTS}
        return {n: v for n, v in given.items() if v is not None and v != DEFAULTS[n]}

    @property
    def key(self) -> str:
        """The name under which the metric's value is stored."""
        return str(self._figure_key)

    @property
    def _figure_key(self) -> FigureKey:
        other = {} if self.against is None else {"against": self.against.key}
        return FigureKey.of(self.metric, self.region, {**self.options, **other})

    @property
    def on_request(self) -> bool:
        """Whether this is measured only if an expectation asks for it, not for every map."""
        return METRICS[self.metric].kind in ("distance", "model") or bool(self.options)

    @property
    def figure(self) -> str:
        """What is measured, in words: ``pointing of birds (tolerance 1)``, ``js against blank``."""
        return self._figure_key.words


def _possible_range(low: float | None, high: float | None) -> None:
    if low is None and high is None:
        raise ValueError("give min, max or both")
    if low is not None and high is not None and low > high:
        raise ValueError(f"min {low:g} is greater than max {high:g}: nothing can pass")


class Expect(BaseModel):
    """What a case expects of the model."""

    model_config = _STRICT

    label: str = Field(description="The label that the model must give.")
    probability: ProbabilityExpectation | None = Field(
        None, description="Limits on the probability of that label."
    )
    attention: tuple[AttentionExpectation, ...] = Field(
        (), description="Limits on metrics of attention maps."
    )


LABEL = "label"
"""The name of the expectation about the label."""


@dataclass(frozen=True)
class Verdict:
    """The judgement of one expectation.

    Attributes:
        expectation: what was judged, e.g. ``mass of birds``.
        passed: whether it holds.
        observed: the value found, as text ready to print.
        limit: what the value had to be, as text.
        reason: one sentence that says why it passed or failed.
        undefined: whether it failed because the metric has no value.
    """

    expectation: Sentence
    passed: bool
    observed: str
    limit: str
    reason: Sentence
    undefined: bool = False


def limits(low: float | None, high: float | None) -> str:
    """The limits in words.

    >>> limits(0.4, None), limits(None, 0.2), limits(0.4, 0.6)
    ('at least 0.4', 'at most 0.2', 'between 0.4 and 0.6')
    """
    if low is not None and high is not None:
        return f"between {low:g} and {high:g}"
    return f"at least {low:g}" if low is not None else f"at most {high:g}"


def _within(what: str, value: float, low: float | None, high: float | None) -> Verdict:
    limit = limits(low, high)
    passed = (low is None or value >= low) and (high is None or value <= high)
    reason = f"{what} is {value:.4g}, and must be {limit}"
    return Verdict(what, passed, f"{value:.4g}", limit, reason)


def judge(
    expect: Expect,
    label: str,
    probabilities: Mapping[str, float],
    default_map: MapSpec,
    metrics: Mapping[str, Mapping[str, float | str]],
) -> list[Verdict]:
    """Judge what was measured.

    Args:
        expect: the case's expectations.
        label: the model's answer.
        probabilities: probability of every answer.
        default_map: the map that is measured for expectations that name no map.
        metrics: by map key, then by stored metric name: the value, or the reason why there is none.

    Returns:
        One verdict for each expectation, in the order of the case file.
    """
    verdicts = [
        Verdict(
            LABEL,
            label == expect.label,
            f"{label} ({probabilities[label]:.4g})",
            expect.label,
            f"the label is {label}, and must be {expect.label}",
        )
    ]
    if expect.probability:
        verdicts.append(
            _within(
                f"probability of {expect.label}",
                probabilities[expect.label],
                expect.probability.min,
                expect.probability.max,
            )
        )
    return [*verdicts, *judge_attention(expect.attention, default_map, metrics)]


def judge_attention(
    expected: Sequence[AttentionExpectation],
    default_map: MapSpec,
    metrics: Mapping[str, Mapping[str, float | str]],
) -> list[Verdict]:
    """Judge expectations of attention; see :func:`judge`."""
    verdicts = []
    for wanted in expected:
        spec = wanted.map or default_map
        what = wanted.figure
        if wanted.map and wanted.map != default_map:
            what += f" ({spec.key})"
        value = metrics[spec.key][wanted.key]
        if isinstance(value, str):
            limit = limits(wanted.min, wanted.max)
            reason = f"{what} is undefined: {value}"
            verdicts.append(Verdict(what, False, "undefined", limit, reason, undefined=True))
        else:
            verdicts.append(_within(what, value, wanted.min, wanted.max))
    return verdicts
