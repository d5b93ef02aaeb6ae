"""The command line. The gate itself runs in pytest; these commands do everything around it."""

from __future__ import annotations

import atexit
import gc
from typing import Annotated

import typer
from pydantic import ValidationError

from audit import __version__
from audit.base.console import Commands, let_go, say, stop
from audit.base.errors import AuditError, CaseError, ProjectError
from audit.commands import (
    asking,
    baselines,
    bulk,
    checking,
    filing,
    maps,
    models,
    pages,
    results,
    sources,
    starting,
    studies,
)
from audit.commands.shared import Command
from audit.maps.mistakes import told

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        say(f"audit {__version__}")
        raise typer.Exit


@app.callback()
def _commands(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Audit vision-language models: are the answers right, and right for the right reason?

    The gate itself is pytest: `pytest cases --audit-model SOURCE`.

    Example: audit explain birds.jpg "there are two birds on a branch"

    Example: audit explain --help
    """


for _command in (
    starting.init,
    asking.explain,
    asking.serve,
    sources.import_,
    checking.check,
    baselines.accept,
    baselines.status,
    baselines.prune,
    sources.suggest,
    studies.compare,
    maps.validity,
    maps.heads,
    studies.noise,
    studies.power,
    models.model,
    pages.report,
    filing.evidence,
    results.export,
    results.merge,
    results.history,
    pages.schema,
    starting.constraints,
):
    _name = _command.__name__.rstrip("_")  # `import` is a keyword of Python
    app.command(_name, cls=Command)(_command)
app.command(cls=bulk.BulkCommand)(bulk.bulk)


def main() -> None:
    """Run the command line. Expected errors are printed as one message, with exit code 2."""
    # Importing torch creates a million objects, none of them garbage. Searching them for cycles,
    # and again at exit, takes a second.
    gc.set_threshold(100_000, 20, 100)
    atexit.register(gc.freeze)
    try:
        app()
    except KeyboardInterrupt:  # before a command has started
        stop()
    except ValidationError as error:
        _fail(f"--map: {told(error)}")
    except (CaseError, ProjectError) as error:
        _fail(_about_cases(str(error)))
    except (AuditError, ValueError) as error:
        _fail(str(error))
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _fail(f"{place}{error.strerror or error}")
    finally:
        let_go()


def _about_cases(message: str) -> str:
    """The message in the language that is chosen for those about case files."""
    from audit.cases import phrases  # noqa: PLC0415  only if it is needed

    try:
        return phrases.told(message, phrases.chosen_language())
    except CaseError as error:  # there is no such language
        return str(error)


def _fail(message: str) -> None:
    say(f"audit: error: {message}", error=True)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
