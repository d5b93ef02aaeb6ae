"""Follows a session report by report, to know in the end what was audited and why it failed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from audit.base.errors import printable
from audit.base.files import counted
from audit.gate.ending import Ending, Mistake, mistakes_in, named, short_of

GATE, FEWEST = "audit::suite-level-gate", "audit::min-cases"
"""Node ids of the checks over the whole session, which have their own reports."""

_XPASSED = "[XPASS(strict)]"


class Watch:
    """Listens to one session, in its controlling process.

    Attributes:
        selected: node ids of the cases to be audited.
        mistakes: mistakes in case files, because of which they were not collected.
        reasons: why the session fails, besides what pytest reports.
    """

    def __init__(self, is_case_file: Callable[[Path], bool]) -> None:
        self.selected: set[str] = set()
        self.mistakes: list[Mistake] = []
        self.reasons: list[str] = []
        self._is_case_file = is_case_file
        self._audited: set[str] = set()
        self._failed: set[str] = set()
        self._skipped: set[str] = set()
        self._passed_strictly: list[str] = []
        self._errors: dict[str, str] = {}
        self._uncollected: list[str] = []
        self._stopped = ""

    def select(self, ids: Sequence[str]) -> None:
        """Note which cases the session is going to run."""
        self.selected = set(ids)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """Note the cases that workers collected; only their ids are known here."""
        if not self.selected:
            root = node.config.rootpath
            files = {each.partition("::")[0] for each in ids}
            ours = {file for file in files if self._is_case_file(root / file)}
            self.select([each for each in ids if each.partition("::")[0] in ours])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how one phase of a test item ended."""
        if report.nodeid in (GATE, FEWEST):
            return
        state = dict(report.user_properties).get("audit_state")
        if state is not None:
            self._audited.add(report.nodeid)
        if report.skipped and state is None:
            self._skipped.add(report.nodeid)
        if not report.failed:
            return
        if report.when == "call" and report.longreprtext.startswith(_XPASSED):
            self._passed_strictly.append(report.nodeid)
        elif state is not None and report.when == "call":
            self._failed.add(report.nodeid)
        else:
            when = {"setup": " at set-up", "teardown": " at tear-down"}.get(str(report.when), "")
            self._errors.setdefault(report.nodeid, when)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note which files could not be collected, and every mistake in case files."""
        if not report.failed:
            return
        if report.nodeid not in self._uncollected:
            self._uncollected.append(report.nodeid)
            if Path(report.nodeid).suffix.lower() in (".yaml", ".yml"):
                self.mistakes += mistakes_in(report.longreprtext, report.nodeid)

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Note why the session stops early."""
        if excinfo.errisinstance(KeyboardInterrupt) and type(excinfo.value) is KeyboardInterrupt:
            self._stopped = "interrupted"
        elif not self._uncollected:
            why = printable(" ".join(str(excinfo.value).split())) or "pytest.exit() was called"
            self._stopped = f"stopped early ({why})"

    def pytest_internalerror(self) -> None:
        """Note that pytest or one of its plugins failed."""
        self._stopped = "an internal error of pytest or of a plugin"

    @property
    def concerned(self) -> bool:
        """Whether the session is about cases, even if none was audited."""
        return bool(self.selected or self.mistakes or self.reasons)

    def refuse(self, message: str) -> None:
        """Note why the audit could not start."""
        self.mistakes += [each for each in mistakes_in(message, "") if each.line]
        self.reasons.append(f"the audit could not begin ({printable(message.splitlines()[0])})")

    def short_of(self, fewest: int) -> str:
        """What to say if fewer cases than ``fewest`` were audited; otherwise empty."""
        return short_of(len(self._audited), fewest)

    def ending(self, session: pytest.Session, exit_status: int) -> Ending:
        """How the session ended, with all reasons."""
        reasons: list[str] = []
        if not self._stopped and isinstance(sys.exc_info()[1], KeyboardInterrupt):
            self._stopped = "interrupted"  # a second Ctrl-C, while pytest dealt with the first
        cut = session.shouldfail or session.shouldstop
        if self._stopped:
            reasons.append(self._stopped)
        elif cut and len(self._audited) < len(self.selected):
            reasons.append(f"stopped early ({printable(str(cut))})")
        reasons += self.reasons
        if self._uncollected:
            files = counted(len(self._uncollected), "file")
            reasons.append(f"{files} could not be collected ({named(self._uncollected)})")
        if self._passed_strictly:
            known = counted(len(self._passed_strictly), "item")
            reasons.append(
                f"{known} marked xfail passed ({named(_short(self._passed_strictly))}): "
                "remove the mark"
            )
        ours = [i for i in self._errors if i in self.selected]
        if ours:
            names = [f"{name}{self._errors[i]}" for i, name in zip(ours, _short(ours), strict=True)]
            cases = counted(len(ours), "case")
            reasons.append(f"{cases} failed outside the audit ({named(names)})")
        others = [i for i in self._errors if i not in self.selected]
        if others:
            reasons.append(f"{counted(len(others), 'other test')} failed ({named(others)})")
        return Ending(
            exit_status,
            max(len(self.selected), len(self._audited)),
            len(self._audited),
            len(self._failed),
            tuple(reasons),
            len(self._skipped & self.selected),
        )


def _short(ids: Sequence[str]) -> list[str]:
    """The ids of cases without their files."""
    return [each.rpartition("::")[2] for each in ids]


def report_item(session: pytest.Session, node_id: str, sentence: str) -> None:
    """Report a failure of the whole session as if it were a test item.

    So it appears in JUnit XML and in pytest's counts, and ``--lf`` knows it. An empty ``sentence``
    means that the check passed: nothing is reported, but ``--lf`` forgets an earlier failure.
    """

    def report(outcome: Any, when: Any, message: str | None) -> pytest.TestReport:
        place = ("audit", None, node_id.partition("::")[2])
        return pytest.TestReport(node_id, place, {}, outcome, message, when)

    if not sentence:
        last = session.config.pluginmanager.getplugin("lfplugin")
        if last is not None:
            last.pytest_runtest_logreport(report("passed", "call", None))
        return
    session.testscollected += 1  # for the progress that pytest prints
    for each in (report("failed", "call", sentence), report("passed", "teardown", None)):
        session.config.hook.pytest_runtest_logreport(report=each)
