"""Case files and cases as collectors and items of pytest; imported with the first case file."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from audit.base.errors import AuditError, CaseError, ModelError, printable
from audit.base.files import as_typed, counted
from audit.base.settings import EMBEDDED
from audit.cases.heads import asks_for_chosen
from audit.cases.loading import Case, check_labels, check_methods, check_unique, load_cases
from audit.cases.phrases import told
from audit.gate.headsfile import heads_for
from audit.gate.outcomes import Outcome, State
from audit.models.protocol import Known
from audit.models.registry import known
from audit.plugin.state import STATE
from audit.report.terminal import describe, failure_text, lines_of
from audit.runs.session import Auditor

_LOOKED_AT = 20
"""How many pictures are checked for whether an embedded model knows such scenes."""


@contextmanager
def _without_collector() -> Iterator[None]:
    """Pause garbage collection: a parsed file has many objects, and no cycles among them."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _known(source: str) -> Known:
    """What is known about the model before it is loaded."""
    try:
        return known(source)
    except ModelError:
        return Known()  # loading the model reports what is wrong


class CaseFile(pytest.File):
    """A YAML file of cases."""

    def collect(self) -> Iterator[CaseItem]:
        """Load and check the file; every problem is a collection error."""
        state = self.config.stash[STATE]
        with _without_collector():
            cases = load_cases(self.path, state.pictures)
        check_unique(cases, state.cases)
        model = _known(state.settings.model)
        if model.labels is not None:
            check_labels(cases, model.labels)
        if model.methods is not None:
            check_methods(cases, model.methods)
        for case in cases:
            # As a text, from which pytest reads the brackets of a variant as those of a parameter:
            # it does so with the ids that it stores, and --lf compares the two.
            written = f"{self.nodeid}::{case.id}"
            yield CaseItem.from_parent(self, name=case.id, case=case, nodeid=written)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show errors in case files without a traceback."""
        del style
        if isinstance(excinfo.value, CaseError):
            return lines_of(told(str(excinfo.value), self.config.stash[STATE].language))
        return super().repr_failure(excinfo)


class _NotPassed(Exception):
    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.sentence)
        self.outcome = outcome


class CaseFailed(_NotPassed):
    """A case was audited, and it fails."""


class CaseNotAudited(_NotPassed):
    """A case ended in an error, so that a mark of xfail says nothing about it."""


class CaseItem(pytest.Item):
    """One case."""

    def __init__(self, *, case: Case, **more: Any) -> None:
        super().__init__(**more)
        self.case = case
        self.outcome: Outcome | None = None
        for tag in ("audit", *case.tags):
            if tag != "audit":
                self.config.addinivalue_line("markers", f"{tag}: tag of an audit case")
            self.add_marker(tag)
        if case.xfail:
            reason = printable(" ".join(case.xfail.split()))
            self.add_marker(pytest.mark.xfail(reason=reason, raises=CaseFailed))

    def runtest(self) -> None:
        """Audit the case; raise if it fails."""
        state = self.config.stash[STATE]
        if state.unusable is not None:
            raise state.unusable
        self.outcome = state.auditor.outcome(self.case, state.coming)
        # A case may run more than once; keep only the properties of the last time.
        kept = [each for each in self.user_properties if not each[0].startswith("audit_")]
        self.user_properties[:] = [
            *kept,
            ("audit_state", self.outcome.state.value),
            ("audit_sentence", self.outcome.sentence),
            ("audit_label", self.outcome.label),
            ("audit_expected", self.outcome.expected),
        ]
        if self.outcome.state is State.ERROR:
            raise CaseNotAudited(self.outcome)
        if self.outcome.state.failed:
            if self.outcome.xfail and not self.case.xfail:  # known of this model alone
                pytest.xfail(printable(self.outcome.xfail))
            raise CaseFailed(self.outcome)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show a table and one sentence; a traceback would only show audit's own code."""
        if isinstance(excinfo.value, _NotPassed):
            return self._shown(excinfo, failure_text(excinfo.value.outcome))
        if isinstance(excinfo.value, AuditError):
            told = f"{type(excinfo.value).__name__}: {excinfo.value}"
            return self._shown(excinfo, lines_of(told))
        return super().repr_failure(excinfo, style)

    def _shown(self, excinfo: pytest.ExceptionInfo[BaseException], text: str) -> Any:
        """``text`` in place of the traceback.

        A plain text would do for the terminal, but reports in other formats (JUnit XML, CTRF) look
        for a message and a place, and would take a row of the table for the message.
        """
        shown: Any = excinfo.getrepr(style="value", chain=False)
        shown.reprtraceback.reprentries[-1].lines = text.split("\n")
        if shown.reprcrash is not None:
            shown.reprcrash.path, shown.reprcrash.lineno = str(self.path), self.case.line
            shown.reprcrash.message = text.partition("\n")[0]
        return shown

    def reportinfo(self) -> tuple[Path, int, str]:
        """The place of the case in its file."""
        return self.path, self.case.line - 1, f"case {self.case.id}"


def load_model(config: pytest.Config, chosen: Sequence[Case]) -> list[str]:
    """Load the model, check the cases against it, and return lines that describe it.

    Raises:
        AuditError: the model does not exist or cannot answer these cases, or the run folder or the
            baselines cannot be used.
    """
    auditor = config.stash[STATE].auditor
    check_labels(chosen, auditor.model.labels)
    check_methods(chosen, auditor.model.methods)
    heads_for(chosen, auditor.policy.folder)
    waived = auditor.policy.waived.attention
    auditor.make_run_folder()
    return [
        describe(auditor.model.fingerprint.to_dict()),
        f"baselines: {as_typed(auditor.policy.folder)}; batches of up to {auditor.batch_size}",
        *([f"limits on maps are not judged: {waived}"] if waived else []),
        *(f"note: {note}" for note in _notes(auditor, chosen) if note),
    ]


def _notes(auditor: Auditor, cases: Sequence[Case]) -> Iterator[str]:
    """What the user should know before these cases are audited; some are empty."""
    yield auditor.note
    yield _note_on_pictures(auditor, cases)
    if any(map(asks_for_chosen, cases)) and auditor.heads:
        yield auditor.heads.note(auditor.model.fingerprint.digest)


def _note_on_pictures(auditor: Auditor, cases: Sequence[Case]) -> str:
    """A warning if an embedded model is asked about pictures unlike those it was trained on."""
    source = auditor.model.fingerprint.source
    if source not in EMBEDDED:
        return ""
    from audit.base.images import open_image  # noqa: PLC0415  only for these models
    from audit.reference.world import is_foreign  # noqa: PLC0415

    some = list(dict.fromkeys(case.image for case in cases))[:_LOOKED_AT]
    try:
        foreign = sum(is_foreign(open_image(path)) for path in some)
    except AuditError:
        return ""  # the case itself reports what is wrong with its picture
    if not foreign:
        return ""
    return (
        f"the model {source} knows only drawn scenes, and {foreign} of the first "
        f"{counted(len(some), 'picture')} are not: its answers about them mean nothing"
    )


def coming(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[Case]:
    """The cases that follow ``item`` in this process, so that they can share its batch.

    An xdist worker only knows its next item for sure; later ones may go to another worker.
    """
    if nextitem is None:
        return
    items: Sequence[pytest.Item] = [nextitem]
    if not hasattr(item.config, "workerinput"):
        every, places = item.session.items, item.config.stash[STATE].places
        if not places:  # searching the list for every item would take quadratic time
            places.update({each: number for number, each in enumerate(every)})
        items = every[places[item] + 1 :]
    for each in items:
        if isinstance(each, CaseItem):
            yield each.case


def pictures_of(item: pytest.Item) -> list[str]:
    """Small pictures of what failed, for pytest-html."""
    from audit.report.fragments import asked_html, thumbnail_html  # noqa: PLC0415  draws with matplotlib

    auditor = item.config.stash[STATE].auditor
    if isinstance(item, CaseItem) and item.outcome is not None:
        folder = (item.config.invocation_params.dir / item.config.getoption("htmlpath")).parent
        gallery = os.path.relpath(auditor.run.folder / "gallery.html", folder)
        return [thumbnail_html(auditor.run, item.outcome, Path(gallery).as_posix())]
    return [asked_html(a.image, a.map, f"{a.text!r}: {a.label}", a.view) for a in auditor.asked]
