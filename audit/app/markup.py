"""The page's HTML: the only place where visitors' texts are put into markup, always escaped."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from importlib import resources
from pathlib import Path
from urllib.parse import quote

from audit.app.desk import Answer, Picture
from audit.base.geometry import view_in_words


def fixed(name: str) -> str:
    """A file of this package: HTML, CSS or script, without any visitor's text."""
    return resources.files("audit.app").joinpath(name).read_text(encoding="utf-8")


def alert(text: str) -> str:
    """An error message that screen readers read out."""
    return f'<p class="alert" role="alert">{escape(text)}</p>'


def verdict(answer: Answer) -> str:
    """The question, the answer, and the probability of every label."""
    found = answer.found
    trace = found.trace
    given = f"given the premise “{escape(answer.premise)}”" if answer.premise else ""
    premise = f'<p class="soft">{given}</p>' if given else ""
    about = f"{found.model.source}, {found.spec.key}, {trace.grid.rows} × {trace.grid.cols} cells"
    words = view_in_words(trace.view)
    seen = f'<p class="soft">{escape(words)}</p>' if words else ""
    ranked = sorted(trace.probabilities.items(), key=lambda pair: -pair[1])
    note = f'<p class="alert">{escape(answer.note)}</p>' if answer.note else ""
    rows = "".join(
        f'<tr><th scope="row">{escape(label)}</th>'
        f'<td class="bar"><span style="width: {share:.1%}"></span></td><td>{share:.1%}</td></tr>'
        for label, share in ranked
    )
    return (
        f'<div class="card"><p class="said">“{escape(answer.text)}”</p>{premise}'
        f'<p class="label" role="status">{escape(trace.label)}</p>'
        f'<table class="plain labels"><tbody>{rows}</tbody></table>'
        f'<p class="soft">{escape(about)}</p>{seen}{note}</div>'
    )


def pictures(answer: Answer, files: Mapping[str, Path], *shown: str) -> str:
    """The drawings named in ``shown``, if they were made; a click opens one at full size."""
    pieces = []
    for name in shown:
        if name in files:
            what = f"{name} of {answer.found.spec.key} over the picture"
            source = escape(f"gradio_api/file={quote(str(files[name]))}")
            pieces.append(
                f'<a href="{source}" target="_blank" class="drawn {escape(name.split()[-1])}">'
                f'<img src="{source}" alt="{escape(what)}"></a>'
            )
    return "".join(pieces)


def figures(metrics: dict[str, float | str]) -> str:
    """The metrics of a map; one that has no value says why."""
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{_value(value)}</td></tr>'
        for name, value in metrics.items()
    )
    return f'<table class="plain"><tbody>{rows}</tbody></table>'


def _value(value: float | str) -> str:
    if isinstance(value, str):
        return f'<span class="soft">undefined: {escape(value)}</span>'
    return f"{value:.4f}"


def where_to_put(picture: Picture, name: str) -> str:
    """Where to save a case, and its picture if it was uploaded."""
    folder, name = escape(picture.folder), escape(name)
    also = f" and the picture as <code>{folder}/{escape(picture.written)}</code>"
    return (
        f'<p role="status">Save it in your project as <code>{folder}/{name}.yaml</code>'
        f"{also if picture.uploaded else ''}, then run <code>pytest {folder} -k {name}</code>. "
        "The case fails as new until you accept its first result: add "
        "<code>--audit-update=new</code>.</p>"
    )
