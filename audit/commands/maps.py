"""The commands that measure maps on true boxes: heads and validity."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from audit.base.console import output, progress, say, tables
from audit.base.files import to_json
from audit.commands.shared import ASKING, CASES, JSON, KEY, MODEL, REQUESTS, options_given
from audit.maps.spec import MapSpec


def validity(
    model: Annotated[str, typer.Option(help=MODEL)] = "reference",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    cases: Annotated[
        list[str] | None,
        typer.Option(
            "--cases",
            help="Measure on the regions of these cases instead of drawn scenes, with any model; "
            "glob pattern of case files, may be repeated.",
        ),
    ] = None,
    asked: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="MAP",
            help="With --cases: measure only this map beside the controls; may be repeated.",
        ),
    ] = None,
    scenes: Annotated[int, typer.Option(min=2, help="Held-out scenes.")] = 300,
    randomised_scenes: Annotated[
        int, typer.Option(min=1, help="Scenes for the randomisation test.")
    ] = 40,
    curve_scenes: Annotated[
        int, typer.Option(min=1, help="Scenes for the deletion and insertion curves.")
    ] = 100,
    baselines: Annotated[
        Path | None,
        typer.Option(
            help="Folder of baselines with the choice of audit heads, whose map is measured too if "
            "they were chosen with these weights."
        ),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="Processes that share the scenes; each loads the model.")
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            parser=output,
            metavar="PATH",
            help="The page to write, with its plot beside it; default docs/validity.md, or "
            "audit-validity.md with --cases, which has no plot.",
        ),
    ] = None,
    asking: Annotated[str, ASKING] = "",
    requests: Annotated[str, REQUESTS] = "",
    key: Annotated[str, KEY] = "",
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Measure every map against every control, to see which may be trusted for what.

    Example: audit validity --model path/to/checkpoint --cases 'cases/*.yaml'
    """
    options = options_given("", asking, requests, key)
    if cases:
        page = out or Path("audit-validity.md")
        _on_cases(model, device, cases, asked or [], page, baselines, options, as_json=as_json)
        return
    if asked:
        raise typer.BadParameter("--map goes with --cases; scenes measure all maps")
    from audit.base.extras import lacking, require  # noqa: PLC0415

    if lacking("hf"):  # either will do
        require("ofa", "audit validity")
    from audit.report.validity_page import verdicts, write_page  # noqa: PLC0415
    from audit.studies.validity.measure import Settings, measure  # noqa: PLC0415

    out = out or Path("docs/validity.md")
    settings = Settings(
        scenes,
        min(scenes, randomised_scenes),
        scenes,
        min(scenes, curve_scenes),
        processes=processes,
        heads=_heads_for_scenes(model, device, baselines, options),
    )
    found = measure(model, device, settings, progress, options)
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
        uses = verdicts(name, found) if name in found["randomisation"]["maps"] else {}
        cells = [row["figures"].get(column) for column in columns]
        table.add_row(
            name,
            *(f"{cell['mean']:.3f}" if cell else "" for cell in cells),
            ", ".join(use for use, holds in uses.items() if holds),
        )
    console = tables()
    console.print(table)
    console.print(f"page: {out}\nplot: {plot}", markup=False, soft_wrap=True)


def _heads_for_scenes(
    model: str, device: str, baselines: Path | None, options: Mapping[str, Any]
) -> tuple[str, ...]:
    """The heads that were chosen with these weights; none if there are none.

    Raises:
        BaselineError: they were chosen on the scenes that will be measured, which would flatter
            them.
    """
    from audit.base.errors import BaselineError  # noqa: PLC0415
    from audit.cases.project import project_at  # noqa: PLC0415
    from audit.gate.headsfile import read_heads  # noqa: PLC0415
    from audit.studies.plainly import load_plainly  # noqa: PLC0415
    from audit.studies.validity.measure import Settings  # noqa: PLC0415

    known = load_plainly(model, device, options=options).fingerprint
    record = read_heads(baselines or project_at().baselines_of(model, known.name))
    if record is None or record.model.digest != known.digest:
        return ()
    if record.heads and f"seed {Settings.seed}" in record.boxes:
        raise BaselineError(
            f"the chosen heads were chosen on the scenes of audit validity ({record.boxes}): "
            "choose them anew with audit heads"
        )
    return tuple(record.heads)


def _on_cases(
    model: str,
    device: str,
    cases: list[str],
    asked: Sequence[str],
    out: Path,
    baselines: Path | None,
    options: dict[str, Any],
    *,
    as_json: bool,
) -> None:
    """Measure the maps on the regions of the user's cases."""
    from audit.cases.heads import with_heads  # noqa: PLC0415
    from audit.cases.project import project_at  # noqa: PLC0415
    from audit.gate.headsfile import read_heads  # noqa: PLC0415
    from audit.gate.review import chosen_cases  # noqa: PLC0415
    from audit.models.registry import load_model  # noqa: PLC0415
    from audit.report.placing_page import write_cases_page  # noqa: PLC0415
    from audit.runs.session import usual_batch  # noqa: PLC0415
    from audit.studies.validity.cases import measure_cases  # noqa: PLC0415

    specs, project = [MapSpec.parse(each) for each in asked], project_at()
    chosen = chosen_cases(cases, project)
    loaded = load_model(model, device, **options)
    known = loaded.fingerprint
    record = read_heads(baselines or project.baselines_of(model, known.name))
    heads = record.heads if record else []
    if heads:
        chosen = [with_heads(case, heads) for case in chosen]
        specs = [spec.with_heads(heads) for spec in specs]
    found = measure_cases(
        loaded, chosen, progress, maps=specs, heads=heads, batch_size=usual_batch(known.device)
    )
    if record and heads and (note := record.note(known.digest)):
        found["notes"].append(note)
    page = write_cases_page(out, found)
    if as_json:
        sys.stdout.write(to_json({**found, "page": str(page)}))
        return
    _print_cases(found)
    say(f"page: {page}")


def _print_cases(found: Mapping[str, Any]) -> None:
    from audit.gate.shifts import FEWEST  # noqa: PLC0415
    from audit.report.placing_page import MARKS, bounds_text, measured  # noqa: PLC0415

    table = Table(box=None, pad_edge=False)
    figures = ("pointing", "mass", "lift")
    table.add_column("map", overflow="fold")
    for column in (*figures, "beats the controls", "cases", "undefined"):
        table.add_column(column)
    for name, row in found["maps"].items():
        table.add_row(
            name,
            *(bounds_text(row["figures"].get(figure)) for figure in figures),
            "control" if name in found["controls"] else MARKS[row["place"]],
            str(row["cases"]),
            str(row["undefined"]),
        )
    tables().print(table)
    enough = found["cases"]["pictures"] >= FEWEST
    say(f"{measured(found)}{'; brackets are 95 % intervals over pictures' if enough else ''}")
    for note in found["notes"]:
        say(f"note: {note}")
    left = found["cases"]["left_out"]
    if left:
        reasons = {why: sum(each == why for each in left.values()) for why in left.values()}
        say(f"left out: {'; '.join(f'{n} because {why}' for why, n in reasons.items())}")


def heads(
    model: Annotated[str, typer.Option(help=MODEL)] = "reference",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    cases: Annotated[list[str] | None, CASES] = None,
    scenes: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Use this many drawn scenes instead of cases: for models that know them. Default: "
            "200 for the embedded models if no cases are named, else none.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the two halves.")] = 0,
    baselines: Annotated[
        Path | None, typer.Option(help="Folder of baselines to write the choice into.")
    ] = None,
    write: Annotated[
        bool, typer.Option("--write/--no-write", help="Write the choice beside the baselines.")
    ] = True,
    asking: Annotated[str, ASKING] = "",
    requests: Annotated[str, REQUESTS] = "",
    key: Annotated[str, KEY] = "",
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Choose heads on half of the pictures with boxes and test them on the other half.

    Exit code 1 if none beat the controls; then `heads: chosen` stands for nothing.

    Example: audit heads --model path/to/checkpoint --cases 'cases/*.yaml'
    """
    from audit.cases.project import project_at  # noqa: PLC0415
    from audit.gate.review import chosen_cases  # noqa: PLC0415
    from audit.models.registry import load_model  # noqa: PLC0415
    from audit.runs.session import usual_batch  # noqa: PLC0415
    from audit.studies.heads import measure_heads, write_heads  # noqa: PLC0415
    from audit.studies.placing import drawn, questions_of  # noqa: PLC0415

    project = project_at()
    number = _scenes(scenes, model, cases)
    if number:
        questions, boxes = list(drawn(_SCENES, number)), f"{number} drawn scenes, seed {_SCENES}"
    else:
        questions, _ = questions_of(chosen_cases(cases, project))
        boxes = f"regions of {len(questions)} cases"
    loaded = load_model(model, device, **options_given("", asking, requests, key))
    known = loaded.fingerprint
    found = measure_heads(
        loaded, questions, progress, boxes=boxes, seed=seed, batch_size=usual_batch(known.device)
    )
    path = None
    if write:
        path = write_heads(baselines or project.baselines_of(model, known.name), found)
    if as_json:
        sys.stdout.write(to_json({**found, "path": str(path) if path else None}))
    else:
        _print_heads(found, path)
    raise typer.Exit(0 if found["heads"] else 1)


_SCENES = 778
"""Seed of the drawn scenes: neither a model was trained on them nor are they those of audit
validity, which measures the chosen heads."""


def _scenes(given: int | None, model: str, cases: list[str] | None) -> int:
    from audit.base.settings import EMBEDDED  # noqa: PLC0415

    if given is not None:
        if cases:
            raise typer.BadParameter("name --cases or --scenes, not both")
        return given
    return 200 if model in EMBEDDED and not cases else 0


def _print_heads(found: Mapping[str, Any], path: Path | None) -> None:
    from audit.report.placing_page import bounds_text  # noqa: PLC0415
    from audit.studies.heads import sentence  # noqa: PLC0415

    table = Table(box=None, pad_edge=False)
    table.add_column("map", overflow="fold")
    for half in ("fitting half", "held-out half"):
        for figure in ("pointing", "mass"):
            table.add_column(f"{figure}, {half}")
    for name in found["held_out"]["maps"]:
        rows = [found[half]["maps"][name]["figures"] for half in ("fitting", "held_out")]
        table.add_row(name, *(bounds_text(r.get(f)) for r in rows for f in ("pointing", "mass")))
    tables().print(table)
    say(f"{found['boxes']}: {found['method']}")
    for case, reason in found["failed"].items():
        say(f"left out: {case}: {reason}")
    say(sentence(found))
    if path:
        say(f"heads: {path}")
