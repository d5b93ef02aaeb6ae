"""Looks up which heads ``heads: chosen`` stands for, so that a case names them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from audit.cases.case import Case
from audit.cases.expectations import AttentionExpectation
from audit.maps.spec import CHOSEN, MapSpec


def asks_for_chosen(case: Case) -> bool:
    """Whether a map of the case is made of the chosen heads, or of the case it is made from."""
    own = any(spec.heads == CHOSEN for spec in case.maps)
    return own or (case.original is not None and asks_for_chosen(case.original))


def with_heads(case: Case, places: Sequence[str]) -> Case:
    """The case with these heads in the place of ``heads: chosen``, in its digest and figures too.

    Other heads therefore make another case, whose baseline is stale.

    Args:
        places: single heads, as in ``L4H2``.
    """
    if not asks_for_chosen(case):
        return case
    attention = tuple(_of_heads(each, places) for each in case.expect.attention)
    return replace(
        case,
        map=case.map.with_heads(places),
        expect=case.expect.model_copy(update={"attention": attention}),
        original=case.original and with_heads(case.original, places),
    )


def _of_heads(wanted: AttentionExpectation, places: Sequence[str]) -> AttentionExpectation:
    def named(spec: MapSpec | None) -> MapSpec | None:
        return spec and spec.with_heads(places)

    return wanted.model_copy(update={"map": named(wanted.map), "against": named(wanted.against)})
