"""The command about models: lists them, and tells what is known about one before loading it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from audit.base.console import say, tables
from audit.base.errors import ModelError, in_a_sentence
from audit.base.files import to_json
from audit.commands.shared import JSON, MODEL

if TYPE_CHECKING:
    from audit.models.registry import Row

_UNKNOWN = "known once loaded"


def model(
    source: Annotated[str, typer.Argument(help=MODEL)] = "reference",
    listed: Annotated[
        bool, typer.Option("--list", help="List the installed kinds of models.")
    ] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Show a model's folder, labels and methods without loading it; or list all with --list.

    Example: audit model --list

    Example: audit model hf:Qwen/Qwen2.5-VL-3B-Instruct
    """
    if listed:
        _list(as_json)
        return
    from audit.models.registry import known  # noqa: PLC0415

    found = known(source, fetch=True)
    folder = None if found.folder is None else str(found.folder)
    if as_json:
        about = {"source": source, "revision": found.revision, "folder": folder}
        sys.stdout.write(to_json({**about, "labels": found.labels, "methods": found.methods}))
        return
    if folder is not None:
        say(f"folder: {folder}")
    say(f"labels: {_joined(found.labels)}")
    say(f"methods: {_joined(found.methods)}")


def _list(as_json: bool) -> None:
    from audit.models.registry import rows  # noqa: PLC0415

    found = [_about(row) for row in rows()]
    if as_json:
        sys.stdout.write(to_json({"models": found}))
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("model", no_wrap=True)
    for column in ("source", "labels", "methods", "brought by"):
        table.add_column(column, overflow="fold")
    for row in found:
        if "fault" not in row:
            cells = (row["accepted"], _joined(row["labels"]), _joined(row["methods"]))
            table.add_row(*map(Text, (row["model"], *cells, f"{row['package']} {row['version']}")))
    tables().print(table)
    for told in dict.fromkeys(row["lacking"] for row in found if row.get("lacking")):
        names = ", ".join(row["model"] for row in found if row.get("lacking") == told)
        say(f"not to be loaded here: {names} {told}")
    for row in found:
        if "fault" in row:
            say(f"audit: warning: {row['fault']}", error=True)


def _about(row: Row) -> dict[str, Any]:
    """One row as plain data, with a ``fault`` if it cannot be used."""
    from audit.models.registry import known_of  # noqa: PLC0415

    about: dict[str, Any] = {"model": row.scheme, "package": row.package, "version": row.version}
    try:
        loader = row.loader()
        found = known_of(row, row.scheme)
        options = {name: list(choices) for name, choices in loader.options.items()}
    except ModelError as error:
        return {**about, "fault": str(error)}
    except Exception as error:  # a loader is somebody else's code
        return {**about, "fault": f"the model {row.scheme!r} failed: {in_a_sentence(error)}"}
    return {
        **about,
        "about": str(loader.about),
        "accepted": str(loader.accepted),
        "options": options,
        "labels": found.labels,
        "methods": found.methods,
        "lacking": found.lacking,
    }


def _joined(names: tuple[str, ...] | None) -> str:
    return _UNKNOWN if names is None else ", ".join(names)
