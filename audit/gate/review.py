"""Review without a model: accept outcomes of a run as baselines, and see how baselines stand.

A run may come from anywhere, a pipeline's artefact or a stranger's mail. What it says of itself is
checked against this project: its baselines and case files must lie here.
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
from audit.base.records import EDITED, MEGABYTE, CaseId, read_record
from audit.cases.discovery import Pattern, find_files, parse
from audit.cases.loading import Case, Pictures, check_unique, load_cases
from audit.cases.project import Project
from audit.gate import baselines
from audit.gate.accepted import Held
from audit.gate.claims import Checks, baselines_of, looks_like_cases
from audit.gate.outcomes import Outcome, Run, State

ACCEPTABLE = (State.CREPT, State.DRIFTED, State.STALE, State.NEW, State.IMPROVED)
"""What is accepted when no case is named: what moved, and not what breaks its contract."""


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
        BaselineError: the file cannot be read, is of another form, or about another run.
    """
    try:
        read = read_record(path, _schema(), BaselineError, limit=64 * MEGABYTE)
    except FileNotFoundError:
        raise BaselineError(f"{path}: cannot be read: no such file") from None
    mine = run.about().get("id", "")
    if read.run != mine:
        raise BaselineError(
            f"{path}: decides about run {shown_path(read.run)}, and {run.folder} is run "
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
        folder: where their baselines lie, as it was named.
        notes: what whoever accepted them should know, a sentence each.
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

    An outcome that crept moves its anchors too: it was looked at as a whole. A baseline that is
    damaged is replaced, if its case is named.

    Args:
        cases: which; none, without decisions either, means all in :data:`ACCEPTABLE`, and what a
            session that was killed had proposed and not promoted.
        decisions: a review; its own reasons come before ``reason``.
        root: the project's, from which paths in the run count and in which they must lie.
        folder: of baselines, where somebody said it; else the run may name one of the project's.
        configured: the folder of baselines that the project's configuration names.
        collects: whether a file is one of the project's case files.
        reason, by: kept in the baselines' provenance.

    Raises:
        BaselineError: every reason why it cannot be: a case that the run does not hold, was not
            audited to its end, or that moved since, or whose baseline did. Nothing is written.
        RunError: the folder is not a run, is damaged, or names files that are not the project's.
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
                outcomes[name], checks.maps(name), before[name].baseline,
                {
                    "model": model,
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
    return Accepted(taken, str(folder or about["baselines"]), notes)


def _notes(taken: Sequence[Outcome], before: Mapping[str, Held], model: str) -> list[str]:
    """What whoever accepted ``taken`` should know."""
    said = []
    broken = [o.case for o in taken if any(not v.passed for v in o.verdicts)]
    if broken:
        said.append(
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
        said.append(f"these baselines were of {', '.join(others)}, and are of {model} now")
    lost = [name for name, h in held.items() if h.damage and h.baseline is None]
    if lost:
        said.append(
            f"replaced without having been read: {counted(len(lost), 'baseline')}, whose anchors "
            f"are lost, so that creep is measured from now on: {_some(lost)}"
        )
    return said


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"


def _wanted(
    run: Run,
    outcomes: Mapping[str, Outcome],
    cases: Sequence[str],
    decisions: Sequence[Decision] | None,
    reason: str,
) -> dict[str, str]:
    """Which cases are to be accepted, and why each."""
    if decisions is None:
        left = _left(run)
        names = cases or [n for n, o in outcomes.items() if o.state in ACCEPTABLE or n in left]
        return dict.fromkeys(names, reason)
    said = {d.case: d.reason or reason for d in decisions if d.decision == "accept"}
    if not cases:
        return said
    undecided = [name for name in cases if name not in said]
    if undecided:
        raise BaselineError(f"nothing was accepted: {undecided[0]} is not accepted in the review")
    return {name: said[name] for name in cases}


def _left(run: Run) -> set[str]:
    """Cases that a session had proposed when it died before its end."""
    if (run.folder / "results.json").exists():
        return set()
    return {path.stem for path in run.proposals.glob("*.json")}


@dataclass(frozen=True)
class Standing:
    """How a folder of baselines stands to the cases, without running a model.

    ``damaged`` says of each baseline that cannot be used why.
    """

    folder: Path
    accepted: list[str]
    missing: list[str]
    stale: list[str]
    orphans: list[str]
    damaged: dict[str, str]


def standing(folder: Path, cases: Iterable[Case]) -> Standing:
    """Compare a folder of baselines with the cases; one that is damaged is told and not raised."""
    baselines.recover(folder)
    known = {case.id: case for case in cases}
    held = {name: baselines.held(folder, name) for name in known}
    damaged = {name: h.damage for name, h in sorted(held.items()) if h.damage}
    there = {n: h.baseline for n, h in held.items() if h.baseline is not None and not h.damage}
    stale = sorted(n for n, b in there.items() if b.is_stale(known[n].digest))
    return Standing(
        folder,
        accepted=sorted(set(there) - set(stale)),
        missing=sorted(set(known) - set(there) - set(damaged)),
        stale=stale,
        orphans=baselines.prune(folder, known),
        damaged=damaged,
    )


def all_cases(patterns: Sequence[str], root: Path = Path()) -> list[Case]:
    """Every case of the files that match ``patterns``, which count from ``root``.

    Raises:
        CaseError: no file matches, or one has a mistake.
    """
    return _cases_of(parse(patterns, root), root)


def chosen_cases(given: Sequence[str] | None, project: Project) -> list[Case]:
    """The cases of the patterns that a command was given, or else those that pytest would find.

    What is given counts from the working directory, as paths of a command do.

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
        BaselineError: there are none.
    """
    if any(given.glob("*.json")):
        return [given]
    found = sorted({path.parent for path in given.glob("*/*.json")})
    found = [f for f in found if f.name != "provenance" and not f.name.startswith(".")]
    if not found:
        raise BaselineError(f"{given}: holds no baselines")
    return found
