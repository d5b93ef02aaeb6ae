"""The command that writes a run's page of evidence, and checks one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from audit.base.console import output, say


def evidence(
    run: Annotated[Path, typer.Argument(help="The run folder of a session that has ended.")],
    out: Annotated[
        Path | None,
        typer.Option(parser=output, metavar="PATH", help="The page; default: RUN/evidence.html."),
    ] = None,
    verify: Annotated[
        Path | None, typer.Option(metavar="PAGE", help="Check this page against the run.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file with a key, to sign or to check.")
    ] = None,
    power: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The work folder of audit power.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--baselines", help="Folder of baselines; default: the one the run names."),
    ] = None,
) -> None:
    """Write one page about a run to be filed: what was set before, what came out, who accepted it.

    It needs no model.

    Example: audit evidence RUN --power audit-power

    Example: audit evidence RUN --verify evidence.html
    """
    from audit.report import evidence_page as pages  # noqa: PLC0415

    secret = None if key is None else pages.read_key(key)
    if verify is not None:
        found = pages.verify(verify, run, secret)
        for sentence in found.held:
            say(sentence)
        for sentence in found.faults:
            say(f"WRONG: {sentence}", error=True)
        if found.faults:
            raise typer.Exit(1)
        return
    from audit.cases.project import project_at  # noqa: PLC0415
    from audit.gate.runfolder import Run  # noqa: PLC0415
    from audit.report.statement import state_of  # noqa: PLC0415

    stated = state_of(Run(run), project_at(), baselines=folder, power=power)
    path = pages.write_evidence(out or run / "evidence.html", stated, secret)
    say(f"page: {path}")
    say(f"digest of the run: {stated['run']['digest']}")
