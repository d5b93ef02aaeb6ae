"""The commands that take finished runs elsewhere; none of them needs a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from audit.base.console import output, say
from audit.base.extras import require
from audit.base.files import counted


def export(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
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
    """Write a run as a table, one row a question; needs the extra `data` and no model."""
    require("data", "audit export")
    from audit.data.tables import table_of  # noqa: PLC0415
    from audit.data.writing import check_format, write_table  # noqa: PLC0415
    from audit.gate.runfolder import Run  # noqa: PLC0415

    check_format(to)
    table = table_of(Run(run))
    write_table(table, to)
    rows, columns = counted(table.num_rows, "row"), counted(table.num_columns, "column")
    say(f"{rows} with {columns}: {to}")
