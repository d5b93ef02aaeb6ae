"""The commands with which another repository begins: init and constraints."""

from __future__ import annotations

import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from audit.base.console import say
from audit.base.files import to_json
from audit.commands.shared import JSON


class TransformersVersion(StrEnum):
    """The major versions of transformers that are tested."""

    FOUR = "4"
    FIVE = "5"


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="An empty folder or a repository.")
    ] = Path(),
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Lay out a project: an example case, configuration, a GitHub workflow, what git ignores.

    It asks nothing and overwrites nothing. Afterwards `pytest cases` passes there.

    Example: audit init
    """
    from audit.base.extras import lacking  # noqa: PLC0415
    from audit.commands.layout import lay_out  # noqa: PLC0415

    done = lay_out(folder)
    if as_json:
        sys.stdout.write(to_json({"folder": str(folder), **asdict(done)}))
        return
    for name in done.written:
        say(f"wrote {name}")
    for name in done.extended:
        say(f"added lines to {name}")
    for name, why in done.left.items():
        say(f"left alone: {name}, which {why}")
    for sentence in done.by_hand:
        say(f"to do: {sentence}")
    where = "" if folder == Path() else f"cd {folder} && "
    install = "pip install -c constraints-audit.txt -r requirements-audit.txt && "
    say(f"next: {where}{install if lacking('ofa') else ''}pytest cases")


def constraints(
    transformers: Annotated[
        TransformersVersion, typer.Option(help="With which transformers; OFA needs 4.")
    ] = TransformersVersion.FOUR,
) -> None:
    """Print the versions of all packages that are tested, for `pip install -c`.

    Example: audit constraints --transformers 4
    """
    from audit.commands.shipping import constraints as tested  # noqa: PLC0415

    typer.echo(tested(transformers.value), nl=False)
