"""Texts in another language: what is translated, what stays, and who reads which."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.base.languages import PLACE, Phrases, accepted, filled, message, preferred, seamed

KNOWN = Phrases(
    [
        "{WHAT} is {value}, and must be {LIMIT}", "{metric} of {region}", "at least {value}",
        "{FIRST}; {SECOND}", "{number} of {all} as expected", "{name}: {reason}",
    ]
)  # fmt: skip


def test_a_finished_sentence_is_read_with_the_texts_within_it() -> None:
    found = KNOWN.read("mass of birds is 0.1, and must be at least 0.5; 3 of 4 as expected")
    assert found is not None
    assert found.text == "{FIRST}; {SECOND}"
    assert found.values["SECOND"] == message("{number} of {all} as expected", number=3, all=4)
    first = found.values["FIRST"]
    assert not isinstance(first, str)
    assert first.values["WHAT"] == message("{metric} of {region}", metric="mass", region="birds")


def test_what_no_text_fits_stays_as_it_is() -> None:
    found = KNOWN.read("what else is 0.1, and must be so")
    assert found is not None
    assert found.values == {"WHAT": "what else", "value": "0.1", "LIMIT": "so"}
    assert KNOWN.read("") is None


def test_a_place_for_a_number_takes_nothing_else() -> None:
    few = Phrases(["{number} of {all} as expected"])
    assert few.read("3 of 4 as expected") is not None
    assert few.read("some of 4 as expected") is None


@given(st.text(), st.text())
def test_values_are_never_read_as_texts_with_places(first: str, second: str) -> None:
    said = str(message("{a} and {b}", a=first, b=second))
    assert said == f"{first} and {second}"


@given(st.text(max_size=60))
def test_whatever_is_read_says_in_english_what_it_said(sentence: str) -> None:
    found = KNOWN.read(sentence)
    assert found is None or str(found) == sentence


@given(st.text(max_size=80))
def test_any_header_of_a_browser_gives_a_language(header: str) -> None:
    assert accepted(header) in ("en", "zh")


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-US,en;q=0.9,zh;q=0.8", "en"),
        ("de,zh-Hant-TW;q=0.4", "zh"),
        ("zh;q=0, en", "en"),
        ("*", "en"),
    ],
)
def test_the_best_language_that_there_is_is_taken(header: str, language: str) -> None:
    assert accepted(header) == language


def test_a_tag_is_not_a_language_because_it_begins_like_one() -> None:
    assert preferred(["zhx", "enm"]) == "en"
    assert preferred(["zhx", "zh"]) == "zh"


def test_a_place_without_a_value_stays_open() -> None:
    assert filled("{a} {b}", {"a": "{b}"}) == "{b} {b}"


@pytest.mark.parametrize(
    ("text", "values", "said"),
    [
        ("{WHAT} 为 {value}", ("yes 的概率", "0.4"), "yes 的概率为 0.4"),
        ("{WHAT} 为 {value}", ("birds 的 mass", "0.4"), "birds 的 mass 为 0.4"),
        ("{region} 的 {metric}", ("鸟", "mass"), "鸟的 mass"),
        ("而 {WHAT}；{WHY}", ("标签变了", "没有不同"), "而标签变了；没有不同"),
        ("或者{SECOND}，都看得出来", ("6 张图片",), "或者 6 张图片，都看得出来"),
        ("{FIRST}和{SECOND}", ("5 %", "3 %"), "5 % 和 3 %"),
        ("{FIRST}{SECOND}", ("一", "two"), "一 two"),
        ("{name} 是区域", ("鸟 的 身体",), "鸟 的 身体是区域"),
    ],
)
def test_spaces_in_chinese_stand_where_latin_meets_han_and_names_keep_theirs(
    text: str, values: tuple[str, ...], said: str
) -> None:
    given_values = dict(zip(PLACE.findall(text), values, strict=True))
    assert seamed(text, given_values, "zh") == said
    assert seamed(text, given_values, "en") == filled(text, given_values)
