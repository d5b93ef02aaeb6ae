"""The names of figures: one type reads the names in files and writes them.

A name is ``metric`` or ``metric[region]``, and options may follow. In drift rows the key of the map
comes last, in brackets, if it is not the case's own map: ``mass[birds] (rollout)``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from audit.base.errors import FigureError, nearest
from audit.maps.keys import canonical_key, former_key
from audit.metrics.registry import DEFAULTS, METRICS, Metric

Option = int | float | str

# In the key of a map, brackets occur only inside quotes.
_MAP = r"""(?:[^()'"]|'[^']*'|"[^"]*")+"""
_OPTION = rf" (\w+)=(?:\(({_MAP})\)|([^ ()=]+))"
_NAME = re.compile(rf"(\w+)(?:\[([^\[\]]+)\])?((?:{_OPTION})*)(?: \(({_MAP})\))?")
_OPTIONS = re.compile(_OPTION)


@dataclass(frozen=True)
class FigureKey:
    """Names one figure: a metric, its region, its options, and the map that it measures.

    ``str()`` gives the name under which files store the figure, and :meth:`parse` reads it back.
    Use :meth:`of` to build a key that has options.

    Attributes:
        metric: a name in the registry.
        region: the name of one of the case's regions for metrics of a region, else None.
        options: the options that are not at their defaults.
        map: the key of the map if it is not the case's own map, else empty.

    Raises:
        FigureError: there is no such metric, it needs a region or takes none, or it does not take
            one of the options.
    """

    metric: str
    region: str | None = None
    options: tuple[tuple[str, Option], ...] = ()
    map: str = ""

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            name = self.metric[:60]
            raise FigureError(f"{name!r} is not a metric; {nearest(name, METRICS)}")
        needs_one = self.row.kind == "region"
        if needs_one and not self.region:
            raise FigureError(f"the metric {self.metric!r} needs a region: {self.metric}[REGION]")
        if not needs_one and self.region is not None:
            raise FigureError(f"the metric {self.metric!r} takes no region")
        for name, _ in self.options:
            if name not in self.row.options:
                takes = ", ".join(self.row.options) or "none"
                raise FigureError(
                    f"the metric {self.metric!r} takes no option {name[:60]!r}; it takes {takes}"
                )

    @classmethod
    def of(
        cls, metric: str, region: str | None = None, options: Mapping[str, Option] | None = None
    ) -> FigureKey:
        """The key of a figure of the case's own map; options at their defaults are left out.

        >>> str(FigureKey.of("pointing", "birds", {"tolerance": 1}))
        'pointing[birds] tolerance=1'
        >>> str(FigureKey.of("pointing", "birds", {"tolerance": 0}))
        'pointing[birds]'
        >>> str(FigureKey.of("js", options={"against": "blank layers=last"}))
        'js against=(blank layers=last)'
        """
        given = (options or {}).items()
        return cls(metric, region, tuple((n, v) for n, v in given if v != DEFAULTS.get(n)))

    @classmethod
    @lru_cache(maxsize=10_000)  # the figures of every case have the same names
    def parse(cls, text: str) -> FigureKey:
        """Read a name as ``str()`` writes it.

        >>> FigureKey.parse("mass[two birds] (rollout)")
        FigureKey(metric='mass', region='two birds', options=(), map='rollout')

        Raises:
            FigureError: it is not the name of a figure, or not written as audit writes it.
        """
        problem = f"{text[:80]!r} names no figure"
        found = _NAME.fullmatch(text)
        if found is None:
            raise FigureError(f"{problem}: a name is like pointing[birds] tolerance=1")
        metric, region, options, map_key = found[1], found[2], found[3], found[7] or ""
        try:
            read = {n: _value(n, other or plain) for n, other, plain in _OPTIONS.findall(options)}
            key = cls.of(metric, region, read).of_map(map_key)
        except FigureError as error:
            raise FigureError(f"{problem}: {error}") from None
        if str(key) != text:
            raise FigureError(f"{problem}: write it as {str(key)[:80]!r}")
        return key

    @classmethod
    def known(cls, text: str) -> FigureKey | None:
        """:meth:`parse` for files of another version: None if this version does not know it."""
        try:
            return cls.parse(text)
        except FigureError:
            return None

    def of_map(self, key: str) -> FigureKey:
        """The same figure of another map; an empty key means the case's own map."""
        return self if key == self.map else replace(self, map=key)

    @property
    def row(self) -> Metric:
        """The registry's row of the metric."""
        return METRICS[self.metric]

    @property
    def words(self) -> str:
        """What is measured, as expectations are told.

        >>> FigureKey.parse("pointing[birds] tolerance=1 (rollout)").words
        'pointing of birds (tolerance 1) (rollout)'
        >>> FigureKey.of("js", options={"against": "blank"}).words
        'js against blank'
        """
        words = self.metric if self.region is None else f"{self.metric} of {self.region}"
        given = dict(self.options)
        if "against" in given:
            words += f" against {given.pop('against')}"
        options = ", ".join(f"{name} {value}" for name, value in given.items())
        words += f" ({options})" if options else ""
        return f"{words} ({self.map})" if self.map else words

    def __str__(self) -> str:
        region = "" if self.region is None else f"[{self.region}]"
        options = "".join(
            f" {name}=({value})" if name == "against" else f" {name}={value}"
            for name, value in self.options
        )
        return f"{self.metric}{region}{options}{f' ({self.map})' if self.map else ''}"


def _value(option: str, text: str) -> Option:
    default = DEFAULTS.get(option, "")
    try:
        return type(default)(text)
    except ValueError:
        raise FigureError(f"{option} needs a number, but has {text[:60]!r}") from None


@lru_cache(maxsize=10_000)  # the figures of every case have the same names
def canonical_name(name: str) -> str:
    """A figure's name with today's names of maps; any other text comes back as it is.

    >>> canonical_name("js against=(encoder_attention word=birds)")
    'js against=(word_attention word=birds)'
    """
    return _with_maps(name, canonical_key)


def former_name(name: str) -> str:
    """A figure's name with its maps named as in version 0.1.

    >>> former_name("js against=(word_attention word=birds)")
    'js against=(encoder_attention word=birds)'
    """
    return _with_maps(name, former_key)


def _with_maps(name: str, spelled: Callable[[str], str]) -> str:
    key = FigureKey.known(name)
    if key is None:
        return name
    options = tuple((n, spelled(str(v)) if n == "against" else v) for n, v in key.options)
    return str(replace(key, options=options, map=spelled(key.map)))
