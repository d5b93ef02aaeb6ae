"""Accepts outcomes of a run as baselines and lists the state of baselines; needs no model.

A run may come from anywhere, a pipeline's artefact or a stranger's mail. So what it claims is
checked against this project: the baselines and case files that it names must be here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from audit.base.errors import BaselineError, CaseError, RunError, nearest
from audit.base.files import counted
from audit.base.names import name_of
from audit.cases.discovery import Pattern, find_files, parse
from audit.cases.loading import Case, check_unique, load_cases
from audit.cases.pictures import Pictures
from audit.cases.project import Project
from audit.gate import baselines
from audit.gate.accepted import Held
from audit.gate.claims import Checks, baselines_of, looks_like_cases
from audit.gate.decisions import (
    Agreement,
    Decision,
    Entry,
    add_to_log,
    agreement,
    joined,
    read_log,
    rejections,
)
from audit.gate.headsfile import looked_up
from audit.gate.outcomes import Outcome, State
from audit.gate.runfolder import Run

ACCEPTABLE = (State.CREPT, State.DRIFTED, State.STACK, State.STALE, State.NEW, State.IMPROVED)
"""States that are accepted when no case is named; cases that break their contract are not."""


@dataclass(frozen=True)
class Accepted:
    """What :func:`accept` did.

    Attributes:
        cases: the cases accepted, sorted.
        folder: the folder of their baselines, as the caller or the run spelled it.
        notes: what the reviewer should know, one sentence each.
        rejected: the cases that the reviewers rejected, sorted.
        disputed: the cases on which reviewers disagree, so that nothing was done about them, each
            with who decided what.
    """

    cases: list[str]
    folder: str
    notes: list[str]
    rejected: list[str] = field(default_factory=list)
    disputed: dict[str, str] = field(default_factory=dict)


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
    change. A damaged baseline is replaced if its case is named. The decisions of reviewers are
    added to the log beside the baselines; see :mod:`audit.gate.decisions`.

    Args:
        cases: which to accept. If neither cases nor decisions are given: all in
            :data:`ACCEPTABLE`, and those that a killed session proposed but did not promote.
        decisions: of one reviewer or of several; their own reasons come before ``reason``, their
            names before ``by``. Nothing is done about cases on which they disagree.
        root: of the project; paths in the run are relative to it and must lie inside it.
        folder: of the baselines, if the user named it; otherwise the run may name one that
            belongs to the project.
        configured: the folder of baselines that the project's configuration names.
        collects: whether a file is one of the project's case files.
        reason, by: stored in the baselines' provenance.

    Raises:
        BaselineError: with all reasons: a case is not in the run, was not audited completely, or
            changed since the run, or its baseline did, or the log is damaged. Nothing is written.
        RunError: the folder is not a run, is damaged, or names files outside the project.
    """
    run, about = run.settled(), run.about()
    model = about.get("model", {})
    if not model.get("digest"):
        raise RunError(f"{run.folder / 'run.json'}: model: does not say which model was audited")
    outcomes = {outcome.case: outcome for outcome in run.outcomes()}
    review = None if decisions is None else agreement(decisions)
    wanted = _wanted(run, outcomes, cases, review, reason, by)
    applied = _applied(review, wanted)
    place = folder or baselines_of(run, root, configured)
    checks = Checks(run, place, root, collects)
    with baselines.updating(place), tempfile.TemporaryDirectory(prefix="audit-accept-") as staged:
        baselines.recover(place)
        logged = read_log(place)
        if model.get("dtype"):  # not every run says so
            baselines.refuse_other_dtype(place, model["dtype"])
        named = dict.fromkeys([*wanted, *(each.case for each in applied)])
        before = {name: baselines.held(place, name) for name in named if name in outcomes}
        problems = [
            problem
            for name in named
            for problem in (
                checks.problems(name, outcomes, before.get(name, Held()))
                if name in wanted
                else _unknown(name, outcomes)
            )
        ]
        if problems:
            raise BaselineError("nothing was accepted:\n" + "\n".join(problems))
        for name, (why, who) in wanted.items():
            proposal = baselines.propose(
                checks.renewed(outcomes[name]), checks.maps(name), before[name].baseline,
                {
                    "model": model,
                    **({"stack": about["stack"]} if about.get("stack") else {}),
                    "date": datetime.now(UTC).date().isoformat(),
                    "accepted_by": who,
                    "reason": why,
                    "run": about.get("id", ""),
                },
                anew=outcomes[name].state is State.CREPT,
            )  # fmt: skip
            proposal.write(Path(staged))
        taken = baselines.promote(Path(staged), place)

        def said_of(name: str) -> dict[str, str]:
            compared = checks.compared(outcomes[name], before[name])
            state = outcomes[name].state.value
            return {"run": about.get("id", ""), "state": state, "baseline": compared}

        add_to_log(place, applied, said_of, logged)
    notes = _notes([outcomes[name] for name in taken], before, model.get("name", ""))
    if not taken and not cases and decisions is None:
        notes.append(
            "no case of this run left its tolerances without breaking its contract; to accept "
            "cases all the same, name them, or audit them with --audit-update=all"
        )
    return Accepted(
        taken,
        str(folder or about["baselines"]),
        notes,
        sorted({each.case for each in applied if each.decision == "reject"}),
        {name: joined((d.told for d in said), ", ") for name, said in _disputed(review)},
    )


def _notes(taken: Sequence[Outcome], before: Mapping[str, Held], model: str) -> list[str]:
    """What the reviewer who accepted ``taken`` should know."""
    notes = []
    broken = [o.case for o in taken if any(not v.passed for v in o.verdicts)]
    if broken:
        one = len(broken) == 1
        go_on = "breaks its contract and goes" if one else "break their contract and go"
        notes.append(f"{len(broken):,} of these {go_on} on failing: {_some(broken)}")
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
    review: Agreement | None,
    reason: str,
    by: str,
) -> dict[str, tuple[str, str]]:
    """The cases to be accepted, each with why and by whom."""
    if review is None:
        left = _left(run)
        names = cases or [n for n, o in outcomes.items() if o.state in ACCEPTABLE or n in left]
        return dict.fromkeys(names, (reason, by))
    accepted = {
        name: (
            joined((d.reason for d in each), "; ") or reason,
            joined((d.reviewer for d in each), ", ") or by,
        )
        for name, each in review.of("accept").items()
    }
    if not cases:
        return accepted
    undecided = [name for name in cases if name not in accepted]
    if undecided:
        how = "reviewers disagree" if undecided[0] in review.disputed else "not accepted"
        raise BaselineError(f"nothing was accepted: {undecided[0]}: {how} in the review")
    return {name: accepted[name] for name in cases}


def _applied(review: Agreement | None, wanted: Iterable[str]) -> list[Decision]:
    """The decisions that take effect: rejections, and of the others those that are wanted."""
    if review is None:
        return []
    names = {*review.of("reject"), *wanted}
    return [each for name, said in review.decisions.items() if name in names for each in said]


def _disputed(review: Agreement | None) -> list[tuple[str, list[Decision]]]:
    return sorted(review.disputed.items()) if review else []


def _unknown(name: str, outcomes: Mapping[str, Outcome]) -> list[str]:
    if name in outcomes:
        return []
    return [f"{name}: the run has no case of this name; {nearest(name, outcomes)}"]


def _left(run: Run) -> set[str]:
    """The cases that a session had proposed when it was killed."""
    if (run.folder / "results.json").exists():
        return set()
    return {name_of(path.stem) for path in run.proposals.glob("*.json")}


@dataclass(frozen=True)
class Standing:
    """The state of a folder of baselines: which cases have one, and whether it still fits.

    ``damaged`` maps each case whose baseline cannot be used to the reason, ``rejected`` each case
    whose last change was rejected to who did so, when and why, each reviewer once.
    """

    folder: Path
    accepted: list[str]
    missing: list[str]
    stale: list[str]
    orphans: list[str]
    damaged: dict[str, str]
    rejected: dict[str, str]


def rejected(folder: Path) -> list[Entry]:
    """The rejections in a folder's log that still stand.

    Raises:
        BaselineError: the log is damaged.
    """
    return rejections(read_log(folder), lambda name: baselines.held(folder, name).digest)


def standing(
    folder: Path, cases: Iterable[Case], others: Collection[str] = frozenset()
) -> Standing:
    """Compare a folder of baselines with the cases; damaged ones are listed and never raised.

    Args:
        others: ids of further cases, whose baselines are no orphans.

    Raises:
        BaselineError: a case asks for chosen heads and the folder's file of them is damaged, or the
            log of decisions is.
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
        orphans=baselines.prune(folder, {*known, *others}),
        damaged=damaged,
        rejected={
            case: "; ".join(entry.told for entry in said)
            for case, said in groupby(rejected(folder), lambda entry: entry.case)
        },
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


def belonging(given: Sequence[str] | None, project: Project) -> set[str]:
    """The ids of all cases whose baselines are no orphans.

    Those of the patterns given to a command and also those of the project: a command that looks at
    some of the files must not take the others' baselines for nobody's.

    Raises:
        CaseError: see :func:`chosen_cases`.
    """
    known = {case.id for case in chosen_cases(given, project)}
    if given and find_files(project.patterns()):
        known |= {case.id for case in chosen_cases(None, project)}
    return known


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
