"""Accepts outcomes of a run as baselines and lists the state of baselines; needs no model.

A run may come from anywhere, a pipeline's artefact or a stranger's mail. So what it claims is
checked against this project: the baselines and case files that it names must be here.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, TypeAdapter

from audit.base.errors import BaselineError, CaseError, RunError
from audit.base.files import counted, shown_path
from audit.base.names import name_of
from audit.base.records import EDITED, MEGABYTE, CaseId, read_record
from audit.cases.discovery import Pattern, find_files, parse
from audit.cases.loading import Case, check_unique, load_cases
from audit.cases.pictures import Pictures
from audit.cases.project import Project
from audit.gate import baselines
from audit.gate.accepted import Held
from audit.gate.claims import Checks, baselines_of, looks_like_cases
from audit.gate.headsfile import looked_up
from audit.gate.outcomes import Outcome, State
from audit.gate.runfolder import Run

ACCEPTABLE = (State.CREPT, State.DRIFTED, State.STACK, State.STALE, State.NEW, State.IMPROVED)
"""States that are accepted when no case is named; cases that break their contract are not."""


class Decision(BaseModel):
    """What a reviewer decided about one case."""

    model_config = EDITED

    case: CaseId
    decision: Literal["accept", "reject"]
    reason: str = ""


class Decisions(BaseModel):
    """A signed-off review of one run."""

    model_config = EDITED

    format: Literal[1]
    run: Annotated[str, Field(min_length=1, description="The id in the run's run.json.")]
    decisions: tuple[Decision, ...]


@cache
def _schema() -> TypeAdapter[Decisions]:
    return TypeAdapter(Decisions)


def load_decisions(path: Path, run: Run) -> list[Decision]:
    """Read a review of ``run``.

    Raises:
        BaselineError: the file cannot be read, has another format, or is about another run.
    """
    try:
        read = read_record(path, _schema(), BaselineError, limit=64 * MEGABYTE)
    except FileNotFoundError:
        raise BaselineError(f"{path}: cannot be read: no such file") from None
    mine = run.about().get("id", "")
    if read.run != mine:
        raise BaselineError(
            f"{path}: decides about run {shown_path(read.run)}, but {run.folder} is run "
            f"{shown_path(mine)}"
        )
    counts = Counter(d.case for d in read.decisions)
    twice = [case for case, count in counts.items() if count > 1]
    if twice:
        raise BaselineError(f"{path}: decides twice about {', '.join(sorted(twice))}")
    return list(read.decisions)


@dataclass(frozen=True)
class Accepted:
    """What :func:`accept` did.

    Attributes:
        cases: the cases accepted, sorted.
        folder: the folder of their baselines, as the caller or the run spelled it.
        notes: what the reviewer should know, one sentence each.
    """

    cases: list[str]
    folder: str
    notes: list[str]


def accept(
    run: Run,
    cases: Sequence[str] = (),
    decisions: Sequence[Decision] | None = None,
    *,
    root: Path = Path(),
    folder: Path | None = None,
    configured: Path | None = None,
    collects: Callable[[Path], bool] = looks_like_cases,
    reason: str = "",
    by: str = "",
) -> Accepted:
    """Make outcomes of ``run`` the baselines of their cases, all or none.

    Accepting an outcome that crept moves its anchors too, because the reviewer saw the whole
    change. A damaged baseline is replaced if its case is named.

    Args:
        cases: which to accept. If neither cases nor decisions are given: all in
            :data:`ACCEPTABLE`, and those that a killed session proposed but did not promote.
        decisions: a review; its own reasons come before ``reason``.
        root: of the project; paths in the run are relative to it and must lie inside it.
        folder: of the baselines, if the user named it; otherwise the run may name one that
            belongs to the project.
        configured: the folder of baselines that the project's configuration names.
        collects: whether a file is one of the project's case files.
        reason, by: stored in the baselines' provenance.

    Raises:
        BaselineError: with all reasons: a case is not in the run, was not audited completely, or
            changed since the run, or its baseline did. Nothing is written.
        RunError: the folder is not a run, is damaged, or names files outside the project.
    """
    run, about = run.settled(), run.about()
    model = about.get("model", {})
    if not model.get("digest"):
        raise RunError(f"{run.folder / 'run.json'}: model: does not say which model was audited")
    outcomes = {outcome.case: outcome for outcome in run.outcomes()}
    wanted = _wanted(run, outcomes, cases, decisions, reason)
    place = folder or baselines_of(run, root, configured)
    checks = Checks(run, place, root, collects)
    with baselines.updating(place), tempfile.TemporaryDirectory(prefix="audit-accept-") as staged:
        baselines.recover(place)
        if model.get("dtype"):  # not every run says so
            baselines.refuse_other_dtype(place, model["dtype"])
        before = {name: baselines.held(place, name) for name in wanted if name in outcomes}
        problems = [
            problem
            for name in wanted
            for problem in checks.problems(name, outcomes, before.get(name, Held()))
        ]
        if problems:
            raise BaselineError("nothing was accepted:\n" + "\n".join(problems))
        for name, why in wanted.items():
            proposal = baselines.propose(
                checks.renewed(outcomes[name]), checks.maps(name), before[name].baseline,
                {
                    "model": model,
                    **({"stack": about["stack"]} if about.get("stack") else {}),
                    "date": datetime.now(UTC).date().isoformat(),
                    "accepted_by": by,
                    "reason": why,
                    "run": about.get("id", ""),
                },
                anew=outcomes[name].state is State.CREPT,
            )  # fmt: skip
            proposal.write(Path(staged))
        taken = baselines.promote(Path(staged), place)
    notes = _notes([outcomes[name] for name in taken], before, model.get("name", ""))
    if not taken and not cases and decisions is None:
        notes.append(
            "no case of this run left its tolerances without breaking its contract; to accept "
            "cases all the same, name them, or audit them with --audit-update=all"
        )
    return Accepted(taken, str(folder or about["baselines"]), notes)


def _notes(taken: Sequence[Outcome], before: Mapping[str, Held], model: str) -> list[str]:
    """What the reviewer who accepted ``taken`` should know."""
    notes = []
    broken = [o.case for o in taken if any(not v.passed for v in o.verdicts)]
    if broken:
        notes.append(
            f"{counted(len(broken), 'case')} of these break their contract and go on failing: "
            f"{_some(broken)}"
        )
    held = {o.case: before[o.case] for o in taken}
    names = {
        str(h.baseline.provenance.get("model", {}).get("name", ""))
        for h in held.values()
        if h.baseline is not None
    }
    others = sorted(names - {"", model})
    if others:
        notes.append(f"these baselines were of {', '.join(others)}, and are of {model} now")
    lost = [name for name, h in held.items() if h.damage and h.baseline is None]
    if lost:
        notes.append(
            f"replaced {counted(len(lost), 'baseline')} that could not be read; the anchors are "
            f"lost, so creep is measured from now on: {_some(lost)}"
        )
    return notes


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"


def _wanted(
    run: Run,
    outcomes: Mapping[str, Outcome],
    cases: Sequence[str],
    decisions: Sequence[Decision] | None,
    reason: str,
) -> dict[str, str]:
    """The cases to be accepted, each with the reason."""
    if decisions is None:
        left = _left(run)
        names = cases or [n for n, o in outcomes.items() if o.state in ACCEPTABLE or n in left]
        return dict.fromkeys(names, reason)
    reasons = {d.case: d.reason or reason for d in decisions if d.decision == "accept"}
    if not cases:
        return reasons
    undecided = [name for name in cases if name not in reasons]
    if undecided:
        raise BaselineError(f"nothing was accepted: {undecided[0]} is not accepted in the review")
    return {name: reasons[name] for name in cases}


def _left(run: Run) -> set[str]:
    """The cases that a session had proposed when it was killed."""
    if (run.folder / "results.json").exists():
        return set()
    return {name_of(path.stem) for path in run.proposals.glob("*.json")}


@dataclass(frozen=True)
class Standing:
    """The state of a folder of baselines: which cases have one, and whether it still fits.

    ``damaged`` maps each case whose baseline cannot be used to the reason.
    """

    folder: Path
    accepted: list[str]
    missing: list[str]
    stale: list[str]
    orphans: list[str]
    damaged: dict[str, str]


def standing(folder: Path, cases: Iterable[Case]) -> Standing:
    """Compare a folder of baselines with the cases; damaged ones are listed and never raised.

    Raises:
        BaselineError: a case asks for chosen heads, and the folder's file of them is damaged.
    """
    baselines.recover(folder)
    known = {case.id: case for case in looked_up(cases, folder)}
    held = {name: baselines.held(folder, name) for name in known}
    damaged = {name: h.damage for name, h in sorted(held.items()) if h.damage}
    there = {n: h.baseline for n, h in held.items() if h.baseline is not None and not h.damage}
    stale = sorted(
        n for n, b in there.items() if b.is_stale(known[n].digest, known[n].former_digest)
    )
    return Standing(
        folder,
        accepted=sorted(set(there) - set(stale)),
        missing=sorted(set(known) - set(there) - set(damaged)),
        stale=stale,
        orphans=baselines.prune(folder, known),
        damaged=damaged,
    )


def all_cases(patterns: Sequence[str], root: Path = Path()) -> list[Case]:
    """Every case of the files that match ``patterns``, which are relative to ``root``.

    Raises:
        CaseError: no file matches, or one has a mistake.
    """
    return _cases_of(parse(patterns, root), root)


def chosen_cases(given: Sequence[str] | None, project: Project) -> list[Case]:
    """The cases of the patterns given to a command, or else those that pytest would find.

    Given patterns are relative to the working directory.

    Raises:
        CaseError: no file matches, or one has a mistake.
    """
    return all_cases(given) if given else _cases_of(project.patterns(), project.root)


def _cases_of(patterns: Sequence[Pattern], root: Path) -> list[Case]:
    files = find_files(patterns)
    if not files:
        written = ", ".join(pattern.written for pattern in patterns)
        raise CaseError(f"no case file matches {written} in {root.resolve()}")
    pictures: Pictures = {}
    cases = [case for path in files for case in load_cases(path, pictures)]
    check_unique(cases)
    return cases


def baseline_folders(given: Path) -> list[Path]:
    """``given`` if it holds baselines, else its subfolders that do.

    Raises:
        BaselineError: neither does.
    """
    if any(given.glob("*.json")):
        return [given]
    found = sorted({path.parent for path in given.glob("*/*.json")})
    found = [f for f in found if f.name != "provenance" and not f.name.startswith(".")]
    if not found:
        raise BaselineError(f"{given}: holds no baselines")
    return found
