"""The page's HTML: the only place where visitors' texts are put into markup, always escaped."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from importlib import resources
from pathlib import Path
from urllib.parse import quote

from audit.app.desk import Answer, Picture
from audit.app.tongue import t, told
from audit.base.geometry import view_in_words
from audit.base.languages import marked


def fixed(name: str) -> str:
    """A file of this package: HTML, CSS or script, without any visitor's text."""
    return resources.files("audit.app").joinpath(name).read_text(encoding="utf-8")


def _soft(text: str) -> str:
    return f'<p class="soft">{escape(text)}</p>'


def head() -> str:
    """The name of the page, and what it is for."""
    about = t(
        "Ask a visual entailment model about a picture: see its answer and where it looked, and "
        "save both as a test case."
    )
    return f"<h1>audit</h1>{_soft(about)}"


def waiting() -> str:
    """What stands in the place of an answer until there is one."""
    return _soft(
        t(
            "Pick an example or upload a picture, write a sentence about it, and press Ask. The "
            "answer, heatmaps and figures appear here."
        )
    )


def how_to_save() -> str:
    """How a case is made from the answer."""
    return _soft(
        t(
            "Draw boxes on the picture, name each, and choose whether the model must look there or "
            "must not. The limits come from this answer: check the file before you use it."
        )
    )


def words_of_boxes() -> dict[str, str]:
    """The texts of the picture and its boxes, for the script; places are filled there."""
    return {
        "picture": t("the picture"),
        "hint": t("Drag on the picture to mark a region for a case."),
        "size": t("{width} × {height} pixels."),
        "regions": t("regions"),
        "add": t("Add a region"),
        "region": t("region {number}"),
        "unnamed": t("unnamed region"),
        "box": t(
            "{name}, pixels {extent}: arrow keys move it, with Shift they resize it, Delete "
            "removes it"
        ),
        "name": t("name of region {number}"),
        "wanted": t("what the model must do with region {number}"),
        "look": t("must look here"),
        "avoid": t("must not look here"),
        "remove": t("remove"),
        "remove_region": t("remove region {number}"),
    }


def alert(text: str) -> str:
    """An error message that screen readers read out."""
    return f'<p class="alert" role="alert">{escape(text)}</p>'


def verdict(answer: Answer) -> str:
    """The question, the answer, and the probability of every label."""
    found = answer.found
    trace = found.trace
    premise = answer.premise
    given = _soft(t("given the premise “{premise}”", premise=premise)) if premise else ""
    about = t(
        "{model}, {map}, {rows} × {columns} cells",
        model=found.model.source, map=found.spec.key, rows=trace.grid.rows,
        columns=trace.grid.cols,
    )  # fmt: skip
    words = view_in_words(trace.view)
    seen = _soft(told(words)) if words else ""
    ranked = sorted(trace.probabilities.items(), key=lambda pair: -pair[1])
    note = f'<p class="alert">{escape(told(answer.note))}</p>' if answer.note else ""
    rows = "".join(
        f'<tr><th scope="row">{escape(label)}</th>'
        f'<td class="bar"><span style="width: {share:.1%}"></span></td><td>{share:.1%}</td></tr>'
        for label, share in ranked
    )
    return (
        f'<div class="card"><p class="said">“{escape(answer.text)}”</p>{given}'
        f'<p class="label" role="status">{escape(trace.label)}</p>'
        f'<table class="plain labels"><tbody>{rows}</tbody></table>'
        f"{_soft(about)}{seen}{note}</div>"
    )


_DRAWN = {
    "heatmap": marked("the map {map} over the picture"),
    "layers": marked("the map {map} of every layer over the picture"),
    "layers webp": marked("an animation of the map {map} of every layer over the picture"),
    "words": marked("the map of every word over the picture, as {map} is read"),
    "words webp": marked("an animation of the map of every word over the picture"),
}
"""What each drawing shows, for those who cannot see it."""


def pictures(answer: Answer, files: Mapping[str, Path], *shown: str) -> str:
    """The drawings named in ``shown``, if they were made; a click opens one at full size."""
    pieces = []
    for name in shown:
        if name in files:
            what = t(_DRAWN[name], map=answer.found.spec.key)
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
        said = t("undefined: {REASON}", REASON=told(value))
        return f'<span class="soft">{escape(said)}</span>'
    return f"{value:.4f}"


def where_to_put(picture: Picture, name: str) -> str:
    """Where to save a case, and its picture if it was uploaded."""
    folder, name = picture.folder, escape(name)
    values = {
        "file": f"<code>{escape(folder)}/{name}.yaml</code>",
        "command": f"<code>pytest {escape(folder)} -k {name}</code>",
        "option": "<code>--audit-update=new</code>",
    }
    if picture.uploaded:
        said = t(
            "Save it in your project as {file} and the picture as {picture}, then run {command}. "
            "The case fails as new until you accept its first result: add {option}.",
            picture=f"<code>{escape(folder)}/{escape(picture.written)}</code>", **values,
        )  # fmt: skip
    else:
        said = t(
            "Save it in your project as {file}, then run {command}. The case fails as new until "
            "you accept its first result: add {option}.",
            **values,
        )
    return f'<p role="status">{said}</p>'
