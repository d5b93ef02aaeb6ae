"""Case files: what they may say, and what is read of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from audit.base.errors import CaseError
from audit.base.files import digest_file
from audit.base.geometry import Box
from audit.base.images import open_image
from audit.cases.expectations import judge
from audit.cases.loading import Case, check_labels, check_unique, load_cases
from audit.cases.pictures import Pictures
from tests.case_files import OPTIONS, PLAIN, load, problems


def test_a_case_is_read_with_yaml_1_2_booleans_and_both_units_of_boxes(folder: Path) -> None:
    (case,) = load(folder, PLAIN)
    assert case.expect.label == "yes"
    assert case.regions["birds"] == (Box(0.1, 0.2, 0.3, 0.4), Box(0.25, 0.25, 0.5, 0.75))
    assert (case.line, case.label_at) == (2, (7, 14))
    assert [m.key for m in case.maps] == [
        "answer_attention",
        "answer_attention layers=last:2 heads=1,3",
    ]


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "y", "N"])
def test_words_that_yaml_1_1_takes_for_booleans_stay_texts(folder: Path, word: str) -> None:
    (case,) = load(folder, PLAIN.replace("label: yes", f"label: {word}"))
    assert case.expect.label == word


def test_defaults_are_used_by_cases_that_say_nothing_themselves(folder: Path) -> None:
    defaults = "defaults: {map: {layers: last}, tags: [guide], drift: {mass: 0.1, gini: 0.2}}\n"
    (case,) = load(folder, defaults + PLAIN + "    tags: [own]\n    drift: {mass: 0.3}\n")
    assert case.map.layers == "last"
    assert case.tags == ("guide", "own")
    assert case.drift == {"mass": 0.3, "gini": 0.2}


def test_options_name_the_figure_and_the_maps_that_are_needed(folder: Path) -> None:
    (case,) = load(folder, OPTIONS)
    assert [e.key for e in case.expect.attention] == [
        "pointing[birds] tolerance=1",
        "iou[birds] threshold=mass:0.5",
        "focus_area share=0.8",
        "js against=(blank layers=last)",
        "pointing[birds]",
        "deletion_margin",
    ]
    assert [e.options for e in case.expect.attention[:4]] == [
        {"tolerance": 1},
        {"threshold": "mass:0.5"},
        {"share": 0.8},
        {},
    ]
    assert [e.on_request for e in case.expect.attention] == [True, True, True, True, False, True]
    assert [m.key for m in case.maps] == [
        "answer_attention layers=last",
        "relevance",
        "blank layers=last",
    ]


def test_a_verdict_says_which_options_it_is_about(folder: Path) -> None:
    (case,) = load(folder, OPTIONS)
    own, other = case.map.key, "relevance"
    values = {own: {e.key: 0.4 for e in case.expect.attention}, other: {"focus_area share=0.8": 1}}
    values[own]["pointing[birds]"] = "the region is empty"
    verdicts = judge(case.expect, "yes", {"yes": 1.0}, case.map, values)
    assert [(v.expectation, v.passed) for v in verdicts[1:]] == [
        ("pointing of birds (tolerance 1)", False),
        ("iou of birds (threshold mass:0.5)", True),
        ("focus_area (share 0.8) (relevance)", False),
        ("js against blank layers=last", True),
        ("pointing of birds", False),
        ("deletion_margin", True),
    ]
    assert verdicts[5].reason == "pointing of birds is undefined: the region is empty"


def test_ids_that_differ_only_in_case_or_punctuation_are_refused(folder: Path) -> None:
    again = PLAIN.removeprefix("cases:\n").replace("id: birds", "id: Birds")
    assert "x.yaml:12:5: cases[1].id: the id 'Birds' occurs twice (first in line 2)" in problems(
        folder, PLAIN + again
    )
    (one,) = load(folder, PLAIN)
    other = folder / "y.yaml"
    other.write_text(PLAIN.replace("id: birds", "id: BIRDS"))
    with pytest.raises(
        CaseError, match=r"y\.yaml:2: the id 'BIRDS' occurs twice, as 'birds' in .*x"
    ):
        check_unique([one, *load_cases(other)])


def test_ids_of_earlier_files_are_remembered_from_call_to_call(folder: Path) -> None:
    seen: dict[str, Case] = {}
    check_unique(load(folder, PLAIN), seen)
    check_unique(load(folder, PLAIN.replace("id: birds", "id: cats")), seen)
    other = folder / "y.yaml"
    other.write_text(PLAIN)
    with pytest.raises(CaseError, match=r"y\.yaml:2: the id 'birds' occurs twice"):
        check_unique(load_cases(other), seen)


def test_a_picture_of_several_files_is_opened_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def counting(path: Path) -> Image.Image:
        opened.append(path.name)
        return open_image(path)

    monkeypatch.setattr("audit.cases.pictures.open_image", counting)
    pictures: Pictures = {}
    (first,) = load(folder, PLAIN, pictures)
    (second,) = load(folder, PLAIN, pictures)
    assert opened == ["a.png"]
    assert (first.image_size, first.digest) == (second.image_size, second.digest)


def test_labels_are_checked_against_the_models(folder: Path) -> None:
    cases = load(folder, PLAIN.replace("label: yes", "label: yess"))
    with pytest.raises(
        CaseError, match=r"x\.yaml:7:14: expect\.label: .*'yess'; did you mean 'yes'"
    ):
        check_labels(cases, ("no", "yes", "maybe"))
    check_labels(load(folder, PLAIN), ("no", "yes", "maybe"))


def test_the_digest_changes_with_what_is_asked_and_not_with_limits(folder: Path) -> None:
    def digest(text: str) -> str:
        return load(folder, text)[0].digest

    base = digest(PLAIN)
    for old, new in (("two birds", "birds"), ("0.1, 0.2", "0.1, 0.1"), ("last:2", "last:1")):
        assert digest(PLAIN.replace(old, new)) != base
    assert digest(PLAIN + "    premise: there are birds\n") != base
    assert digest(PLAIN.replace("metric: mass", "metric: rank")) == base
    assert digest(PLAIN.replace("metric: mass", "metric: pointing, tolerance: 1")) != base
    assert digest(PLAIN.replace("metric: mass, region: birds", "metric: deletion")) != base
    moved = OPTIONS.replace("min: 0.2", "min: 0.3"), OPTIONS.replace("tolerance: 1", "tolerance: 2")
    assert [digest(text) == digest(OPTIONS) for text in moved] == [True, False]
    assert digest(PLAIN.replace("min: 0.4", "min: 0.5") + "    tags: [a]\n") == base
    Image.new("RGB", (80, 40), "red").save(folder / "a.png")
    assert digest(PLAIN) != base


def test_a_lossless_copy_of_the_picture_is_the_same_case_under_any_name(folder: Path) -> None:
    (case,) = load(folder, PLAIN)
    Image.open(folder / "a.png").convert("RGBA").save(folder / "b.webp", lossless=True)
    (copy,) = load(folder, PLAIN.replace("a.png", "b.webp"))
    assert (copy.digest, copy.image_digest) == (case.digest, case.image_digest)
    assert copy.former_digest != case.former_digest
    assert copy.file_digest == digest_file(folder / "b.webp")


def test_the_former_digest_of_a_case_is_of_its_files_bytes(folder: Path) -> None:
    (case,) = load(folder, PLAIN)
    assert case.former_digest == replace(case, image_digest=digest_file(folder / "a.png")).digest
    assert case.former_digest != case.digest
