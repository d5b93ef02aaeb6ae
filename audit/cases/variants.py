"""Variants: cases that are made from a case, and what must hold between the two.

They are metamorphic tests: nobody needs to know the right answer to see that a model answers a
mirrored picture otherwise, or a grey one just the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from audit.cases.expectations import LABEL, Verdict

MakerName = Literal[
    "mirror", "crop", "brightness", "jpeg", "blur", "blank", "swap", "paraphrase", "negate"
]


class Maker(NamedTuple):
    """A way to make a variant.

    Attributes:
        keeps: whether the label must stay the same unless the variant says otherwise.
        follows: whether the map has a place to be: not on a picture that shows something else, or
            nothing, and not for a text that says something else.
    """

    keeps: bool
    follows: bool


MAKERS: dict[MakerName, Maker] = {
    "mirror": Maker(keeps=True, follows=True),
    "crop": Maker(keeps=True, follows=True),
    "brightness": Maker(keeps=True, follows=True),
    "jpeg": Maker(keeps=True, follows=True),
    "blur": Maker(keeps=True, follows=True),
    "blank": Maker(keeps=False, follows=False),
    "swap": Maker(keeps=False, follows=False),
    "paraphrase": Maker(keeps=True, follows=True),
    "negate": Maker(keeps=False, follows=False),
}

SAME, OTHER = "same", "other"

FOLLOWED = "the map follows (js)"
"""The name of the expectation that the map follows that of the case."""

FALL = 0.05
"""How far a probability must fall if the variant only says that it falls: a smaller change counts
as none, since the default drift tolerance of a probability is the same."""


@dataclass(frozen=True)
class Variant:
    """How a variant is made, and what must hold.

    Attributes:
        value: the maker's parameter; the box of ``crop`` in pixels.
        label: ``same`` as the answer to the case, ``other``, a label, or empty: any.
        js: how far the map may be from the case's, moved with the picture; None if it need not
            follow.
        falls: how far the probability of the label that the case expects must fall, at least.
    """

    name: str
    maker: MakerName
    value: bool | float | str | tuple[int, int, int, int]
    label: str
    js: float | None = None
    falls: float | None = None

    @property
    def made(self) -> str:
        """How it is made, in words.

        >>> Variant("jpeg", "jpeg", 30, "same").made
        'jpeg 30'
        """
        if self.maker in ("mirror", "blank"):
            return self.maker
        value = list(self.value) if isinstance(self.value, tuple) else self.value
        return f"{self.maker} {value}"

    @property
    def definite(self) -> bool:
        """Whether one label is right, the case's or another that is named."""
        return self.label not in ("", OTHER)


class Answered(NamedTuple):
    """An answer: its label, and the probability of every label."""

    label: str
    probabilities: Mapping[str, float]


def judge_relation(
    variant: Variant, expected: str, before: Answered, now: Answered, moved: float | str
) -> list[Verdict]:
    """Judge what must hold between a case and its variant.

    Args:
        expected: the label that the case expects.
        before, now: the answers to the case and to the variant.
        moved: Jensen-Shannon distance between the variant's map and the case's, moved with the
            picture; or why there is none.
    """
    found = []
    if variant.label:
        found.append(_label(variant, before, now))
    if variant.falls is not None:
        first, second = (each.probabilities.get(expected, 0.0) for each in (before, now))
        what, limit = f"fall of the probability of {expected}", f"at least {variant.falls:g}"
        reason = (
            f"the probability of {expected} is {second:.4g}, and {first:.4g} for the case: it must "
            f"fall by {limit}"
        )
        passed = first - second >= variant.falls
        found.append(Verdict(what, passed, f"{first - second:.4g}", limit, reason))
    if variant.js is not None:
        what, limit = FOLLOWED, f"at most {variant.js:g}"
        if isinstance(moved, str):
            reason = f"whether the map follows is undefined: {moved}"
            found.append(Verdict(what, False, "undefined", limit, reason, undefined=True))
        else:
            reason = (
                f"the map is {moved:.4g} (js) from where it would be if it followed the case's, "
                f"and must be {limit}"
            )
            found.append(Verdict(what, moved <= variant.js, f"{moved:.4g}", limit, reason))
    return found


def _label(variant: Variant, before: Answered, now: Answered) -> Verdict:
    observed = f"{now.label} ({now.probabilities[now.label]:.4g})"
    if variant.label == SAME:
        limit, passed = f"{before.label}, as for the case", now.label == before.label
        must = f"the label is {now.label}, and must be {limit}"
    elif variant.label == OTHER:
        limit, passed = f"not {before.label}", now.label != before.label
        must = f"the label is {now.label}, and must not be the same as for the case"
        must = must if not passed else f"the label is {now.label}, and {before.label} for the case"
    else:
        limit, passed = variant.label, now.label == variant.label
        must = f"the label is {now.label}, and must be {limit}"
    return Verdict(LABEL, passed, observed, limit, must)
