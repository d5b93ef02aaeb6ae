"""The command line. The gate itself is pytest; these commands explain, redraw and describe."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from audit.errors import AuditError, nearest
from audit.files import to_json, write_atomically
from audit.maps import MapSpec

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
    layers: Annotated[
        str, typer.Option(help="all, last, last:N, or numbers from 1: 4,8,12.")
    ] = "all",
    heads: Annotated[str, typer.Option(help="mean, max, or numbers from 1: 1,3.")] = "mean",
    colours: Annotated[
        str, typer.Option(help="A matplotlib colour map: viridis, inferno, jet ...")
    ] = "viridis",
    out: Annotated[Path, typer.Option(help="Folder for the heatmap.")] = Path("audit-explain"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Ask the model about one picture: verdict, figures, heatmap."""
    from matplotlib import colormaps  # noqa: PLC0415

    from audit.explain import explain as ask  # noqa: PLC0415  torch and matplotlib only when needed
    from audit.models import load_model  # noqa: PLC0415

    if colours not in colormaps:
        raise ValueError(f"--colours: {colours!r} is no colour map; {nearest(colours, colormaps)}")
    spec = MapSpec.model_validate({"layers": _numbers(layers), "heads": _numbers(heads)})
    found = ask(load_model(model, device, dtype), image, text, premise, spec)
    heatmap = out / f"{image.stem}.png"
    found.write_heatmap(heatmap, colours)
    if as_json:
        sys.stdout.write(to_json({**found.to_dict(), "heatmap": str(heatmap)}))
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
    console.print(f"heatmap: {heatmap}", markup=False, soft_wrap=True)


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


def _numbers(value: str) -> str | list[int]:
    parts = value.split(",")
    return [int(p) for p in parts] if all(p.strip().isdigit() for p in parts) else value


def main() -> None:
    """Run the command line; errors that audit raises on purpose are one message, exit code 2."""
    try:
        app()
    except ValidationError as error:
        first = error.errors()[0]
        _fail(f"--{first['loc'][0]}: {first['msg'].removeprefix('Value error, ')}")
    except (AuditError, ValueError) as error:
        _fail(str(error))


def _fail(message: str) -> None:
    typer.echo(f"audit: error: {message}", err=True)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
