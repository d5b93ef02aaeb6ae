"""What all commands have in common in a terminal: progress, Ctrl-C, a pipe that is closed."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup

from audit.base.errors import printable

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of the signal, as shells count."""

UNHEARD = 141
"""Exit code where nobody reads on: 128 and the number of SIGPIPE."""

_WIDE = 160
"""Columns of a table that is written into a file or a pipe."""


def say(text: object, *, error: bool = False) -> None:
    """Print lines; nothing in them is a command to a terminal or a pipeline."""
    typer.echo("\n".join(map(printable, str(text).split("\n"))), err=error)


def output(given: str | Path) -> Path:
    """Where to write, as it is named in an option.

    Raises:
        typer.BadParameter: it names nothing, or its name cannot be printed or stored as text.
    """
    text = str(given)
    if not text.strip():
        raise typer.BadParameter("it names no place to write to")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise typer.BadParameter(f"{text!r} is not in UTF-8") from None
    return Path(text)


class Commands(TyperGroup):
    """The commands; Ctrl-C ends each with one line, and ``| head`` with none."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        try:
            found = super().invoke(ctx)
            sys.stdout.flush()
            return found
        except KeyboardInterrupt:
            stop()
        except BrokenPipeError:
            let_go()
            raise SystemExit(UNHEARD) from None


def stop() -> NoReturn:
    """End after Ctrl-C."""
    with suppress(OSError):
        typer.echo("audit: interrupted", err=True)
    raise SystemExit(INTERRUPTED) from None


@contextmanager
def alone_interrupted() -> Iterator[None]:
    """Processes that are started meanwhile ignore Ctrl-C.

    A terminal sends it to all; this one ends, its children with it, and only one has to say so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say how signals are taken, and only it gets them
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def let_go() -> None:
    """Write what is left; where nobody reads it, let it go without an error at exit."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        with suppress(OSError, ValueError):  # a stream of a test has no number
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to :class:`Commands`; rich would end with exit code 1, as if a gate failed."""
        raise BrokenPipeError


def tables() -> Console:
    """Where tables are printed: as wide as the terminal, or wide enough for a file or a pipe."""
    console = _Console(highlight=False)
    return console if console.is_terminal else _Console(highlight=False, width=_WIDE)


Progress = Callable[[Iterable[Any], int, str], Iterator[Any]]
"""Passes items on and tells how many are done: the items, how many there are, a title."""


def progress(items: Iterable[Any], total: int, title: str) -> Iterator[Any]:
    """The items; how many are done is told on the way, in a file or a pipe by lines."""
    console = Console(stderr=True)
    if console.is_terminal:
        from rich.progress import track  # noqa: PLC0415  most commands need no bar

        return iter(track(items, title, total, console=console))
    return _told(items, total, title)


def _told(items: Iterable[Any], total: int, title: str) -> Iterator[Any]:
    step = max(1, total // 10)
    for number, item in enumerate(items):
        if number % step == 0:
            typer.echo(f"{title}: {number} of {total}", err=True)
        yield item
    typer.echo(f"{title}: {total} of {total}", err=True)
