"""The options that several commands share."""

from __future__ import annotations

import typer

from audit.base.settings import MOST_THREADS

MODEL = (
    "reference, shortcut, a checkpoint folder, a ModelScope id[@revision], or what "
    "`audit model --list` shows."
)
THREADS = typer.Option(
    "--threads", min=1, max=MOST_THREADS, help="Threads of torch; by default one for each core."
)
ENGINE = typer.Option(
    "--engine", help="For OFA: fast (the default), or reference for modelscope's own passes."
)
CASES = typer.Option(
    "--cases", help="Glob pattern of case files; may be repeated. Default: what pytest collects."
)
JSON = typer.Option("--json", help="Print one JSON object.")
