"""The commands that write files to read: a run's gallery and the schema of case files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from audit.base.console import output, say
from audit.base.files import write_atomically
from audit.base.languages import Choice
from audit.commands.shared import LANGUAGE, RUN


def report(
    run: Annotated[Path, RUN],
    everything: Annotated[
        bool, typer.Option("--all", help="Show all maps of passing cases too.")
    ] = False,
    language: Annotated[Choice, LANGUAGE] = "auto",
) -> None:
    """Draw a run's gallery again; needs no model.

    Example: audit report RUN --all --language zh
    """
    from audit.gate.runfolder import Run  # noqa: PLC0415
    from audit.report.gallery import write_gallery  # noqa: PLC0415

    stored = Run(run)
    stored.about()
    say(write_gallery(stored, "all" if everything else "failed", language))


def schema(
    out: Annotated[
        Path | None, typer.Option(parser=output, metavar="PATH", help="Write it to this file.")
    ] = None,
) -> None:
    """Print the JSON Schema of case files, for editors.

    Example: audit schema --out cases/schema.json
    """
    from audit.cases.schema import schema as case_schema  # noqa: PLC0415

    text = json.dumps(case_schema(), indent=2, ensure_ascii=False) + "\n"
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_atomically(out, text.encode())
