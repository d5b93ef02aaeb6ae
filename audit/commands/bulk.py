"""The command that audits any number of rows into Parquet: bulk."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audit.base.console import Meter, output, say, stop
from audit.base.errors import Unfinished, nearest
from audit.base.files import counted, to_json
from audit.commands.rows import (
    BOXES,
    COLUMNS,
    DELIMITER,
    ENCODING,
    IMAGES,
    LABEL,
    LABELS,
    LIMIT,
    REGIONS,
    SAMPLE,
    SPLIT,
    TEMPLATE,
    options_of,
)
from audit.commands.shared import (
    ASKING,
    ENGINE,
    JSON,
    KEY,
    MODEL,
    REQUESTS,
    THREADS,
    Command,
    options_given,
)

if TYPE_CHECKING:
    from audit.bulk.format import Account
    from audit.bulk.plan import Plan, Rows
    from audit.sources.rows import Options

UNFINISHED, FAILED = 1, 3
"""Exit codes: rows are missing, and all are there but more failed than may.

If Ray's part of the machine dies, Ray ends this process with 1 and leaves no choice.
"""

_HERE = "here"


class BulkCommand(Command):
    """Lets ``--ray`` stand alone: then Ray is started on this machine."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line."""
        return super().parse_args(
            ctx, [f"--ray={_HERE}" if each == "--ray" else each for each in args]
        )


def bulk(
    source: Annotated[
        Path,
        typer.Argument(
            help="CSV, TSV, JSON Lines, JSON, COCO, Parquet, a data set that save_to_disk made, "
            "Flickr30k Entities, a folder of pictures with captions, or case files.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            parser=output,
            metavar="PATH",
            help="The folder of results. If it holds some of them, the rest is asked.",
        ),
    ],
    model: Annotated[str, typer.Option(help=MODEL)] = "reference",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    batch: Annotated[
        int, typer.Option(min=0, max=4096, help="Rows at a time; 0 lets the device decide.")
    ] = 0,
    asked: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="MAP",
            help="A map whose figures are wanted, as in audit explain; may be repeated. Default: "
            "the model's, if it gives any.",
        ),
    ] = None,
    labels_only: Annotated[
        bool, typer.Option("--labels-only", help="Measure no maps, only labels.")
    ] = False,
    maps: Annotated[
        int,
        typer.Option(
            min=0,
            help="Of about how many rows maps are kept, drawn by --seed, besides those of wrong "
            "answers.",
        ),
    ] = 100,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Another column to keep, to slice by; may be repeated. Default: all.",
        ),
    ] = None,
    shard: Annotated[
        int,
        typer.Option(
            min=1, max=1_000_000, help="Rows of a file of results: what a crash loses at most."
        ),
    ] = 1000,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed", help="Ask again the rows of the folder that are without an answer."
        ),
    ] = False,
    ray: Annotated[
        str,
        typer.Option(
            "--ray",
            metavar="[=ADDRESS]",
            help="Run on Ray: on this machine, or on the cluster at =ADDRESS (=auto finds it).",
        ),
    ] = "",
    actors: Annotated[
        int,
        typer.Option(
            min=0, help="With --ray: how many models; default: one for each GPU, or 4 cores."
        ),
    ] = 0,
    max_failed: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Share of rows without an answer up to which the exit code is 0."
        ),
    ] = 0.0,
    engine: Annotated[str, ENGINE] = "",
    asking: Annotated[str, ASKING] = "",
    requests: Annotated[str, REQUESTS] = "",
    key: Annotated[str, KEY] = "",
    threads: Annotated[int | None, THREADS] = None,
    columns: Annotated[list[str] | None, COLUMNS] = None,
    labels: Annotated[list[str] | None, LABELS] = None,
    label: Annotated[str, LABEL] = "",
    images: Annotated[Path | None, IMAGES] = None,
    regions: Annotated[str, REGIONS] = "",
    boxes: Annotated[str, BOXES] = "",
    split: Annotated[str, SPLIT] = "",
    template: Annotated[str, TEMPLATE] = "",
    delimiter: Annotated[str, DELIMITER] = "",
    encoding: Annotated[str, ENCODING] = "",
    limit: Annotated[int | None, LIMIT] = None,
    sample: Annotated[int | None, SAMPLE] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of --sample and --maps.")] = 0,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Audit any number of rows into Parquet; called again, it continues.

    Exit codes: 0 all rows are there and no more failed than may; 1 it ended
    early, and continues when it is called again; 2 it cannot be done as asked;
    3 all are there, but more failed.

    Example: audit bulk rows.csv --model hf:my-model --out results
    """
    from audit.base.extras import require  # noqa: PLC0415

    require("bulk" if ray else "data", "audit bulk")
    from audit.bulk.accounting import account_in_words, failed_share  # noqa: PLC0415
    from audit.bulk.format import REFUSED, BulkFolder  # noqa: PLC0415
    from audit.bulk.job import Job  # noqa: PLC0415
    from audit.bulk.on_ray import on_ray  # noqa: PLC0415
    from audit.bulk.running import in_this_process, run  # noqa: PLC0415

    if labels_only and asked:
        raise typer.BadParameter("--labels-only and --map exclude each other")
    if actors and not ray:
        raise typer.BadParameter("--actors goes with --ray")
    options = options_of(
        columns=columns, labels=labels, label=label, images=images, regions=regions, boxes=boxes,
        split=split, template=template, delimiter=delimiter, encoding=encoding, limit=limit,
        sample=sample, seed=seed, label_needed=False,
    )  # fmt: skip
    folder = out.absolute()
    root, rows, notes = _rows_of(source, folder, options, keep)
    for note in notes:
        say(f"audit: note: {note}", error=True)
    job = Job(
        out=folder, source=str(source), root=root, model=model, device=device, dtype=dtype,
        # Processes of Ray may run elsewhere.
        options=options_given(
            engine, str(Path(asking).absolute()) if asking else "", requests, key
        ),
        threads=threads, batch=batch, shard=shard, maps=tuple(asked or ()),
        labels_only=labels_only, seed=seed,
    )  # fmt: skip
    address = "" if ray == _HERE else ray
    runner = partial(on_ray, address=address, actors=actors) if ray else in_this_process
    meters: list[Meter] = []
    try:
        try:
            account = run(job, rows, maps, _told_of(meters), runner, retry=retry_failed)
        finally:
            for meter in meters:
                meter.end()
    except Unfinished as error:
        say(f"audit: error: {error}", error=True)
        raise typer.Exit(UNFINISHED) from None
    except KeyboardInterrupt:
        stop("called again in the same way, it continues")
    failed = failed_share(account) > max_failed
    floor = BulkFolder(folder).batches()
    if as_json:
        told = account.model_dump(mode="json") | {
            "out": str(out), "failed_share": failed_share(account), "passed": not failed,
            "batches": floor and floor.model_dump(mode="json"),
        }  # fmt: skip
        sys.stdout.write(to_json(told))
    else:
        say(account_in_words(account))
        if floor is not None:
            say(_floor_in_words(floor.rows, floor.flipped, floor.moved))
        if account.refused:
            say(f"refused rows: {out / REFUSED}")
        say(f"results: {out}")
    if failed:
        say(_failed_in_words(account, max_failed), error=True)
    raise typer.Exit(FAILED if failed else 0)


def _rows_of(
    source: Path, out: Path, options: Options, keep: list[str] | None
) -> tuple[Path, Rows, list[str]]:
    """The folder of the pictures, what reads the rows, and how they are read, in sentences."""
    from audit.bulk.rows import case_files, of_cases, of_source  # noqa: PLC0415
    from audit.gate.review import all_cases  # noqa: PLC0415
    from audit.sources.reading import open_source  # noqa: PLC0415

    if files := case_files(source):
        folder = (source if source.is_dir() else source.parent).absolute()
        return folder, of_cases(all_cases(files), folder), [f"{source}: case files"]
    found = open_source(source, options)
    for name in keep or ():
        if name not in found.table.columns:
            raise ValueError(f"--keep: no column {name!r}; {nearest(name, found.table.columns)}")
    folder = (options.images or found.table.folder).absolute()
    return folder, of_source(found, folder, out, keep), found.notes


def _told_of(meters: list[Meter]) -> Callable[[Plan], Meter]:
    def started(plan: Plan) -> Meter:
        there = f", {plan.earlier:,} of them are there already" if plan.earlier else ""
        refused = f", {plan.refused:,} refused" if plan.refused else ""
        say(f"audit: {counted(plan.read, 'row')} read{refused}{there}", error=True)
        meters.append(Meter(plan.left, "asked"))
        return meters[-1]

    return started


def _failed_in_words(account: Account, most: float) -> str:
    """Why the exit code is 3."""
    return (
        f"audit: {account.failed + account.refused:,} of {counted(account.read, 'row')} have no "
        f"answer, a larger share than --max-failed {most:g} allows"
    )


def _floor_in_words(rows: int, flipped: int, moved: dict[str, float]) -> str:
    probability = moved.get("probability", 0.0)
    figures = max((v for k, v in moved.items() if k != "probability"), default=None)
    told = "" if figures is None else f", figures by up to {figures:.1g}"
    return (
        f"noise of batches: of {counted(rows, 'row')} asked in batches and one by one, "
        f"{flipped} changed their label; probabilities moved by up to {probability:.1g}{told}"
    )
