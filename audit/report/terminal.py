"""What a session says in the terminal: a failing case, the model, the end of a run."""

from __future__ import annotations

import os
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from audit.files import as_typed, counted
from audit.outcomes import Outcome, Run, State, totals
from audit.report.summary import workflow_commands
from audit.review import ACCEPTABLE


def failure_text(outcome: Outcome) -> str:
    """The table of expectations and figures out of tolerance, and the sentence."""
    table = Table(box=None, pad_edge=False, header_style="")
    for column in ("expectation", "observed", "limit", "verdict"):
        table.add_column(column, overflow="fold")
    for verdict in outcome.verdicts:
        said = "ok" if verdict.passed else "FAILED"
        _add(table, verdict.expectation, verdict.observed, verdict.limit, said)
    for row in outcome.drift:
        if row.verdict != "within":
            limit = f"{row.baseline} ± {row.tolerance:g}" if row.tolerance else row.baseline
            _add(table, f"{row.figure} against baseline", row.observed, limit, row.verdict.upper())
    console = Console(width=110, no_color=True, highlight=False, force_terminal=False)
    with console.capture() as captured:
        console.print(f"{outcome.state.value}: {outcome.sentence}", markup=False, soft_wrap=True)
        console.print(f"{outcome.file}:{outcome.line}: {outcome.text!r}", markup=False)
        if table.row_count:
            console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().rstrip().splitlines())


def _add(table: Table, *cells: str) -> None:
    table.add_row(*(Text(cell) for cell in cells))  # a plain str would lose "[birds]" as markup


def describe(fingerprint: dict[str, Any]) -> str:
    """One line that says which model was audited, and where it ran."""
    revision = fingerprint.get("revision") or "none"
    # Runs of older versions do not name an engine: they had one.
    engine = fingerprint.get("engine", "reference")
    return (
        f"audit: model {fingerprint['source']}, revision {revision}, "
        f"digest {fingerprint['digest'][:12]}, {fingerprint['device']}, {fingerprint['dtype']}, "
        f"{engine} engine"
    )


def closing_lines(run: Run, *, updated: bool) -> list[str]:
    """What was audited, how it ended, where to look and what to do next."""
    about, outcomes = run.about(), run.outcomes()
    counts = ", ".join(f"{count} {state}" for state, count in totals(outcomes).items())
    known = sum(o.state.failed and not o.failed for o in outcomes)
    more = f" ({known} known to fail)" if known else ""
    right = sum(o.label == o.expected for o in outcomes)
    lines = [
        describe(about["model"]),
        f"{counted(len(outcomes), 'case')}: {counts}{more}",
        f"labels: {right} of {len(outcomes)} as expected",
    ]
    if updated:
        kept = len(list((run.folder / "proposals").glob("*.json")))
        lines.append(f"baselines accepted: {kept}, in {about['baselines']}")
    suite = run.results()["suite"]
    if suite:
        verdict = "FAILED" if suite["failed"] else "passed"
        lines.append(f"suite-level gate {verdict}: {suite['sentence']}")
    if os.environ.get("GITHUB_ACTIONS") == "true":
        lines += workflow_commands(run)
    lines.append(f"gallery: {run.folder / 'gallery.html'}")
    if any(o.state is State.BROKEN and o.failed for o in outcomes):
        lines.append(
            "a contract is broken: mend the model, or change what the case expects, in its file"
        )
    if any(o.state in ACCEPTABLE and o.failed for o in outcomes):
        lines.append(
            f"what shall be so from now on, after a look: audit accept {as_typed(run.folder)}"
        )
    return lines
