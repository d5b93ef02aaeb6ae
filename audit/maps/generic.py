"""Compare a map with the same reading under a question that asks nothing.

Some cells of many models take attention whatever is asked (sinks: Kang et al., "See What You Are
Told: Visual Attention Sink in Large Multimodal Models", 2025, arXiv 2503.03321). They are high
under a generic question too, and that is how they are told from what the question is about.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audit.base.errors import MapError, NotGathered
from audit.maps.methods import UndefinedMap, reading_of
from audit.maps.trace import Evidence, ReadingKey

Array = NDArray[np.float64]

PRIOR = 0.01
"""What is added to each cell before a division, as a part of the mean cell."""

SINK = 10.0
"""A cell is a sink if, under the generic question, it has more than this many times the median."""


def generic_cells(evidence: Evidence, key: ReadingKey) -> Array:
    """What falls on the cells under the generic question: (layers, rows, cols).

    No word of the hypothesis is in the generic question, so for ``word_attention`` it is the mean
    over all words that are.

    Args:
        key: of the map's own reading.

    Raises:
        MapError: the model was not asked, or the trace lacks the reading.
    """
    trace = evidence.generic
    if trace is None:
        raise NotGathered(
            "the trace holds no answer to the generic question; audit.gather asks the model for it"
        )
    if key.word is None:
        return reading_of(trace, key).cells
    if not trace.words:
        raise MapError("the model sees no word of the generic question")
    places = range(len(trace.words))
    words = [reading_of(trace, key._replace(word=place)).cells for place in places]
    mean: Array = np.mean(words, axis=0)
    return mean


def relative_to(p: Array, generic: Array) -> Array:
    """How much more than under the generic question falls on each cell, as a map.

    Zhang, Khayatkhoei, Chhikara & Ilievski, "MLLMs Know Where to Look", ICLR 2025 (arXiv
    2502.17422), divide cell by cell. Here a hundredth of the mean cell is added to both sides
    first, so that a cell that gets next to nothing under both questions counts as unchanged, and
    not as whatever the quotient of two tiny numbers happens to be.

    Args:
        p, generic: maps: non-negative, with sum 1.
    """
    prior = PRIOR / p.size
    quotient = (p + prior) / (generic + prior)
    found: Array = quotient / quotient.sum()
    return found


def sinks(generic: Array) -> NDArray[np.bool_]:
    """The cells that are high under the generic question: above ten times the median cell.

    They are never more than half of the cells.
    """
    high: NDArray[np.bool_] = generic > SINK * np.median(generic)
    return high


def without_sinks(p: Array, generic: Array) -> Array:
    """The map with its sinks set to 0.

    Args:
        p, generic: maps: non-negative, with sum 1.

    Raises:
        UndefinedMap: nothing is left.
    """
    left = np.where(sinks(generic), 0.0, p)
    total = left.sum()
    if total <= 0:
        raise UndefinedMap("the whole map falls on sinks, so nothing is left")
    found: Array = left / total
    return found
