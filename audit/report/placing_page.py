"""The pages about maps on true boxes: of the user's own cases, and of the chosen heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audit.base.files import counted, write_atomically
from audit.report.markdown import table

FIGURES = ("pointing", "mass", "lift", "rank", "auc")

MARKS = {True: "yes", False: "not surely", None: "cannot tell"}


def bounds_text(bounds: Mapping[str, float] | None) -> str:
    """A mean with its interval, if there is one.

    >>> bounds_text({"mean": 0.5, "low": 0.25, "high": 0.75}), bounds_text({"mean": 0.5})
    ('0.500 (0.250 to 0.750)', '0.500')
    """
    if bounds is None:
        return "–"
    if "low" not in bounds:
        return f"{bounds['mean']:.3f}"
    return f"{bounds['mean']:.3f} ({bounds['low']:.3f} to {bounds['high']:.3f})"


def measured(found: Mapping[str, Any]) -> str:
    """How many cases were measured, in words."""
    cases = found["cases"]
    return (
        f"{counted(cases['measured'], 'case')} with regions on "
        f"{counted(cases['pictures'], 'picture')}, {cases['right']} of them answered as expected"
    )


def write_cases_page(path: Path, found: Mapping[str, Any]) -> Path:
    """Write what :func:`audit.studies.validity.cases.measure_cases` found as Markdown."""
    write_atomically(path, _page(found).encode())
    return path


def _page(found: Mapping[str, Any]) -> str:
    model, maps, controls = found["model"], found["maps"], found["controls"]
    asked = [name for name in maps if name not in controls]
    placed = table(
        ["map", "place", *FIGURES, "cases", "undefined"],
        [
            [
                f"`{n}`",
                "control" if n in controls else MARKS[row["place"]],
                *(bounds_text(row["figures"].get(f)) for f in FIGURES),
                str(row["cases"]),
                str(row["undefined"]),
            ]
            for n, row in maps.items()
        ],
    )
    pairs = [(c, f) for c in controls for f in ("pointing", "mass")]
    differences = table(
        ["map", *(f"{f}, over {c}" for c, f in pairs)],
        [
            [
                f"`{n}`",
                *(bounds_text(maps[n]["differences"].get(c, {}).get(f)) for c, f in pairs),
            ]
            for n in asked
        ],
    )
    scattered = [(n, row["entropy"]) for n, row in maps.items() if row["entropy"]]
    entropy = table(
        ["map", "named and present", "absent", "separation"],
        [
            [
                f"`{n}`",
                bounds_text(each["present"]),
                bounds_text(each["absent"]),
                f"{each['separation']:.3f}",
            ]
            for n, each in scattered
        ],
    )
    parts = [
        _ABOUT.format(
            measured=measured(found),
            model=f"`{model['source']}`, digest `{model['digest']}`",
            place=f"{model['device']}, {model['dtype']}",
            controls=", ".join(f"`{c}`" for c in controls),
        ),
        placed,
        _listed("What could not be told:", found["notes"]),
        "## Minus each control",
        differences,
    ]
    if scattered:
        absent = counted(found["cases"]["absent"], "case")
        parts += [_ENTROPY.format(absent=absent), entropy]
    left = [f"`{case}`: {reason}" for case, reason in found["cases"]["left_out"].items()]
    parts.append(_listed("## Left out", left))
    return "\n\n".join(part for part in parts if part) + "\n"


def _listed(title: str, lines: Sequence[str]) -> str:
    return "\n".join((title, "", *(f"- {line}" for line in lines))) if lines else ""


_ABOUT = """\
# Where maps lie on these cases

Written by `audit validity --cases`: {measured}. Model {model}, {place}.

Each picture has one vote, and brackets are 95 % intervals over pictures (Student's t). \
A map has a **place** if pointing game and mass on the regions exceed those of every control \
({controls}), with the interval of every difference above 0. `lift` is mass over the regions' \
share of the picture. `REGION` stands for the name of a region that is a word of the text. \
`undefined` counts cases for which the map does not exist."""

_ENTROPY = """\
## Entropy

Of these cases, and of {absent} about what is not there. Separation is the chance that such a \
case has the larger entropy."""
