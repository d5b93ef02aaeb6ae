"""One answer as a piece of HTML that needs nothing else, for notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from audit.report.fragments import Picture

_CARD = "font-family:sans-serif;line-height:1.4;max-width:60em"
_SOFT = "opacity:.75;font-size:.9em;margin:.3em 0"


def card(
    text: str,
    label: str,
    probabilities: Mapping[str, float],
    pictures: Sequence[Picture],
    *,
    premise: str | None = None,
    about: str = "",
    notes: Sequence[str] = (),
) -> str:
    """The question, the answer, the probability of each label, and pictures side by side.

    Colours are those of the page around it, light or dark. Every text is escaped.

    Args:
        probabilities: of each label, in [0, 1].
        about: what was asked, and of which model.
        notes: what a reader must know to judge the answer.
    """
    given = f'<p style="{_SOFT}">given that “{escape(premise)}”</p>' if premise else ""
    ranked = sorted(probabilities.items(), key=lambda pair: -pair[1])
    rows = "".join(_row(name, share, name == label) for name, share in ranked)
    shown = "".join(
        '<figure style="margin:.5em .8em .5em 0;display:inline-block;vertical-align:top">'
        f'<img src="{each.source}" alt="{escape(each.alt)}" style="max-width:100%">'
        f'<figcaption style="{_SOFT}">{escape(each.title)}</figcaption></figure>'
        for each in pictures
    )
    told = "".join(f'<p style="margin:.3em 0">{escape(note)}</p>' for note in notes)
    end = f'<p style="{_SOFT}">{escape(about)}</p>' if about else ""
    return (
        f'<div style="{_CARD}"><p style="margin:.3em 0">“{escape(text)}”: '
        f"<strong>{escape(label)}</strong></p>{given}"
        f'<table style="margin:.3em 0"><tbody>{rows}</tbody></table>{told}'
        f"<div>{shown}</div>{end}</div>"
    )


def _row(label: str, share: float, chosen: bool) -> str:
    weight = "bold" if chosen else "normal"
    bar = (
        '<span style="display:inline-block;height:.7em;background:currentColor;opacity:.6;'
        f'width:{share:.1%}"></span>'
    )
    return (
        f'<tr><th scope="row" style="text-align:left;font-weight:{weight}">{escape(label)}</th>'
        f'<td style="width:12em;text-align:left">{bar}</td>'
        f'<td style="text-align:right">{share:.1%}</td></tr>'
    )
