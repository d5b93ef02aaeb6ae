"""The commands about baselines: accept, status and prune; none of them needs a model."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from audit.base.console import say
from audit.base.files import counted, to_json
from audit.base.names import stem_of
from audit.commands.shared import CASES, JSON, RUN

_BASELINES = typer.Option(
    "--baselines",
    help="A folder of baselines, or one with a subfolder for each model; default: the project's.",
)


def accept(
    run: Annotated[Path, RUN],
    cases: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CASE", help="Cases to accept; default: all that moved but keep their contract."
        ),
    ] = None,
    decisions: Annotated[
        list[Path] | None,
        typer.Option(
            help="A review: a JSON file with a decision for each case. Given more than once, the "
            "reviews are put together; nothing is done about cases on which they disagree."
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--baselines",
            help="Folder of baselines; default: the one that the run names, if in the project.",
        ),
    ] = None,
    reason: Annotated[
        str, typer.Option(help="Why they are accepted; stored in the baselines.")
    ] = "",
    by: Annotated[
        str, typer.Option(envvar="AUDIT_ACCEPTED_BY", help="Who accepts; stored in the baselines.")
    ] = "",
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Accept outcomes of a run as baselines: all, or none if a case changed since the run.

    Exit codes: 0 all is done; 1 reviewers disagree about a case, the others are
    done; 2 nothing is done, and why.

    Example: audit accept RUN --decisions decisions.json

    Example: audit accept RUN two-cats no-dog --reason "new tokenizer"
    """
    from audit.cases.project import project_at  # noqa: PLC0415
    from audit.gate.decisions import load_decisions  # noqa: PLC0415
    from audit.gate.review import accept as take  # noqa: PLC0415
    from audit.gate.runfolder import Run  # noqa: PLC0415

    stored, project = Run(run), project_at()
    review = (
        [each for path in decisions for each in load_decisions(path, stored)] if decisions else None
    )
    patterns = project.patterns()
    done = take(
        stored, cases or (), review, root=project.root, folder=folder,
        configured=project.accepted, reason=reason, by=by,
        collects=lambda path: any(pattern.matches(path) for pattern in patterns),
    )  # fmt: skip
    if as_json:
        about = {
            "accepted": done.cases,
            "rejected": done.rejected,
            "disputed": done.disputed,
            "baselines": done.folder,
            "cautions": done.notes,
        }
        sys.stdout.write(to_json(about))
    else:
        for name in done.cases:
            say(f"accepted {name}")
        for name in done.rejected:
            say(f"rejected {name}")
        for name, said in done.disputed.items():
            say(f"nothing done about {name}: reviewers disagree: {said}")
        say(f"{counted(len(done.cases), 'baseline')} accepted, in {done.folder}")
        for note in done.notes:
            say(f"note: {note}")
    if done.disputed:  # as merging does where it leaves a conflict
        raise typer.Exit(1)


def status(
    cases: Annotated[list[str] | None, CASES] = None,
    folder: Annotated[Path | None, _BASELINES] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Show which baselines are accepted, missing, stale or orphaned, and what was rejected.

    Example: audit status --baselines baselines/mine
    """
    from audit.cases.project import project_at  # noqa: PLC0415
    from audit.gate.review import (  # noqa: PLC0415
        baseline_folders,
        belonging,
        chosen_cases,
        standing,
    )

    project = project_at()
    known = chosen_cases(cases, project)
    place = folder or project.accepted
    # Before the first update the folder does not exist, and every case is missing.
    folders = baseline_folders(place) if place.exists() or folder else [place]
    others = belonging(cases, project) if cases else ()
    found = [standing(each, known, others) for each in folders]
    if as_json:
        rows = [{**asdict(s), "folder": str(s.folder)} for s in found]
        sys.stdout.write(to_json({"cases": len(known), "baselines": rows}))
        return
    say(counted(len(known), "case"))
    for each in found:
        say(
            f"{each.folder}: {len(each.accepted)} accepted, {len(each.missing)} missing, "
            f"{len(each.stale)} stale, {counted(len(each.orphans), 'orphan')}"
            f"{f', {len(each.damaged)} damaged' if each.damaged else ''}"
            f"{f', {len(each.rejected)} rejected' if each.rejected else ''}"
        )
        for title in ("missing", "stale", "orphans"):
            for name in getattr(each, title):
                say(f"  {title.removesuffix('s')}: {name}")
        for name, why in each.damaged.items():
            say(f"  damaged: {name}: {why}")
        for name, why in each.rejected.items():
            say(f"  rejected: {name}: {why}")


def prune(
    cases: Annotated[list[str] | None, CASES] = None,
    folder: Annotated[Path | None, _BASELINES] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete them.")] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """List baselines that belong to no case; delete them with --delete.

    Example: audit prune --delete
    """
    from audit.cases.project import project_at  # noqa: PLC0415
    from audit.gate import baselines  # noqa: PLC0415
    from audit.gate.review import baseline_folders, belonging  # noqa: PLC0415

    project = project_at()
    known = belonging(cases, project)
    folders = baseline_folders(folder or project.accepted)
    found = {str(each): baselines.prune(each, known, delete=delete) for each in folders}
    if as_json:
        sys.stdout.write(to_json({"deleted": delete, "orphans": found}))
        return
    count = sum(map(len, found.values()))
    for place, names in found.items():
        for name in names:
            say(f"{'deleted' if delete else 'orphan'}: {place}/{stem_of(name)}.json")
    summary = "nothing to prune" if not count else f"{counted(count, 'baseline')} without a case"
    say(f"{summary}, deleted" if delete and count else summary)
