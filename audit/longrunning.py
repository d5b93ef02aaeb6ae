"""The commands that ask models many questions: compare two, measure the maps of one."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from audit.files import to_json

if TYPE_CHECKING:
    from audit.comparison import Comparison, Side

CASES = typer.Option("--cases", help="Glob pattern of case files; may be repeated.")


def compare(
    before: Annotated[str, typer.Argument(help="A run, a folder of baselines, or a model.")],
    after: Annotated[str, typer.Argument(help="The same, to compare with it.")],
    cases: Annotated[list[str] | None, CASES] = None,
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
