"""Declared expectations and how they are judged: each gives a verdict that carries its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from audit.errors import nearest
from audit.maps import MapSpec
from audit.metrics import METRICS, region_key

_STRICT = ConfigDict(extra="forbid", frozen=True)

Finite = Annotated[float, Field(allow_inf_nan=False)]


def _known_metric(name: str) -> str:
    if name not in METRICS:
        raise ValueError(f"{name!r} is not a metric; {nearest(name, METRICS)}")
    return name


class ProbabilityExpectation(BaseModel):
    """Limits on the probability of the expected label."""

    model_config = _STRICT

    min: Finite | None = Field(None, ge=0, le=1, description="Smallest probability that passes.")
    max: Finite | None = Field(None, ge=0, le=1, description="Largest probability that passes.")

    @model_validator(mode="after")
    def _possible(self) -> ProbabilityExpectation:
        _possible_range(self.min, self.max)
        return self


class AttentionExpectation(BaseModel):
    """Limits on one metric of a map."""

    model_config = _STRICT

    metric: Annotated[str, AfterValidator(_known_metric)] = Field(
        description="Name of the metric.", json_schema_extra={"enum": [*sorted(METRICS)]}
    )
    region: str | None = Field(
        None, description="Name of one of the case's regions, for metrics of a region."
    )
    min: Finite | None = Field(None, description="Smallest value that passes.")
    max: Finite | None = Field(None, description="Largest value that passes.")
    map: MapSpec | None = Field(None, description="Which map to measure; default: the case's.")

    @model_validator(mode="after")
    def _possible(self) -> AttentionExpectation:
        metric = METRICS[self.metric]
        _possible_range(self.min, self.max)
        if metric.kind == "region" and self.region is None:
            raise ValueError(f"the metric {self.metric!r} needs a region")
        if metric.kind != "region" and self.region is not None:
            raise ValueError(f"the metric {self.metric!r} takes no region")
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
    def key(self) -> str:
        """The name under which the metric's value is stored."""
        return region_key(self.metric, self.region) if self.region else self.metric


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


@dataclass(frozen=True)
class Verdict:
    """The judgement of one expectation.

    Attributes:
        expectation: what was judged, e.g. ``mass of birds``.
        passed: whether it holds.
        observed: the value found, as text ready to print.
        limit: what it had to be, as text.
        reason: one sentence that says why it passed or failed.
        undefined: whether it failed because the metric has no value.
    """

    expectation: str
    passed: bool
    observed: str
    limit: str
    reason: str
    undefined: bool = False


def limits(low: float | None, high: float | None) -> str:
    """Limits in words.

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
        default_map: the map that expectations without their own are about.
        metrics: by map key, then by stored metric name, the value or why there is none.

    Returns:
        One verdict for each expectation, in the order of the case file.
    """
    verdicts = [
        Verdict(
            "label",
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
    for wanted in expect.attention:
        spec = wanted.map or default_map
        what = f"{wanted.metric} of {wanted.region}" if wanted.region else wanted.metric
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
