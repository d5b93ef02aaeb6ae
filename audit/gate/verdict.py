"""Judges the outcome of a case: against what the case expects, and against its baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audit.base.errors import BaselineError
from audit.base.files import counted
from audit.base.settings import Update
from audit.cases.expectations import Verdict
from audit.gate.accepted import Baseline, Held
from audit.gate.drift import VIEW, metric_of
from audit.gate.outcomes import DriftRow, Outcome, State
from audit.gate.stack import Origin, asked_otherwise, device_class, differences, same_weights
from audit.gate.tolerances import Level, Noise, Tolerances
from audit.gate.waived import Waived
from audit.metrics.registry import REGISTRY_VERSION


@dataclass(frozen=True)
class Policy:
    """A folder of baselines, and which outcomes a session proposes as new ones.

    Attributes:
        provenance: stored in proposed baselines, to tell where they came from.
        noise: the noise floors, which set the tolerances that a case does not declare.
        waived: which limits are set aside for the model of this folder.
    """

    folder: Path
    update: Update = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    noise: Noise = field(default_factory=Noise)
    waived: Waived = field(default_factory=Waived)

    def same(self, before: Baseline) -> bool:
        """Whether a baseline is of the weights that this session audits."""
        return same_weights(self.provenance, before.provenance)

    def is_stale(self, outcome: Outcome, before: Baseline) -> bool:
        """Whether a baseline is of another case, or of a model that was asked in another way."""
        return bool(self._stale(outcome, before))

    def _stale(self, outcome: Outcome, before: Baseline) -> str:
        """What changed if a baseline is stale; empty if it is not."""
        if before.is_stale(outcome.case_digest, outcome.former_digest):
            return _changed(outcome, before)
        if asked_otherwise(self.provenance, before.provenance):
            return "the asking file changed, so probabilities are of other questions or answers"
        if outcome.default_map and outcome.default_map != before.default_map:
            # A case that names no map is the same case for models with different defaults, but
            # there is no figure of this map to compare with.
            return f"its own map is {outcome.default_map} now, and was {before.default_map}"
        return ""

    def level(self, before: Baseline) -> Level | None:
        """The noise of this session's precision, between its device and the baseline's."""
        return level_of(self.noise, self.provenance, before.provenance)

    def held(self, declared: Mapping[str, float], before: Baseline) -> Tolerances | None:
        """What figures of the same weights are held to; None if ``before`` is of others.

        Args:
            declared: by metric, what the case tolerates; it counts for the same weights as well.
        """
        return self.noise.held(declared, self.level(before)) if self.same(before) else None

    def judge(self, outcome: Outcome, held: Held) -> tuple[State, str]:
        """The state of an outcome that was compared with ``held``, and the reason.

        Raises:
            BaselineError: the baseline is damaged, and this session does not replace it.
        """
        proposed = self.proposes(outcome, held)
        if held.damage and not proposed:
            raise BaselineError(_damaged(outcome, held))
        before = held.baseline
        state, reason = judge_contract(outcome)
        if state.failed:
            if before is not None and (stale := self._stale(outcome, before)):
                reason += f"; and its baseline is stale: {stale}"
            elif before is not None and self.same(before) and _drifted(outcome):
                reason += f"; {self._stack(outcome, before)}"
            return state, reason
        if before is not None and (stale := self._stale(outcome, before)):
            case = before.is_stale(outcome.case_digest, outcome.former_digest)
            other = (
                "the case is not the one its baseline was accepted for"
                if case
                else "the model is not asked as it was for its baseline"
            )
            state = State.STALE
            drifted = f"{other}: {stale}; accept it with audit accept, or --audit-update=changed"
        else:
            state, drifted = _judge_drift(outcome, before)
        if state is State.DRIFTED and before is not None and self.same(before):
            state, drifted = State.STACK, self._stack(outcome, before)
        if proposed:
            kept = reason if state in (State.NEW, State.STALE) else drifted
            return State.PASSED, f"{kept}; proposed as its baseline{_instead(held)}"
        return state, drifted

    def proposes(self, outcome: Outcome, held: Held) -> bool:
        """Whether this session proposes the outcome as a baseline.

        Contract and drift are two separate verdicts. An outcome that breaks its contract is still
        fully measured and may become a baseline; the contract goes on failing.
        """
        if outcome.undefined:
            return False
        kinds = {row.verdict for row in outcome.drift}
        if "crept" in kinds and "drifted" not in kinds:
            return False  # an update keeps the anchors, so the case would still have crept
        if self.update == "all":
            return True
        if held.damage:
            return self.update == "changed"
        before = held.baseline
        if before is None:
            return self.update == "new"
        stale = self.is_stale(outcome, before)
        return self.update == "changed" and (stale or bool(kinds - {"within"}))

    def _stack(self, outcome: Outcome, before: Baseline) -> str:
        """That the weights are the baseline's, what moved all the same, and what else differs."""
        rows, level = _drifted(outcome), self.level(before)
        differ = differences(
            self.provenance, before.provenance, level.measured if level else None,
            set(map(metric_of, rows)),
        )  # fmt: skip
        return f"the weights are the baseline's, and {_moved(rows, 'moved')}; {differ}"


def level_of(noise: Noise, now: Origin, then: Origin) -> Level | None:
    """The noise of a precision, between the devices of two records of where figures came from."""
    first, second = now.get("model", {}), then.get("model", {})
    devices = [device_class(str(each.get("device", ""))) for each in (first, second)]
    return noise.level(str(first.get("dtype", "")), [each for each in devices if each])


def judge_contract(outcome: Outcome) -> tuple[State, str]:
    """The state of an outcome by its contract alone, without a baseline, and the reason."""
    failed = [v for v in outcome.verdicts if not v.passed]
    if not failed:
        return State.PASSED, _kept(outcome)
    # What is broken for certain comes first: a figure without a value must not hide it.
    known = any(not v.undefined for v in failed)
    return State.BROKEN if known else State.UNDEFINED, _broken(failed)


def _judge_drift(outcome: Outcome, before: Baseline | None) -> tuple[State, str]:
    """The state of a case that keeps its contract, compared with its baseline, and the reason."""
    if before is None:
        said = "there is no baseline for this case"
        return State.NEW, f"{said}; create it with audit accept, or --audit-update=new"
    kinds = ("drifted", "crept", "improved")
    moved = {v: [r for r in outcome.drift if r.verdict == v] for v in kinds}
    if moved["drifted"]:
        return State.DRIFTED, f"{_moved(moved['drifted'])}; every declared expectation holds"
    if moved["crept"]:
        return State.CREPT, _crept(moved["crept"])
    if moved["improved"]:
        return State.IMPROVED, _moved(moved["improved"])
    return State.PASSED, _kept(outcome)


def _changed(outcome: Outcome, before: Baseline) -> str:
    """What changed in a case since its baseline was accepted, as far as the baseline tells."""
    now, then = outcome.metrics, before.figures
    found = []
    # Older versions, which stored no stack, knew a picture by its file's bytes.
    if outcome.image_digest != before.image and before.provenance.get("stack"):
        found.append("the picture")
    if outcome.text != before.text:
        found.append("the text")
    if outcome.default_map != before.default_map:
        found.append("the map")
    elif {key: set(values) for key, values in now.items()} != {
        key: set(values) for key, values in then.items()
    }:
        found.append("the names of regions, or the figures and maps that are asked for")
    if before.provenance.get("metric_registry", REGISTRY_VERSION) != REGISTRY_VERSION:
        found.append("the definition of a metric")
    if not found:
        rest = ["the premise", "the boxes of a region"]
        rest = ["the picture", *rest] if not before.provenance.get("stack") else rest
        rest += ["its case", "how it is made from that"] if outcome.variant_of else []
        found = [f"{', '.join(rest[:-1])} or {rest[-1]}"]
    return f"{' and '.join(found)} changed"


def _drifted(outcome: Outcome) -> list[DriftRow]:
    return [row for row in outcome.drift if row.verdict == "drifted"]


def _instead(held: Held) -> str:
    if not held.damage:
        return ""
    lost = "; its anchors are lost and begin anew" if held.baseline is None else ""
    return f" in place of the damaged one{lost}"


def _damaged(outcome: Outcome, held: Held) -> str:
    """What is wrong with a case's baseline, and with its contract if that is broken as well."""
    failed = [v for v in outcome.verdicts if not v.passed]
    return f"{_broken(failed)}; besides, {held.damage}" if failed else held.damage


def _broken(failed: list[Verdict]) -> str:
    kinds = [[v for v in failed if v.undefined is undefined] for undefined in (False, True)]
    return "; besides, ".join(some[0].reason + _more(some, "expectation") for some in kinds if some)


def _kept(outcome: Outcome) -> str:
    count = len(outcome.verdicts)
    return {1: "the expectation holds", 2: "both expectations hold"}.get(
        count, f"all {count} expectations hold"
    )


def _crept(rows: list[DriftRow]) -> str:
    row = rows[0]
    return (
        f"{row.figure} crept from {row.anchor}, first accepted, to {row.observed} in accepted "
        f"steps, more than the tolerance of {row.tolerance:g}{_more(rows, 'figure')}; review them "
        "as one change, then audit accept"
    )


def _more(rows: Sequence[object], noun: str) -> str:
    return f" (and {counted(len(rows) - 1, f'more {noun}')})" if len(rows) > 1 else ""


def _moved(rows: list[DriftRow], verb: str = "") -> str:
    row, more = rows[0], _more(rows, "figure")
    if row.figure == "label":
        return f"the label changed from {row.baseline} to {row.observed}{more}"
    if row.figure == VIEW:
        return (
            f"the maps cover {row.observed} of the picture, those of the baseline {row.baseline}: "
            f"their figures are not compared{more}"
        )
    return (
        f"{row.figure} {verb or row.verdict} from {row.baseline} to {row.observed}, "
        f"more than the tolerance of {row.tolerance:g}{more}"
    )
