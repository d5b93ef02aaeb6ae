"""Mistakes in a case file's variants, each told with its place and with what to write."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from audit.base.errors import CaseError
from audit.cases.loading import check_labels, check_methods
from tests.case_files import problems
from tests.variant_files import CASE, EVERY, refused, written


@pytest.fixture
def other(folder: Path) -> None:
    """Another picture beside that of the case."""
    Image.new("RGB", (40, 20), "blue").save(folder / "b.png")


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ("{miror: true}", "10: cases[0].variants[0].miror: unknown key; did you mean 'mirror'?"),
        (
            "{label: same}",
            "9: cases[0].variants[0]: a variant needs one of mirror, crop, brightness, jpeg, blur, "
            "blank, swap, paraphrase, negate, but has none",
        ),
        (
            "{jpeg: 10, blur: 1}",
            "9: cases[0].variants[0]: a variant needs one of mirror, crop, brightness, jpeg, blur, "
            "blank, swap, paraphrase, negate, but has jpeg and blur",
        ),
        ("{mirror: yes}", "10: cases[0].variants[0].mirror: write true, or leave the key out"),
        ("{blank: 1}", "10: cases[0].variants[0].blank: write true, or leave the key out"),
        (
            "{brightness: 1}",
            "10: cases[0].variants[0].brightness: a picture times 1 is the same picture",
        ),
        (
            "{brightness: 1.001}",
            "10: cases[0].variants[0].brightness: a picture times 1.001 is the same picture",
        ),
        (
            "{blur: 0.01}",
            "10: cases[0].variants[0].blur: needs a number of at least 0.1, but has 0.01",
        ),
        (
            "{jpeg: 50.5}",
            "10: cases[0].variants[0].jpeg: needs a whole number, but has 50.5",
        ),
        (
            "{brightness: 20}",
            "10: cases[0].variants[0].brightness: needs a number of at most 10, but has 20",
        ),
        (
            "{negate: ' there are  two birds ', label: other}",
            "10: cases[0].variants[0].negate: this is the text of the case itself",
        ),
        (
            "{blank: true, probability: true}",
            "23: cases[0].variants[0].probability: write probability: falls (by at least 0.05), or "
            "{falls: 0.3}",
        ),
        (
            "{blank: true, probability: 0.3}",
            "23: cases[0].variants[0].probability: write probability: falls (by at least 0.05), or "
            "{falls: 0.3}",
        ),
        (
            "{mirror: false}",
            "10: cases[0].variants[0].mirror: write true, or leave the key out",
        ),
        (
            "{mirror: true, follows: true}",
            "9: cases[0].variants[0]: follows needs js: 0.1 beside it",
        ),
        ("{mirror: true, js: 0.1}", "9: cases[0].variants[0]: js needs follows: true beside it"),
        (
            "{blank: true, label: other, follows: true, js: 0.1}",
            "9: cases[0].variants[0]: after blank no map can follow that of the case: leave "
            "follows and js out",
        ),
        (
            "{blank: true, label: other, follows: true}",
            "9: cases[0].variants[0]: after blank no map can follow that of the case: leave "
            "follows out",
        ),
        (
            "{swap: b.png, label: other, js: 0.1}",
            "9: cases[0].variants[0]: after swap no map can follow that of the case: leave js out",
        ),
        (
            "{mirror: true, follows: true, js: 0}",
            "39: cases[0].variants[0].js: needs a number above 0, but has 0",
        ),
        (
            "{mirror: true, follows: true, js: 1.0}",
            "39: cases[0].variants[0].js: needs a number below 1, but has 1.0",
        ),
        (
            "{crop: [0, 0, 1, 30]}",
            "10: cases[0].variants[0].crop: leaves 1 × 30 pixels of the picture, on which nothing "
            "can be seen; leave at least 8 in width and height",
        ),
        (
            "{blank: true}",
            "9: cases[0].variants[0]: blank: say what must hold: label (same, other or a label), "
            "probability: falls, or attention",
        ),
        (
            "{blank: true, probability: fals}",
            "23: cases[0].variants[0].probability: 'fals' is not known; did you mean 'falls'?",
        ),
        (
            "{jpeg: 10, probability: {fall: 1}}",
            "20: cases[0].variants[0].probability.falls: this key is required",
        ),
        ("{jpeg: 0}", "10: cases[0].variants[0].jpeg: needs a number of at least 1, but has 0"),
        (
            "{crop: [0.0, 0.0, 0.5]}",
            "10: cases[0].variants[0].crop: a box is four numbers: [left, top, right, bottom]",
        ),
        (
            "{crop: [0.0, 0.0, 1.0, 1.0]}",
            "10: cases[0].variants[0].crop: this is the whole picture",
        ),
        (
            "{jpeg: 10, name: A b}",
            "20: cases[0].variants[0].name: a name has small letters, digits and '-', and begins "
            "with a letter or digit",
        ),
        (
            "{swap: c.png, label: no}",
            "10: cases[0].variants[0].swap: c.png: no such picture; did you mean 'a.png'?",
        ),
        (
            "{swap: a.png, label: no}",
            "10: cases[0].variants[0].swap: this is the picture of the case itself",
        ),
        (
            "{paraphrase: there are two birds}",
            "10: cases[0].variants[0].paraphrase: this is the text of the case itself",
        ),
        (
            "{jpeg: 10, attention: [{metric: mass, region: bird, min: 0.1}]}",
            "47: cases[0].variants[0].attention[0].region: 'bird' is not a region of this variant "
            "(jpeg); did you mean 'birds'?",
        ),
        (
            "{crop: [0.5, 0.5, 1.0, 1.0], attention: [{metric: mass, region: birds, min: 0.1}]}",
            "65: cases[0].variants[0].attention[0].region: 'birds' lies outside of the crop",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(folder: Path, variant: str, message: str) -> None:
    if "fall: 1" in variant:
        lines = problems(folder, CASE.format(text="there are two birds") + f"      - {variant}\n")
        assert [line.removeprefix("x.yaml:14:") for line in lines] == [
            message,
            "34: cases[0].variants[0].probability.fall: unknown key; did you mean 'falls'?",
        ]
    else:
        assert refused(folder, variant) == message


def test_mirroring_left_and_right_needs_a_word_about_the_label(folder: Path) -> None:
    text = "a bird is left of the cat"
    assert refused(folder, "{mirror: true}", text) == (
        "10: cases[0].variants[0].mirror: the text says 'left', and mirroring exchanges left and "
        "right: say what must hold, label: same, other or a label"
    )
    written(folder, "      - {mirror: true, label: no}\n", text)
    written(folder, "      - {mirror: true}\n", "a bright bird cleft the sky")


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("the leftmost bird sings", "leftmost"), ("a Right-hand bird", "Right-hand"),
        ("the bird to the right", "right"), ("a left_handed man", "left_handed"),
        ("the leftside door", "leftside"), ("birds fly leftwards", "leftwards"),
    ],
)  # fmt: skip
def test_every_word_for_a_side_needs_one(folder: Path, text: str, side: str) -> None:
    assert f"the text says {side!r}, and mirroring" in refused(folder, "{mirror: true}", text)


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        ("{jpeg: 50}", "{jpeg: 50, name: again, label: other}", "jpeg"),
        ("{crop: [0.0, 0.0, 0.5, 1.0]}", "{crop: [0, 0, 20, 40]}", "crop"),
        ("{paraphrase: two birds}", "{negate: two  birds, label: other}", "paraphrase"),
        ("{mirror: true}", "{mirror: true}", "mirror"),
    ],
)
def test_the_same_variant_twice_is_refused(
    folder: Path, first: str, second: str, name: str
) -> None:
    Image.new("RGB", (40, 40), "red").save(folder / "a.png")
    text = CASE.format(text="birds") + f"      - {first}\n      - {second}\n"
    (line,) = problems(folder, text)
    assert line.endswith(
        f"{name!r} is made in the same way (line 14): ask everything of one of them"
    )


def test_a_region_of_the_case_that_another_picture_lacks_is_told(folder: Path) -> None:
    Image.new("RGB", (40, 20), "blue").save(folder / "b.png")
    asked = "attention: [{metric: mass, region: birds, min: 0.1}]"
    assert refused(folder, f"{{swap: b.png, {asked}}}").endswith(
        "'birds' is a region of the case's picture, and this is another one"
    )


def test_the_text_of_a_variant_has_the_words_of_its_map(folder: Path) -> None:
    text = CASE.format(text="there are two birds").replace(
        "{layers: last}", "{method: word_attention, word: birds}"
    )
    assert problems(folder, text + "      - {paraphrase: two animals are there}\n") == [
        "x.yaml:14:10: cases[0].variants[0].paraphrase.word: 'birds' is not in the text; "
        "choose from: animals, are, there, two"
    ]


@pytest.mark.usefixtures("other")
def test_labels_and_methods_are_checked_where_the_variant_asks_for_them(folder: Path) -> None:
    cases = written(folder, "      - {swap: b.png, label: noo}\n").values()
    with pytest.raises(CaseError) as caught:
        check_labels(cases, ["yes", "no"])
    assert str(caught.value).endswith(
        "x.yaml:14:30: variants[0].label: the model has no label 'noo'; did you mean 'no'?"
    )
    for typed, meant in (("sme", "same"), ("othr", "other")):
        cases = written(folder, f"      - {{swap: b.png, label: {typed}}}\n").values()
        with pytest.raises(CaseError, match=f"{typed}'; did you mean '{meant}'"):
            check_labels(cases, ["yes", "no"])
    with pytest.raises(CaseError) as caught:
        check_labels(written(folder, EVERY).values(), ["no", "maybe"])
    assert len(str(caught.value).splitlines()) == 1  # the case's own label is told once
    asked = "{jpeg: 9, attention: [{metric: entropy, max: 1, map: {method: rollout}}]}"
    with pytest.raises(CaseError) as caught:
        check_methods(written(folder, f"      - {asked}\n").values(), ["answer_attention"])
    assert "x.yaml:14:71: variants[0].attention[0].map.method: " in str(caught.value)
