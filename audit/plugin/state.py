"""The plugin's state in one pytest session, kept in ``config.stash``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from audit.base.errors import AuditError
from audit.base.languages import Language
from audit.base.settings import Settings
from audit.plugin.files import CaseFiles
from audit.plugin.folder import RunFolder
from audit.plugin.watch import Watch

if TYPE_CHECKING:
    from audit.cases.loading import Case
    from audit.cases.pictures import Pictures
    from audit.runs.session import Auditor


@dataclass
class State:
    """The state of one session.

    Attributes:
        language: of messages about case files.
        coming: gives the cases that follow in this process.
        cases, pictures: collected so far; cases by what must be unique about their names.
        unusable: why no case can be audited in this process.
        lines: printed at the end, in the terminal.
    """

    settings: Settings
    files: CaseFiles
    watch: Watch
    folder: RunFolder
    language: Language = "en"
    coming: Callable[[], Iterator[Case]] = field(default=lambda: iter(()))
    cases: dict[str, Case] = field(default_factory=dict)
    pictures: Pictures = field(default_factory=dict)
    places: dict[pytest.Item, int] = field(default_factory=dict)
    unusable: AuditError | None = None
    suite: Any = None
    lines: list[str] = field(default_factory=list)
    _auditor: Auditor | None = None

    @property
    def auditor(self) -> Auditor:
        """The session's auditor, imported and created at first use."""
        if self._auditor is None:
            from audit.runs.session import Auditor  # noqa: PLC0415  a suite without cases needs none

            self._auditor = Auditor(self.settings)
        return self._auditor

    def next_test(self) -> None:
        """Forget the questions of the last test."""
        if self._auditor is not None:
            self._auditor.asked.clear()


STATE = pytest.StashKey[State]()


def case_of(item: pytest.Item) -> Case | None:
    """The case of an item; None if it is another test.

    By its class, because plugins change node ids: pytest-xdist adds the group of an item to it.
    """
    items = sys.modules.get("audit.plugin.items")  # imported with the first case file
    return item.case if items is not None and isinstance(item, items.CaseItem) else None
