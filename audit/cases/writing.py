"""Write case files: the shipped cases, and the case that ``audit serve`` suggests."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

SCHEMA = "# yaml-language-server: $schema=schema.json"
"""The first line of a case file, which lets editors check and complete what follows."""


@dataclass(frozen=True)
class NewCase:
    """What to write for one case; empty values are left out.

    Attributes:
        image: the picture's path as the file names it.
        regions: boxes by region, each left, top, right, bottom in pixels.
        map: keys and values as in a case file.
        probability: the lowest probability that ``label`` may have; None sets no limit.
        attention, variants: as in a case file.
        note: a comment after the label.
    """

    id: str
    image: str
    text: str
    label: str
    premise: str | None = None
    tags: Sequence[str] = ()
    regions: Mapping[str, Sequence[Sequence[int]]] = field(default_factory=dict)
    map: Mapping[str, Any] = field(default_factory=dict)
    probability: float | None = None
    attention: Sequence[Mapping[str, Any]] = ()
    note: str = ""
    variants: Sequence[Mapping[str, Any]] = ()


def case_file(
    cases: Iterable[NewCase],
    *,
    comments: Sequence[str] = (),
    defaults: Mapping[str, Any] | None = None,
    by_hand: bool = False,
) -> str:
    """A whole case file.

    Args:
        comments: comment lines after the first line.
        by_hand: write as people do: all regions on one line, and ``yes`` without quotes, which is a
            text for audit and YAML 1.2. Otherwise YAML 1.1 reads the same texts too, and each
            region has its own line.
    """
    lines = [SCHEMA, *(f"# {comment}" for comment in comments)]
    if defaults:
        lines.append(f"defaults: {_flow(defaults, by_hand)}")
    lines.append("cases:")
    for case in cases:
        lines += _lines(case, by_hand)
    return "\n".join(lines) + "\n"


def limits_to_paste(case: NewCase, comments: Sequence[str]) -> str:
    """The id of a case and what it expects, to be pasted into its file; comments come first."""
    lines = _lines(case, by_hand=False)
    expected = lines[lines.index("    expect:") :]
    about = [f"# {comment}" for comment in comments]
    return "\n".join([*about, *(line[2:] for line in (lines[0], *expected))])


def limit(value: float) -> float:
    """A lower limit for a figure that is ``value`` today: nine tenths of it, rounded down.

    >>> limit(0.8), limit(1.0)
    (0.7, 0.9)
    """
    return down(min(0.9, 0.9 * value))


def down(value: float, step: float = 0.05) -> float:
    """``value`` rounded down to a multiple of ``step``.

    >>> down(0.72), down(0.75)
    (0.7, 0.75)
    """
    return round(math.floor(value / step + 1e-9) * step, 2)


def _lines(case: NewCase, by_hand: bool) -> list[str]:
    def text(value: str) -> str:
        return _scalar(value, by_hand)

    lines = [f"  - id: {text(case.id)}", f"    image: {text(case.image)}"]
    if case.premise is not None:
        lines.append(f"    premise: {text(case.premise)}")
    lines.append(f"    text: {text(case.text)}")
    if case.tags:
        lines.append(f"    tags: {_flow(case.tags, by_hand)}")
    if case.regions and by_hand:
        lines.append(f"    regions: {_flow(case.regions, by_hand)}")
    elif case.regions:
        lines.append("    regions:")
        lines += [f"      {text(name)}: {_flow(of, by_hand)}" for name, of in case.regions.items()]
    if case.map:
        lines.append(f"    map: {_flow(case.map, by_hand)}")
    note = f"  # {case.note}" if case.note else ""
    lines += ["    expect:", f"      label: {case.label if by_hand else text(case.label)}{note}"]
    if case.probability is not None:
        lines.append(f"      probability: {{min: {case.probability}}}")
    if case.attention:
        lines.append("      attention:")
    lines += [f"        - {_flow(asked, by_hand)}" for asked in case.attention]
    if case.variants:
        lines.append("    variants:")
    lines += [f"      - {_flow(made, by_hand)}" for made in case.variants]
    return lines


def _flow(value: Any, by_hand: bool) -> str:
    """A value on one line."""
    if isinstance(value, Mapping):
        pairs = (f"{_scalar(k, by_hand)}: {_flow(v, by_hand)}" for k, v in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, str):
        return _scalar(value, by_hand)
    if isinstance(value, Sequence):
        return f"[{', '.join(_flow(each, by_hand) for each in value)}]"
    return json.dumps(value)


_PLAIN = re.compile(r"[A-Za-z][\w./-]*(?: [\w./-]+)*", re.ASCII)

TURNS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Marks that change the direction of writing: left raw, they make one file look like another."""


def _scalar(text: str, by_hand: bool) -> str:
    """``text`` in one line that YAML 1.1 and 1.2 read alike: plain if it is words, else quoted."""
    if _PLAIN.fullmatch(text) and yaml.safe_load(text) == text:
        return text
    quote = "'" if by_hand and text.isprintable() else '"'
    quoted = yaml.dump(text, default_style=quote, allow_unicode=True, width=math.inf).rstrip("\n")
    return unturned(quoted)


def unturned(text: str) -> str:
    """``text`` with the marks of :data:`TURNS` as escapes, as double quotes take them."""
    return TURNS.sub(lambda mark: f"\\u{ord(mark[0]):04x}", text)
