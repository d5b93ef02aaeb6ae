"""The command line. The gate itself is pytest; these commands explain, redraw and describe."""

from __future__ import annotations

import atexit
import gc
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from audit import __version__
from audit.base.console import Commands, let_go, output, say, stop
from audit.base.errors import AuditError
from audit.base.files import counted, to_json, write_atomically
from audit.commands import asking, studies
from audit.maps.spec import told

app = typer.Typer(
    help="Audit visual entailment models: are the answers right, and right for the right reason?",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        say(f"audit {__version__}")
        raise typer.Exit


@app.callback()
def _commands(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Audit visual entailment models. The gate is pytest: `pytest cases --audit-model SOURCE`."""


app.command()(asking.explain)
app.command()(asking.serve)


@app.command()
def accept(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    cases: Annotated[
        list[str] | None,
        typer.Argument(help="Cases to accept; default: all that moved within their contract."),
    ] = None,
    decisions: Annotated[
        Path | None, typer.Option(help="A review: a JSON file with a decision for each case.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--baselines",
            help="Folder of baselines; default: the one that the run names, within the project.",
        ),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; kept in the baselines.")] = "",
    by: Annotated[
        str, typer.Option(envvar="AUDIT_ACCEPTED_BY", help="Who; kept in the baselines.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make outcomes of a run the accepted baselines: all, or none if a case changed since."""
    from audit.cases.project import project_at  # noqa: PLC0415
    from audit.gate.outcomes import Run  # noqa: PLC0415
    from audit.gate.review import accept as take  # noqa: PLC0415
    from audit.gate.review import load_decisions  # noqa: PLC0415

    stored, project = Run(run), project_at()
    review = None if decisions is None else load_decisions(decisions, stored)
    patterns = project.patterns()
    done = take(
        stored, cases or (), review, root=project.root, folder=folder,
        configured=project.accepted, reason=reason, by=by,
        collects=lambda path: any(pattern.matches(path) for pattern in patterns),
    )  # fmt: skip
    if as_json:
        about = {"accepted": done.cases, "baselines": done.folder, "cautions": done.notes}
        sys.stdout.write(to_json(about))
        return
    for name in done.cases:
        say(f"accepted {name}")
    for decision in review or ():
        if decision.decision == "reject":
            say(f"rejected {decision.case}")
    say(f"{counted(len(done.cases), 'baseline')} accepted, in {done.folder}")
    for note in done.notes:
        say(f"note: {note}")


_BASELINES = typer.Option(
    "--baselines",
    help="A folder of baselines, or one with a subfolder for each model; default: the project's.",
)


@app.command()
def status(
    cases: Annotated[list[str] | None, studies.CASES] = None,
    folder: Annotated[Path | None, _BASELINES] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Cases and baselines at a glance: accepted, missing, stale, orphans; needs no model."""
    from audit.cases.project import project_at  # noqa: PLC0415
    from audit.gate.review import baseline_folders, chosen_cases, standing  # noqa: PLC0415

    project = project_at()
    known = chosen_cases(cases, project)
    place = folder or project.accepted
    # Before the first update there is none, and every case is missing from it.
    folders = baseline_folders(place) if place.exists() or folder else [place]
    found = [standing(each, known) for each in folders]
    if as_json:
        rows = [{**asdict(s), "folder": str(s.folder)} for s in found]
        sys.stdout.write(to_json({"cases": len(known), "baselines": rows}))
        return
    say(counted(len(known), "case"))
    for each in found:
        say(
            f"{each.folder}: {len(each.accepted)} accepted, {len(each.missing)} missing, "
            f"{len(each.stale)} stale, {len(each.orphans)} orphans"
            f"{f', {len(each.damaged)} damaged' if each.damaged else ''}"
        )
        for title in ("missing", "stale", "orphans"):
            for name in getattr(each, title):
                say(f"  {title.removesuffix('s')}: {name}")
        for name, why in each.damaged.items():
            say(f"  damaged: {name}: {why}")


@app.command()
def prune(
    cases: Annotated[list[str] | None, studies.CASES] = None,
    folder: Annotated[Path | None, _BASELINES] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete them.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Report baselines that belong to no case; delete them only when told to."""
    from audit.cases.project import project_at  # noqa: PLC0415
    from audit.gate import baselines  # noqa: PLC0415
    from audit.gate.review import baseline_folders, chosen_cases  # noqa: PLC0415

    project = project_at()
    known = [case.id for case in chosen_cases(cases, project)]
    folders = baseline_folders(folder or project.accepted)
    found = {str(each): baselines.prune(each, known, delete=delete) for each in folders}
    if as_json:
        sys.stdout.write(to_json({"deleted": delete, "orphans": found}))
        return
    count = sum(map(len, found.values()))
    for place, names in found.items():
        for name in names:
            say(f"{'deleted' if delete else 'orphan'}: {place}/{name}.json")
    said = "nothing to prune" if not count else f"{counted(count, 'baseline')} without a case"
    say(f"{said}, deleted" if delete and count else said)


app.command()(studies.compare)
app.command()(studies.validity)
app.command()(studies.noise)
app.command()(studies.power)


@app.command()
def model(
    source: Annotated[
        str,
        typer.Argument(
            help="reference, shortcut, a checkpoint folder, or a ModelScope id[@revision]."
        ),
    ] = "reference",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Where a model's checkpoint folder lies, and its labels."""
    from audit.models.ofa.sources import labels_of, resolve  # noqa: PLC0415

    found = resolve(source)
    labels = list(labels_of(found.folder))
    about = {"source": source, "revision": found.revision, "folder": str(found.folder)}
    if as_json:
        sys.stdout.write(to_json({**about, "labels": labels}))
        return
    say(f"folder: {found.folder}")
    say(f"labels: {', '.join(labels)}")


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    everything: Annotated[
        bool, typer.Option("--all", help="Show passing cases whole too.")
    ] = False,
) -> None:
    """Redraw a run's gallery; needs no model."""
    from audit.gate.outcomes import Run  # noqa: PLC0415
    from audit.report.gallery import write_gallery  # noqa: PLC0415

    stored = Run(run)
    stored.about()
    say(write_gallery(stored, "all" if everything else "failed"))


@app.command()
def schema(
    out: Annotated[
        Path | None, typer.Option(parser=output, metavar="PATH", help="Write it to this file.")
    ] = None,
) -> None:
    """Print the JSON Schema of case files, for editors."""
    from audit.cases.schema import schema as case_schema  # noqa: PLC0415

    text = json.dumps(case_schema(), indent=2, ensure_ascii=False) + "\n"
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_atomically(out, text.encode())


def main() -> None:
    """Run the command line; errors that audit raises on purpose are one message, exit code 2."""
    # Importing torch makes a million objects, and none of them is garbage: looking for cycles among
    # them, and once more at exit, takes a second.
    gc.set_threshold(100_000, 20, 100)
    atexit.register(gc.freeze)
    try:
        app()
    except KeyboardInterrupt:  # before a command has begun
        stop()
    except ValidationError as error:
        _fail(f"--map: {told(error)}")
    except (AuditError, ValueError) as error:
        _fail(str(error))
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _fail(f"{place}{error.strerror or error}")
    finally:
        let_go()


def _fail(message: str) -> None:
    say(f"audit: error: {message}", error=True)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
