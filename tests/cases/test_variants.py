"""A case file's variants: how they are written, what they become, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from PIL import Image

from audit.base.geometry import Box
from audit.cases.loading import check_unique
from audit.cases.schema import schema
from audit.cases.variants import FALL, MAKERS, Answered, Variant, judge_relation
from audit.cases.writing import NewCase, case_file
from tests.case_files import load, problems
from tests.variant_files import CASE, EVERY, written


@pytest.fixture
def other(folder: Path) -> None:
    """Another picture beside that of the case."""
    Image.new("RGB", (40, 20), "blue").save(folder / "b.png")


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
