"""The commands that ask a model about the user's own picture: explain and serve."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from audit.base.console import output, say
from audit.base.errors import AuditError, ModelError, nearest
from audit.base.files import to_json
from audit.base.geometry import view_in_words
from audit.base.languages import Choice
from audit.base.texts import readable
from audit.commands.shared import (
    ASKING,
    CASES,
    ENGINE,
    JSON,
    KEY,
    MODEL,
    REQUESTS,
    THREADS,
    options_given,
)
from audit.commands.shared import language as language_choice
from audit.maps.spec import CHOSEN, MapSpec, default_map

if TYPE_CHECKING:
    from audit.explaining import ExplainedMap, NoMap
    from audit.models.protocol import Fingerprint


def explain(
    image: Annotated[Path, typer.Argument(help="The picture.")],
    text: Annotated[str, typer.Argument(help="The hypothesis: a sentence about the picture.")],
    premise: Annotated[str | None, typer.Option(help="A text premise beside the picture.")] = None,
    truncate: Annotated[
        bool, typer.Option("--truncate", help="Let the model cut texts longer than it reads.")
    ] = False,
    model: Annotated[str, typer.Option(help=MODEL)] = "reference",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    engine: Annotated[str, ENGINE] = "",
    asking: Annotated[str, ASKING] = "",
    requests: Annotated[str, REQUESTS] = "",
    key: Annotated[str, KEY] = "",
    threads: Annotated[int | None, THREADS] = None,
    asked: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="MAP",
            help="A method and its keys: 'rollout', 'answer_attention layers=last:4 heads=1,3', "
            "'word_attention word=birds', 'relevance variant=paper' ...; may be repeated. "
            "Default: answer_attention if the model gives it, else its first, else occlusion.",
        ),
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Draw the map of every layer.")] = False,
    words: Annotated[
        bool, typer.Option("--words", help="Draw where the model looks from each word.")
    ] = False,
    animate: Annotated[
        bool,
        typer.Option(
            "--animate",
            help="Play --layers and --words as GIF and WebP; if neither is given, both.",
        ),
    ] = False,
    scale: Annotated[
        str,
        typer.Option(
            help="Colour scale of --layers and --words: shared by all panels, or each has its own. "
            "By default layers share one and words do not."
        ),
    ] = "",
    colours: Annotated[
        str, typer.Option(help="A matplotlib colour map: viridis, inferno, jet ...")
    ] = "viridis",
    format: Annotated[
        str, typer.Option(help="Format of heatmaps and sheets: png, svg or pdf.")
    ] = "png",
    dpi: Annotated[
        int,
        typer.Option(
            min=30, max=600, help="Pixels per inch of the heatmap, which is 9 inches wide."
        ),
    ] = 120,
    out: Annotated[
        Path, typer.Option(parser=output, metavar="PATH", help="Folder for the pictures.")
    ] = Path("audit-explain"),
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Ask the model about one picture: verdict, figures, heatmaps.

    Example: audit explain birds.jpg "there are two birds on a branch"

    Example: audit explain birds.jpg "there are two birds" --words --animate
    """
    # torch and matplotlib only when they are needed
    from audit.base.images import open_image  # noqa: PLC0415
    from audit.explaining import NoMap, check_folder, check_layers, explain_maps  # noqa: PLC0415
    from audit.gate.outcomes import unsaid_told  # noqa: PLC0415
    from audit.models.kit.precision import note_on_dtype  # noqa: PLC0415
    from audit.models.registry import load_model  # noqa: PLC0415
    from audit.reference.world import note_on_picture  # noqa: PLC0415
    from audit.report.heatmap import FORMATS  # noqa: PLC0415
    from audit.report.plotting import colour_maps  # noqa: PLC0415

    _known("--colours", colours, colour_maps())
    _known("--format", format, FORMATS)
    if scale:
        _known("--scale", scale, ("shared", "each"))
    text = readable(text, "the hypothesis")
    premise = None if premise is None else readable(premise, "the premise")
    specs = [MapSpec.parse(each) for each in asked or [_default_map(model)]]
    if animate and not (layers or words):
        layers, words = any(spec.per_layer for spec in specs), True
    # Refuse what cannot be done before the model is loaded, which may take a minute.
    check_layers(specs, layers)
    picture = open_image(image)
    check_folder(out)
    loaded = load_model(
        model, device, dtype, threads, **options_given(engine, asking, requests, key)
    )
    _note(note_on_dtype(loaded.fingerprint.device, dtype))
    if any(spec.heads == CHOSEN for spec in specs):
        specs = _with_chosen_heads(specs, model, loaded.fingerprint)
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
    _warn(unsaid_told([found[0].trace.unsaid]))
    maps_and_files: list[tuple[ExplainedMap | NoMap, dict[str, str]]] = []
    for each in found:
        if isinstance(each, NoMap):
            maps_and_files.append((each, {}))
            continue
        drawn = each.draw(
            out, image.name, text, colours=colours, scale=scale, animate=animate,
            format=FORMATS[format], dpi=dpi,
        )  # fmt: skip
        maps_and_files.append((each, {name: str(path) for name, path in drawn.items()}))
    if as_json:
        shown = [
            each.to_dict() | ({"heatmap": files.pop("heatmap"), "files": files} if files else {})
            for each, files in maps_and_files
        ]
        sys.stdout.write(to_json(shown[0] if len(specs) == 1 else {"maps": shown}))
    else:
        _print_all(maps_and_files)
    undefined = [each for each in found if isinstance(each, NoMap)]
    if len(undefined) == len(found):
        reasons = "; ".join(f"{each.spec.key}: undefined: {each.reason}" for each in undefined)
        raise AuditError(f"no map can be drawn: {reasons}")


def _with_chosen_heads(
    specs: Sequence[MapSpec], model: str, fingerprint: Fingerprint
) -> list[MapSpec]:
    """The maps with the heads that were chosen for the model, if there are any."""
    from audit.cases.project import project_at  # noqa: PLC0415
    from audit.gate.headsfile import read_heads  # noqa: PLC0415

    record = read_heads(project_at().baselines_of(model, fingerprint.name))
    if record is None or not record.heads:
        return list(specs)  # reading the map says what is missing
    _note(record.note(fingerprint.digest))
    return [spec.with_heads(record.heads) for spec in specs]


def _default_map(source: str) -> str:
    """The model's default map, or answer attention if its maps are not known yet."""
    from audit.models.registry import known  # noqa: PLC0415

    try:
        methods = known(source).methods
    except ModelError:  # loading the model reports what is wrong, after all cheaper checks
        methods = None
    return (MapSpec() if methods is None else default_map(methods)).key


def _print_all(maps_and_files: Sequence[tuple[ExplainedMap | NoMap, dict[str, str]]]) -> None:
    """Print the answer, then each map."""
    console = Console(highlight=False, markup=False, emoji=False)
    (first, _), *_ = maps_and_files
    trace, asked = first.trace, first.model
    console.print(Text(trace.label, style="bold"), f"({trace.probabilities[trace.label]:.1%})")
    console.print(" ".join(f"{k} {v:.4f}" for k, v in trace.probabilities.items()))
    if trace.unsaid is not None:
        console.print(f"unsaid {trace.unsaid:.4f}: the probability of all other answers")
    engine = f", {asked.engine} engine" if asked.engine else ""
    console.print(f"{asked.source}, {asked.dtype}{engine}", markup=False)
    if words := view_in_words(trace.view):
        console.print(words, markup=False, soft_wrap=True)
    for each, files in maps_and_files:
        _print_map(console, each, files)


def _print_map(console: Console, found: ExplainedMap | NoMap, files: dict[str, str]) -> None:
    """Print one map: its name, figures and pictures; or why it is undefined."""
    from audit.explaining import NoMap  # noqa: PLC0415

    grid, key = found.trace.grid, found.spec.key
    if isinstance(found, NoMap):
        console.print(f"{key}: undefined: {found.reason}", markup=False, soft_wrap=True)
        return
    console.print(f"{key}, {grid.rows} x {grid.cols} cells", markup=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name, value in found.metrics.items():
        table.add_row(name, f"undefined: {value}" if isinstance(value, str) else f"{value:.4f}")
    console.print(table)
    for name, file in files.items():
        console.print(f"{name}: {file}", markup=False, soft_wrap=True)


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(help=f"{MODEL[:-1]}; may be repeated, the first is chosen."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    engine: Annotated[str, ENGINE] = "",
    asking: Annotated[str, ASKING] = "",
    requests: Annotated[str, REQUESTS] = "",
    key: Annotated[str, KEY] = "",
    host: Annotated[
        str, typer.Option(help="Address to serve at; by default only this machine can reach it.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to serve at.")] = 7860,
    share: Annotated[
        bool,
        typer.Option("--share", help="Make a public link, through a tunnel of gradio.live."),
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host", help="Another name that browsers may use for it; may be repeated."
        ),
    ] = None,
    language: Annotated[
        Choice,
        typer.Option(
            parser=language_choice,
            metavar="auto|en|zh",
            help="Language of the page; auto is that of each visitor's browser.",
        ),
    ] = "auto",
    threads: Annotated[int | None, THREADS] = None,
    cases: Annotated[list[str] | None, CASES] = None,
) -> None:
    """Serve a page to ask about pictures and to write cases; needs the extra `app`.

    Example: audit serve

    Example: audit serve --model path/to/checkpoint --port 8080 --language zh
    """
    from audit.app.serving import Address  # noqa: PLC0415
    from audit.app.serving import serve as serve_page  # noqa: PLC0415
    from audit.base.extras import require  # noqa: PLC0415
    from audit.base.settings import EMBEDDED_OFA  # noqa: PLC0415
    from audit.cases.discovery import find_files  # noqa: PLC0415
    from audit.cases.project import project_at  # noqa: PLC0415
    from audit.gate.review import chosen_cases  # noqa: PLC0415

    require("app", "audit serve")
    address = Address(host, port, share, tuple(allow_host or ()))
    project = project_at()
    # Outside a project there are no cases; then the page has no examples.
    shipped = cases or find_files(project.patterns())
    examples = chosen_cases(cases, project) if shipped else []
    _warn(address.warning)
    offered = model or EMBEDDED_OFA
    serve_page(address, offered, examples, device=device, dtype=dtype, threads=threads,
               language=language, **options_given(engine, asking, requests, key))  # fmt: skip


def _warn(text: str) -> None:
    if text:
        say(f"audit: warning: {text}", error=True)


def _note(text: str) -> None:
    if text:
        say(f"audit: note: {text}", error=True)


def _known(option: str, value: str, choices: Iterable[str]) -> None:
    if value not in choices:
        raise ValueError(f"{option}: {value!r} is not known; {nearest(value, choices)}")
