"""A case file's variants: how they are written, what they become, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from PIL import Image

from audit.base.errors import CaseError
from audit.base.geometry import Box
from audit.cases.loading import Case, check_labels, check_methods, check_unique
from audit.cases.schema import schema
from audit.cases.variants import FALL, MAKERS, Answered, Variant, judge_relation
from audit.cases.writing import NewCase, case_file
from tests.case_files import load, problems

CASE = """\
cases:
  - id: birds
    image: a.png
    text: {text}
    tags: [guide]
    regions: {{birds: [[0.125, 0.25, 0.25, 0.5]], sky: [[0.0, 0.0, 1.0, 0.125]]}}
    map: {{layers: last}}
    expect: {{label: yes, attention: [{{metric: mass, region: birds, min: 0.4}}]}}
    drift: {{entropy: 0.5}}
    critical: true
    xfail: known
    repeat: 2
    variants:
"""

EVERY = """\
      - {mirror: true, follows: true, js: 0.1}
      - {crop: [0.0, 0.25, 0.5, 0.75], follows: true, js: 0.1}
      - {brightness: 1.5}
      - {jpeg: 50}
      - {blur: 2}
      - {blank: true, label: other, probability: falls}
      - {swap: b.png, label: no}
      - {paraphrase: two birds are there}
      - {negate: there is no bird, probability: {falls: 0.4}}
"""


@pytest.fixture
def other(folder: Path) -> None:
    """Another picture beside that of the case."""
    Image.new("RGB", (40, 20), "blue").save(folder / "b.png")


def written(folder: Path, variants: str, text: str = "there are two birds") -> dict[str, Case]:
    return {case.id: case for case in load(folder, CASE.format(text=text) + variants)}


def refused(folder: Path, variant: str, text: str = "there are two birds") -> str:
    (line,) = problems(folder, CASE.format(text=text) + f"      - {variant}\n")
    return line.removeprefix("x.yaml:14:")


@pytest.mark.usefixtures("other")
def test_each_maker_makes_a_case_that_follows_its_own(folder: Path) -> None:
    found = written(folder, EVERY)
    assert list(found) == ["birds", *(f"birds[{maker}]" for maker in MAKERS)]
    base = found.pop("birds")
    assert base.variant is None
    assert base.varied
    assert [case.line for case in found.values()] == list(range(14, 23))
    for maker, case in zip(MAKERS, found.values(), strict=True):
        assert case.original is base
        assert case.tags == ("guide", "variant", maker)
        assert (case.critical, case.xfail, case.varied) == (False, "", False)
        assert (case.repeat, case.drift, case.map) == (2, base.drift, base.map)
        assert case.expect.attention == ()


@pytest.mark.usefixtures("other")
def test_the_label_stays_unless_something_else_is_said(folder: Path) -> None:
    found = written(folder, EVERY)
    labels = {case.variant.maker: case.variant.label for case in found.values() if case.variant}
    assert [m for m, label in labels.items() if label == "same"] == [
        "mirror", "crop", "brightness", "jpeg", "blur", "paraphrase",
    ]  # fmt: skip
    assert (labels["blank"], labels["swap"], labels["negate"]) == ("other", "no", "")
    # Only a definite label can be right or wrong.
    assert {c.id: c.expected for c in found.values() if c.expected != "yes"} == {
        "birds[blank]": "", "birds[swap]": "no", "birds[negate]": "",
    }  # fmt: skip


@pytest.mark.usefixtures("other")
def test_regions_move_with_the_picture(folder: Path) -> None:
    found = written(folder, EVERY)
    assert found["birds[mirror]"].regions["birds"] == (Box(0.75, 0.25, 0.875, 0.5),)
    cropped = found["birds[crop]"]
    assert cropped.image_size == (found["birds"].image_size[0] // 2, 20)
    assert cropped.regions == {"birds": (Box(0.25, 0.0, 0.5, 0.5),)}  # and the sky is cut away
    assert found["birds[blur]"].regions == found["birds"].regions
    assert found["birds[swap]"].regions == {}
    assert found["birds[swap]"].image_size == (40, 20)


@pytest.mark.usefixtures("other")
def test_the_digest_changes_with_the_case_the_maker_and_its_parameter(folder: Path) -> None:
    before = {name: case.digest for name, case in written(folder, EVERY).items()}
    assert len(set(before.values())) == len(before)
    again = written(folder, EVERY.replace("js: 0.1", "js: 0.2").replace("falls: 0.4", "falls: 0.1"))
    assert {name: case.digest for name, case in again.items()} == before  # limits do not count
    for old, new, name in (
        ("jpeg: 50", "jpeg: 51", "jpeg"), ("blur: 2", "blur: 3", "blur"),
        ("0.5, 0.75]", "0.5, 0.8]", "crop"), ("birds are there", "birds here", "paraphrase"),
    ):  # fmt: skip
        changed = written(folder, EVERY.replace(old, new))
        assert {n for n, c in changed.items() if c.digest != before[n]} == {f"birds[{name}]"}
    changed = written(folder, EVERY, "there are some birds")
    assert not set(before.values()) & {case.digest for case in changed.values()}
    Image.new("RGB", (40, 20), "green").save(folder / "b.png")
    assert written(folder, EVERY)["birds[swap]"].digest != before["birds[swap]"]


def test_a_second_variant_of_a_kind_has_a_number_or_a_name_of_its_own(folder: Path) -> None:
    found = written(
        folder,
        "      - {jpeg: 50}\n      - {jpeg: 30}\n      - {jpeg: 10, name: rough}\n"
        "      - {blur: 1}\n",
    )
    assert list(found)[1:] == ["birds[jpeg]", "birds[jpeg-2]", "birds[rough]", "birds[blur]"]
    check_unique(found.values())
    text = CASE.format(text="birds") + "      - {jpeg: 50}\n      - {blur: 1, name: jpeg}\n"
    assert problems(folder, text) == [
        "x.yaml:15:19: cases[0].variants[1].name: the variant's name 'jpeg' occurs twice (first in "
        "line 14); give it a name of its own"
    ]


def test_a_case_may_have_the_name_of_a_variant_with_a_hyphen(folder: Path) -> None:
    text = CASE.format(text="birds") + "      - {mirror: true}\n"
    text += "  - {id: birds-mirror, image: a.png, text: birds, expect: {label: yes}}\n"
    check_unique(load(folder, text))


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


@pytest.mark.usefixtures("other")
def test_the_schema_accepts_what_loads_and_refuses_two_makers(folder: Path) -> None:
    text = (CASE.format(text="birds") + EVERY).replace("label: yes", "label: 'yes'")
    whole = yaml.safe_load(text.replace("label: no}", "label: 'no'}"))
    assert list(Draft202012Validator(schema()).iter_errors(whole)) == []
    whole["cases"][0]["variants"] = [{"jpeg": 30, "blur": 1}]
    assert not Draft202012Validator(schema()).is_valid(whole)
    whole["cases"][0]["variants"] = [{"jpeg": 30, "js": 0.1}]
    assert not Draft202012Validator(schema()).is_valid(whole)


@pytest.mark.usefixtures("other")
@pytest.mark.parametrize("by_hand", [True, False])
def test_a_case_with_variants_survives_writing(folder: Path, by_hand: bool) -> None:
    variants = yaml.safe_load(EVERY.replace("label: no}", "label: 'no'}"))
    new = NewCase("birds", "a.png", "there are two birds", "yes", variants=variants)
    found = load(folder, case_file([new], by_hand=by_hand))
    assert [case.variant.made for case in found if case.variant] == [
        "mirror", "crop [0, 10, 40, 30]", "brightness 1.5", "jpeg 50", "blur 2.0", "blank",
        "swap b.png", "paraphrase two birds are there", "negate there is no bird",
    ]  # fmt: skip


def _judged(variant: Variant, before: str, now: str, moved: float | str = 0.0) -> list[bool]:
    def answered(label: str) -> Answered:
        return Answered(label, {a: 0.8 if a == label else 0.1 for a in ("yes", "no", "maybe")})

    return [
        verdict.passed
        for verdict in judge_relation(variant, "yes", answered(before), answered(now), moved)
    ]


def test_what_must_hold_between_the_answers() -> None:
    same, other = Variant("blur", "blur", 1, "same"), Variant("blank", "blank", True, "other")
    assert _judged(same, "yes", "yes") == [True]
    assert _judged(same, "no", "no") == [True]  # whether the case itself is right is its own affair
    assert _judged(same, "yes", "no") == [False]
    assert _judged(other, "yes", "maybe") == [True]
    assert _judged(other, "yes", "yes") == [False]
    named = Variant("swap", "swap", "b.png", "no", falls=0.5)
    assert _judged(named, "yes", "no") == [True, True]
    assert _judged(named, "yes", "yes") == [False, False]
    assert _judged(named, "maybe", "maybe") == [False, False]
    follows = Variant("mirror", "mirror", True, "same", js=0.1)
    assert _judged(follows, "yes", "yes", 0.1) == [True, True]
    assert _judged(follows, "yes", "yes", 0.11) == [True, False]
    assert _judged(follows, "yes", "yes", "no map") == [True, False]
    assert FALL == 0.05
