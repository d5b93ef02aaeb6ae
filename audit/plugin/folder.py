"""The run folder of a session: emptied once the session has cases to audit, and its alone then."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from audit.base.errors import RunError
from audit.base.files import make_output

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK = ".audit-run.lock"
"""Locked while a session writes the run; afterwards it says that what lies beside it is a run."""

_HIDDEN = (".gitignore", LOCK)


class RunFolder:
    """The run folder of a session, for its controlling process.

    Attributes:
        taken: whether this session writes the run, so that what is there is its own.
    """

    def __init__(self, config: pytest.Config, folder: Path) -> None:
        self.taken = False
        self._config, self._folder = config, folder

    @property
    def has_run(self) -> bool:
        """Whether this session has audited something; not one that used the folder before it."""
        return self.taken and (self._folder / "run.json").exists()

    def check(self) -> None:
        """Refuse a folder that holds something else than a run.

        Raises:
            RunError: it does, or is no folder.
        """
        folder = self._folder
        try:
            if not folder.exists():
                return
            others = [path for path in folder.iterdir() if path.name not in _HIDDEN]
        except OSError as error:
            raise RunError(f"{folder}: no run can be written there: {error.strerror}") from None
        if others and not any((folder / name).exists() for name in ("run.json", LOCK)):
            raise RunError(f"{folder} holds files that are not a run")

    def take(self) -> None:
        """Keep other sessions out until this one ends, and remove the run that was there.

        Raises:
            RunError: another session writes there, nothing can be written, or see :meth:`check`.
        """
        if self.taken:
            return
        self.check()
        from filelock import FileLock, Timeout  # noqa: PLC0415  a suite without cases needs none

        folder = self._folder
        try:
            make_output(folder)
            lock = FileLock(folder / LOCK, timeout=0)
            lock.acquire()
            self._config.add_cleanup(lambda: self._leave(lock))
            for name in ("outcomes", "proposals", "images"):
                if (folder / name).exists():
                    shutil.rmtree(folder / name)
            for name in ("run.json", "results.json", "gallery.html"):
                (folder / name).unlink(missing_ok=True)
        except Timeout:
            raise RunError(f"{folder}: another session is writing its run there") from None
        except OSError as error:
            raise RunError(f"{folder}: no run can be written there: {error.strerror}") from None
        self.taken = True

    def empty(self) -> None:
        """Remove an older run if this session was to audit cases and could not begin."""
        if self._folder.exists():
            with suppress(RunError):  # it may be what the session could not begin for
                self.take()

    def _leave(self, lock: BaseFileLock) -> None:
        lock.release()
        with suppress(OSError):
            if [path.name for path in self._folder.iterdir()] == [LOCK]:
                shutil.rmtree(self._folder)
