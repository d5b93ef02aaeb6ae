"""Case files that are refused: each mistake is told with its place and the nearest choice."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.base.errors import CaseError
from audit.cases.loading import load_cases
from tests.case_files import PLAIN, load, problems

REFUSED = [
    ("metric: entropy", "metrik: entropy", "x.yaml:11:12: cases[0].expect.attention[1].metrik: unknown key; did you mean 'metric'?"),
    ("text:", "txt:", "x.yaml:4:5: cases[0].txt: unknown key; did you mean 'text'?"),
    ("label: yes", "lable: yes", "x.yaml:6:5: cases[0].expect.label: this key is required"),
    ("metric: mass", "metric: mas", "x.yaml:10:12: cases[0].expect.attention[0].metric: 'mas' is not a metric; did you mean 'mass'?"),
    ("region: birds", "region: bird", "x.yaml:10:26: cases[0].expect.attention[0].region: 'bird' is not a region of this case; did you mean 'birds'?"),
    ("region: birds, ", "", "x.yaml:10:11: cases[0].expect.attention[0]: the metric 'mass' needs a region"),
    ("metric: entropy,", "metric: entropy, region: birds,", "x.yaml:11:11: cases[0].expect.attention[1]: the metric 'entropy' takes no region"),
    ("min: 0.4", "min: 1.4", "x.yaml:10:11: cases[0].expect.attention[0]: min 1.4 can never pass: mass is at most 1"),
    ("min: 0.4", "min: 0.4, max: 0.3", "x.yaml:10:11: cases[0].expect.attention[0]: min 0.4 is greater than max 0.3: nothing can pass"),
    (", min: 0.4", "", "x.yaml:10:11: cases[0].expect.attention[0]: give min, max or both"),
    ("min: 0.4", "min: .nan", "x.yaml:10:41: cases[0].expect.attention[0].min: needs a finite number, but has nan"),
    ("0.3, 0.4]", "1.3, 0.4]", "x.yaml:5:23: cases[0].regions.birds[0]: the box [0.1, 0.2, 1.3, 0.4] lies outside the image: fractions are between 0.0 and 1.0"),
    ("40, 30]", "90, 30]", "x.yaml:5:45: cases[0].regions.birds[1]: the box [20, 10, 90, 30] lies outside the image of 80 x 40 pixels"),
    ("20, 10, 40, 30", "0, 0, 1, 1", "x.yaml:5:45: cases[0].regions.birds[1]: the box [0, 0, 1, 1] is ambiguous: write 0.0 and 1.0 for fractions of the image"),
    ("20, 10, 40, 30", "0.2, 10, 40, 30", "x.yaml:5:45: cases[0].regions.birds[1]: the box [0.2, 10, 40, 30] mixes pixels (integers) and fractions (decimals); use one"),
    ("last:2", "lst", "x.yaml:11:45: cases[0].expect.attention[1].map.layers: not a choice of layers: all, last, last:N, or a list of distinct numbers from 1"),
    ("[1, 3]", "[0]", "x.yaml:11:63: cases[0].expect.attention[1].map.heads: not a choice of heads: mean, max, weighted, chosen, or a list of distinct numbers from 1, or of single heads such as L4H2"),
    ("\"last:2\"", "last, relative: generc", "x.yaml:11:59: cases[0].expect.attention[1].map.relative: 'generc' is not known; did you mean 'generic'?"),
    ("\"last:2\"", "last, drop: sink", "x.yaml:11:59: cases[0].expect.attention[1].map.drop: 'sink' is not known; did you mean 'sinks'?"),
    ("entropy,", "entropy, tolerance: 1,", "x.yaml:11:11: cases[0].expect.attention[1]: the metric 'entropy' takes no 'tolerance'; it takes min, max, map"),
    ("metric: mass", "metric: mass, tolerance: 0", "x.yaml:10:11: cases[0].expect.attention[0]: the metric 'mass' takes no 'tolerance'; it takes region, min, max, map"),
    ("metric: mass", "metric: iou, share: 0.5", "x.yaml:10:11: cases[0].expect.attention[0]: the metric 'iou' takes no 'share'; it takes region, threshold, min, max, map"),
    ("metric: mass", "metric: mass, against: {method: blank}", "x.yaml:10:11: cases[0].expect.attention[0]: the metric 'mass' takes no 'against'; it takes region, min, max, map"),
    ("metric: entropy", "metric: js", "x.yaml:11:11: cases[0].expect.attention[1]: the metric 'js' needs a map to compare with: against: {method: ...}"),
    ("metric: entropy", "metric: js, against: blnk", "x.yaml:11:24: cases[0].expect.attention[1].against: a map is written as {method: NAME}; did you mean 'blank'?"),
    ("metric: entropy", "metric: js, against: {method: blnk}", "x.yaml:11:34: cases[0].expect.attention[1].against.method: 'blnk' is not known; did you mean 'blank'?"),
    ("metric: entropy", "metric: js, against: {methd: blank}", "x.yaml:11:34: cases[0].expect.attention[1].against.methd: unknown key; did you mean 'method'?"),
    ("metric: entropy", "metric: js, against: {method: blank, word: birds}", "x.yaml:11:24: cases[0].expect.attention[1].against: the method blank takes no 'word'; it takes layers, heads, temperature, smooth"),
    ("metric: entropy", "metric: js, against: {layers: last:2, heads: [1, 3]}", "x.yaml:11:24: cases[0].expect.attention[1].against: this is the measured map itself; compare it with another"),
    ("max: 0.9", "max: 0.9, agains: {method: blank}", "x.yaml:11:39: cases[0].expect.attention[1].agains: unknown key; did you mean 'against'?"),
    ("metric: mass", "metric: pointing, tolerance: 1.5", "x.yaml:10:30: cases[0].expect.attention[0].tolerance: not a tolerance: a whole number of cells, from 0"),
    ("metric: mass", "metric: pointing, tolerance: -1", "x.yaml:10:30: cases[0].expect.attention[0].tolerance: not a tolerance: a whole number of cells, from 0"),
    ("metric: mass", "metric: pointing, tolerance: true", "x.yaml:10:30: cases[0].expect.attention[0].tolerance: not a tolerance: a whole number of cells, from 0"),
    ("metric: mass", "metric: iou, threshold: quantil:0.9", "x.yaml:10:25: cases[0].expect.attention[0].threshold: 'quantil:0.9' is not a threshold: write a rule and a number between 0 and 1, as in mass:0.5; did you mean 'quantile'?"),
    ("metric: mass", "metric: iou, threshold: 0.5", "x.yaml:10:25: cases[0].expect.attention[0].threshold: '0.5' is not a threshold: write a rule and a number between 0 and 1, as in mass:0.5; choose from: mass, max_share, quantile"),
    ("metric: mass", "metric: iou, threshold: max_share:1.0", "x.yaml:10:25: cases[0].expect.attention[0].threshold: 'max_share:1.0' is not a threshold: write a rule and a number between 0 and 1, as in max_share:0.5"),
    ("metric: entropy", "metric: focus_area, share: 80", "x.yaml:11:32: cases[0].expect.attention[1].share: not a share: a number above 0 and below 1"),
    ("metric: entropy, max: 0.9", "metric: deletion_margin, min: 1.5", "x.yaml:11:11: cases[0].expect.attention[1]: min 1.5 can never pass: deletion_margin is at most 1"),
    ("metric: entropy, max: 0.9", "metric: pearson, against: {method: blank}, max: -1.5", "x.yaml:11:11: cases[0].expect.attention[1]: max -1.5 can never pass: pearson is at least -1"),
    ("{layers: \"last:2\", heads: [1, 3]}", "{method: word_attention}", "x.yaml:11:39: cases[0].expect.attention[1].map: the method word_attention needs a word of the hypothesis, as in word=birds"),
    ("{layers: \"last:2\", heads: [1, 3]}", "{method: rollout, residual: 2}", "x.yaml:11:62: cases[0].expect.attention[1].map.residual: not a share of the residual connection: measured, or a number from 0 to 1"),
    ("{layers: \"last:2\", heads: [1, 3]}", "relevanc", "x.yaml:11:39: cases[0].expect.attention[1].map: a map is written as {method: NAME}; did you mean 'relevance'?"),
    ("{birds: [[0.1, 0.2, 0.3, 0.4], [20, 10, 40, 30]]}", "{birds: [[1, 1, 9, 9]], heads: [[a, 1, 9, 9]]}", "x.yaml:5:47: cases[0].regions.heads[0][0]: needs a number, but has 'a'"),
    ("map: {layers: \"last:2\", heads: [1, 3]}", "map: {method: word_attention, word: bird}", "x.yaml:11:69: cases[0].expect.attention[1].map.word: 'bird' is not in the text; did you mean 'birds'?"),
    ("text: there are two birds", "text: [a]", "x.yaml:4:5: cases[0].text: text is needed here; put it in quotes if it looks like something else"),
    ("      label: yes", "      label: true", "x.yaml:7:7: cases[0].expect.label: text is needed here; put it in quotes if it looks like something else"),
    ("id: birds", "id: a/b", "x.yaml:2:5: cases[0].id: an id has letters, digits, '.', '_' and '-', and begins with a letter or digit"),
    ("id: birds", "id: birds\n    id: cats", "x.yaml:3:5: not YAML: the key 'id' occurs twice (first in line 2)"),
    ("label: yes", "label: [yes", "x.yaml:8:18: not YAML: expected ',' or ']', but got ':': the bracket that opens in line 7 is not closed"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "said"), REFUSED)
def test_a_mistake_is_told_with_file_line_column_key_and_the_nearest_choice(
    folder: Path, old: str, new: str, said: str
) -> None:
    assert old in PLAIN
    assert said in problems(folder, PLAIN.replace(old, new, 1))


@pytest.mark.parametrize("text", ["[" * 200_000, "{a: " * 200_000, "- " * 200_000])
def test_endless_nesting_is_an_error_and_not_the_end_of_the_process(
    folder: Path, text: str
) -> None:
    (problem,) = problems(folder, text)
    assert "not YAML: maximum recursion depth exceeded" in problem


def test_a_missing_picture_names_the_nearest_one(folder: Path) -> None:
    (line,) = problems(folder, PLAIN.replace("a.png", "aa.png"))
    assert line.startswith("x.yaml:3:5: cases[0].image: ")
    assert line.endswith("aa.png: no such picture; did you mean 'a.png'?")


def test_all_problems_of_a_file_are_told_at_once(folder: Path) -> None:
    text = PLAIN.replace("region: birds", "region: x").replace("a.png", "b.png")
    assert [line.split(": ")[1] for line in problems(folder, text)] == [
        "cases[0].image",
        "cases[0].expect.attention[0].region",
    ]


def test_a_case_that_cannot_be_read_hides_no_mistake_of_another(folder: Path) -> None:
    broken = PLAIN.replace("label: yes", "lable: yes")
    other = PLAIN.removeprefix("cases:\n").replace("id: birds", "id: b").replace("a.png", "b.png")
    assert [line.split(": ")[1] for line in problems(folder, broken + other)] == [
        "cases[0].expect.label",
        "cases[0].expect.lable",
        "cases[1].image",
    ]
    both = problems(folder, "defaults: {tags: 1}\n" + PLAIN.replace("a.png", "b.png"))
    assert [line.split(": ")[1] for line in both] == ["defaults.tags"]


def test_files_that_are_no_cases_are_refused(folder: Path) -> None:
    assert problems(folder, "")[0].startswith("x.yaml:1:1: the file is empty")
    path = folder / "x.yaml"
    path.write_bytes(b"cases: \xff")
    with pytest.raises(CaseError, match="not UTF-8"):
        load_cases(path)
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{n}: &{n} [{', '.join(['*' + p] * 9)}]\n"
        for p, n in zip("abcdefg", "bcdefgh", strict=True)
    )
    assert problems(folder, bomb)[0].endswith("aliases expand without end")
    assert problems(folder, "a: !!python/object/apply:os.system [ls]")


@settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.one_of(st.text(), st.text(alphabet="cases:- id{}[]&*!\n\"'0.9")))
def test_any_text_gives_cases_or_a_case_error(folder: Path, text: str) -> None:
    path = folder / "x.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    said, found = str(path), None
    try:
        found = load_cases(path)
    except CaseError as error:
        said = str(error)
    assert found or found is None
    assert str(path) in said


@pytest.mark.parametrize("value", ["5", "true", "[a]", "{a: 1}", "null", "1e999", "''"])
@pytest.mark.parametrize(
    "place",
    [
        "map: {{method: {}}}", "map: {{subtract: {}}}", "map: {{variant: {}}}", "repeat: {}",
        "map: {{relative: {}}}", "map: {{drop: {}}}",
        "map: {{temperature: {}}}", "regions: {{birds: [[{}, 0.1, 0.2, 0.3]]}}", "critical: {}",
        "variants: [{{jpeg: {}}}]", "variants: [{{mirror: {}}}]", "variants: [{{blur: {}}}]",
        "variants: [{{jpeg: 5, label: {}}}]", "variants: [{{blank: true, probability: {}}}]",
    ],
)  # fmt: skip
def test_no_message_is_in_the_words_of_a_library(folder: Path, place: str, value: str) -> None:
    text = (
        "cases:\n  - id: a\n    image: a.png\n    text: birds\n    expect: {label: yes}\n"
        f"    {place.format(value)}\n"
    )
    said = ""
    try:
        load(folder, text)
    except CaseError as error:
        said = str(error)
    assert not re.search("Input should|should be a valid", said)
