"""The words of a text in any script, and the tokens that spell them."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from audit import load_model
from audit.base.errors import TextError
from audit.base.texts import readable
from audit.base.words import occurrences, pieces, word_spans, words_in
from audit.cases.loading import load_cases
from audit.gate.outcomes import State
from audit.gate.runfolder import Run
from audit.maps.reading import word_maps
from audit.maps.spec import MapSpec
from audit.maps.trace import EACH_WORD, ReadingKey
from audit.models.protocol import Query
from audit.report.gallery import write_gallery
from tests.outcomes import outcome
from tests.passes import captures

ROOT = Path(__file__).parents[2]
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
    assert len(texts) == 122
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
    (trace,) = model.trace([Query(picture, BIRDS)], frozenset({EACH_WORD}))
    assert [name for name, _ in word_maps(trace)] == list("树枝上有两只小鸟")


@pytest.mark.parametrize(
    ("text", "word"),
    [(BIRDS, "鸟"), ("दो पक्षी हैं", "पक्षी"), ("นกสองตัว", "นก"), ("a 🐦 flies", "🐦")],
)
def test_the_tokens_of_a_word_spell_it_and_nothing_else(
    text: str, word: str, model: Any, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, passed = ReadingKey("word_attention", "mean", word), captures(monkeypatch)
    (trace,) = model.trace([Query(picture, text)], frozenset({key}))
    before = len(text[: text.index(word)].encode())
    # The embedded tokenizer knows no pieces of these scripts: each byte is a token.
    spelled = [before + i for i in range(len(word.encode()))]
    assert [t for w in trace.words if w.text in words_in(word) for t in w.tokens] == spelled
    (captured,) = passed
    rows = captured.of_words["mean"][:, spelled].mean(axis=1)
    np.testing.assert_allclose(trace.readings[key].cells.reshape(rows.shape), rows, rtol=1e-5)


def test_a_case_can_ask_for_a_word_of_a_chinese_text(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "x.png")
    spec = {"method": "word_attention", "word": "鸟"}
    case = {"id": "birds", "image": "x.png", "text": BIRDS, "map": spec, "expect": {"label": "yes"}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"cases": [case]}), encoding="utf-8")
    (loaded,) = load_cases(tmp_path / "c.yaml")
    assert loaded.text == BIRDS


def assert_kept(words: list[str]) -> None:
    """A run and its gallery give back a strip of ``words`` and a map named after each."""
    even = np.full((2, 2), 0.25)
    maps = {MapSpec(method="word_attention", word=word).key: even for word in words}
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        run.start({"model": {}})
        run.add(
            outcome("a", State.PASSED), {"m": even} | maps, {"words": [(w, even) for w in words]}
        )
        assert [name for name, _ in run.strips("a").get("words", [])] == words
        assert run.maps("a").keys() == {"m", *maps}
        write_gallery(run, "all")


@pytest.mark.parametrize(
    "text",
    [
        "می\u200cخواهم پرنده",
        "👨\u200d👩\u200d👧 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "ශ්\u200dරී ලංකා",
        "\U0001fae9",  # newer than Python 3.11's table of Unicode
        "a/b c\\d ../x",
    ],
)
def test_a_run_reads_again_whatever_words_it_wrote(text: str) -> None:
    assert_kept([*words_in(text), text])


@settings(deadline=None)  # each writes a run and its gallery
@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12))
def test_a_run_reads_again_the_words_of_any_text(text: str) -> None:
    try:
        readable(text)
    except TextError:
        return
    assert_kept(words_in(readable(text)))


@pytest.mark.slow
@pytest.mark.parametrize("letters", ["\u200c\u200d", "\U000e0061\U0001fae9", "\u202e\u2066\u0600"])
@settings(deadline=None, max_examples=40)  # each writes a run and its gallery
@given(data=st.data())
def test_a_run_reads_again_words_with_joiners_tags_and_marks(
    letters: str, data: st.DataObject
) -> None:
    text = data.draw(st.text("a👩م1 " + letters, min_size=1, max_size=12))
    assert_kept(words_in(text))


def test_the_word_of_a_map_is_read_as_a_text_is() -> None:
    """A line break in it would be one in the name of its map, which no run reads again."""
    assert MapSpec(method="word_attention", word="two\n birds\n").word == "two birds"
    with pytest.raises(ValueError, match=r"word has a control character \(U\+001B\)"):
        MapSpec(method="word_attention", word="birds\x1b[2J")
