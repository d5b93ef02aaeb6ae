"""The hooks of the pytest plugin: cases in YAML become test items for one model per process.

Every pytest session in the environment imports this module, even those without cases. So it stays
light: the modules that collect, audit and finish are imported only when they are needed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from audit.base.errors import AuditError, CaseError, RunError, in_a_sentence, printable
from audit.cases.phrases import told
from audit.plugin.files import CaseFiles
from audit.plugin.folder import RunFolder
from audit.plugin.options import (
    add_options,
    outdate_summary,
    read_language,
    read_settings,
    root_of,
    runs_nothing,
)
from audit.plugin.state import STATE, State, case_of
from audit.plugin.watch import Watch

if TYPE_CHECKING:
    from audit.runs.session import Auditor


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the options and the keys of the configuration file."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Read the settings."""
    config.addinivalue_line("markers", "audit: a case declared in YAML")
    if not (hasattr(config, "workerinput") or runs_nothing(config)):
        outdate_summary(config)
    settings, files = read_settings(config), CaseFiles(config)
    watch = Watch(lambda path: files.takes(path, named=True))
    folder = RunFolder(config, settings.run_folder)
    config.stash[STATE] = State(settings, files, watch, folder, read_language(config))
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(watch, "audit-watch")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell an xdist worker which run it shares."""
    settings = node.config.stash[STATE].settings
    node.workerinput["audit_root"] = str(root_of(node.config))
    node.workerinput["audit_run_dir"] = str(settings.run_folder)
    node.workerinput["audit_run_id"] = settings.run_id


def pytest_sessionstart(session: pytest.Session) -> None:
    """Refuse a run folder with other files in it."""
    config = session.config
    if hasattr(config, "workerinput"):
        return
    # After all other plugins, so that it is called before them: some write their reports as early
    # as they can, and the verdict belongs in these.
    config.pluginmanager.register(_Verdict(), "audit-verdict")
    state = config.stash[STATE]
    state.files.warn()
    if runs_nothing(config):
        return
    try:
        state.folder.check()
    except RunError as error:
        raise pytest.UsageError(f"--audit-run-dir: {error}") from None


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect the case files."""
    files = parent.config.stash[STATE].files
    if not files.takes(file_path, named=parent.session.isinitpath(file_path)):
        return None
    from audit.plugin.items import CaseFile  # noqa: PLC0415  heavy, and only now needed

    collector: pytest.Collector = CaseFile.from_parent(parent, path=file_path)
    return collector


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Note which cases are selected, before anything else can fail."""
    state = session.config.stash[STATE]
    if not runs_nothing(session.config):
        state.watch.select([item.nodeid for item in session.items if case_of(item)])
        _begin(session.config)


@pytest.hookimpl(optionalhook=True, trylast=True)
def pytest_xdist_node_collection_finished(node: Any) -> None:
    """Take the run folder before the first worker is told to run a case."""
    _begin(node.config)


def _begin(config: pytest.Config) -> None:
    """Take the run folder if there are cases to audit; a session without any leaves it as it is."""
    state = config.stash[STATE]
    if hasattr(config, "workerinput") or runs_nothing(config) or not state.watch.selected:
        return
    try:
        state.folder.take()
    except RunError as error:
        state.watch.refuse(str(error))
        raise pytest.UsageError(f"--audit-run-dir: {printable(str(error))}") from None


def pytest_report_collectionfinish(
    config: pytest.Config, items: Sequence[pytest.Item]
) -> list[str] | None:
    """Load the model if cases are selected, and print what it is."""
    state = config.stash[STATE]
    chosen = [case for item in items if (case := case_of(item))]
    if not chosen or runs_nothing(config):
        return None
    from audit.plugin.items import load_model  # noqa: PLC0415  it is there: cases were collected

    try:
        return [printable(line) for line in load_model(config, chosen)]
    except AuditError as error:
        if hasattr(config, "workerinput"):
            # If a worker ended here, xdist would only report that it is gone. Let the cases fail.
            state.unusable = error
            return None
        said = told(str(error), state.language) if isinstance(error, CaseError) else str(error)
        state.watch.refuse(said)
        message = "\n".join(map(printable, said.split("\n")))
        raise pytest.UsageError(message) from None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Note which cases come next in this process, so that they can share a batch."""
    state = item.config.stash[STATE]
    state.next_test()
    if case_of(item):
        from audit.plugin.items import coming  # noqa: PLC0415  it is there: cases were collected

        state.coming = lambda: coming(item, nextitem)


@pytest.fixture(scope="session")
def auditor(pytestconfig: pytest.Config) -> Auditor:
    """The audited model, loaded once per process; ask it by ``auditor.ask(image, text)``."""
    return pytestconfig.stash[STATE].auditor


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Give pytest-html small pictures of what failed, in whichever phase."""
    del call
    result: Any = yield
    report = result.get_result()
    if not report.failed or not item.config.getoption("htmlpath", None):
        return
    if "audit.runs.session" not in sys.modules:
        return  # nothing was asked
    from audit.plugin.items import pictures_of  # noqa: PLC0415  only for failures, and with pytest-html

    try:
        fragments = pictures_of(item)
    except (AuditError, OSError) as error:
        report.sections.append(("audit", f"no pictures: {printable(str(error))}"))
        return
    if fragments:
        import pytest_html  # noqa: PLC0415  only where it is active

        extras = getattr(report, "extras", [])
        report.extras = [*extras, *(pytest_html.extras.html(f) for f in fragments)]


_ENDED = (
    pytest.ExitCode.OK,
    pytest.ExitCode.TESTS_FAILED,
    pytest.ExitCode.NO_TESTS_COLLECTED,
)


class _Verdict:
    """The suite-level gate, judged before other plugins end, so that they see its verdict."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Judge a finished session. If it was interrupted, workers may still be writing."""
        state = session.config.stash[STATE]
        if runs_nothing(session.config) or exitstatus not in _ENDED:
            return
        if state.folder.has_run or state.settings.min_cases:
            from audit.plugin.end import judge  # noqa: PLC0415  only if something was audited

            judge(session, state)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Promote proposals, write the results and the gallery, in the controlling process only.

    This comes after every other plugin, so that their failures are known.
    """
    state = session.config.stash[STATE]
    try:
        yield
    except BaseException as error:
        state.watch.reasons.append(f"a plugin failed at the end ({in_a_sentence(error)})")
        raise
    finally:
        _conclude(session, state)


def _conclude(session: pytest.Session, state: State) -> None:
    config = session.config
    if hasattr(config, "workerinput"):
        getattr(config, "workeroutput", {})["audit_files"] = state.files.to_dict()
        return
    if runs_nothing(config):
        return
    if state.watch.mistakes or state.watch.selected:
        state.folder.empty()  # what an older session left there must not speak for this one
    if state.folder.has_run or state.watch.concerned:
        from audit.plugin.end import finish  # noqa: PLC0415  only if something was audited

        finish(session, state)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Receive from an xdist worker which case files it collected."""
    sent = getattr(node, "workeroutput", {}).get("audit_files")
    if sent is not None:
        node.config.stash[STATE].files.receive(sent)


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    """Print what was audited, how it ended and where to look."""
    state = config.stash[STATE]
    nothing = not terminalreporter.stats and exitstatus != pytest.ExitCode.USAGE_ERROR
    line = state.files.line(nothing=nothing)
    if line:
        terminalreporter.write_line(line)
    if state.lines:
        terminalreporter.section("audit")
        for each in state.lines:
            terminalreporter.write_line(each)
