"""Text in pictures, in any script: its fonts, its size, its lines.

matplotlib lays the text out: it finds a font for each glyph, joins Arabic letters, puts vowel signs
where they belong, and handles text that runs from right to left.
"""

from __future__ import annotations

import logging
import math
import threading
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import regex
from PIL import Image

from audit.base.words import characters, pieces
from audit.report.plotting import FONTS, FaceFlags, FT2Font, findSystemFonts, get_font

Ink = tuple[int, int, int]
Fonts = tuple[Path, ...]

_BUNDLED = Path(__file__).parent / "fonts"
_UNSEEN = regex.compile(r"[\p{Default_Ignorable_Code_Point}\s]")
_BEGIN, _END = "\u2068", "\u2069"
_ISOLATED = regex.compile(f"{_BEGIN}[^{_END}]*{_END}?")
_KEPT = f"\u200c\u200d{_BEGIN}{_END}"
"""Kept though not printable: joiners, which some scripts need, and :func:`isolated`'s marks."""

_warned = threading.Event()


def one_line(text: str) -> str:
    """The text on one line, without characters that cannot be drawn."""
    kept = (c if c.isprintable() or c in _KEPT else " " for c in text)
    return " ".join("".join(kept).split())


def isolated(text: str) -> str:
    """A quoted text that keeps its direction from affecting the sentence around it (UAX 9)."""
    plain = one_line(text).translate({ord(_BEGIN): None, ord(_END): None})
    # Text from left to right needs no marks, and matplotlib's PDFs misplace what follows one.
    return f"{_BEGIN}{plain}{_END}" if _from_right(plain) else plain


def _from_right(text: str) -> bool:
    """Whether a text runs from right to left, judged by its first letter."""
    strong = (unicodedata.bidirectional(c) for c in _ISOLATED.sub("", text))
    return next((way for way in strong if way in ("L", "R", "AL")), "L") != "L"


def fonts_for(text: str, *, bold: bool = False) -> Fonts:
    """The fonts that draw ``text``: matplotlib's DejaVu Sans, and others for what it lacks.

    Fonts that come with audit are preferred to installed ones, so that pictures look the same
    everywhere. The first character that no font has is logged, once per process.
    """
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    chosen = [FONTS / name]
    for character in dict.fromkeys(_UNSEEN.sub("", text)):
        if any(_has(font, character) for font in chosen):
            continue
        other = _font_with(character)
        if other is not None:
            chosen.append(other)
        elif not _warned.is_set():
            _warned.set()
            named = f"“{character}” ({unicodedata.name(character, f'U+{ord(character):04X}')})"
            logging.getLogger(__name__).warning(
                "audit: note: no font was found for %s, so a box is drawn instead. The Debian "
                "packages fonts-noto-core and fonts-noto-extra have most scripts; fonts-noto-cjk "
                "and fonts-hanazono have rare Chinese characters",
                named,
            )
    return tuple(chosen)


def _has(font: Path, character: str) -> bool:
    return ord(character) in _characters_of(font)


@cache
def _characters_of(font: Path) -> frozenset[int]:
    return frozenset(FT2Font(font).get_charmap())


@cache
def _font_with(character: str) -> Path | None:
    bundled = sorted(_BUNDLED.glob("*.ttf"))
    found = next((font for font in bundled if _has(font, character)), None)
    return found or next((font for font in _installed() if _has(font, character)), None)


@cache
def _installed() -> Fonts:
    """This machine's fonts that work at any size and have no colours of their own."""
    usable = []
    for path in sorted(findSystemFonts(), key=lambda path: (len(Path(path).name), path)):
        try:
            font = FT2Font(path)
        except (OSError, RuntimeError):
            continue  # a damaged file, or not a font at all
        if FaceFlags.SCALABLE in font.face_flags and FaceFlags.COLOR not in font.face_flags:
            usable.append(Path(path))
    return tuple(usable)


@dataclass(frozen=True)
class Lettering:
    """Letters of one size, in pixels, and of one weight."""

    size: int
    bold: bool = False

    def _laid_out(self, text: str, fonts: Fonts | None = None) -> FT2Font:
        font = get_font(fonts or fonts_for(text, bold=self.bold))
        font.set_size(self.size, 72)
        font.set_text(text)
        return font

    def width(self, text: str, fonts: Fonts | None = None) -> float:
        """Width of a line of text in pixels.

        Args:
            fonts: if the line is part of a longer text, the fonts of that text; matplotlib takes
                long to open other fonts for each part.
        """
        return self._laid_out(text, fonts).get_width_height()[0] / 64

    def extent(self, text: str = "") -> tuple[int, int]:
        """Pixels that a text needs above and below its baseline; tall scripts need more."""
        font = self._laid_out(text)
        below = font.get_descent() / 64
        above = font.get_width_height()[1] / 64 - below
        unit = self.size / font.units_per_EM
        return (
            max(math.ceil(font.ascender * unit), math.ceil(above) + 1),
            max(math.ceil(-font.descender * unit), math.ceil(below) + 1),
        )

    def draw(self, onto: Image.Image, x: float, baseline: int, text: str, ink: Ink) -> None:
        """Draw a line of text from ``x`` to the right, on ``baseline``."""
        font = self._laid_out(text)
        above = (font.get_width_height()[1] - font.get_descent()) / 64
        font.draw_glyphs_to_bitmap(antialiased=True)
        mask = Image.fromarray(np.array(font.get_image(), dtype=np.uint8))
        # matplotlib leaves an empty row above the highest glyph.
        place = (round(x + font.get_bitmap_offset()[0] / 64), baseline - int(above) - 1)
        onto.paste(ink, place, mask)

    def shortened(self, text: str, width: float) -> str:
        """``text``, cut off with an ellipsis if it is wider than ``width`` pixels."""
        if self.width(text) <= width:
            return text
        # No character is narrower than a pixel, so more than these cannot fit.
        parts = characters(text)[: math.ceil(width)]
        fonts = fonts_for("".join(parts), bold=self.bold)
        return "".join(parts[: self._fitting(parts, width, fonts, "…")]).rstrip() + "…"

    def _fitting(self, parts: Sequence[str], width: float, fonts: Fonts, end: str = "") -> int:
        """How many of ``parts`` fit; by bisection, because measuring a long text is slow."""
        fits, fails = 0, len(parts) + 1
        while fails - fits > 1:
            middle = (fits + fails) // 2
            if self.width("".join(parts[:middle]) + end, fonts) <= width:
                fits = middle
            else:
                fails = middle
        return fits

    def lines(self, text: str, width: float, most: int = 12) -> list[str]:
        """``text`` broken into lines that fit: at spaces, or anywhere in scripts without spaces.

        A text that needs more than ``most`` lines is cut off with an ellipsis.
        """
        found = [""]
        fonts = fonts_for(text, bold=self.bold)
        for word in text.split(" "):
            glue = " " if found[-1] else ""
            for piece in self._breakable(word, width, fonts):
                if not found[-1] or self.width(f"{found[-1]}{glue}{piece}", fonts) <= width:
                    found[-1] += f"{glue}{piece}"
                elif len(found) == most:
                    found[-1] = self.shortened(f"{found[-1]}{glue}{piece} …", width)
                    return _directed(found, text)
                else:
                    found.append(piece)
                glue = ""
        return _directed(found, text)

    def _breakable(self, word: str, width: float, fonts: Fonts) -> Iterator[str]:
        """The pieces of a word; a piece too wide for a line is cut between characters."""
        for piece in pieces(word):
            left = characters(piece)
            while left:
                fits = max(1, self._fitting(left[: math.ceil(width)], width, fonts))
                yield "".join(left[:fits])
                left = left[fits:]


def _directed(lines: list[str], text: str) -> list[str]:
    """The lines with marks, so that directions and quotations hold across line breaks."""
    turned, found, inside = _from_right(text), [], False
    for line in lines:
        begun = f"{_BEGIN}{line}" if inside else line
        inside = begun.count(_BEGIN) > begun.count(_END)
        begun = f"{begun}{_END}" if inside else begun
        mark = "" if _from_right(begun) == turned else "\u200f" if turned else "\u200e"
        found.append(f"{mark}{begun}")
    return found
