"""The commands that take finished runs elsewhere; none of them needs a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from audit.base.console import output, say
from audit.base.files import counted, to_json
from audit.base.languages import Choice
from audit.commands.shared import ALPHA, EFFECT, JSON, LANGUAGE


def export(
    run: Annotated[Path, typer.Argument(help="A run folder, or a bulk folder.")],
    to: Annotated[
        Path,
        typer.Option(
            "--to",
            parser=output,
            metavar="FILE",
            help="The file to write; its ending says the format: .parquet, .csv or .jsonl.",
        ),
    ],
) -> None:
    """Write a run as a table, one row a question; needs the extra `data` and no model.

    Example: audit export RUN --to table.parquet
    """
    from audit.base.extras import require  # noqa: PLC0415

    require("data", "audit export")
    from audit.bulk.format import BulkFolder, row_schema  # noqa: PLC0415
    from audit.data.tables import table_of  # noqa: PLC0415
    from audit.data.writing import check_format, write_batches  # noqa: PLC0415
    from audit.gate.runfolder import Run  # noqa: PLC0415

    check_format(to)
    bulk = BulkFolder(run)
    if bulk.is_one():
        bulk.account()  # it says so if rows are missing
        schema = row_schema(bulk.record())
        rows = write_batches(schema, bulk.batches_of(), to)
    else:
        table = table_of(Run(run))
        schema = table.schema
        rows = write_batches(schema, table.to_batches(), to)
    say(f"{counted(rows, 'row')} with {counted(len(schema), 'column')}: {to}")


def merge(
    shards: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="The run folders of the shards.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", parser=output, metavar="RUN", help="The run folder to write; a new one."
        ),
    ],
    min_cases: Annotated[
        int | None,
        typer.Option(
            "--min-cases",
            min=0,
            help="Fail if fewer cases were audited in all; default: what the shards' sessions had.",
        ),
    ] = None,
    other_machines: Annotated[
        bool,
        typer.Option(
            "--other-machines",
            help="Allow other processors, instruction sets, numbers of threads and GPUs.",
        ),
    ] = False,
    baselines: Annotated[
        Path | None,
        typer.Option(
            "--baselines",
            help="The baselines that the shards were compared with; default: those that they name.",
        ),
    ] = None,
    summary: Annotated[
        Path | None, typer.Option(help="Write a summary in Markdown to this file.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Show all maps of passing cases too.")
    ] = False,
    language: Annotated[Choice, LANGUAGE] = "auto",
) -> None:
    """Put the shards of one session together and judge them as one run; needs no model.

    The exit code is that of a session with all cases: 1 if a case or the suite-level gate failed.

    Example: audit merge shards/* --out audit-run --min-cases 122
    """
    from audit.base.settings import Limits  # noqa: PLC0415
    from audit.cases.project import project_at  # noqa: PLC0415
    from audit.report.gallery import write_gallery  # noqa: PLC0415
    from audit.report.publishing import Published, annotation_lines, publish  # noqa: PLC0415
    from audit.report.terminal import closing_lines  # noqa: PLC0415
    from audit.runs.judging import (  # noqa: PLC0415
        elsewhere,
        judged,
        notes_on,
        rejected_in,
    )
    from audit.runs.merging import (  # noqa: PLC0415
        baselines_for,
        ending_of,
        put_together,
        read_shards,
    )

    root = project_at().root
    found = read_shards(shards, machines=other_machines)
    folder = baselines_for(found[0], root, baselines)
    run = put_together(found, out).settled()
    options = run.about()["options"]
    limits = Limits(options["suite_alpha"], options["suite_effect"], options["omnibus_limit"])
    suite = judged(run, folder, limits)
    fewest = options["min_cases"] if min_cases is None else min_cases
    failed = suite is not None and suite.failed
    ending = ending_of(found, suite_failed=failed, fewest=fewest)
    run.finish(
        {
            "promoted": [],
            "suite": suite.to_dict() if suite else None,
            "session": ending.to_dict(),
            "rejected": rejected_in(run, folder),
        }
    )
    write_gallery(run, "all" if everything else "failed", language)
    told = Published(run, suite, ending, notes=tuple(elsewhere(run, folder)))
    publish(told, root, summary)
    say(f"audit {ending.sentence}")
    for line in (*closing_lines(run, suite, None), *notes_on(run, folder)):
        say(line)
    for line in annotation_lines(told, root):
        typer.echo(line)
    raise typer.Exit(0 if ending.passed else 1)


def history(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Run folders, or folders of runs.")
    ],
    alpha: Annotated[float, ALPHA] = 0.05,
    effect: Annotated[float, EFFECT] = 0.5,
    out: Annotated[
        Path, typer.Option(parser=output, metavar="PATH", help="The page to write.")
    ] = Path("audit-history.html"),
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Show labels, figures and states over the runs of many versions, and what crept.

    Example: audit history audit-runs/1.4 audit-runs/1.5 --out history.html
    """
    from audit.base.settings import Limits  # noqa: PLC0415
    from audit.report.history_page import write_history  # noqa: PLC0415
    from audit.studies.versions import history_of, runs_in  # noqa: PLC0415

    found = history_of(runs_in(runs), Limits(alpha, effect))
    page = write_history(out, found)
    if as_json:
        sys.stdout.write(to_json({**found.to_dict(), "page": str(page)}))
        return
    say(found.sentence)
    for number, version in enumerate(found.versions, 1):
        states = ", ".join(f"{count} {state}" for state, count in version.states.items())
        say(
            f"  {number}. {version.title} ({version.started:%Y-%m-%d %H:%M}): "
            f"labels right {version.right} of {version.of}; {states}"
        )
    say(f"page: {page}")
