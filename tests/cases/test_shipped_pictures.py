"""The shipped cases can see what goes wrong with other pictures and with real sentences."""

from __future__ import annotations

from pathlib import Path

from PIL import ExifTags, Image

from audit.cases.loading import load_cases

ROOT = Path(__file__).parents[2] / "cases"
CASES = [case for path in sorted(ROOT.glob("*.yaml")) for case in load_cases(path)]


def test_there_are_tall_wide_turned_small_large_and_grey_pictures() -> None:
    turned, modes, sides, ratios = set(), set(), [], []
    for path in sorted({case.image for case in CASES}):
        with Image.open(path) as picture:
            turned.add(picture.getexif().get(ExifTags.Base.Orientation, 1))
            modes.add(picture.mode)
            sides.append(max(picture.size))
            ratios.append(picture.width / picture.height)
    assert turned == {1, 3, 6, 8}
    assert modes == {"RGB", "L"}
    assert min(sides) < 100
    assert max(sides) >= 2000
    assert min(ratios) < 0.8
    assert max(ratios) > 1.3


def test_sentences_have_capitals_punctuation_digits_negations_and_long_premises() -> None:
    texts = [case.text for case in CASES]
    for mark in ("T", ".", ",", "?", "!", '"', "-", "'", "2", " not ", "n't", " no "):
        assert any(mark in text for text in texts), mark
    assert max(len((case.premise or "").split()) for case in CASES) > 25


def test_there_are_eighty_cases_or_more_besides_variants() -> None:
    assert sum(case.variant is None for case in CASES) >= 80
