"""The maps of single layers or words: a sequence of pairs, drawn side by side by a call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

from audit.maps.reading import Map
from audit.maps.spec import MapSpec
from audit.report.strips import Scale

if TYPE_CHECKING:
    from audit.report.plotting import Figure

Which = str | MapSpec | None
"""A map: a spec, or a string as on the command line; None is the first that was asked for."""

Name = TypeVar("Name", int, str)


def fixed(pairs: Sequence[tuple[Name, Map]]) -> Sequence[tuple[Name, Map]]:
    """The same pairs, their maps read-only."""
    for _, p in pairs:
        p.flags.writeable = False
    return pairs


class _Panels(Sequence[tuple[Name, Map]]):
    """Pairs of a name and a map (rows, cols), non-negative, with sum 1."""

    def __init__(
        self,
        pairs: Sequence[tuple[Name, Map]],
        draw: Callable[[Which, Scale, str], Figure],
    ) -> None:
        self._pairs: tuple[tuple[Name, Map], ...] = tuple(pairs)
        self._draw = draw

    def __repr__(self) -> str:
        kind = type(self).__name__
        names = ", ".join(str(name) for name, _ in self._pairs) or "none"
        return f"<{kind} {names}; {kind.lower()}() draws them>"

    def __len__(self) -> int:
        return len(self._pairs)

    @overload
    def __getitem__(self, place: int) -> tuple[Name, Map]: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[tuple[Name, Map], ...]: ...

    def __getitem__(self, place: int | slice) -> Any:
        return self._pairs[place]


class Layers(_Panels[int]):
    """Each layer's number, from 1, and its map; calling it draws them side by side."""

    def __call__(
        self, map: Which = None, *, scale: Scale = "shared", colours: str = "viridis"
    ) -> Figure:
        """One panel for each layer, in order, with its number and its largest value.

        Args:
            map: another map than the first that was asked for, such as
                ``"answer_attention layers=4,8,12"``.
            scale: one colour scale for all panels (``shared``), or one for ``each``.
            colours: name of a matplotlib colour map.

        Raises:
            MapError: the map is not read layer by layer, or the model was not asked for it.
            ValueError: there is no such scale or colour map.
        """
        return self._draw(map, scale, colours)


class Words(_Panels[str]):
    """Each word of the hypothesis and its map; calling it draws them side by side."""

    def __call__(self, *, scale: Scale = "each", colours: str = "viridis") -> Figure:
        """One panel for each word, in order, with its largest value.

        Args:
            scale: one colour scale for all panels (``shared``), or one for ``each``.
            colours: name of a matplotlib colour map.

        Raises:
            MapError: the model gives no attention of words, or was not asked for it.
            ValueError: there is no such scale or colour map.
        """
        return self._draw(None, scale, colours)
