"""What a session that Ctrl-C cuts off says of itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow

# A process that a shell starts in the background is deaf to Ctrl-C; this one is not.
HEARING = (
    "import signal, sys, pytest; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "sys.exit(pytest.main(sys.argv[1:]))"
)


def interrupted(
    project: pytest.Pytester, seconds: str, *more: str, again: float | None = None
) -> int:
    """Interrupt a session once its first outcome is stored, perhaps twice; its exit status."""
    asked = [
        "cases", "--audit-batch-size=1", "--audit-summary=summary.md", "--audit-run-dir=cut",
        "-p", "no:cacheprovider", *more,
    ]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", HEARING, *asked],
        cwd=project.path, env={**os.environ, "TOY_SECONDS": seconds}, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    outcomes = project.path / "cut" / "outcomes"
    for _ in range(1200):
        if list(outcomes.glob("*.json")) or process.poll() is not None:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    if again is not None:
        time.sleep(again)
        process.send_signal(signal.SIGINT)
    return process.wait(60)


def test_workers_that_are_interrupted_leave_no_passing_summary(accepted: pytest.Pytester) -> None:
    assert interrupted(accepted, "3", "-n2") == pytest.ExitCode.INTERRUPTED
    head = (accepted.path / "summary.md").read_text()
    assert head.startswith("## Audit failed\n\nInterrupted, ")
    assert " of 3 audited." in head


@pytest.mark.parametrize("gap", [0.02, 0.3])
def test_two_interrupts_in_a_row_are_no_passing_audit(
    accepted: pytest.Pytester, gap: float
) -> None:
    assert interrupted(accepted, "3", again=gap) != 0
    summary = accepted.path / "summary.md"
    assert not summary.exists() or summary.read_text().startswith("## Audit failed")
