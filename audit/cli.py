"""The command line. The gate itself is pytest; these commands explain, redraw and describe."""

from __future__ import annotations

import atexit
import gc
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from audit import __version__, longrunning
from audit.console import Commands, let_go, stop
from audit.errors import AuditError, nearest
from audit.files import counted, to_json, write_atomically
from audit.mapspec import MapSpec, told
from audit.texts import readable

if TYPE_CHECKING:
    from audit.explain import Explanation

app = typer.Typer(
    help="Audit visual entailment models: are the answers right, and right for the right reason?",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"audit {__version__}")
        raise typer.Exit


@app.callback()
def _commands(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Audit visual entailment models. The gate is pytest: `pytest cases --audit-model SOURCE`."""


@app.command()
def explain(
    image: Annotated[Path, typer.Argument(help="The picture.")],
    text: Annotated[str, typer.Argument(help="The hypothesis: a sentence about the picture.")],
    premise: Annotated[str | None, typer.Option(help="A text premise beside the picture.")] = None,
    truncate: Annotated[
        bool, typer.Option("--truncate", help="Let the model cut texts longer than it reads.")
    ] = False,
    model: Annotated[
        str,
        typer.Option(
            help="reference, shortcut, a checkpoint folder, or a ModelScope id[@revision]."
        ),
    ] = "reference",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    engine: Annotated[
        str, typer.Option(help="fast, or reference for modelscope's own passes.")
    ] = "fast",
    threads: Annotated[int | None, longrunning.THREADS] = None,
    asked: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="MAP",
            help="A method and its keys: 'rollout', 'cross_attention layers=last:4 heads=1,3', "
            "'encoder_attention word=birds', 'relevance variant=paper' ...; may be repeated. "
            "Default: cross_attention.",
        ),
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Draw the map of every layer.")] = False,
    words: Annotated[
        bool, typer.Option("--words", help="Draw where the encoder looks from each word.")
    ] = False,
    animate: Annotated[
        bool,
        typer.Option(
            "--animate", help="Play --layers and --words as GIF and WebP; alone, both of them."
        ),
    ] = False,
    scale: Annotated[
        str,
        typer.Option(
            help="Colour scale of --layers and --words: shared, or each its own; by default layers "
            "share one and words do not."
        ),
    ] = "",
    colours: Annotated[
        str, typer.Option(help="A matplotlib colour map: viridis, inferno, jet ...")
    ] = "viridis",
    format: Annotated[str, typer.Option(help="Of heatmaps and sheets: png, svg or pdf.")] = "png",
    dpi: Annotated[
        int, typer.Option(min=30, max=600, help="Pixels of the heatmap to the inch; it has 9.")
    ] = 120,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("audit-explain"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Ask the model about one picture: verdict, figures, heatmaps."""
    # torch and matplotlib only when they are needed
    from audit.explain import check_folder, check_layers, explain_maps  # noqa: PLC0415
    from audit.images import open_image  # noqa: PLC0415
    from audit.models import load_model  # noqa: PLC0415
    from audit.models.hardware import note_on_dtype  # noqa: PLC0415
    from audit.reference.world import note_on_picture  # noqa: PLC0415
    from audit.report.heatmap import FORMATS  # noqa: PLC0415
    from audit.report.plotting import colour_maps  # noqa: PLC0415

    _known("--colours", colours, colour_maps())
    _known("--format", format, FORMATS)
    if scale:
        _known("--scale", scale, ("shared", "each"))
    text = readable(text, "the hypothesis")
    premise = None if premise is None else readable(premise, "the premise")
    specs = [MapSpec.parse(each) for each in asked or ["cross_attention"]]
    if animate and not (layers or words):
        layers, words = any(spec.per_layer for spec in specs), True
    # What cannot be done is said before a model is loaded, which may take a minute.
    check_layers(specs, layers)
    picture = open_image(image)
    check_folder(out)
    loaded = load_model(model, device, dtype, engine, threads)
    _note(note_on_dtype(loaded.fingerprint.device, dtype))
    found = explain_maps(
        loaded,
        picture,
        text,
        premise,
        list({spec.key: spec for spec in specs}.values()),
        truncate=truncate,
        layers=layers,
        words=words,
    )
    _note(note_on_picture(loaded.fingerprint.source, picture))
    drawn = [
        each.draw(
            out, image.name, text, colours=colours, scale=scale, animate=animate,
            format=FORMATS[format], dpi=dpi,
        )
        for each in found
    ]  # fmt: skip
    files = [{name: str(path) for name, path in paths.items()} for paths in drawn]
    if as_json:
        shown = [
            {**each.to_dict(), "heatmap": paths.pop("heatmap"), "files": paths}
            for each, paths in zip(found, files, strict=True)
        ]
        sys.stdout.write(to_json(shown[0] if len(specs) == 1 else {"maps": shown}))
        return
    console = Console(highlight=False)
    trace = found[0].trace
    console.print(
        f"[bold]{trace.label}[/bold]", f"({trace.probabilities[trace.label]:.1%})", markup=True
    )
    console.print(" ".join(f"{k} {v:.4f}" for k, v in trace.probabilities.items()))
    asked_of = found[0].model
    console.print(f"{asked_of.source}, {asked_of.dtype}, {asked_of.engine} engine", markup=False)
    for each, paths in zip(found, files, strict=True):
        _tell(console, each, paths)


def _tell(console: Console, found: Explanation, files: dict[str, str]) -> None:
    """One map in words: what it is, its figures, its pictures."""
    grid = found.trace.grid
    console.print(f"{found.spec.key}, {grid.rows} x {grid.cols} cells", markup=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name, value in found.metrics.items():
        table.add_row(name, f"undefined: {value}" if isinstance(value, str) else f"{value:.4f}")
    console.print(table)
    for name, file in files.items():
        console.print(f"{name}: {file}", markup=False, soft_wrap=True)


@app.command()
def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(help=f"{longrunning.MODEL[:-1]}; may be repeated, the first is chosen."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    engine: Annotated[
        str, typer.Option(help="fast, or reference for modelscope's own passes.")
    ] = "fast",
    host: Annotated[
        str, typer.Option(help="Address to serve at; loopback reaches nobody else.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to serve at.")] = 7860,
    share: Annotated[
        bool,
        typer.Option("--share", help="Make a public link, through a tunnel of gradio.live."),
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="A further name it is asked under; may be repeated."),
    ] = None,
    threads: Annotated[int | None, longrunning.THREADS] = None,
    cases: Annotated[list[str] | None, longrunning.CASES] = None,
) -> None:
    """Serve a page to ask about pictures and to write cases; needs the extra `app`."""
    from audit.app.serving import Address, require_gradio  # noqa: PLC0415
    from audit.app.serving import serve as serve_page  # noqa: PLC0415
    from audit.casefiles import find_files  # noqa: PLC0415
    from audit.project import project_at  # noqa: PLC0415
    from audit.review import chosen_cases  # noqa: PLC0415
    from audit.settings import EMBEDDED  # noqa: PLC0415

    require_gradio()
    address = Address(host, port, share, tuple(allow_host or ()))
    project = project_at()
    # Away from a project there are no cases, and none were asked for: then there are no examples.
    shipped = cases or find_files(project.patterns())
    examples = chosen_cases(cases, project) if shipped else []
    if address.warning:
        typer.echo(f"audit: warning: {address.warning}", err=True)
    serve_page(address, model or EMBEDDED, examples, device=device, dtype=dtype, engine=engine,
               threads=threads)  # fmt: skip


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
    from audit.outcomes import Run  # noqa: PLC0415
    from audit.project import project_at  # noqa: PLC0415
    from audit.review import accept as take  # noqa: PLC0415
    from audit.review import load_decisions  # noqa: PLC0415

    stored, project = Run(run), project_at()
    review = None if decisions is None else load_decisions(decisions, stored)
    patterns = project.patterns()
    done = take(
        stored, cases or (), review, root=project.root, folder=folder, reason=reason, by=by,
        collects=lambda path: any(pattern.matches(path) for pattern in patterns),
    )  # fmt: skip
    if as_json:
        about = {"accepted": done.cases, "baselines": done.folder, "cautions": done.notes}
        sys.stdout.write(to_json(about))
        return
    for name in done.cases:
        typer.echo(f"accepted {name}")
    for decision in review or ():
        if decision.decision == "reject":
            typer.echo(f"rejected {decision.case}")
    typer.echo(f"{counted(len(done.cases), 'baseline')} accepted, in {done.folder}")
    for note in done.notes:
        typer.echo(f"note: {note}")


_BASELINES = typer.Option(
    "--baselines",
    help="A folder of baselines, or one with a subfolder for each model; default: the project's.",
)


@app.command()
def status(
    cases: Annotated[list[str] | None, longrunning.CASES] = None,
    folder: Annotated[Path | None, _BASELINES] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Cases and baselines at a glance: accepted, missing, stale, orphans; needs no model."""
    from audit.project import project_at  # noqa: PLC0415
    from audit.review import baseline_folders, chosen_cases, standing  # noqa: PLC0415

    project = project_at()
    known = chosen_cases(cases, project)
    found = [standing(each, known) for each in baseline_folders(folder or project.accepted)]
    if as_json:
        rows = [{**asdict(s), "folder": str(s.folder)} for s in found]
        sys.stdout.write(to_json({"cases": len(known), "baselines": rows}))
        return
    typer.echo(counted(len(known), "case"))
    for each in found:
        typer.echo(
            f"{each.folder}: {len(each.accepted)} accepted, {len(each.missing)} missing, "
            f"{len(each.stale)} stale, {len(each.orphans)} orphans"
            f"{f', {len(each.damaged)} damaged' if each.damaged else ''}"
        )
        for title in ("missing", "stale", "orphans"):
            for name in getattr(each, title):
                typer.echo(f"  {title.removesuffix('s')}: {name}")
        for name, why in each.damaged.items():
            typer.echo(f"  damaged: {name}: {why}")


@app.command()
def prune(
    cases: Annotated[list[str] | None, longrunning.CASES] = None,
    folder: Annotated[Path | None, _BASELINES] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete them.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Report baselines that belong to no case; delete them only when told to."""
    from audit import baselines  # noqa: PLC0415
    from audit.project import project_at  # noqa: PLC0415
    from audit.review import baseline_folders, chosen_cases  # noqa: PLC0415

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
            typer.echo(f"{'deleted' if delete else 'orphan'}: {place}/{name}.json")
    said = "nothing to prune" if not count else f"{counted(count, 'baseline')} without a case"
    typer.echo(f"{said}, deleted" if delete and count else said)


app.command()(longrunning.compare)
app.command()(longrunning.validity)
app.command()(longrunning.noise)
app.command()(longrunning.power)


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
    from audit.models.sources import labels_of, resolve  # noqa: PLC0415

    found = resolve(source)
    labels = list(labels_of(found.folder))
    about = {"source": source, "revision": found.revision, "folder": str(found.folder)}
    if as_json:
        sys.stdout.write(to_json({**about, "labels": labels}))
        return
    typer.echo(f"folder: {found.folder}")
    typer.echo(f"labels: {', '.join(labels)}")


def _note(text: str) -> None:
    if text:
        typer.echo(f"audit: note: {text}", err=True)


def _known(option: str, value: str, choices: Iterable[str]) -> None:
    if value not in choices:
        raise ValueError(f"{option}: {value!r} is not known; {nearest(value, choices)}")


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    everything: Annotated[
        bool, typer.Option("--all", help="Show passing cases whole too.")
    ] = False,
) -> None:
    """Redraw a run's gallery; needs no model."""
    from audit.outcomes import Run  # noqa: PLC0415
    from audit.report.gallery import write_gallery  # noqa: PLC0415

    stored = Run(run)
    stored.about()
    typer.echo(write_gallery(stored, "all" if everything else "failed"))


@app.command()
def schema(
    out: Annotated[Path | None, typer.Option(help="Write it to this file.")] = None,
) -> None:
    """Print the JSON Schema of case files, for editors."""
    from audit.caseschema import schema as case_schema  # noqa: PLC0415

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
    typer.echo(f"audit: error: {message}", err=True)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
