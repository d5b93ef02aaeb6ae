"""Which maps can be read from a model, and where a case asks for them."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from audit.base.yamlfile import Where
from audit.maps.methods import METHODS
from audit.maps.spec import MapSpec


class MapAt(NamedTuple):
    """A method that a case asks for, with its key, and its line and column."""

    key: str
    method: str
    where: Where


def readable_methods(given: Collection[str]) -> tuple[str, ...]:
    """Every method that can be read from a model that gives these: also occlusion and controls.

    >>> readable_methods(["rollout"])
    ('rollout', 'occlusion', 'uniform', 'centre', 'random')
    """
    return tuple(name for name in METHODS if _made_of(name) in (None, *given))


def _made_of(method: str) -> str | None:
    """The method that a model must give so that this one can be read; None if any model will do."""
    if method == "blank":
        return MapSpec(method="blank").reading.method
    return method if METHODS[method].from_model else None
