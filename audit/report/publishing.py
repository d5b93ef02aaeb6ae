"""Takes a verdict to where a pipeline shows it: a summary in Markdown, annotations of files."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from audit.base.files import write_atomically
from audit.gate.ending import Ending, Mistake
from audit.gate.runfolder import Run
from audit.gate.suite import Suite
from audit.report.summary import markdown, workflow_commands


@dataclass(frozen=True)
class Published:
    """What a pipeline is told.

    Attributes:
        run: what was audited; None if the session ended before it audited anything.
        suite: the verdict over all cases, if there is one.
        mistakes: found in case files.
        notes: what else a reader of the summary must know, one sentence each.
    """

    run: Run | None
    suite: Suite | None
    ending: Ending
    mistakes: tuple[Mistake, ...] = ()
    notes: tuple[str, ...] = ()


def publish(found: Published, root: Path, given: Path | None) -> None:
    """Write the summary to the file that the user named, or else to GitHub's step summary, if any.

    Args:
        root: the folder to which names of case files are relative.
        given: the file that the user named.
    """
    placed = _place(root)
    if given is not None:
        _put(given, _markdown(found, placed, pictures=True))
    elif os.environ.get("GITHUB_STEP_SUMMARY"):
        # Other commands of the step write into the same file, so append to it.
        _add(Path(os.environ["GITHUB_STEP_SUMMARY"]), _markdown(found, placed, pictures=False))


def annotation_lines(found: Published, root: Path) -> list[str]:
    """The lines that make GitHub mark failing cases in their files; none anywhere else."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return []
    return workflow_commands(found.run, found.mistakes, found.suite, _place(root))


def _markdown(found: Published, placed: Callable[[str], str], *, pictures: bool) -> str:
    return markdown(
        found.run, found.suite, found.ending, found.mistakes, placed,
        notes=found.notes, pictures=pictures,
    )  # fmt: skip


def _put(path: Path, text: str) -> None:
    """Write a file that the user named; it may be a link, or a pipe or device."""
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        _add(path, text)
    else:
        write_atomically(path, text.encode())


def _add(path: Path, text: str) -> None:
    """Append to a file; if it is a pipe, do not wait for a reader."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o666)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)


def _place(root: Path) -> Callable[[str], str]:
    """A function that names a file as GitHub does: relative to the top of the checkout."""
    top = Path(os.environ.get("GITHUB_WORKSPACE") or root)

    def placed(file: str) -> str:
        path = os.path.realpath(root / file)
        relative = os.path.relpath(path, os.path.realpath(top))
        return path if relative.startswith("..") else Path(relative).as_posix()

    return placed
