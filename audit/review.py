"""Review without a model: accept outcomes of a run as baselines, and see how baselines stand."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audit import baselines
from audit.casefiles import Pattern, find_files, parse
from audit.cases import Case, Pictures, check_unique, load_cases
from audit.errors import BaselineError, CaseError, nearest
from audit.files import counted, digest_file
from audit.outcomes import Outcome, Run, State
from audit.project import Project

ACCEPTABLE = (State.CREPT, State.DRIFTED, State.STALE, State.NEW, State.IMPROVED)
"""What is accepted when no case is named: what moved, and not what breaks its contract."""

_STRICT = ConfigDict(extra="forbid", frozen=True)


class Decision(BaseModel):
    """What a reviewer decided about one case."""

    model_config = _STRICT

    case: str
    decision: Literal["accept", "reject"]
    reason: str = ""


class Decisions(BaseModel):
    """A signed-off review of one run."""

    model_config = _STRICT

    format: Literal[1]
    run: Annotated[str, Field(min_length=1, description="The id in the run's run.json.")]
    decisions: tuple[Decision, ...]


def load_decisions(path: Path, run: Run) -> list[Decision]:
    """Read a review of ``run``.

    Raises:
        BaselineError: the file cannot be read, is of another form, or about another run.
    """
    try:
        read = Decisions.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BaselineError(f"{path}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "file"
        raise BaselineError(f"{path}: {place}: {first['msg']}") from None
    mine = run.about().get("id", "")
    if read.run != mine:
        raise BaselineError(f"{path}: decides about run {read.run}, and {run.folder} is run {mine}")
    twice = {d.case for d in read.decisions if sum(d.case == e.case for e in read.decisions) > 1}
    if twice:
        raise BaselineError(f"{path}: decides twice about {', '.join(sorted(twice))}")
    return list(read.decisions)


def accept(
    run: Run,
    cases: Sequence[str] = (),
    decisions: Sequence[Decision] | None = None,
    *,
    reason: str = "",
    by: str = "",
    root: Path = Path(),
) -> list[str]:
    """Make outcomes of ``run`` the baselines of their cases, all or none.

    An outcome that crept moves its anchors too: it was looked at as a whole.

    Args:
        cases: which; none, without decisions either, means all in :data:`ACCEPTABLE`, and what a
            session that was killed had proposed and not promoted.
        decisions: a review; its own reasons come before ``reason``.
        reason, by: kept in the baselines' provenance.
        root: the project's, from which the run names case files and baselines.

    Returns:
        The cases accepted, sorted.

    Raises:
        BaselineError: every reason why it cannot be: a case that the run does not hold, was not
            audited to its end, or that moved since, or whose baseline did. Nothing is written.
        RunError: the folder is not a run.
    """
    about = run.about()
    outcomes = {outcome.case: outcome for outcome in run.outcomes()}
    wanted = _wanted(run, outcomes, cases, decisions, reason)
    folder = root / about["baselines"]
    baselines.recover(folder)
    dtype = about.get("model", {}).get("dtype")
    if dtype is not None:  # not every run says so
        baselines.refuse_other_dtype(folder, dtype)
    mine = about.get("id", "")
    problems = [p for name in wanted for p in _problems(outcomes, name, folder, mine, root)]
    if problems:
        raise BaselineError("nothing was accepted:\n" + "\n".join(problems))
    with tempfile.TemporaryDirectory(prefix="audit-accept-") as temporary:
        staged = Path(temporary)
        for name, why in wanted.items():
            outcome = outcomes[name]
            maps = {k: p for k, p in run.maps(name).items() if not k.startswith("baseline:")}
            baselines.propose(
                staged, outcome, maps, baselines.load(folder, name),
                {
                    "model": about["model"],
                    "date": datetime.now(UTC).date().isoformat(),
                    "accepted_by": by,
                    "reason": why,
                    "run": about.get("id", ""),
                },
                anew=outcome.state is State.CREPT,
            )  # fmt: skip
        return baselines.promote(staged, folder)


def accepted_from(run: Run, root: Path = Path()) -> dict[str, str]:
    """By case, the name of the model that its baseline was accepted from, as it stands now."""
    folder = root / run.about()["baselines"]
    stored = {o.case: baselines.load(folder, o.case) for o in run.outcomes()}
    return {
        case: str(b.provenance.get("model", {}).get("name", ""))
        for case, b in stored.items()
        if b is not None
    }


def cautions(run: Run, taken: Sequence[str], before: Mapping[str, str]) -> list[str]:
    """What whoever accepted ``taken`` should know, a sentence each.

    Args:
        before: what :func:`accepted_from` said before.
    """
    said = []
    broken = [o.case for o in run.outcomes() if o.case in taken and o.state is State.BROKEN]
    if broken:
        said.append(
            f"{counted(len(broken), 'case')} of these break their contract and go on failing: "
            f"{', '.join(broken[:5])}{', ...' if len(broken) > 5 else ''}"
        )
    mine = run.about().get("model", {}).get("name", "")
    others = sorted({before[case] for case in taken if before.get(case, mine) not in ("", mine)})
    if others:
        said.append(f"these baselines were of {', '.join(others)}, and are of {mine} now")
    return said


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
    return {path.stem for path in (run.folder / "proposals").glob("*.json")}


def _problems(
    outcomes: Mapping[str, Outcome], name: str, folder: Path, run: str, root: Path
) -> list[str]:
    outcome = outcomes.get(name)
    if outcome is None:
        return [f"{name}: the run holds no such case; {nearest(name, outcomes)}"]
    if outcome.state in (State.ERROR, State.UNDEFINED):
        return [f"{name}: {outcome.state.value}: {outcome.sentence}"]
    found = []
    try:
        now = {case.id: case for case in load_cases(root / outcome.file)}.get(name)
    except CaseError as error:
        return [f"{name}: its case file cannot be read any more: {error}"]
    if now is None:
        found.append(f"{name}: the case is gone from {outcome.file}")
    elif now.digest != outcome.case_digest:
        found.append(f"{name}: the case changed since the run; audit it again")
    path = folder / f"{name}.json"
    current = digest_file(path) if path.exists() else ""
    if current != outcome.baseline_digest:
        stored = baselines.load(folder, name)
        mine = stored is not None and stored.provenance.get("run") == run
        found.append(
            f"{name}: this outcome is accepted already"
            if mine
            else f"{name}: its baseline moved since the run; audit it again"
        )
    return found


@dataclass(frozen=True)
class Standing:
    """How a folder of baselines stands to the cases, without running a model."""

    folder: Path
    accepted: list[str]
    missing: list[str]
    stale: list[str]
    orphans: list[str]


def standing(folder: Path, cases: Iterable[Case]) -> Standing:
    """Compare a folder of baselines with the cases.

    Raises:
        BaselineError: a baseline cannot be read.
    """
    baselines.recover(folder)
    known = {case.id: case for case in cases}
    stored = {name: baselines.load(folder, name) for name in known}
    there = {name: b for name, b in stored.items() if b is not None}
    stale = sorted(n for n, b in there.items() if b.case_digest != known[n].digest)
    return Standing(
        folder,
        accepted=sorted(set(there) - set(stale)),
        missing=sorted(set(known) - set(there)),
        stale=stale,
        orphans=baselines.prune(folder, known),
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
    if not found:
        raise BaselineError(f"{given}: holds no baselines")
    return found
