"""A run for those who read it where it ran: a step summary in Markdown, annotations for GitHub."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from audit.files import counted
from audit.outcomes import Outcome, Run, totals

_SHOWN = 100
"""Failing cases in a summary; GitHub cuts one off at a megabyte."""


_PICTURES = 700_000
"""Characters that pictures may take: with the words, less than a megabyte."""

_WIDTH = 120


def markdown(run: Run, *, pictures: bool) -> str:
    """The verdict, and a table of the cases that failed, worst first.

    Args:
        pictures: with small heatmaps, as long as they are short enough together. Not for GitHub,
            which takes data URIs out of Markdown and has no other place for them.
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
        shown = failed[:_SHOWN]
        seen = _thumbnails(run, shown) if pictures else {}
        head = ["case", "state", "why", "where", *(["map"] if seen else [])]
        lines += ["", f"| {' | '.join(head)} |", f"| {' | '.join(['---'] * len(head))} |"]
        lines += [_row(o, [seen.get(o.case, "")] if seen else []) for o in shown]
    if len(failed) > _SHOWN:
        lines += ["", f"And {len(failed) - _SHOWN} more; the gallery shows all."]
    return "\n".join(lines) + "\n"


def _suite_failed(results: dict[str, object]) -> bool:
    suite = results.get("suite")
    return bool(isinstance(suite, dict) and suite["failed"])


def _thumbnails(run: Run, outcomes: Sequence[Outcome]) -> dict[str, str]:
    """By case its heatmap as an image in Markdown, from the first on until there is no room."""
    from audit.report.pictures import data_uri, overlay  # noqa: PLC0415  draws with matplotlib

    found: dict[str, str] = {}
    room = _PICTURES
    for outcome in outcomes:
        p = run.maps(outcome.case).get(outcome.default_map)
        picture = run.image(outcome.image_digest)
        if p is None or picture is None:
            continue
        source = data_uri(overlay(picture, p, width=_WIDTH))
        room -= len(source)
        if room < 0:
            break
        found[outcome.case] = f"![{_text(f'{outcome.case}: {outcome.state.value}')}]({source})"
    return found


def _row(outcome: Outcome, more: Sequence[str]) -> str:
    cells = (
        _code(outcome.case),
        outcome.state.value,
        _text(outcome.sentence),
        _code(f"{outcome.file}:{outcome.line}"),
        *more,
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
