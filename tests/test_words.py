"""The words of a text in any script, and the tokens that spell them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from audit import load_model
from audit.cases import load_cases
from audit.maps import word_maps, word_tokens
from audit.models.base import Query
from audit.trace import Need
from audit.words import occurrences, pieces, word_spans, words_in

ROOT = Path(__file__).parents[1]
BIRDS = "树枝上有两只小鸟。"


@pytest.fixture(scope="module")
def model() -> Any:
    return load_model("reference")


@pytest.fixture
def picture() -> Image.Image:
    return Image.new("RGB", (64, 48), "navy")


def test_the_words_of_the_shipped_cases_are_what_they_were() -> None:
    """Baselines of word maps stay valid: this is how words were found before."""
    texts = [case.text for path in (ROOT / "cases").glob("*.yaml") for case in load_cases(path)]
    assert len(texts) == 53
    for text in [*texts, "Two birds' nest-boxes, aren't they?", "it’s 2 x_1"]:
        assert words_in(text) == re.findall(r"\w+(?:['’]\w+)*", text.lower())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BIRDS, ["树", "枝", "上", "有", "两", "只", "小", "鸟"]),
        ("3只鸟 iPhone手机", ["3", "只", "鸟", "iphone", "手", "机"]),
        ("ネコが寝る", ["ネ", "コ", "が", "寝", "る"]),
        ("がか\u3099", ["が", "が"]),  # written with one character and with two
        ("두 마리 새", ["두", "마리", "새"]),
        ("กิ่งที่นี่", ["กิ่", "ง", "ที่", "นี่"]),
        ("दो पक्षी हैं", ["दो", "पक्षी", "हैं"]),
        ("على الغُصنِ", ["على", "الغُصنِ"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("cafe\u0301", ["café"]),
        ("🐦🐈\u200d⬛ on ❤️ ★", ["🐦", "🐈\u200d⬛", "on", "❤️"]),
        ("… !? ་", []),
    ],
)
def test_a_word_is_never_cut_between_a_letter_and_its_marks(text: str, words: list[str]) -> None:
    assert words_in(text) == words


def test_a_word_is_found_where_it_is_written() -> None:
    """İ has two characters in lower case, and moves nothing that follows it."""
    text = "İzmir'de iki kuş"
    assert [text[a:b] for _, a, b in word_spans(text)] == ["İzmir'de", "iki", "kuş"]


def test_a_phrase_of_a_language_without_spaces_is_found() -> None:
    assert occurrences("小鸟", words_in(BIRDS)) == [6]
    assert occurrences("นก", words_in("นกสองตัวและนก")) == [0, 10]
    assert occurrences("鸟小", words_in(BIRDS)) == []


def test_a_line_of_chinese_can_be_broken_but_not_before_its_full_stop() -> None:
    assert pieces("有“两”只鸟。") == ["有", "“两”", "只", "鸟。"]
    assert pieces("nest-boxes,") == ["nest-boxes,"]


def test_a_chinese_text_has_a_map_for_each_word(model: Any, picture: Image.Image) -> None:
    (trace,) = model.trace([Query(picture, BIRDS)], Need(words=frozenset({"mean"})))
    assert [name for name, _ in word_maps(trace)] == list("树枝上有两只小鸟")


@pytest.mark.parametrize(
    ("text", "word"),
    [(BIRDS, "鸟"), ("दो पक्षी हैं", "पक्षी"), ("นกสองตัว", "นก"), ("a 🐦 flies", "🐦")],
)
def test_the_tokens_of_a_word_spell_it_and_nothing_else(
    text: str, word: str, model: Any, picture: Image.Image
) -> None:
    (trace,) = model.trace([Query(picture, text)], Need(words=frozenset({"mean"})))
    before = len(text[: text.index(word)].encode())
    # The embedded tokenizer knows no pieces of these scripts: each byte is a token.
    assert word_tokens(trace, word) == [before + i for i in range(len(word.encode()))]


def test_a_case_can_ask_for_a_word_of_a_chinese_text(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "x.png")
    spec = {"method": "encoder_attention", "word": "鸟"}
    case = {"id": "birds", "image": "x.png", "text": BIRDS, "map": spec, "expect": {"label": "yes"}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"cases": [case]}), encoding="utf-8")
    (loaded,) = load_cases(tmp_path / "c.yaml")
    assert loaded.text == BIRDS
