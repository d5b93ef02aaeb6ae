"""Ends a session in its controlling process: suite-level gate, files, and the closing lines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from audit.base.errors import in_a_sentence, printable
from audit.gate import baselines
from audit.gate.ending import SUITE_FAILED, Ending
from audit.gate.runfolder import Run
from audit.gate.suite import Suite
from audit.plugin.options import path_of
from audit.plugin.state import State
from audit.plugin.watch import FEWEST, GATE, report_item
from audit.report.publishing import Published, annotation_lines, publish
from audit.report.terminal import closing_lines
from audit.runs.judging import elsewhere, judged, notes_on, rejected_in

_UNREAD = "the run could not be read"

_NOTHING_FAILED = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)


@contextmanager
def _warning(lines: list[str], what: str, fails: list[str] | None = None) -> Iterator[None]:
    """Turn an error into a warning and go on, because the verdict matters more than its pages.

    Args:
        fails: reasons why the session fails, to be extended if the verdict depends on this step.
    """
    try:
        yield
    except Exception as error:
        lines.append(f"warning: {what}: {in_a_sentence(error)}")
        if fails is not None and what not in fails:
            fails.append(what)


def judge(session: pytest.Session, state: State) -> None:
    """Judge all cases together that have a baseline, and report a failure as a test item."""
    settings = state.settings
    if settings.min_cases:
        short = state.watch.short_of(settings.min_cases)
        report_item(session, FEWEST, printable(short))
        state.watch.reasons += [short] if short else []
    run = Run(settings.run_folder)
    if not settings.suite or not state.folder.has_run:
        return
    with _warning(state.lines, _UNREAD, state.watch.reasons):
        state.suite = judged(run, settings.root / run.about()["baselines"], settings.limits)
    if state.suite is not None and state.suite.failed:
        report_item(session, GATE, f"suite-level gate FAILED: {printable(state.suite.sentence)}")
    elif state.suite is not None and _whole(session.config):
        report_item(session, GATE, "")


def _whole(config: pytest.Config) -> bool:
    """Whether nobody chose some of the cases: of these alone the gate's last failure may pass."""
    chosen = any(config.getoption(name, None) for name in ("keyword", "markexpr", "deselect"))
    last = config.getoption("lf", False) and _failed_cases(config)
    return not (chosen or last or any("::" in argument for argument in config.args))


def _failed_cases(config: pytest.Config) -> bool:
    """Whether ``--lf`` had items to choose; otherwise it runs all."""
    last = config.cache.get("cache/lastfailed", {}) if config.cache is not None else {}
    return any(node_id not in (GATE, FEWEST) for node_id in last)


def finish(session: pytest.Session, state: State) -> None:
    """Promote proposals, write results, gallery and summary, and collect the closing lines."""
    config, settings, watch = session.config, state.settings, state.watch
    run = Run(settings.run_folder)
    audited = state.folder.has_run
    promoted: list[str] | None = None
    if audited:
        if settings.update:
            promoted = _promoted(run, state)
        with _warning(state.lines, _UNREAD, watch.reasons):
            run = run.settled()
    suite: Suite | None = state.suite
    if suite is not None and suite.failed:
        watch.reasons.append(SUITE_FAILED)
    ending = _ended(session, state)
    if audited:
        from audit.report.gallery import write_gallery  # noqa: PLC0415  draws with matplotlib

        rejected: list[dict[str, Any]] = []
        with _warning(state.lines, "what reviewers rejected could not be read"):
            rejected = rejected_in(run, settings.root / run.about()["baselines"])
        with _warning(state.lines, "the results could not be written", watch.reasons):
            run.finish(
                {
                    "promoted": promoted or [],
                    "suite": suite.to_dict() if suite else None,
                    "session": ending.to_dict(),
                    "rejected": rejected,
                }
            )
        ending = _ended(session, state)
        with _warning(state.lines, "the gallery could not be written"):
            write_gallery(run, "all" if settings.everything else "failed", settings.language)
    with _warning(state.lines, "the summary could not be written"):
        notes = elsewhere(run, settings.root / run.about()["baselines"]) if audited else ()
        publish(
            Published(run if audited else None, suite, ending, tuple(watch.mistakes), tuple(notes)),
            settings.root,
            path_of(config, "summary"),
        )
    state.lines += _last_words(state, run if audited else None, ending, promoted)


def _ended(session: pytest.Session, state: State) -> Ending:
    """How the session ends, as far as is known now; a failure also sets the exit status."""
    ending = state.watch.ending(session, int(session.exitstatus))
    if not ending.passed and session.exitstatus in _NOTHING_FAILED:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        ending = replace(ending, exit_status=int(session.exitstatus))
    return ending


def _promoted(run: Run, state: State) -> list[str]:
    """Accept the proposals as baselines; if that fails, the session fails."""
    if not run.proposals.exists():
        return []
    promoted: list[str] = []
    with _warning(state.lines, "the baselines could not be accepted", state.watch.reasons):
        folder = state.settings.root / run.about()["baselines"]
        promoted = baselines.promote(run.proposals, folder)
    return promoted


def _last_words(
    state: State, run: Run | None, ending: Ending, promoted: list[str] | None
) -> list[str]:
    lines: list[str] = []
    if run is not None:
        with _warning(lines, _UNREAD):
            lines += closing_lines(run, state.suite, promoted)
            lines += notes_on(run, state.settings.root / run.about()["baselines"])
    with _warning(lines, "the annotations could not be made"):
        found = Published(run, state.suite, ending, tuple(state.watch.mistakes))
        lines += annotation_lines(found, state.settings.root)
    return [f"audit {ending.sentence}", *lines]
