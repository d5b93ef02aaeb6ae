"""The command line. The gate itself is pytest; these commands explain, redraw and describe."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from audit.errors import AuditError, nearest
from audit.files import to_json, write_atomically
from audit.mapspec import MapSpec

if TYPE_CHECKING:
    from audit.comparison import Comparison, Side

app = typer.Typer(
    help="Audit visual entailment models: are the answers right, and right for the right reason?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _commands() -> None:
    """Audit visual entailment models. The gate is pytest: `pytest cases --audit-model SOURCE`."""


@app.command()
def explain(
    image: Annotated[Path, typer.Argument(help="The picture.")],
    text: Annotated[str, typer.Argument(help="The hypothesis: a sentence about the picture.")],
    premise: Annotated[str | None, typer.Option(help="A text premise beside the picture.")] = None,
    model: Annotated[
        str, typer.Option(help="reference, a checkpoint folder, or a ModelScope id[@revision].")
    ] = "reference",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    asked: Annotated[
        str,
        typer.Option(
            "--map",
            metavar="MAP",
            help="A method and its keys: 'rollout', 'cross_attention layers=last:4 heads=1,3', "
            "'encoder_attention word=birds', 'relevance variant=paper' ...",
        ),
    ] = "cross_attention",
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
        str, typer.Option(help="Colour scale of --layers and --words: shared, or each its own.")
    ] = "shared",
    colours: Annotated[
        str, typer.Option(help="A matplotlib colour map: viridis, inferno, jet ...")
    ] = "viridis",
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("audit-explain"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Ask the model about one picture: verdict, figures, heatmaps."""
    from matplotlib import colormaps  # noqa: PLC0415

    from audit.explain import explain as ask  # noqa: PLC0415  torch and matplotlib only when needed
    from audit.models import load_model  # noqa: PLC0415

    _known("--colours", colours, colormaps)
    _known("--scale", scale, ("shared", "each"))
    spec = MapSpec.parse(asked)
    if animate and not (layers or words):
        layers, words = spec.per_layer, True
    found = ask(
        load_model(model, device, dtype), image, text, premise, spec, layers=layers, words=words
    )
    drawn = found.draw(
        out, image.stem, colours=colours, scale="each" if scale == "each" else "shared",
        animate=animate,
    )  # fmt: skip
    files = {name: str(path) for name, path in drawn.items()}
    if as_json:
        heatmap = files.pop("heatmap")
        sys.stdout.write(to_json({**found.to_dict(), "heatmap": heatmap, "files": files}))
        return
    console = Console(highlight=False)
    trace = found.trace
    console.print(
        f"[bold]{trace.label}[/bold]", f"({trace.probabilities[trace.label]:.1%})", markup=True
    )
    console.print(" ".join(f"{k} {v:.4f}" for k, v in trace.probabilities.items()))
    console.print(f"{spec.key}, {trace.grid.rows} x {trace.grid.cols} cells", markup=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name, value in found.metrics.items():
        table.add_row(name, f"undefined: {value}" if isinstance(value, str) else f"{value:.4f}")
    console.print(table)
    for name, file in files.items():
        console.print(f"{name}: {file}", markup=False, soft_wrap=True)


@app.command()
def accept(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    cases: Annotated[
        list[str] | None,
        typer.Argument(help="Cases to accept; default: all that moved within their contract."),
    ] = None,
    decisions: Annotated[
        Path | None, typer.Option(help="A review exported by the gallery: decisions.json.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; kept in the baselines.")] = "",
    by: Annotated[
        str, typer.Option(envvar="AUDIT_ACCEPTED_BY", help="Who; kept in the baselines.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make outcomes of a run the accepted baselines: all of them, or none if anything moved."""
    from audit.outcomes import Run  # noqa: PLC0415
    from audit.review import accept as take  # noqa: PLC0415
    from audit.review import load_decisions  # noqa: PLC0415

    stored = Run(run)
    review = None if decisions is None else load_decisions(decisions, stored)
    taken = take(stored, cases or (), review, reason=reason, by=by)
    folder = stored.about()["baselines"]
    if as_json:
        sys.stdout.write(to_json({"accepted": taken, "baselines": folder}))
        return
    for name in taken:
        typer.echo(f"accepted {name}")
    typer.echo(f"{len(taken)} baselines accepted, in {folder}")


_CASES = typer.Option("--cases", help="Glob pattern of case files; may be repeated.")
_BASELINES = typer.Option(
    "--baselines", help="A folder of baselines, or one with a subfolder for each model."
)


@app.command()
def status(
    cases: Annotated[list[str] | None, _CASES] = None,
    folder: Annotated[Path, _BASELINES] = Path("baselines"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Cases and baselines at a glance: accepted, missing, stale, orphans; needs no model."""
    from audit.review import all_cases, baseline_folders, standing  # noqa: PLC0415

    known = all_cases(cases or ["cases/*.yaml"])
    found = [standing(each, known) for each in baseline_folders(folder)]
    if as_json:
        rows = [{**asdict(s), "folder": str(s.folder)} for s in found]
        sys.stdout.write(to_json({"cases": len(known), "baselines": rows}))
        return
    typer.echo(f"{len(known)} cases")
    for each in found:
        typer.echo(
            f"{each.folder}: {len(each.accepted)} accepted, {len(each.missing)} missing, "
            f"{len(each.stale)} stale, {len(each.orphans)} orphans"
        )
        for title in ("missing", "stale", "orphans"):
            for name in getattr(each, title):
                typer.echo(f"  {title.removesuffix('s')}: {name}")


@app.command()
def prune(
    cases: Annotated[list[str] | None, _CASES] = None,
    folder: Annotated[Path, _BASELINES] = Path("baselines"),
    delete: Annotated[bool, typer.Option("--delete", help="Delete them.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Report baselines that belong to no case; delete them only when told to."""
    from audit import baselines  # noqa: PLC0415
    from audit.review import all_cases, baseline_folders  # noqa: PLC0415

    known = [case.id for case in all_cases(cases or ["cases/*.yaml"])]
    folders = baseline_folders(folder)
    found = {str(each): baselines.prune(each, known, delete=delete) for each in folders}
    if as_json:
        sys.stdout.write(to_json({"deleted": delete, "orphans": found}))
        return
    count = sum(map(len, found.values()))
    for place, names in found.items():
        for name in names:
            typer.echo(f"{'deleted' if delete else 'orphan'}: {place}/{name}.json")
    typer.echo(f"{count} baselines belong to no case" + ("" if delete else "; --delete removes"))


@app.command()
def compare(
    before: Annotated[str, typer.Argument(help="A run, a folder of baselines, or a model.")],
    after: Annotated[str, typer.Argument(help="The same, to compare with it.")],
    cases: Annotated[list[str] | None, _CASES] = None,
    device: Annotated[str, typer.Option(help="Of models: auto, cpu, cuda or cuda:N.")] = "auto",
    alpha: Annotated[float, typer.Option(min=0, max=1, help="Significance, corrected.")] = 0.05,
    effect: Annotated[
        float, typer.Option(min=0, help="Smallest mean change that counts, in tolerances.")
    ] = 0.5,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("audit-compare.html"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare two runs, baselines or models; exit code 1 if the second is worse."""
    from audit import comparison  # noqa: PLC0415
    from audit.report.comparison_page import write_comparison  # noqa: PLC0415
    from audit.suite import Limits  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="audit-compare-") as temporary:
        sides = [
            comparison.side_of_folder(Path(given))
            or _audited(given, device, cases or ["cases/*.yaml"], Path(temporary) / str(number))
            for number, given in enumerate((before, after))
        ]
        found = comparison.compare(sides[0], sides[1], Limits(alpha, effect))
        page = write_comparison(out, found)
    if as_json:
        sys.stdout.write(to_json({**found.to_dict(), "page": str(page)}))
    else:
        _print_comparison(found)
        typer.echo(f"page: {page}")
    raise typer.Exit(1 if found.suite.failed else 0)


def _audited(source: str, device: str, cases: list[str], folder: Path) -> Side:
    """Audit the cases with a model, to compare what it says."""
    from audit.comparison import side_of_run  # noqa: PLC0415
    from audit.models import load_model  # noqa: PLC0415
    from audit.outcomes import Run  # noqa: PLC0415
    from audit.review import all_cases  # noqa: PLC0415
    from audit.runner import audit_cases  # noqa: PLC0415

    run = Run(folder)
    for _ in audit_cases(all_cases(cases), load_model(source, device), run):
        pass
    return side_of_run(run, source)


def _print_comparison(found: Comparison) -> None:
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("case, most moved first", overflow="fold")
    for column in ("label", "probability", *found.pairs[0].distances):
        table.add_column(column, justify="right")
    for pair in found.pairs:
        labels = (pair.before.label, pair.after.label)
        distances = pair.distances.values()
        table.add_row(
            Text(pair.after.case),
            labels[0] if labels[0] == labels[1] else " → ".join(labels),
            f"{pair.probability[1] - pair.probability[0]:+.3f}",
            *("undefined" if isinstance(d, str) else f"{d:.3f}" for d in distances),
        )
    console.print(table)
    shifts = Table(box=None, pad_edge=False)
    for column in (
        "metric",
        "mean change",
        "95 % interval",
        "tolerances",
        "p corrected",
        "verdict",
    ):
        shifts.add_column(column, justify="left" if column in ("metric", "verdict") else "right")
    for s in found.suite.shifts:
        shifts.add_row(
            s.metric, f"{s.change.mean:+.4f}", f"{s.change.low:+.4f} to {s.change.high:+.4f}",
            f"{s.effect:+.1f}", f"{s.adjusted:.2g}", s.verdict,
        )  # fmt: skip
    console.print(shifts)
    for case, reason in found.left_out.items():
        console.print(f"not compared: {case}: {reason}", markup=False)
    console.print(f"{found.headline}: {found.sentence}", markup=False, soft_wrap=True)


@app.command()
def validity(
    model: Annotated[
        str, typer.Option(help="reference, a checkpoint folder, or a ModelScope id[@revision].")
    ] = "reference",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    scenes: Annotated[int, typer.Option(min=2, help="Held-out scenes.")] = 300,
    randomised_scenes: Annotated[
        int, typer.Option(min=1, help="Scenes for the randomisation test.")
    ] = 40,
    processes: Annotated[
        int, typer.Option(min=1, help="Processes that share the scenes, a model each.")
    ] = 1,
    out: Annotated[Path, typer.Option(help="The page to write; its plot lies beside it.")] = Path(
        "docs/validity.md"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure every map against every control: which may be trusted for what."""
    from rich.progress import track  # noqa: PLC0415

    from audit.validity.measure import Settings, measure  # noqa: PLC0415
    from audit.validity.page import verdicts, write_page  # noqa: PLC0415

    errors = Console(stderr=True)
    found = measure(
        model,
        device,
        Settings(scenes, min(scenes, randomised_scenes), scenes, processes=processes),
        lambda items, total, title: iter(track(items, title, total, console=errors)),
    )
    plot = write_page(out, found)
    if as_json:
        sys.stdout.write(to_json({**found, "page": str(out), "plot": str(plot)}))
        return
    table = Table(box=None, pad_edge=False)
    columns = ("pointing", "mass", "lift", "rank", "auc", "deletion_margin", "insertion_margin")
    table.add_column("map")
    for column in (*columns, "trusted for"):
        table.add_column(column.replace("_", " "))
    for name, row in found["maps"].items():
        said = verdicts(name, found) if name in found["randomisation"]["maps"] else {}
        cells = [row["figures"].get(column) for column in columns]
        table.add_row(
            name,
            *(f"{cell['mean']:.3f}" if cell else "" for cell in cells),
            ", ".join(use for use, holds in said.items() if holds),
        )
    console = Console(highlight=False)
    console.print(table)
    console.print(f"page: {out}\nplot: {plot}", markup=False, soft_wrap=True)


def _known(option: str, value: str, choices: Iterable[str]) -> None:
    if value not in choices:
        raise ValueError(f"{option}: {value!r} is not known; {nearest(value, choices)}")


@app.command()
def report(run: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Redraw a run's gallery; needs no model."""
    from audit.outcomes import Run  # noqa: PLC0415
    from audit.report.gallery import write_gallery  # noqa: PLC0415

    stored = Run(run)
    stored.about()
    typer.echo(write_gallery(stored))


@app.command()
def schema(
    out: Annotated[Path | None, typer.Option(help="Write it to this file.")] = None,
) -> None:
    """Print the JSON Schema of case files, for editors."""
    from audit.cases import schema as case_schema  # noqa: PLC0415

    text = json.dumps(case_schema(), indent=2, ensure_ascii=False) + "\n"
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_atomically(out, text.encode())


def main() -> None:
    """Run the command line; errors that audit raises on purpose are one message, exit code 2."""
    try:
        app()
    except ValidationError as error:
        first = error.errors()[0]
        key = f"{first['loc'][0]}: " if first["loc"] else ""
        _fail(f"--map: {key}{first['msg'].removeprefix('Value error, ')}")
    except (AuditError, ValueError) as error:
        _fail(str(error))


def _fail(message: str) -> None:
    typer.echo(f"audit: error: {message}", err=True)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
