"""The pytest plugin: cases in YAML become test items, judged by one model per process.

Importing this module imports neither torch nor modelscope; the model is loaded when the first
case that was selected is about to run.
"""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from audit import baselines
from audit.auditor import Auditor, Settings
from audit.cases import Case, Pictures, check_labels, check_unique, load_cases
from audit.errors import AuditError, CaseError
from audit.files import as_typed, counted, write_atomically
from audit.models.sources import EMBEDDED, known_labels
from audit.outcomes import Outcome, Run
from audit.pytest_files import CaseFiles
from audit.pytest_options import add_options, path_of, read_settings, root_of
from audit.report.terminal import describe, failure_text
from audit.suite import Limits, Suite, changes_of, judge_suite

_auditor = pytest.StashKey[Auditor]()
_settings = pytest.StashKey[Settings]()
_settled = pytest.StashKey[Run]()
_coming = pytest.StashKey[Callable[[], Iterator[Case]]]()
_places = pytest.StashKey[dict[pytest.Item, int]]()
_collected = pytest.StashKey[dict[str, Case]]()
_opened = pytest.StashKey[Pictures]()
_LOOKED_AT = 20
"""Pictures that are compared with what an embedded model knows."""

_too_few = pytest.StashKey[str]()
_files = pytest.StashKey[CaseFiles]()
_unusable = pytest.StashKey[AuditError]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the options and the keys of the configuration file."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Read the settings."""
    config.addinivalue_line("markers", "audit: a case declared in YAML")
    settings = config.stash[_settings] = read_settings(config)
    config.stash[_auditor] = Auditor(settings)
    config.stash[_files] = CaseFiles(config)
    config.stash[_coming] = lambda: iter(())
    config.stash[_collected], config.stash[_opened] = {}, {}


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell an xdist worker which run it shares."""
    node.workerinput["audit_root"] = str(root_of(node.config))
    node.workerinput["audit_run_dir"] = str(node.config.stash[_settings].run_folder)
    node.workerinput["audit_run_id"] = node.config.stash[_settings].run_id


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> CaseFile | None:
    """Collect the case files."""
    named = parent.session.isinitpath(file_path)
    if parent.config.stash[_files].takes(file_path, named=named):
        return CaseFile.from_parent(parent, path=file_path)
    return None


@contextmanager
def _without_collector() -> Iterator[None]:
    """Pause the search for cycles: a parsed file has none, and many objects to search in."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class CaseFile(pytest.File):
    """A YAML file of cases."""

    def collect(self) -> Iterator[CaseItem]:
        """Load and check the file; every problem is an error of collection."""
        with _without_collector():
            cases = load_cases(self.path, self.config.stash[_opened])
        check_unique(cases, self.config.stash[_collected])
        settings = self.config.stash[_settings]
        labels = known_labels(settings.model)
        if labels is not None:
            check_labels(cases, labels)
        for case in cases:
            yield CaseItem.from_parent(self, name=case.id, case=case)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Errors of case files are told without a traceback."""
        del style
        if isinstance(excinfo.value, CaseError):
            return str(excinfo.value)
        return super().repr_failure(excinfo)


class _CaseFailed(Exception):
    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.sentence)
        self.outcome = outcome


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
            self.add_marker(pytest.mark.xfail(reason=case.xfail, raises=_CaseFailed))

    def runtest(self) -> None:
        """Audit the case; raise if it fails."""
        auditor = self.config.stash[_auditor]
        if _unusable in self.config.stash:
            raise self.config.stash[_unusable]
        self.outcome = auditor.outcome(self.case, self.config.stash[_coming])
        self.user_properties += [
            ("audit_state", self.outcome.state.value),
            ("audit_sentence", self.outcome.sentence),
            ("audit_label", self.outcome.label),
            ("audit_expected", self.outcome.expected),
        ]
        if self.outcome.state.failed:
            raise _CaseFailed(self.outcome)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """A table and one sentence; the traceback would show only audit's own code."""
        if isinstance(excinfo.value, _CaseFailed):
            return failure_text(excinfo.value.outcome)
        if isinstance(excinfo.value, AuditError):
            return f"{type(excinfo.value).__name__}: {excinfo.value}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the case stands."""
        return self.path, self.case.line - 1, f"case {self.case.id}"


def pytest_report_collectionfinish(
    config: pytest.Config, items: Sequence[pytest.Item]
) -> list[str] | None:
    """Load the model once cases are selected, and say what it is."""
    chosen = [item.case for item in items if isinstance(item, CaseItem)]
    if not chosen or config.getoption("collectonly"):
        return None
    auditor = config.stash[_auditor]
    try:
        check_labels(chosen, auditor.model.labels)
        _ = auditor.gate
        auditor.make_run_folder()
    except AuditError as error:
        if hasattr(config, "workerinput"):
            # xdist tells of a worker that ends now only that it is gone; the cases say why.
            config.stash[_unusable] = error
            return None
        raise pytest.UsageError(str(error)) from None
    return [
        describe(auditor.model.fingerprint.to_dict()),
        f"baselines: {as_typed(auditor.gate.folder)}; batches of up to {auditor.batch_size}",
        *(f"note: {note}" for note in (auditor.note, _note_on_pictures(auditor, chosen)) if note),
    ]


def _note_on_pictures(auditor: Auditor, cases: Sequence[Case]) -> str:
    """Whether the embedded models are asked about pictures that they know nothing of."""
    source = auditor.model.fingerprint.source
    if source not in EMBEDDED:
        return ""
    from audit.images import open_image  # noqa: PLC0415  only for these models
    from audit.reference.world import is_foreign  # noqa: PLC0415

    some = list(dict.fromkeys(case.image for case in cases))[:_LOOKED_AT]
    try:
        foreign = sum(is_foreign(open_image(path)) for path in some)
    except AuditError:
        return ""  # its case tells what is wrong with the picture
    if not foreign:
        return ""
    return (
        f"the model {source} knows only drawn scenes, and {foreign} of the first "
        f"{counted(len(some), 'picture')} are none: what it says of them means nothing"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Note which cases come next in this process, so that they can share a batch.

    An xdist worker is sure only of its next item; the rest of its list may go to another worker.
    """

    def coming() -> Iterator[Case]:
        if nextitem is None:
            return
        items: Iterable[pytest.Item] = [nextitem]
        if not hasattr(item.config, "workerinput"):
            every, stash = item.session.items, item.session.stash
            if _places not in stash:  # a search for each item would grow with their square
                stash[_places] = {each: number for number, each in enumerate(every)}
            items = (every[n] for n in range(stash[_places][item] + 1, len(every)))
        for each in items:
            if isinstance(each, CaseItem):
                yield each.case

    item.config.stash[_coming] = coming
    item.config.stash[_auditor].asked.clear()


@pytest.fixture(scope="session")
def auditor(pytestconfig: pytest.Config) -> Auditor:
    """The audited model, loaded once per process: ``auditor.ask(image, text)`` gives a trace."""
    return pytestconfig.stash[_auditor]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Give pytest-html small pictures of what failed, whichever phase it failed in."""
    del call
    result: Any = yield
    report = result.get_result()
    if not report.failed or not item.config.getoption("htmlpath", None):
        return
    fragments = _pictures(item)
    if fragments:
        import pytest_html  # noqa: PLC0415  only where it is active

        extras = getattr(report, "extras", [])
        report.extras = [*extras, *(pytest_html.extras.html(f) for f in fragments)]


def _pictures(item: pytest.Item) -> list[str]:
    from audit.report.fragments import asked_html, thumbnail_html  # noqa: PLC0415  draws with matplotlib

    auditor = item.config.stash[_auditor]
    if isinstance(item, CaseItem) and item.outcome is not None:
        folder = (item.config.invocation_params.dir / item.config.getoption("htmlpath")).parent
        gallery = os.path.relpath(auditor.run.folder / "gallery.html", folder)
        return [thumbnail_html(auditor.run, item.outcome, Path(gallery).as_posix())]
    return [asked_html(a.image, a.map, f"{a.text!r}: {a.label}") for a in auditor.asked]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In the controlling process: promote proposals, write the results and the gallery."""
    config = session.config
    if hasattr(config, "workerinput"):
        getattr(config, "workeroutput", {})["audit_files"] = config.stash[_files].told()
        return
    settings = config.stash[_settings]
    run = Run(settings.run_folder)
    _count(session, run)
    if not (run.folder / "run.json").exists():
        return
    from audit.report.gallery import write_gallery  # noqa: PLC0415  draws with matplotlib

    promoted: list[str] = []
    proposals = run.folder / "proposals"
    if settings.update and proposals.exists():
        promoted = baselines.promote(proposals, settings.root / run.about()["baselines"])
    run = config.stash[_settled] = run.settled()
    suite = _judge(run, settings.suite)
    run.finish({"promoted": promoted, "suite": suite.to_dict() if suite else None})
    write_gallery(run, "all" if settings.everything else "failed")
    _summarise(run, config)
    if suite and suite.failed and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _count(session: pytest.Session, run: Run) -> None:
    """Fail a session that audits fewer cases than it must."""
    fewest = session.config.stash[_settings].min_cases
    audited = len(list((run.folder / "outcomes").glob("*.json")))
    if audited >= fewest or session.config.getoption("collectonly"):
        return
    session.config.stash[_too_few] = (
        f"audit: FAILED: {counted(audited, 'case')} audited, and audit_min_cases is {fewest}"
    )
    if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _summarise(run: Run, config: pytest.Config) -> None:
    from audit.report.summary import markdown  # noqa: PLC0415  only at the end

    given = path_of(config, "summary")
    if given is not None:
        write_atomically(given, markdown(run, pictures=True).encode())
    elif os.environ.get("GITHUB_STEP_SUMMARY"):
        # Other steps' commands write into the same file, so it is added to.
        with Path(os.environ["GITHUB_STEP_SUMMARY"]).open("a", encoding="utf-8") as file:
            file.write(markdown(run, pictures=False))


def _judge(run: Run, limits: Limits | None) -> Suite | None:
    """The verdict over all cases that were compared with a baseline, if it is asked for."""
    changes = changes_of(run.outcomes()) if limits else []
    return judge_suite(changes, limits) if limits and changes else None


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hear from an xdist worker which case files it collected."""
    told = getattr(node, "workeroutput", {}).get("audit_files")
    if told is not None:
        node.config.stash[_files].hear(told)


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    """Say what was audited, how it ended and where to look."""
    nothing = not terminalreporter.stats and exitstatus != pytest.ExitCode.USAGE_ERROR
    for line in (config.stash[_files].line(nothing=nothing), config.stash.get(_too_few, "")):
        if line:
            terminalreporter.write_line(line)
    folder = config.stash[_settings].run_folder
    if not (folder / "results.json").exists():
        return
    from audit.report.terminal import closing_lines  # noqa: PLC0415  drawn from the run, at its end

    terminalreporter.section("audit")
    run = config.stash.get(_settled, Run(folder))
    for line in closing_lines(run, updated=bool(config.stash[_settings].update)):
        terminalreporter.write_line(line)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Empty a run folder that is used again; refuse one that holds something else."""
    config = session.config
    if not hasattr(config, "workerinput"):
        config.stash[_files].warn()
    folder = config.stash[_settings].run_folder
    if hasattr(config, "workerinput") or not folder.exists() or config.getoption("collectonly"):
        return
    others = [path for path in folder.iterdir() if path.name != ".gitignore"]
    if others and not (folder / "run.json").exists():
        raise pytest.UsageError(f"--audit-run-dir: {folder} holds files that are not a run")
    for name in ("outcomes", "proposals", "images"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("run.json", "results.json", "gallery.html"):
        (folder / name).unlink(missing_ok=True)
