"""``docs/validity.md``: the measurements as tables, a plot, and what follows from them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from audit.base.files import write_atomically
from audit.maps.spec import CONTROLS, MapSpec
from audit.report.markdown import table
from audit.report.placing_page import bounds_text
from audit.report.plotting import figure, plain

FAITHFUL = ("deletion_margin", "insertion_margin")
INSENSITIVE = 0.5
SEPARATES = 0.9


def verdicts(name: str, found: Mapping[str, Any]) -> dict[str, bool | None]:
    """What a map may be trusted for, by rules that the page prints; None where not measured.

    Args:
        name: the map's name in ``found["maps"]``.
        found: what :func:`audit.studies.validity.measure.measure` gave.
    """
    row = found["maps"][name]
    against = [
        row["differences"][c][f]["low"] > 0 if c in row["differences"] else False
        for c in _controls(found)
        for f in ("pointing", "mass")
    ]
    margins = [row["figures"][f]["low"] > 0 for f in FAITHFUL if f in row["figures"]]
    correlations = found["randomisation"]["maps"].get(name)
    entropy = row["entropy"]
    return {
        "place": all(against),
        "faithful": all(margins) if margins else None,
        "sensitive": abs(correlations[-1]) < INSENSITIVE if correlations else None,
        "dispersion": entropy["separation"] >= SEPARATES if entropy else None,
    }


def write_page(path: Path, found: Mapping[str, Any]) -> Path:
    """Write the page, and its plot beside it; return the plot's path."""
    plot = path.with_suffix(".png")
    write_atomically(plot, _plot(found))
    write_atomically(path, _page(found, plot.name).encode())
    return plot


def _controls(found: Mapping[str, Any]) -> Sequence[str]:
    """The controls that were measured: a model without an answer's map has no blank one."""
    return tuple(found.get("controls", CONTROLS))


def _maps(found: Mapping[str, Any]) -> list[str]:
    return [name for name in found["maps"] if name not in CONTROLS]


_MARKS = {True: "yes", False: "no", None: "not measured"}


def _page(found: Mapping[str, Any], plot: str) -> str:
    settings, model = found["settings"], found["model"]
    judged = {name: verdicts(name, found) for name in _maps(found)}
    trusted = table(
        ["map", "place", "faithful", "sensitive", "dispersion"],
        [[f"`{n}`", *(_MARKS[v] for v in said.values())] for n, said in judged.items()],
    )
    figures = ("pointing", "mass", "lift", "rank", "auc")
    placed = table(
        ["map", *figures, "undefined"],
        [
            [
                f"`{n}`",
                *(bounds_text(row["figures"].get(f)) for f in figures),
                str(row["undefined"]),
            ]
            for n, row in found["maps"].items()
        ],
    )
    differences = table(
        ["map", *(f"{f}, over {c}" for c in _controls(found) for f in ("pointing", "mass"))],
        [
            [
                f"`{n}`",
                *(
                    bounds_text(found["maps"][n]["differences"].get(c, {}).get(f))
                    for c in _controls(found)
                    for f in ("pointing", "mass")
                ),
            ]
            for n in judged
        ],
    )
    faithful = table(
        ["map", "deletion margin", "insertion margin"],
        [
            [f"`{n}`", *(bounds_text(row["figures"].get(f)) for f in FAITHFUL)]
            for n, row in found["maps"].items()
            if any(f in row["figures"] for f in FAITHFUL)
        ],
    )
    entropy = table(
        ["map", "named and present", "absent", "separation"],
        [
            [
                f"`{n}`",
                bounds_text(row["entropy"]["present"]),
                bounds_text(row["entropy"]["absent"]),
                f"{row['entropy']['separation']:.3f}",
            ]
            for n, row in found["maps"].items()
            if row["entropy"]
        ],
    )
    random = found["randomisation"]
    randomised = (
        table(
            ["randomised down to", *(f"`{n}`" for n in random["maps"])],
            [
                [stage, *(f"{values[i]:.2f}" for values in random["maps"].values())]
                for i, stage in enumerate(random["stages"])
            ],
        )
        if random["stages"]
        else "Not measured: the model shows no network, or has no maps of its own."
    )
    return f"""# Which map may be trusted for what

This page is written by `audit validity`. It holds for one model: `{model["source"]}`, digest `{model["digest"]}`, {model["device"]}, {model["dtype"]}. Measure your own with `audit validity --model SOURCE`; the scenes are those of the [reference model's world](../audit/reference/README.md), so the figures of a model that does not know that world mean little. `audit validity --cases PATTERN` measures pointing and mass of any model on the regions of your own cases.

{settings["scenes"]} scenes that the model was not trained on, seed {settings["seed"]}, with one entailed hypothesis each. Brackets are 95 % bootstrap intervals over scenes. `NOUN` is the noun of each hypothesis.{_heads(settings)}

{trusted}

- **place**: pointing game and mass on the true boxes exceed those of every control ({", ".join(f"`{c}`" for c in _controls(found))}), with the interval of every difference above 0.
- **faithful**: deletion and insertion, as margins over the random control, have intervals above 0: the answer depends on the cells that the map marks.
- **sensitive**: with every parameter randomised, the rank correlation with the intact map is below {INSENSITIVE:g} in size: the map shows the model, not the picture alone.
- **dispersion**: the entropy tells hypotheses about an absent animal from entailed ones: in {SEPARATES:g} or more of such pairs the absent one has the larger entropy.

![Mass on the true boxes, and correlation as the weights are randomised]({plot})

## Place

{placed}

`undefined` counts hypotheses for which the map does not exist; they are left out of its means.

## Place, minus each control

{differences}

## Faithfulness

The mean probability of the answer as cells are greyed in the order of the map (deletion) or shown again over a blurred picture (insertion), in {settings["steps"]} steps, compared with the order of the random control, for the first {min(settings["scenes"], settings["curve_scenes"])} scenes. Positive is better for both margins.

{faithful}

## Entropy

From {settings["absent_scenes"]} entailed hypotheses and {settings["absent_scenes"]} false ones about an animal that is not there. Separation is the chance that an absent one has the larger entropy.

{entropy}

## Randomisation

Mean Spearman correlation with the intact map over {settings["randomised_scenes"]} scenes. The network is randomised from the top: each row down to and including its stage, the last row in every parameter.

{randomised}
"""


def _heads(settings: Mapping[str, Any]) -> str:
    return (
        f" `{MapSpec(heads=list(settings['heads'])).key}` is the map of the heads that `audit "
        "heads` chose, on other scenes than these."
        if settings["heads"]
        else ""
    )


_COLOURS = (
    "#332288", "#cc6677", "#117733", "#88ccee", "#882255",
    "#ddcc77", "#44aa99", "#000000", "#aa4499", "#999933",
)  # fmt: skip
"""The scheme "muted" with black, which colour-blind readers tell apart; Paul Tol, "Colour Schemes",
SRON technical note 09-002, 2021."""

_MARKERS = "osD^vP*Xph"
_DASHES = ("-", "--", "-.", ":")


class Style(NamedTuple):
    """How a map is drawn: no two maps have all three in common."""

    colour: str
    marker: str
    dashes: str


def style_of(place: int) -> Style:
    """The style of a map by its place among the maps.

    Ten have colours and markers of their own, and every further ten another kind of line.
    """
    turn, place = divmod(place, len(_COLOURS))
    return Style(_COLOURS[place], _MARKERS[place], _DASHES[turn % len(_DASHES)])


_CONTROL = Style("0.75", "o", "-")


def _plot(found: Mapping[str, Any]) -> bytes:
    with plain():
        return _drawn(found)


def _drawn(found: Mapping[str, Any]) -> bytes:
    drawn = figure(12.5, 5)
    left, right = drawn.subplots(1, 2, width_ratios=(1, 1.15))
    names = list(found["maps"])
    styles = {name: style_of(place) for place, name in enumerate(_maps(found))}
    for place, name in enumerate(reversed(names)):
        bounds = found["maps"][name]["figures"].get("mass")
        if bounds:
            left.plot([bounds["low"], bounds["high"]], [place, place], color="0.35", lw=2)
            style = styles.get(name, _CONTROL)
            left.plot(bounds["mean"], place, style.marker, color=style.colour, ms=7)
    left.set_yticks(range(len(names)), list(reversed(names)))
    left.set_xlim(0, 1)
    left.grid(axis="x", alpha=0.3)
    left.set_title("mass on the true boxes", fontsize=11)
    random = found["randomisation"]
    for name, values in random["maps"].items():
        colour, marker, dashes = styles[name]
        right.plot(
            [1.0, *values], color=colour, marker=marker, linestyle=dashes, ms=5, lw=1.4, label=name
        )
    stages = ["intact", *random["stages"]]
    right.set_xticks(range(len(stages)), stages, rotation=40, ha="right")
    right.axhline(0, color="0.6", lw=1)
    right.set_title("correlation with the intact map as weights are randomised", fontsize=11)
    right.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    for axes in (left, right):
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
