"""Messages about case files in Chinese: the same file, line, key and names as in English."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.base.errors import CaseError
from audit.cases.loading import check_labels, check_methods, check_unique
from audit.cases.phrases import PHRASES, Teller, chosen_language, told
from tests.case_files import PLAIN, load, problems
from tests.cases import test_case_mistakes as mistakes
from tests.cases import test_refused_cases as refused
from tests.cases import test_variant_mistakes as variants

HAN = re.compile("[\u3400-\u9fff]")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|\[[^\]]*\]|\{[^}]*\}")
_KEPT = re.compile(
    r"x\.yaml|YAML|UTF-8|pytest|marker|word_attention|deletion_margin|answer_attention"
)

EXAMPLES = [
    *((PLAIN, old, new) for old, new, _ in refused.REFUSED),
    *((mistakes.PLAIN, old, new) for old, new, _ in mistakes.VALUES),
    *((mistakes.PLAIN, "[20, 10, 40, 30]", box) for box, _ in mistakes.BOXES),
]
"""Case files with a mistake, which other tests have too, as what is replaced in a good one."""


def both(line: str) -> tuple[str, str]:
    return line, told(line, "zh")


def numbers(text: str) -> list[str]:
    return sorted(re.findall(r"[0-9][0-9.,]*[0-9]|[0-9]", text))


def same(english: str, chinese: str) -> None:
    """Both name the same place, key, names and figures; and the second is Chinese."""
    place = re.match(r"x\.yaml:\d+:\d+: ((cases|defaults)\S*: )?", english)
    assert place is None or chinese.startswith(place[0]), chinese
    assert HAN.search(chinese), chinese
    assert numbers(chinese) == numbers(english)
    for name in re.findall(r"(?<!\w)'[^']*'", english):
        if name not in ("','", "']'", "'}'", "':'"):  # signs of YAML are set in Chinese quotes
            assert name in chinese


@pytest.mark.parametrize(("plain", "old", "new"), EXAMPLES)
def test_a_mistake_is_told_with_the_same_place_key_and_names(
    folder: Path, plain: str, old: str, new: str
) -> None:
    told_of = problems(folder, plain.replace(old, new, 1))
    assert told_of
    for line in told_of:
        same(*both(line))


@pytest.mark.parametrize(
    "sample", [mark.args[1] for mark in variants.test_a_mistake_is_told_with_its_place.pytestmark]
)
def test_mistakes_in_variants_too(folder: Path, sample: Sequence[tuple[str, str]]) -> None:
    for variant, _ in sample:
        text = variants.CASE.format(text="there are two birds") + f"      - {variant}\n"
        told_of = problems(folder, text)
        assert told_of
        for line in told_of:
            same(*both(line))


@pytest.mark.parametrize(
    "text",
    [
        "cases: []\n", "# nothing\n", "y-a: 1\ncases: []\n", "a: [\n", "a: *b\n",
        "cases:\n  - {<<: 5}\n", "x-a: &a {<<: *a}\ncases: []\n", "cases:\n - \ta\n",
        "<<<<<<< one\n", "cases: 5\n", "cases:\n  - {}\n", PLAIN + "---\n" + PLAIN,
        PLAIN.replace("a.png", "b.png"), PLAIN.replace("a.png", "."),
        PLAIN.replace("a.png", "x.yaml"), PLAIN.replace("id: birds", "id: birds\n    tags: [skip]"),
        PLAIN.replace("id: birds", "id: birds\n    tags: [a-b]"),
        PLAIN.replace("birds: [[", "'b|': [["), PLAIN.replace("there are two birds", "' '"),
        PLAIN.replace("id: birds", "id: birds\n    drift: {mas: 1}"),
        PLAIN.replace("birds: [[0.1, 0.2, 0.3, 0.4], [20, 10, 40, 30]]", "birds: []"),
        PLAIN.replace("id: birds", "id: birds\n    repeat: 200"),
    ],
)  # fmt: skip
def test_what_a_writer_of_case_files_meets_is_told_in_chinese(folder: Path, text: str) -> None:
    told_of = problems(folder, text)
    assert told_of
    for line in told_of:
        same(*both(line))


def test_labels_methods_and_ids_are_told_in_chinese(folder: Path) -> None:
    cases = load(folder, PLAIN)
    again = load(folder, "\n" + PLAIN)
    for check in (
        lambda: check_labels(cases, ["no", "maybe"]),
        lambda: check_methods(cases, ["rollout"]),
        lambda: check_unique(again, {"birds": cases[0]}),
    ):
        with pytest.raises(CaseError) as caught:
            check()
        for line in str(caught.value).replace(f"{folder}/", "").splitlines():
            same(*both(line))


def test_no_english_is_left_but_names_of_keys_and_choices(folder: Path) -> None:
    """Words between the names: in the Chinese none is left that English sentences are made of."""
    usual = {
        "is",
        "not",
        "a",
        "the",
        "of",
        "and",
        "needs",
        "has",
        "must",
        "here",
        "needed",
        "known",
    }
    for plain, old, new in EXAMPLES:
        for line in problems(folder, plain.replace(old, new, 1)):
            rest = _QUOTED.sub(" ", told(line, "zh").partition(": ")[2])
            assert usual & set(re.findall("[a-z]+", rest)) == set(), rest


def test_english_stays_as_it_is(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    line = problems(folder, PLAIN.replace("text:", "txt:"))[0]
    assert told(line, "en") == line
    monkeypatch.delenv("AUDIT_LANGUAGE", raising=False)
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert chosen_language() == "en"


def test_the_environment_or_an_option_chooses_and_a_wrong_one_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AUDIT_LANGUAGE", "zh")
    assert chosen_language() == "zh"
    assert chosen_language("en") == "en"
    monkeypatch.setenv("AUDIT_LANGUAGE", "fr")
    with pytest.raises(CaseError, match="AUDIT_LANGUAGE: 'fr' is not known; choose from: en, zh"):
        chosen_language()


def test_a_region_with_a_colon_and_a_message_of_others_keep_their_words() -> None:
    placed = "x.yaml:5:23: cases[0].regions.birds: both[0]: a region needs at least one box"
    assert (
        told(placed, "zh") == "x.yaml:5:23: cases[0].regions.birds: both[0]: 一个区域至少要有一个框"
    )
    other = "x.yaml: something that nobody has said before; really"
    assert told(other, "zh") == other
    library = "x.yaml:1:1: not YAML: a word of libyaml"
    assert told(library, "zh") == "x.yaml:1:1: 不是 YAML：a word of libyaml"


@given(st.text(max_size=200))
def test_any_line_keeps_its_place_and_takes_no_time(text: str) -> None:
    started = time.monotonic()
    said = Teller(PHRASES[:40]).told(f"x.yaml:1:2: {text}", "zh")
    assert said.startswith("x.yaml:1:2: ")
    assert time.monotonic() - started < 2
