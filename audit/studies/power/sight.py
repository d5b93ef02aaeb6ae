"""What a set of cases has, and so what it can see: facts that are counted, each over all cases."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageChops

from audit.base.images import open_image
from audit.base.pixels import orientation
from audit.cases.loading import Case
from audit.runs.evidence import MOST_PIXELS


@dataclass(frozen=True)
class _Look:
    """What facts are read from: a case, and what its picture's file says."""

    case: Case
    format: str
    turned: bool
    colours: bool

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(text for text in (self.case.text, self.case.premise) if text is not None)

    def says(self, pattern: str) -> bool:
        """Whether one of the texts has the pattern."""
        return any(re.search(pattern, text) for text in self.texts)


class Fact(NamedTuple):
    """Something that cases may have.

    Attributes:
        phrase: completes "a case with".
        cases: how many have it.
    """

    name: str
    phrase: str
    cases: int


_MARK = f"[{re.escape(string.punctuation)}]"

_SMALL = 192

_FACTS: tuple[tuple[str, str, Callable[[_Look], bool]], ...] = (
    ("premise", "a premise", lambda look: look.case.premise is not None),
    ("oblong", "a picture that is not square",
     lambda look: look.case.image_size[0] != look.case.image_size[1]),
    ("turned", "a picture that EXIF turns", lambda look: look.turned),
    ("jpeg", "a picture in JPEG", lambda look: look.format == "JPEG"),
    ("lossless", "a picture in a format without loss", lambda look: look.format != "JPEG"),
    ("colours", "a picture in colours", lambda look: look.colours),
    ("grey", "a grey picture", lambda look: not look.colours),
    ("small", f"a picture with a side of less than {_SMALL} pixels",
     lambda look: min(look.case.image_size) < _SMALL),
    ("large", f"a picture of more than {MOST_PIXELS:,} pixels",
     lambda look: look.case.image_size[0] * look.case.image_size[1] > MOST_PIXELS),
    ("capitals", "a capital in a text",
     lambda look: any(text != text.lower() for text in look.texts)),
    ("digits", "a digit in a text", lambda look: look.says(r"\d")),
    ("punctuation", "punctuation in a text", lambda look: look.says(_MARK)),
    ("removed", "punctuation at the beginning of a text, a hyphen or a slash",
     lambda look: look.says(r"^[,.!?*#:;~]|[-/]")),
    ("long", "more than four words in a text",
     lambda look: any(len(text.split()) > 4 for text in look.texts)),
    ("cut", "a text that may be cut", lambda look: look.case.truncate),
)  # fmt: skip


def facts_of(cases: Sequence[Case]) -> list[Fact]:
    """Count what the cases have; each picture is opened once."""
    seen: dict[Path, tuple[str, bool, bool]] = {}
    for case in cases:
        if case.image not in seen:
            seen[case.image] = _look_at(case.image)
    looks = [_Look(case, *seen[case.image]) for case in cases]
    return [Fact(name, phrase, sum(map(has, looks))) for name, phrase, has in _FACTS]


def _look_at(path: Path) -> tuple[str, bool, bool]:
    """Format, whether EXIF turns it, whether it has colours."""
    with Image.open(path) as stored:
        kind, held = str(stored.format), orientation(stored)
    red, green, blue = open_image(path).split()
    apart = (ImageChops.difference(red, other) for other in (green, blue))
    return kind, held != 1, any(each.getbbox() is not None for each in apart)
