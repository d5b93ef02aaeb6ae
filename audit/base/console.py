"""What all commands share in a terminal: output, progress, Ctrl-C and closed pipes."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup

from audit.base.errors import printable
from audit.base.files import counted

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 plus the number of the signal, as in shells."""

UNHEARD = 141
"""Exit code when nobody reads the output any more: 128 plus the number of SIGPIPE."""

_WIDE = 160
"""Columns of a table that is written to a file or a pipe."""


def say(text: object, *, error: bool = False) -> None:
    """Print lines, escaped so that neither a terminal nor a CI pipeline takes them for commands."""
    typer.echo("\n".join(map(printable, str(text).split("\n"))), err=error)


def output(given: str | Path) -> Path:
    """The path that an option names for output.

    Raises:
        typer.BadParameter: the path is blank, or cannot be written as UTF-8.
    """
    text = str(given)
    if not text.strip():
        raise typer.BadParameter("it is empty: name a place to write to")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise typer.BadParameter(f"{text!r} is not in UTF-8") from None
    return Path(text)


class Commands(TyperGroup):
    """The commands: Ctrl-C ends each of them with one line, ``| head`` without a word."""

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


def stop(then: str = "") -> NoReturn:
    """End after Ctrl-C with one line; ``then`` is what can be done now."""
    with suppress(OSError):
        typer.echo(f"audit: interrupted{f': {then}' if then else ''}", err=True)
    raise SystemExit(INTERRUPTED) from None


@contextmanager
def alone_interrupted() -> Iterator[None]:
    """Let processes that are started inside this block ignore Ctrl-C.

    A terminal sends Ctrl-C to all processes. This one ends and takes its children with it, so it
    alone should report it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set signal handlers, and only it receives signals
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def let_go() -> None:
    """Flush the output; if nobody reads it any more, drop it without an error at exit."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        with suppress(OSError, ValueError):  # in a test the stream has no file descriptor
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Let :class:`Commands` handle it; rich would exit with code 1, as if a gate had failed."""
        raise BrokenPipeError


def tables() -> Console:
    """The console for tables: as wide as the terminal, or wide enough for a file or a pipe.

    What is printed is plain text: ``[mirror]`` in a name is no markup, ``:cat:`` no emoji.
    """
    console = _Console(highlight=False, markup=False, emoji=False)
    if console.is_terminal:
        return console
    return _Console(highlight=False, markup=False, emoji=False, width=_WIDE)


Progress = Callable[[Iterable[Any], int, str], Iterator[Any]]
"""Passes items on and shows how many are done; takes the items, their number and a title."""


def progress(items: Iterable[Any], total: int, title: str) -> Iterator[Any]:
    """Yield the items and show how many are done: a bar in a terminal, else a line now and then."""
    console = Console(stderr=True)
    if console.is_terminal:
        from rich.progress import track  # noqa: PLC0415  most commands need no bar

        return iter(track(items, title, total, console=console))
    return _in_lines(items, total, title)


def _in_lines(items: Iterable[Any], total: int, title: str) -> Iterator[Any]:
    step = max(1, total // 10)
    for number, item in enumerate(items):
        if number % step == 0:
            typer.echo(f"{title}: {number} of {total}", err=True)
        yield item
    typer.echo(f"{title}: {total} of {total}", err=True)


class Meter:
    """Shows how many rows are done and failed, how fast it goes and how long it will take.

    A line in a terminal is renewed; else there is a line now and then.
    """

    def __init__(self, total: int, title: str, noun: str = "row") -> None:
        self._total, self._title, self._noun = total, title, noun
        self._done = self._failed = 0
        self._began = self._told = time.monotonic()
        self._first = (self._began, 0)
        self._live = sys.stderr.isatty()

    def __call__(self, done: int, failed: int) -> None:
        """Count rows that are done, and those of them that failed."""
        now = time.monotonic()
        if not self._done:  # loading the model took most of the time so far
            self._first = (now, done)
        self._done += done
        self._failed += failed
        if now - self._told >= (_OFTEN if self._live else _NOW_AND_THEN):
            self._told = now
            self._show(now)

    def _show(self, now: float) -> None:
        since, before = self._first
        asked, seconds = self._done - before, now - since
        if not asked or seconds <= 0:
            asked, seconds = self._done, now - self._began
        line = told_so_far(
            self._done, self._total, self._failed, asked / seconds if seconds > 0 else 0.0,
            self._noun,
        )  # fmt: skip
        begin = _CLEARED if self._live else ""
        typer.echo(f"{begin}{self._title}: {line}", err=True, nl=not self._live)

    def end(self) -> None:
        """Show where it ended."""
        if self._done:
            self._show(time.monotonic())
            if self._live:
                typer.echo("", err=True)


_OFTEN, _NOW_AND_THEN = 0.5, 30.0
"""Seconds between two lines, in a terminal and elsewhere."""

_CLEARED = "\r\x1b[K"
"""Goes back to the start of a terminal's line, which is empty then."""


def told_so_far(done: int, total: int, failed: int, rate: float, noun: str = "row") -> str:
    """How far something is, in words.

    Args:
        rate: how many are done in a second; 0 if that is not known.

    >>> told_so_far(500, 2000, 3, 10.0)
    '500 of 2,000 rows, 10.0 a second, 3 failed, 2:30 left'
    >>> told_so_far(2000, 2000, 0, 0.5)
    '2,000 of 2,000 rows, 0.50 a second, none failed'
    """
    left = f", {_clock((total - done) / rate)} left" if rate and done < total else ""
    speed = f"{rate:.2f}" if rate < 1 else f"{rate:,.1f}"
    bad = f"{failed:,}" if failed else "none"
    return f"{done:,} of {counted(total, noun)}, {speed} a second, {bad} failed{left}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
