"""Text in pictures: every script, both directions, long lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from numpy.typing import NDArray
from PIL import Image

from audit.base.words import characters
from audit.report.lettering import Lettering, fonts_for, isolated, one_line
from audit.report.plotting import get_font

LETTERS = Lettering(20)
CUNEIFORM = "𒀀"
ASKED = f"""
from audit.report.lettering import Lettering
from audit.report.plotting import plain
for size in (10, 20):
    with plain():
        print(Lettering(size).width("{CUNEIFORM}"))
"""


def drawn(text: str) -> NDArray[np.uint8]:
    """What stands on the paper: 255 in full ink."""
    page = Image.new("RGB", (700, 60), "white")
    LETTERS.draw(page, 10, 40, text, (0, 0, 0))
    return 255 - np.asarray(page.convert("L"))


def cropped(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Without the white around it."""
    (rows,), (cols,) = ink.any(axis=1).nonzero(), ink.any(axis=0).nonzero()
    return ink[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("鸟", "猫"), ("鳥", "ね"), ("새", "개"), ("นก", "แมว"), ("पक्षी", "बिल्ली"), ("পাখি", "বিড়াল"),
        ("طائر", "قطة"), ("ציפור", "חתול"), ("🐦", "🐈"), ("பறவை", "பூனை"), ("птица", "кошка"),
    ],
)  # fmt: skip
def test_words_of_any_script_are_told_apart(one: str, other: str) -> None:
    """Boxes for glyphs that are missing would be alike."""
    shapes = [cropped(drawn(character)) for text in (one, other) for character in characters(text)]
    assert all(shape.size for shape in shapes)
    assert len({(shape.shape, shape.tobytes()) for shape in shapes}) == len(
        set(characters(one) + characters(other))
    )
    for text in (one, other):
        fonts = fonts_for(text)
        visible = [c for c in text if c not in "\u200c\u200d"]
        assert all(any(get_font(f).get_char_index(ord(c)) for f in fonts) for c in visible)


def test_english_is_drawn_in_one_font() -> None:
    assert [font.name for font in fonts_for("two birds, 98 %")] == ["DejaVuSans.ttf"]


def test_marks_stand_on_their_letter() -> None:
    assert LETTERS.width("กิ่") == LETTERS.width("ก")
    assert LETTERS.width("e\u0301") == LETTERS.width("é")


def test_letters_that_are_joined_are_not_drawn_one_by_one() -> None:
    """Kaf, shin and its vowel killer become one sign in Devanagari; Arabic letters are joined."""
    assert LETTERS.width("क्ष") < LETTERS.width("क") + LETTERS.width("ष")
    assert LETTERS.width("عصفور") < sum(map(LETTERS.width, "عصفور"))


def test_a_quotation_from_right_to_left_does_not_turn_the_sentence() -> None:
    page = cropped(drawn(f"“{isolated('على الغصن')}”: maybe"))
    end = cropped(drawn("maybe"))
    begin = cropped(drawn("“"))
    assert np.array_equal(page[-end.shape[0] :, -end.shape[1] + 1 :].any(0), end[:, 1:].any(0))
    assert np.array_equal(page[:, : begin.shape[1]].any(0), begin.any(0))


def test_each_line_of_a_long_quotation_keeps_its_direction() -> None:
    text = f"“{isolated('على الغصن عصفوران ' * 8)}”: maybe"
    lines = LETTERS.lines(text, 300)
    assert len(lines) > 3
    assert all(line.count("\u2068") == line.count("\u2069") == 1 for line in lines)
    mixed = LETTERS.lines("two birds on a branch: " + "على الغصن عصفوران " * 4, 250)
    assert mixed[-1].startswith("\u200e")


@pytest.mark.parametrize(
    "text",
    ["there are two birds on a branch ", "树枝上有两只小鸟，它们。", "นกสองตัวอยู่บนกิ่งไม้", "a" * 30],
)
def test_lines_fit_and_lose_nothing(text: str) -> None:
    text = one_line(text * 9)
    lines = LETTERS.lines(text, 400)
    assert len(lines) > 2
    assert all(LETTERS.width(line) <= 400 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert not any(line[0] in "，。" for line in lines)


def test_a_text_without_end_is_cut_with_an_ellipsis() -> None:
    for text in ("a bird " * 5_000, "鸟" * 5_000, "a" * 5_000):
        lines = LETTERS.lines(text, 400, most=3)
        assert len(lines) == 3
        assert lines[-1].endswith("…")
        assert LETTERS.width(lines[-1]) <= 400


def test_a_word_is_not_cut_between_a_letter_and_its_marks() -> None:
    text = "กิ่" * 60
    short = LETTERS.shortened(text, 100)
    assert short.endswith("กิ่…")


def in_a_process(data_home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_DATA_HOME": str(data_home)}
    return subprocess.run(
        [sys.executable, "-c", ASKED], capture_output=True, text=True, check=True, env=environment
    )


def test_a_character_that_no_font_has_is_told_once_with_what_to_install(tmp_path: Path) -> None:
    if any(get_font(f).get_char_index(ord(CUNEIFORM)) for f in fonts_for(CUNEIFORM)):
        pytest.skip("a font with cuneiform signs is installed")
    told = in_a_process(tmp_path).stderr
    assert told.count("\n") == 1
    assert "“𒀀” (CUNEIFORM SIGN A)" in told
    assert "fonts-noto-core" in told


def test_a_font_that_is_installed_fills_in(tmp_path: Path) -> None:
    """A font made here, in which the sign is a square as wide as the letters are high."""
    pen = TTGlyphPen(None)
    for move, point in zip(
        (pen.moveTo, pen.lineTo, pen.lineTo, pen.lineTo),
        ((0, 0), (0, 1000), (1000, 1000), (1000, 0)),
        strict=True,
    ):
        move(point)
    pen.closePath()
    square = pen.glyph()
    made = FontBuilder(1000, isTTF=True)
    made.setupGlyphOrder([".notdef", "sign"])
    made.setupCharacterMap({ord(CUNEIFORM): "sign"})
    made.setupGlyf({".notdef": square, "sign": square})
    made.setupHorizontalMetrics({".notdef": (1000, 0), "sign": (1000, 0)})
    made.setupHorizontalHeader(ascent=1000, descent=0)
    made.setupNameTable({"familyName": "Signs", "styleName": "Regular"})
    made.setupOS2()
    made.setupPost()
    (tmp_path / "fonts").mkdir()
    made.save(tmp_path / "fonts" / "a.ttf")
    (tmp_path / "fonts" / "b.ttf").write_bytes(b"no font")
    done = in_a_process(tmp_path)
    assert done.stderr == ""
    assert [float(width) for width in done.stdout.split()] == [10, 20]
