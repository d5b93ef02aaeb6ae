"""A run for those who read it where it ran: a step summary in Markdown, annotations for GitHub."""

from __future__ import annotations

import html
import re

from audit.files import counted
from audit.outcomes import Outcome, Run, totals

_SHOWN = 100
"""Failing cases in a summary; GitHub cuts one off at a megabyte."""


def markdown(run: Run) -> str:
    """The verdict, and a table of the cases that failed, worst first.

    Without pictures: GitHub takes data URIs out of Markdown, and has no other place for them.
    """
    results = run.results()
    outcomes = run.outcomes()
    failed = [o for o in outcomes if o.failed]
    counts = ", ".join(f"{count} {state}" for state, count in totals(outcomes).items())
    model = results.get("model", {})
    lines = [
        f"## Audit {'failed' if failed or _suite_failed(results) else 'passed'}",
        "",
        f"{counted(len(outcomes), 'case')}: {counts}. Model {_code(model.get('source', ''))}, "
        f"digest {_code(model.get('digest', '')[:12])}.",
    ]
    if results.get("suite"):
        lines += ["", f"Over all cases: {_text(results['suite']['sentence'])}."]
    if failed:
        lines += ["", "| case | state | why | where |", "| --- | --- | --- | --- |"]
        lines += [_row(o) for o in failed[:_SHOWN]]
    if len(failed) > _SHOWN:
        lines += ["", f"And {len(failed) - _SHOWN} more; the gallery shows all."]
    return "\n".join(lines) + "\n"


def _suite_failed(results: dict[str, object]) -> bool:
    suite = results.get("suite")
    return bool(isinstance(suite, dict) and suite["failed"])


def _row(outcome: Outcome) -> str:
    cells = (
        _code(outcome.case),
        outcome.state.value,
        _text(outcome.sentence),
        _code(f"{outcome.file}:{outcome.line}"),
    )
    return f"| {' | '.join(cells)} |"


def _text(value: str) -> str:
    """Plain words in a table of Markdown: nothing in them is markup."""
    flat = html.escape(" ".join(value.split()), quote=False)
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", flat)


def _code(value: str) -> str:
    """A name in code type; what would end it is taken out."""
    flat = " ".join(value.replace("`", "'").split()).replace("|", "\\|")
    return f"`{flat}`" if flat else ""


def workflow_commands(run: Run) -> list[str]:
    """Workflow commands that make GitHub mark each failing case in its file."""
    return [
        f"::error file={_property(o.file)},line={o.line},"
        f"title={_property(f'{o.case}: {o.state.value}')}::{_data(o.sentence)}"
        for o in run.outcomes()
        if o.failed
    ]


def _data(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")
