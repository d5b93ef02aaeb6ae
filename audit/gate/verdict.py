"""How the outcome of a case stands: to what the case expects, and to its baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audit.base.errors import BaselineError
from audit.base.settings import Update
from audit.cases.expectations import Verdict
from audit.gate.accepted import Baseline, Held
from audit.gate.drift import VIEW
from audit.gate.outcomes import DriftRow, Outcome, State
from audit.gate.tolerances import Floors


@dataclass(frozen=True)
class Policy:
    """A folder of baselines, and which outcomes a session proposes as new ones.

    Attributes:
        provenance: what a baseline that is proposed will say of its origin.
        floors: noise floors, from which default tolerances follow.
    """

    folder: Path
    update: Update = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    floors: Floors = field(default_factory=dict)

    def judge(self, outcome: Outcome, held: Held) -> tuple[State, str]:
        """The state of an outcome that was compared with what is held for its case, and why.

        Raises:
            BaselineError: the baseline is damaged, and this session does not replace it.
        """
        proposed = self.proposes(outcome, held)
        if held.damage and not proposed:
            raise BaselineError(_damaged(outcome, held))
        before = held.baseline
        state, said = judge_contract(outcome)
        if state.failed:
            if before is not None and before.is_stale(outcome.case_digest):
                said += "; and its baseline is stale: the case changed since it was accepted"
            return state, said
        state, drifted = _judge_drift(outcome, before)
        if proposed:
            kept = said if state in (State.NEW, State.STALE) else drifted
            return State.PASSED, f"{kept}; proposed as its baseline{_instead(held)}"
        return state, drifted

    def proposes(self, outcome: Outcome, held: Held) -> bool:
        """Whether this session proposes the outcome as a baseline.

        Contract and drift are two verdicts: an outcome that breaks its contract is still measured
        whole, and may become a baseline; its contract goes on failing.
        """
        if any(v.undefined for v in outcome.verdicts):
            return False
        kinds = {row.verdict for row in outcome.drift}
        if "crept" in kinds and "drifted" not in kinds:
            return False  # an update keeps anchors, so it would creep as before
        if self.update == "all":
            return True
        if held.damage:
            return self.update == "changed"
        before = held.baseline
        if before is None:
            return self.update == "new"
        moved = before.is_stale(outcome.case_digest) or bool(kinds - {"within"})
        return self.update == "changed" and moved


def judge_contract(outcome: Outcome) -> tuple[State, str]:
    """The state of an outcome by what its case expects alone, and why."""
    failed = [v for v in outcome.verdicts if not v.passed]
    if not failed:
        return State.PASSED, _kept(outcome)
    undefined = any(v.undefined for v in failed)
    return State.UNDEFINED if undefined else State.BROKEN, _broken(failed)


def _judge_drift(outcome: Outcome, before: Baseline | None) -> tuple[State, str]:
    """How a case that keeps its contract stands to its baseline."""
    if before is None:
        return State.NEW, "there is no baseline for this case; create it with --audit-update=new"
    if before.is_stale(outcome.case_digest):
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


def _instead(held: Held) -> str:
    if not held.damage:
        return ""
    lost = "; its anchors are lost and begin anew" if held.baseline is None else ""
    return f" in place of the damaged one{lost}"


def _damaged(outcome: Outcome, held: Held) -> str:
    """What is wrong with a case's baseline, and with its contract if that is broken too."""
    failed = [v for v in outcome.verdicts if not v.passed]
    return f"{_broken(failed)}; besides, {held.damage}" if failed else held.damage


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
    if row.figure == VIEW:
        return (
            f"the maps cover {row.observed} of the picture, those of the baseline {row.baseline}: "
            f"their figures are not compared{more}"
        )
    return (
        f"{row.figure} {row.verdict} from {row.baseline} to {row.observed}, "
        f"more than the tolerance of {row.tolerance:g}{more}"
    )
