"""``docs/power.md``: what each gate caught, by family and change by change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audit.base.files import counted, write_atomically
from audit.report.markdown import table
from audit.studies.power.judging import GATES, by_family

_CAUGHT = {True: "caught", False: "missed"}
_ALARM = {True: "**alarm**", False: "quiet"}


def write_page(path: Path, found: Mapping[str, Any]) -> None:
    """Write the page."""
    write_atomically(path, _page(found).encode())


def _page(found: Mapping[str, Any]) -> str:
    done = [r for r in found["changes"] if "skipped" not in r]
    planted = [r for r in done if r["family"] != "harmless"]
    harmless = [r for r in done if r["family"] == "harmless"]
    measurable = [r for r in planted if r["measurable"]]
    nothing = [r for r in planted if not r["measurable"]]
    counts = by_family(done)
    caught = {gate: sum(r["caught"][gate] for r in measurable) for gate in GATES}
    families = table(
        ["family", "planted", "measurable", *(f"caught: {gate}" for gate in GATES)],
        [
            [name, *(str(row[k]) for k in ("planted", "measurable", *GATES))]
            for name, row in counts.items()
            if name != "harmless"
        ],
    )
    alarms = {gate: sum(r["caught"][gate] for r in harmless) for gate in GATES}
    one_by_one = table(
        ["change", "what", *GATES, "labels wrong", "cases failed", "largest move"],
        [_row(r, _CAUGHT) for r in measurable],
    )
    quiet = table(
        ["change", "what", *GATES, "labels wrong", "cases failed", "largest move"],
        [_row(r, _ALARM) for r in harmless],
    )
    apart = "\n".join(_unseen(r, found) for r in nothing)
    facts = table(
        ["cases with", "how many"],
        [[fact["phrase"], str(fact["cases"]) if fact["cases"] else "**none**"]
         for fact in found["facts"]],
    )  # fmt: skip
    left = [r for r in found["changes"] if "skipped" in r]
    skipped = _reasons("Not run:", [r for r in left if not r.get("unfit")])
    unfit = _reasons("Not applicable to this model:", [r for r in left if r.get("unfit")])
    model, alter = found["model"], "alters" if len(measurable) == 1 else "alter"
    return f"""# What the gate catches

Written by `audit power`; model `{model["name"]}`, digest `{model["digest"][:12]}`, \
{counted(found["cases"], "case")} on {counted(found["images"], "picture")}, seed {found["seed"]}.\
{_known(found["known"])}

Of {counted(len(planted), "planted regression")} {len(measurable)} {alter} something measurable. \
The full gate catches {caught["full"]} of them; labels and probabilities \
{caught["probabilities"]}; labels alone {caught["labels"]}. Of \
{counted(len(harmless), "harmless change")} {alarms["full"]} set off the full gate, \
{alarms["probabilities"]} the probabilities, {alarms["labels"]} the labels.

Each change is planted in a copy of the model, which is audited against the intact one's \
baselines. *Full* is what fails a pytest session: broken contracts, drift beyond its tolerance \
({found["multiple"]:g} noise floors, from `audit noise`, where there is one), the suite-level \
gate. *Labels*: an answer is not the expected one. *Probabilities*: that, or the probability of an \
answer drifted.

## Planted regressions by family

{families}

## Planted regressions one by one

The largest move is that of the figure that moved furthest beyond its noise floor: how far, and \
how many floors that is, where the floor is not below the last decimal that is stored.

{one_by_one}

## What these cases cannot see

These changes alter nothing measurable: no label changed, no figure of any case moved by more than \
its noise floor, and none without a measured floor left its tolerance. A gate is only as wide as \
its cases.

{apart or "None."}

What the {counted(found["cases"], "case")} have, counted:

{facts}

## Harmless changes

None of these changes what is asked or what answers. The noise floor was measured under some of \
these conditions, so these could not alarm a gate that uses it; the others could.

{quiet}
{skipped}{unfit}"""


def _known(number: int) -> str:
    if not number:
        return ""
    them = "is" if number == 1 else "are"
    return (
        f" {counted(number, 'more case')}, which this model is known to fail (`waived.json` beside "
        f"its baselines), {them} left out."
    )


def _reasons(title: str, left: Sequence[Mapping[str, Any]]) -> str:
    """Changes without a result, each with the reason; empty if there are none."""
    rows = "".join(f"- `{r['id']}`, {r['about']}: {r['skipped']}\n" for r in left)
    return f"\n{title}\n\n{rows}" if left else ""


def _unseen(result: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Why the cases do not see a change: what none of them has, and how many it alters at all."""
    facts = {fact["name"]: fact for fact in found["facts"]}
    reasons = [_having(facts[name]) for name in found["depends"].get(result["id"], ())]
    if "touched" in result:
        touched = counted(result["touched"], "case") if result["touched"] else "no case"
        reasons.append(f"what the network gets differs in {touched}")
    reasons.append(f"the largest move is {result['largest']['noises']:g} noise floors")
    return f"- `{result['id']}`, {result['about']}: {'; '.join(reasons)}."


def _having(fact: Mapping[str, Any]) -> str:
    number = fact["cases"]
    if not number:
        return f"no case has {fact['phrase']}"
    return f"{counted(number, 'case')} {'has' if number == 1 else 'have'} {fact['phrase']}"


def _row(result: Mapping[str, Any], words: Mapping[bool, str]) -> list[str]:
    return [
        f"`{result['id']}`", result["about"], *(words[result["caught"][gate]] for gate in GATES),
        str(result["wrong_labels"]), str(result["moved_cases"]),
        _moved(result["largest"]),
    ]  # fmt: skip


def _moved(largest: Mapping[str, Any]) -> str:
    """How far a figure moved.

    >>> _moved({"noises": 500000.0, "figure": "peaks", "change": 1.0, "floor": 0.0})
    'peaks by 1'
    >>> _moved({"noises": 2.05, "figure": "lift[birds]", "change": 0.386, "floor": 0.188})
    'lift[birds] by 0.386, 2.05 noise floors'
    """
    noises = largest["noises"]
    if not noises:
        return "–"
    over = f"more than {_MANY:,}" if noises > _MANY else f"{noises:g}"
    floors = f"{over} noise floor{'' if noises == 1 else 's'}"
    if "change" not in largest:  # measured by an earlier version
        return f"{floors} ({largest['figure']})"
    told = f"{largest['figure']} by {largest['change']:.3g}"
    return f"{told}, {floors}" if largest["floor"] else told


_MANY = 1000
"""Beyond so many noise floors their number says no more."""
