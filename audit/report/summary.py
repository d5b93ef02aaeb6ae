"""A run's result for CI: a step summary in Markdown, and annotations for GitHub."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence

from audit.base.errors import printable
from audit.base.files import as_typed, counted
from audit.base.geometry import Box
from audit.gate.ending import Ending, Mistake
from audit.gate.findings import Slice
from audit.gate.outcomes import Outcome, labels_told, totals, unsaid_told
from audit.gate.review import ACCEPTABLE
from audit.gate.runfolder import Run
from audit.gate.suite import Suite
from audit.report.causes import Cause, story
from audit.report.markdown import table
from audit.report.voice import ENGLISH

_SHOWN = 100
"""The most failing cases in a summary; GitHub cuts a summary off at a megabyte."""

_PICTURES = 700_000
"""Characters that the pictures may take; with the words this is less than a megabyte."""

_SLICES = 10
"""The most slices in a summary; the gallery shows all."""

_WIDTH = 120


def markdown(
    run: Run | None,
    suite: Suite | None,
    ending: Ending,
    mistakes: Sequence[Mistake],
    placed: Callable[[str], str],
    *,
    notes: Sequence[str] = (),
    pictures: bool,
) -> str:
    """The verdict, its causes, what to do, and a table of the cases that failed, worst first.

    Args:
        run: what was audited; None if the session ended before it audited anything.
        suite: the verdict over all cases, if there is one.
        mistakes: found in case files.
        placed: gives a file the path that readers know it by.
        notes: what else a reader must know, one sentence each.
        pictures: whether to add small heatmaps, as many as there is room for. Not for GitHub,
            which removes data URIs from Markdown and has no other place for pictures.
    """
    verdict = "passed" if ending.passed else "failed"
    sentence = ending.sentence.partition(": ")[2]
    lines = [f"## Audit {verdict}", "", f"{_text(f'{sentence[:1].upper()}{sentence[1:]}')}."]
    if mistakes:
        rows = []
        for each in mistakes[:_SHOWN]:
            where = f"{placed(each.file)}:{each.line}" if each.line else placed(each.file)
            rows.append((_text(each.text), _code(where)))
        lines += ["", table(["mistake", "where"], rows)]
    if len(mistakes) > _SHOWN:
        lines += ["", f"And {counted(len(mistakes) - _SHOWN, 'more mistake')}."]
    for note in notes:
        lines += ["", f"Note: {_text(note)}."]
    if run is not None:
        lines += _audited(run, suite, ending, placed, pictures=pictures)
    return "\n".join(lines) + "\n"


def _audited(
    run: Run,
    suite: Suite | None,
    ending: Ending,
    placed: Callable[[str], str],
    *,
    pictures: bool,
) -> list[str]:
    outcomes, model = run.outcomes(), run.about().get("model", {})
    failed = [o for o in outcomes if o.failed]
    counts = ", ".join(f"{count} {state}" for state, count in totals(outcomes).items())
    told = story(outcomes, suite.to_dict() if suite else None, ending.to_dict())
    # Without "nothing to do", and without what the suite-level gate says below.
    causes = [_cause(each) for each in told.causes if each.cases or each.tone == "bad"]
    lines = [
        *(["", *causes] if causes else []),
        "",
        f"{counted(len(outcomes), 'case')}: {counts or 'none audited'}. "
        f"Model {_code(model.get('source', ''))}, digest {_code(model.get('digest', '')[:12])}. "
        f"Labels: {_text(labels_told(outcomes))}.",
    ]
    if unsaid := unsaid_told([o.unsaid for o in outcomes]):
        lines += ["", f"Warning: {unsaid}."]
    if suite:
        lines += ["", f"Suite-level gate {suite.verdict}: {_text(suite.sentence)}."]
        lines += _slices(suite)
    if suite and suite.omnibus and not suite.omnibus.failed:  # else the suite's sentence says it
        omnibus = suite.omnibus
        lines += ["", f"All figures together {omnibus.verdict}: {_text(omnibus.sentence)}."]
    if failed:
        shown = failed[:_SHOWN]
        seen = _thumbnails(run, shown) if pictures else {}
        head = ["case", "state", "why", "where", *(["map"] if seen else [])]
        rows = [_row(o, placed, [seen.get(o.case, "")] if seen else []) for o in shown]
        lines += ["", table(head, rows)]
    if len(failed) > _SHOWN:
        lines += ["", f"And {len(failed) - _SHOWN} more; the gallery shows all."]
    return [*lines, *_what_next(run, failed)]


def _cause(cause: Cause) -> str:
    """A cause as an item of a list: what happened, and what to do."""
    parts = re.split("</?em>", str(ENGLISH.say(cause.sentence)))
    words = [_spaced(html.unescape(part)) for part in parts]
    told = "".join(f"<em>{part}</em>" if n % 2 else part for n, part in enumerate(words))
    return f"- {told} {_text(cause.advice)}"


def _spaced(value: str) -> str:
    """Plain words, with a space at either end if there was one."""
    before, after = value[:1].isspace(), value[-1:].isspace()
    return f"{' ' * before}{_text(value)}{' ' * after}"


def _what_next(run: Run, failed: Sequence[Outcome]) -> list[str]:
    """Where the maps are to be looked at, and how they are accepted."""
    if not failed or not (run.folder / "gallery.html").exists():
        return []
    folder = as_typed(run.folder)
    told = f"The maps are in {_code(f'{folder}/gallery.html')}."
    if any(outcome.state in ACCEPTABLE for outcome in failed):
        accept = _code(f"audit accept {folder}")
        told += (
            " If the new and changed figures are right, accept them in a checkout of the same "
            f"commit: {accept} needs the run folder and no model."
        )
    return ["", told]


def _slices(suite: Suite) -> list[str]:
    """A table of the slices that fell, and how many there are besides."""
    worst = suite.worst_slices(_SLICES)
    lines = []
    if worst:
        rows = [_slice_row(part) for part in worst]
        head = ["slice", "cases", "pictures", "labels right", "largest shift", "verdict"]
        lines += ["", table(head, rows)]
    left = len(suite.slices) - len(worst)
    if left:
        more = "more " if worst else ""
        lines += ["", f"{counted(left, f'{more}slice')} in the gallery."]
    return lines


def _slice_row(part: Slice) -> tuple[str, ...]:
    shift, some = part.largest, part.definite < part.cases
    return (
        _text(part.name),
        str(part.cases),
        str(part.images),
        f"{part.right[0]} → {part.right[1]}{f' (of {part.definite})' if some else ''}"
        if part.definite
        else "–",
        f"{_text(shift.metric)}, {shift.effect:+.1f} tolerances" if shift else "",
        part.verdict,
    )


def _thumbnails(run: Run, outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Heatmaps as Markdown images, by case: from the first case on, while there is room."""
    from audit.report.pictures import data_uri, overlay  # noqa: PLC0415  draws with matplotlib

    found: dict[str, str] = {}
    room = _PICTURES
    for outcome in outcomes:
        p = run.maps(outcome.case).get(outcome.default_map)
        picture = run.image(outcome.image_digest)
        if p is None or picture is None:
            continue
        source = data_uri(overlay(picture, p, width=_WIDTH, view=Box(*outcome.view)))
        room -= len(source)
        if room < 0:
            break
        found[outcome.case] = f"![{_text(f'{outcome.case}: {outcome.state.value}')}]({source})"
    return found


def _row(outcome: Outcome, placed: Callable[[str], str], more: Sequence[str]) -> tuple[str, ...]:
    return (
        _code(outcome.case),
        outcome.state.value,
        _text(outcome.sentence),
        _code(f"{placed(outcome.file)}:{outcome.line}"),
        *more,
    )


def _text(value: str) -> str:
    """Plain words in a Markdown table, with all markup escaped."""
    flat = html.escape(printable(" ".join(value.split())), quote=False)
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", flat)


def _code(value: str) -> str:
    """A name in code type, without the characters that would end it."""
    flat = printable(" ".join(value.replace("`", "'").split())).replace("|", "\\|")
    return f"`{flat}`" if flat else ""


def workflow_commands(
    run: Run | None,
    mistakes: Sequence[Mistake],
    suite: Suite | None,
    placed: Callable[[str], str],
) -> list[str]:
    """Workflow commands that make GitHub mark failing cases and mistakes in their files.

    Args:
        placed: gives a file's path from the top of the repository, as GitHub needs it.
    """
    lines = [_command(placed(m.file), m.line, "mistake in a case file", m.text) for m in mistakes]
    for outcome in run.outcomes() if run is not None else []:
        if outcome.failed:
            title = f"{outcome.case}: {outcome.state.value}"
            lines.append(_command(placed(outcome.file), outcome.line, title, outcome.sentence))
    if suite is not None and suite.failed:
        lines.append(f"::error title=suite-level gate::{_data(suite.sentence)}")
    return lines


def _command(file: str, line: int, title: str, text: str) -> str:
    at = f",line={line}" if line else ""
    return f"::error file={_property(file)}{at},title={_property(title)}::{_data(text)}"


def _data(value: str) -> str:
    return printable(" ".join(value.split())).replace("%", "%25")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")
