"""What a session prints in the terminal: failing cases, the model, the end of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from audit.base.errors import printable
from audit.base.files import as_typed, counted
from audit.gate.outcomes import MUCH_UNSAID, Outcome, State, labels_told, totals, unsaid_told
from audit.gate.review import ACCEPTABLE
from audit.gate.runfolder import Run
from audit.gate.suite import Suite

_SLICES = 5
"""The most slices in the terminal; of the others it gives the number."""


def lines_of(text: str) -> str:
    """A text of several lines, each made safe to print by :func:`audit.base.errors.printable`."""
    return "\n".join(map(printable, text.split("\n")))


def failure_text(outcome: Outcome) -> str:
    """A failing case: its sentence, and a table of its expectations and what left its tolerance."""
    table = Table(box=None, pad_edge=False, header_style="")
    for column in ("expectation", "observed", "limit", "verdict"):
        table.add_column(column, overflow="fold")
    for verdict in outcome.verdicts:
        word = "ok" if verdict.passed else "FAILED"
        _add(table, verdict.expectation, verdict.observed, verdict.limit, word)
    for row in outcome.drift:
        if row.verdict != "within":
            limit = f"{row.baseline} ± {row.tolerance:g}" if row.tolerance else row.baseline
            _add(table, f"{row.figure} against baseline", row.observed, limit, row.verdict.upper())
    console = Console(
        width=110, no_color=True, highlight=False, force_terminal=False, markup=False, emoji=False
    )
    with console.capture() as captured:
        sentence = printable(f"{outcome.state.value}: {outcome.sentence}")
        console.print(sentence, markup=False, soft_wrap=True)
        console.print(f"{printable(outcome.file)}:{outcome.line}: {outcome.text!r}", markup=False)
        if table.row_count:
            console.print(table)
        if outcome.unsaid is not None and outcome.unsaid > MUCH_UNSAID:
            console.print(f"unsaid: {outcome.unsaid:.4f}, the probability of all other answers")
    return lines_of("\n".join(line.rstrip() for line in captured.get().rstrip().split("\n")))


def _add(table: Table, *cells: str) -> None:
    # A plain str would lose "[birds]" as markup.
    table.add_row(*(Text(printable(cell)) for cell in cells))


def describe(fingerprint: dict[str, Any]) -> str:
    """One line that says which model was audited, and where it ran."""
    revision = fingerprint.get("revision") or "none"
    # Runs of older versions do not name an engine, because there was only one.
    engine = fingerprint.get("engine", "reference")
    return (
        f"audit: model {fingerprint['source']}, revision {revision}, "
        f"digest {fingerprint['digest'][:12]}, {fingerprint['device']}, {fingerprint['dtype']}"
        f"{f', {engine} engine' if engine else ''}"
    )


def closing_lines(run: Run, suite: Suite | None, promoted: Sequence[str] | None) -> list[str]:
    """What was audited, how it ended, where to look and what to do next.

    Args:
        promoted: cases whose baselines were accepted; None if the session was not asked to.
    """
    about, outcomes = run.about(), run.outcomes()
    counts = ", ".join(f"{count} {state}" for state, count in totals(outcomes).items())
    known = sum(o.known for o in outcomes)
    more = f" ({known} known to fail)" if known else ""
    lines = [
        describe(about["model"]),
        f"{counted(len(outcomes), 'case')}: {counts}{more}",
        f"labels: {labels_told(outcomes)}",
    ]
    if unsaid := unsaid_told([o.unsaid for o in outcomes]):
        lines.append(f"warning: {unsaid}")
    if promoted is not None:
        lines.append(f"baselines accepted: {len(promoted)}, in {about['baselines']}")
    if suite:
        lines += _of_suite(suite)
    if suite and suite.omnibus and not suite.omnibus.failed:  # else the suite's sentence says it
        lines.append(f"all figures together {suite.omnibus.verdict}: {suite.omnibus.sentence}")
    if (run.folder / "gallery.html").exists():
        lines.append(f"gallery: {run.folder / 'gallery.html'}")
    if any(o.state is State.BROKEN and o.failed for o in outcomes):
        lines.append(
            "a contract is broken: fix the model, or change what the case expects in its file"
        )
    if any(o.state in ACCEPTABLE and o.failed for o in outcomes):
        lines.append(
            "if the new and changed figures are right, accept them: "
            f"audit accept {as_typed(run.folder)}"
        )
    return [printable(line) for line in lines]


def _of_suite(suite: Suite) -> list[str]:
    """The verdict over all cases, and the slices that fell."""
    verdict = "FAILED" if suite.failed else suite.verdict.value
    lines = [f"suite-level gate {verdict}: {suite.sentence}"]
    worst = suite.worst_slices(_SLICES)
    lines += [f"  {part.told}{', FAILED' if part.failed else ''}" for part in worst]
    left = [part for part in suite.slices if part not in worst]
    if left:
        more = "more " if worst else ""
        tested = sum(part.tested for part in left)
        how = f"{tested} tested and passed" if tested else "none with enough pictures to test"
        lines.append(f"  {counted(len(left), f'{more}slice')}, {how}")
    return lines
