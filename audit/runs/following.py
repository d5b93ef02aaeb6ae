"""Whether the map of a variant follows that of its case: mirrored, cut, or where it was."""

from __future__ import annotations

from audit.base.errors import Undefined
from audit.base.geometry import WHOLE
from audit.cases.case import Case
from audit.cases.deriving import crop_box
from audit.maps.moving import moved
from audit.maps.reading import Map
from audit.maps.trace import Trace
from audit.metrics.distances import js
from audit.runs.asking import Original


def map_of_original(case: Case, original: Original, trace: Trace) -> Map | str:
    """Where the map of a variant would be if it followed that of its case; or why nowhere.

    Args:
        trace: of the variant, for its grid and view.
    """
    if isinstance(original.map, str):
        return f"the case has no map: {original.map}"
    variant = case.variant
    assert variant is not None
    part = WHOLE
    if isinstance(variant.value, tuple):
        part = crop_box(variant.value, case.source.image_size)
    try:
        return moved(
            original.map, original.view, trace.grid, trace.view,
            part=part, mirror=variant.maker == "mirror",
        )  # fmt: skip
    except Undefined as reason:
        return str(reason)


def distance_from(there: Map | str, p: Map | None) -> float | str:
    """Jensen-Shannon distance of a variant's map from where it would be; or why there is none."""
    if isinstance(there, str):
        return there
    return "the variant has no map" if p is None else js(p, there)
