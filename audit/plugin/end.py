"""Ends a session in its controlling process: suite-level gate, files, and the closing lines."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit.base.errors import in_a_sentence, printable
from audit.base.files import write_atomically
from audit.base.settings import Limits, Settings
from audit.gate import baselines
from audit.gate.changes import changes_of
from audit.gate.ending import Ending
from audit.gate.omnibus import judge_omnibus, without_floor
from audit.gate.review import rejected as standing_rejections
from audit.gate.runfolder import Run
from audit.gate.suite import Suite, judge_suite
from audit.gate.tolerances import Level, Noise, load_noise
from audit.gate.verdict import level_of
from audit.plugin.options import path_of
from audit.plugin.state import State
from audit.plugin.watch import FEWEST, GATE, report_item
from audit.report.summary import markdown, workflow_commands
from audit.report.terminal import closing_lines

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
    if settings.suite is None or not (run.folder / "run.json").exists():
        return
    with _warning(state.lines, _UNREAD, state.watch.reasons):
        state.suite = _judged(run, settings, settings.suite)
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


def _judged(run: Run, settings: Settings, limits: Limits) -> Suite | None:
    """The verdict over all cases; moves together are measured by the session's own noise floors."""
    outcomes = run.outcomes()
    changes = changes_of(outcomes)
    if not changes:
        return None
    _, level = _noise_of(run, settings)
    return judge_suite(changes, limits, judge_omnibus(outcomes, level, limits.omnibus))


def _noise_of(run: Run, settings: Settings) -> tuple[Noise, Level | None]:
    """The noise beside the run's baselines, and that of its precision and devices."""
    about = run.about()
    folder = settings.root / about["baselines"]
    noise = load_noise(folder)
    return noise, level_of(noise, about, baselines.origin_of(folder))


def finish(session: pytest.Session, state: State) -> None:
    """Promote proposals, write results, gallery and summary, and collect the closing lines."""
    config, settings, watch = session.config, state.settings, state.watch
    run = Run(settings.run_folder)
    audited = (run.folder / "run.json").exists()
    promoted: list[str] | None = None
    if audited:
        if settings.update:
            promoted = _promoted(run, state)
        with _warning(state.lines, _UNREAD, watch.reasons):
            run = run.settled()
    suite: Suite | None = state.suite
    if suite is not None and suite.failed:
        watch.reasons.append("the suite-level gate failed")
    ending = _ended(session, state)
    if audited:
        from audit.report.gallery import write_gallery  # noqa: PLC0415  draws with matplotlib

        rejected: list[dict[str, Any]] = []
        with _warning(state.lines, "what reviewers rejected could not be read"):
            rejected = _rejected(run, settings)
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
            write_gallery(run, "all" if settings.everything else "failed")
    with _warning(state.lines, "the summary could not be written"):
        _summarise(config, state, run if audited else None, ending)
    state.lines += _last_words(state, run if audited else None, ending, promoted)


def _rejected(run: Run, settings: Settings) -> list[dict[str, Any]]:
    """The rejections of this run's cases that stand, for its gallery to show."""
    audited = {outcome.case for outcome in run.outcomes()}
    found = standing_rejections(settings.root / run.about()["baselines"])
    return [entry.to_dict() for entry in found if entry.case in audited]


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


def _summarise(config: pytest.Config, state: State, run: Run | None, ending: Ending) -> None:
    mistakes, placed = state.watch.mistakes, _place(state)
    given = path_of(config, "summary")
    if given is not None:
        _put(
            given,
            markdown(run, state.suite, ending, mistakes, placed, pictures=True),
        )
    elif os.environ.get("GITHUB_STEP_SUMMARY"):
        # Other commands of the step write into the same file, so append to it.
        _add(
            Path(os.environ["GITHUB_STEP_SUMMARY"]),
            markdown(run, state.suite, ending, mistakes, placed, pictures=False),
        )


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


def _last_words(
    state: State, run: Run | None, ending: Ending, promoted: list[str] | None
) -> list[str]:
    lines: list[str] = []
    if run is not None:
        with _warning(lines, _UNREAD):
            lines += closing_lines(run, state.suite, promoted)
            note = without_floor(run.outcomes(), *_noise_of(run, state.settings))
            lines += [f"note: {printable(note)}"] if note else []
    if os.environ.get("GITHUB_ACTIONS") == "true":
        with _warning(lines, "the annotations could not be made"):
            lines += workflow_commands(run, state.watch.mistakes, state.suite, _place(state))
    return [f"audit {ending.sentence}", *lines]


def _place(state: State) -> Callable[[str], str]:
    """A function that names a file as GitHub does: relative to the top of the checkout."""
    top = Path(os.environ.get("GITHUB_WORKSPACE") or state.settings.root)

    def placed(file: str) -> str:
        path = os.path.realpath(state.settings.root / file)
        relative = os.path.relpath(path, os.path.realpath(top))
        return path if relative.startswith("..") else Path(relative).as_posix()

    return placed
