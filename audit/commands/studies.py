"""The commands that study models: compare, noise and power."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from audit.base.console import output, progress, say, tables
from audit.base.files import rounded, to_json
from audit.commands.noise import print_noise, this_machine
from audit.commands.shared import (
    ALPHA,
    ASKING,
    CASES,
    EFFECT,
    JSON,
    KEY,
    MODEL,
    REQUESTS,
    THREADS,
    options_given,
)

if TYPE_CHECKING:
    from audit.studies.comparison import Comparison
    from audit.studies.sides import Side


def compare(
    before: Annotated[str, typer.Argument(help="A run, a folder of baselines, or a model.")],
    after: Annotated[str, typer.Argument(help="Another one, to compare with the first.")],
    cases: Annotated[list[str] | None, CASES] = None,
    device: Annotated[str, typer.Option(help="For models: auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int | None, THREADS] = None,
    alpha: Annotated[float, ALPHA] = 0.05,
    effect: Annotated[float, EFFECT] = 0.5,
    asking: Annotated[str, ASKING] = "",
    requests: Annotated[str, REQUESTS] = "",
    key: Annotated[str, KEY] = "",
    same_weights: Annotated[
        bool,
        typer.Option(
            "--same-weights",
            help="Say that a served model has the weights of the other side, which cannot be seen.",
        ),
    ] = False,
    slices: Annotated[
        list[str] | None,
        typer.Option(
            "--slice",
            metavar="COLUMN",
            help="For bulk folders: a kept column to slice by; may be repeated. "
            "Default: all that have few values.",
        ),
    ] = None,
    worst: Annotated[
        int, typer.Option(min=0, max=1000, help="For bulk folders: how many of the worst rows.")
    ] = 50,
    sample: Annotated[
        int, typer.Option(min=0, max=1000, help="For bulk folders: how many rows of a sample.")
    ] = 20,
    out: Annotated[
        Path, typer.Option(parser=output, metavar="PATH", help="The page to write.")
    ] = Path("audit-compare.html"),
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Compare two runs, baselines, models or bulk folders; exit code 1 if the second is worse.

    It is 1 too if it changed, and if both are of the same weights and figures moved all the same.

    Example: audit compare audit-runs/before audit-runs/after
    """
    from audit.base.settings import Limits  # noqa: PLC0415
    from audit.report.comparison_page import write_comparison  # noqa: PLC0415
    from audit.studies.comparison import compare as compared  # noqa: PLC0415
    from audit.studies.sides import side_of_folder  # noqa: PLC0415

    if any((Path(given) / "bulk.json").exists() for given in (before, after)):
        from audit.commands.bulkcompare import compare_folders  # noqa: PLC0415

        shown = (worst, sample, tuple(slices or ()))
        compare_folders(
            Path(before), Path(after), Limits(alpha, effect), shown, out,
            stated=same_weights, as_json=as_json,
        )  # fmt: skip
    if slices:
        raise ValueError("--slice is for two bulk folders")
    with tempfile.TemporaryDirectory(prefix="audit-compare-") as temporary:
        read = {given: side_of_folder(Path(given)) for given in (before, after)}
        models = [given for given, side in read.items() if side is None]
        methods, options = _shared_methods(models), options_given("", asking, requests, key)
        _refuse_strange(options, models)
        sides = [
            read[given]
            or _audited(
                given, device, threads, cases, Path(temporary) / str(number), methods, options
            )
            for number, given in enumerate((before, after))
        ]
        found = compared(sides[0], sides[1], Limits(alpha, effect), stated=same_weights)
        page = write_comparison(out, found)
    if as_json:
        sys.stdout.write(to_json({**found.to_dict(), "page": str(page)}))
    else:
        _print_comparison(found)
        say(f"page: {page}")
    raise typer.Exit(1 if found.failed else 0)


def _shared_methods(sources: list[str]) -> list[str] | None:
    """The methods that all of these models give; None if that is not known of one of them."""
    from audit.models.registry import known  # noqa: PLC0415

    found = [known(source).methods for source in sources]
    if any(methods is None for methods in found):
        return None
    first, *others = [list(methods or ()) for methods in found] or [[]]
    return [method for method in first if all(method in other for other in others)]


def _refuse_strange(options: Mapping[str, str], sources: Sequence[str]) -> None:
    """Refuse an option that no model of the comparison has."""
    from audit.models.registry import options_of  # noqa: PLC0415

    taken = {name for source in sources for name in options_of(source)}
    for name in options:
        if name not in taken:
            raise ValueError(f"--{name}: neither side is a model that has this option")


def _audited(
    source: str,
    device: str,
    threads: int | None,
    cases: list[str] | None,
    folder: Path,
    methods: list[str] | None,
    options: dict[str, str],
) -> Side:
    """Audit the cases with a model, so that its outcomes can be compared.

    Args:
        methods: of which the default is measured where a case names no map, the same on both sides.
        options: those of some kinds of models; one that this kind has not is for the other side.
    """
    from audit.cases.heads import with_heads  # noqa: PLC0415
    from audit.cases.project import project_at  # noqa: PLC0415
    from audit.gate.headsfile import heads_for  # noqa: PLC0415
    from audit.gate.review import chosen_cases  # noqa: PLC0415
    from audit.gate.runfolder import Run  # noqa: PLC0415
    from audit.models.kit.stack import stack  # noqa: PLC0415
    from audit.models.registry import load_model, options_of  # noqa: PLC0415
    from audit.runs.runner import audit_cases  # noqa: PLC0415
    from audit.runs.storing import store  # noqa: PLC0415
    from audit.studies.sides import side_of_run  # noqa: PLC0415

    run = Run(folder)
    taken = options_of(source)
    own = {name: value for name, value in options.items() if name in taken}
    model, project = load_model(source, device, threads=threads, **own), project_at()
    about, chosen = model.fingerprint, chosen_cases(cases, project)
    heads = heads_for(chosen, project.baselines_of(source, about.name))
    run.start({"model": about.to_dict(), "stack": stack(about.device)})
    named = [with_heads(case, heads) for case in chosen]
    for found in audit_cases(named, model, methods=methods):
        store(run, found)
    return side_of_run(run, source)


def _print_comparison(found: Comparison) -> None:
    console = tables()
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
            f"{rounded(pair.probability[1] - pair.probability[0], 3):+.3f}",
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
            s.metric, f"{rounded(s.change.mean, 4):+.4f}", s.interval,
            f"{rounded(s.effect, 1):+.1f}", f"{s.adjusted:.2g}" if s.interval else "", s.verdict,
        )  # fmt: skip
    console.print(shifts)
    for pair in found.pairs:
        if pair.undefined:
            text = f"undefined: {pair.after.case}: {pair.undefined}"
            console.print(text, markup=False, soft_wrap=True)
    for case, reason in found.left_out.items():
        console.print(f"not compared: {case}: {reason}", markup=False)
    console.print(f"{found.headline}: {found.sentence}", markup=False, soft_wrap=True)


def noise(
    model: Annotated[str, typer.Option(help=MODEL)] = "reference",
    cases: Annotated[list[str] | None, CASES] = None,
    baselines: Annotated[
        Path | None, typer.Option(help="Folder of baselines to write the floor into.")
    ] = None,
    write: Annotated[
        bool, typer.Option("--write/--no-write", help="Write the floor beside the baselines.")
    ] = True,
    asking: Annotated[str, ASKING] = "",
    requests: Annotated[str, REQUESTS] = "",
    key: Annotated[str, KEY] = "",
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Measure how much figures move when nothing that matters changes, to set the tolerances.

    Example: audit noise --model path/to/checkpoint --baselines baselines/mine
    """
    from audit.cases.heads import asks_for_chosen  # noqa: PLC0415
    from audit.cases.project import project_at  # noqa: PLC0415
    from audit.gate.headsfile import heads_for  # noqa: PLC0415
    from audit.gate.review import chosen_cases  # noqa: PLC0415
    from audit.models.registry import (  # noqa: PLC0415
        check_installed,
        check_options,
        load_model,
        options_of,
    )

    check_installed(model)
    from audit.studies.conditions import conditions  # noqa: PLC0415
    from audit.studies.noise import measure_noise, write_noise  # noqa: PLC0415

    asked, not_run = conditions(this_machine(), options_of(model).get("engine", ()))
    project = project_at()
    chosen, options = chosen_cases(cases, project), options_given("", asking, requests, key)
    check_options(model, options)
    heads: list[str] = []
    if any(map(asks_for_chosen, chosen)):
        name = load_model(model, **options).fingerprint.name
        place = baselines or project.baselines_of(model, name)
        heads = heads_for(chosen, place)
    found = measure_noise(model, chosen, asked, progress, not_run, heads, options)
    folder = baselines or project.baselines_of(model, found["model"]["name"])
    path = write_noise(folder, found) if write else None
    if as_json:
        sys.stdout.write(to_json({**found, "path": str(path) if path else None}))
    else:
        print_noise(found, path)


def power(
    model: Annotated[str, typer.Option(help=MODEL)] = "reference",
    cases: Annotated[list[str] | None, CASES] = None,
    baselines: Annotated[
        Path | None, typer.Option(help="Folder whose noise floor is used.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Id of one change; may be repeated.")
    ] = None,
    asking: Annotated[str, ASKING] = "",
    requests: Annotated[str, REQUESTS] = "",
    key: Annotated[str, KEY] = "",
    seed: Annotated[int, typer.Option(help="Seed of random noise and examples.")] = 1,
    processes: Annotated[
        int, typer.Option(min=1, help="Processes that share the changes; each loads the model.")
    ] = 1,
    work: Annotated[
        Path,
        typer.Option(
            parser=output,
            metavar="PATH",
            help="Folder of results; an interrupted measurement continues from there.",
        ),
    ] = Path("audit-power"),
    out: Annotated[
        Path | None,
        typer.Option(
            parser=output,
            metavar="PATH",
            help="The page to write; default docs/power.md, or power.md in the work folder "
            "with --only.",
        ),
    ] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Plant regressions in copies of a model and count what the gate catches.

    Example: audit power --model path/to/checkpoint --processes 2
    """
    from audit.base.extras import lacking, require  # noqa: PLC0415

    if lacking("hf"):  # either will do
        require("ofa", "audit power")
    from audit.cases.heads import with_heads  # noqa: PLC0415
    from audit.cases.project import project_at  # noqa: PLC0415
    from audit.gate.headsfile import heads_for  # noqa: PLC0415
    from audit.gate.review import chosen_cases  # noqa: PLC0415
    from audit.gate.waived import load_waived  # noqa: PLC0415
    from audit.models.registry import load_model  # noqa: PLC0415
    from audit.report.power_page import write_page  # noqa: PLC0415
    from audit.studies.power.measure import Asked, measure_power  # noqa: PLC0415

    project = project_at()
    chosen = chosen_cases(cases, project)
    # Its processes may run elsewhere.
    file = str(Path(asking).resolve()) if asking else ""
    options: dict[str, Any] = options_given("", file, requests, key)
    noise = baselines
    if noise is None:
        noise = project.baselines_of(model, load_model(model, "cpu", **options).fingerprint.name)
    heads = heads_for(chosen, noise)
    known = load_waived(noise).cases
    # What fails anyway shows no regression.
    judged = [with_heads(case, heads) for case in chosen if case.id not in known]
    left_out = len(chosen) - len(judged)
    asked = Asked(model, judged, work, noise, seed, tuple(only or ()), processes, options, left_out)
    found = measure_power(asked, progress)
    # A page about a few changes must not replace the one about all.
    page = out or (work / "power.md" if only else Path("docs/power.md"))
    write_page(page, found)
    if as_json:
        sys.stdout.write(to_json({**found, "page": str(page)}))
    else:
        _print_power(found)
        for change in found["changes"]:
            if "skipped" in change:
                what = "not for this model" if change.get("unfit") else "not measured"
                say(f"{what}: {change['id']}: {change['skipped']}")
        say(f"page: {page}")


def _print_power(found: dict[str, Any]) -> None:
    from audit.studies.power.judging import GATES, by_family  # noqa: PLC0415

    table = Table(box=None, pad_edge=False)
    table.add_column("family")
    for column in ("planted", "measurable", *GATES):
        table.add_column(column, justify="right")
    for family, row in by_family(found["changes"]).items():
        table.add_row(family, *(str(row[k]) for k in ("planted", "measurable", *GATES)))
    tables().print(table)
