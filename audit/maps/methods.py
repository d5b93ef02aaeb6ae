"""Every method of making a map, in one table, and how each is read.

The map comes from a reading that the model finishes, or from the model's answers to changed
pictures (occlusion, blank), or it is a control that does not look at the picture at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from audit.base.errors import MapError, NotGathered, Undefined, nearest
from audit.base.words import occurrences
from audit.maps.trace import Evidence, Reading, ReadingKey, Trace, Window

Array = NDArray[np.float64]


ROUNDING = 1e-6
"""What probabilities, and sums of a map's cells, may differ by although nothing changed: a model
computes a batch in another order than a single picture. A map of less would be one of rounding."""


class UndefinedMap(Undefined):
    """There is nothing to draw; the message says why."""


class Choice(Protocol):
    """What a reader must know about the map that is asked for; a ``MapSpec`` has it all."""

    @property
    def reading(self) -> ReadingKey:
        """The reading that the map is made from."""

    @property
    def window_choice(self) -> Window:
        """The window of occlusion."""

    @property
    def seed(self) -> int:
        """The seed of the random map."""


@dataclass(frozen=True)
class Method:
    """One row of the table.

    Attributes:
        about: what it shows, in words.
        keys: the keys that it takes, besides ``temperature`` and ``smooth``, which all take.
        read: makes (layers, rows, cols), non-negative, from evidence.
        from_model: whether the model must offer it.
        by_layer: whether it can be read from one layer at a time.
        by_head: whether single heads of single layers can be chosen.
        gradient: whether it needs a backward pass.
        control: whether it ignores the picture: a map that does not beat it explains nothing.
        spellings: other names that are accepted for it.
    """

    about: str
    keys: tuple[str, ...]
    read: Callable[[Evidence, Choice], Array]
    from_model: bool = False
    by_layer: bool = False
    by_head: bool = False
    gradient: bool = False
    control: bool = False
    spellings: tuple[str, ...] = ()


def reading_of(trace: Trace, key: ReadingKey) -> Reading:
    """The reading of ``key``.

    Raises:
        MapError: the trace does not hold it.
    """
    found = trace.readings.get(key)
    if found is None:
        words = [word.text for word in trace.words]
        if isinstance(key.word, str) and not occurrences(key.word, words):
            raise MapError(
                f"the model sees no {key.word!r} in the hypothesis; {nearest(key.word, words)}"
            )
        raise NotGathered(
            f"the trace holds no such {key.method}; audit.gather asks the model for it"
        )
    return found


def grey_of(evidence: Evidence) -> Trace:
    """The trace of the grey picture.

    Raises:
        MapError: the model was not shown one.
    """
    if evidence.blank is None:
        raise NotGathered(
            "the trace holds no answer to a grey picture; audit.gather asks the model for it"
        )
    return evidence.blank


def _reading(evidence: Evidence, choice: Choice) -> Array:
    return reading_of(evidence.trace, choice.reading).cells


def _blank(evidence: Evidence, choice: Choice) -> Array:
    return reading_of(grey_of(evidence), choice.reading).cells


def _occlusion(evidence: Evidence, choice: Choice) -> Array:
    drops = evidence.occlusion.get(choice.window_choice)
    if drops is None:
        raise NotGathered("the trace holds no occlusion; audit.gather asks the model for it")
    if drops.max() <= ROUNDING:
        raise UndefinedMap("hiding any part of the picture does not lower the answer's probability")
    found: Array = np.clip(drops, 0.0, None)[None]
    return found


def _uniform(evidence: Evidence, _: Choice) -> Array:
    return np.ones((1, *evidence.trace.grid))


def _centre(evidence: Evidence, _: Choice) -> Array:
    y, x = ((np.arange(n) + 0.5) / n - 0.5 for n in evidence.trace.grid)
    found: Array = np.exp(-(y[:, None] ** 2 + x[None, :] ** 2) / (2 * 0.25**2))[None]
    return found


def _random(evidence: Evidence, choice: Choice) -> Array:
    # The text is part of the seed; otherwise all cases of a set would get the same "random" map.
    text = np.frombuffer(evidence.trace.prompt.encode(), np.uint8)
    drawn: Array = np.random.default_rng([choice.seed, *text]).random((1, *evidence.trace.grid))
    return drawn


METHODS: Mapping[str, Method] = {
    "answer_attention": Method(
        "where the model looks when it answers",
        ("layers", "heads", "subtract", "relative", "drop"), _reading,
        from_model=True, by_layer=True, by_head=True, spellings=("cross_attention",),
    ),
    "word_attention": Method(
        "where the model looks from a word of the hypothesis",
        ("word", "layers", "heads", "subtract", "relative", "drop"), _reading,
        from_model=True, by_layer=True, spellings=("encoder_attention",),
    ),
    "rollout": Method(
        "attention rolled out through the encoder, under the answer's row",
        ("layers", "heads", "start_layer", "residual", "subtract"), _reading,
        from_model=True, by_layer=True,
    ),
    "relevance": Method(
        "attention times gradient of the answer's margin, through all layers",
        ("heads", "variant", "start_layer", "subtract"), _reading,
        from_model=True, gradient=True,
    ),
    "occlusion": Method(
        "how much the answer's probability falls when a part is greyed",
        ("window", "stride"), _occlusion,
    ),
    "uniform": Method("control: all cells alike", (), _uniform, control=True),
    "centre": Method(
        "control: a Gaussian in the middle, sigma a quarter of the side", (), _centre,
        control=True,
    ),
    "random": Method("control: independent random cells", ("seed",), _random, control=True),
    "blank": Method(
        "control: answer attention of the same text over a grey picture",
        ("layers", "heads"), _blank, by_layer=True, by_head=True, control=True,
    ),
}  # fmt: skip
"""Every method by the name that case files use."""

_SPELLINGS = {old: name for name, row in METHODS.items() for old in row.spellings}


def canonical(method: str) -> str:
    """Today's name of a method, whichever spelling is given; an unknown name comes back as it is.

    >>> canonical("cross_attention"), canonical("rollout")
    ('answer_attention', 'rollout')
    """
    return _SPELLINGS.get(method, method)


def former(method: str) -> str:
    """The name that version 0.1 had for a method; the digests of cases still use it.

    >>> former("answer_attention"), former("rollout")
    ('cross_attention', 'rollout')
    """
    row = METHODS.get(method)
    return row.spellings[0] if row and row.spellings else method


def nearest_method(written: str) -> str:
    """A clause that names the method closest to what somebody wrote, or all of them.

    >>> nearest_method("cros_attention")
    "did you mean 'answer_attention'?"
    """
    close = get_close_matches(written, (*METHODS, *_SPELLINGS), n=1, cutoff=0.65)
    return nearest(canonical(close[0]) if close else written, METHODS)


ALWAYS = ("temperature", "smooth")
"""The keys that every method takes."""
