"""Methods that version 0.1 named otherwise are accepted by both names, wherever one is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from PIL import Image

from audit.base.errors import CaseError
from audit.cases.loading import Case, load_cases
from audit.cases.schema import schema

CASES = """\
defaults: {map: {method: cross_attention, layers: last}, drift: {mass: 0.1}}
cases:
  - id: by-default
    image: a.png
    text: two birds
    expect: {label: 'yes', attention: [{metric: entropy, max: 1}]}
  - id: in-every-place
    image: a.png
    text: two birds
    map: {method: encoder_attention, word: birds}
    regions: {birds: [[0.1, 0.2, 0.3, 0.4]]}
    expect:
      label: 'yes'
      attention:
        - {metric: mass, region: birds, min: 0, map: {method: cross_attention, heads: max}}
        - {metric: js, min: 0, against: {method: encoder_attention, word: two}}
        - metric: js
          min: 0
          map: {method: encoder_attention, word: two, heads: [1, 2]}
          against: {method: cross_attention}
"""
TODAY = CASES.replace("cross_attention", "answer_attention").replace(
    "encoder_attention", "word_attention"
)


def load(folder: Path, text: str) -> list[Case]:
    Image.new("RGB", (80, 40)).save(folder / "a.png")
    path = folder / "x.yaml"
    path.write_text(text)
    return load_cases(path)


def test_both_names_of_a_method_say_the_same_case_in_every_place(tmp_path: Path) -> None:
    before, now = load(tmp_path, CASES), load(tmp_path, TODAY)
    assert now == before
    assert [case.digest for case in now] == [case.digest for case in before]
    plain, every = now
    assert plain.map.key == "answer_attention layers=last"
    assert [spec.key for spec in every.maps] == [
        "word_attention word=birds",
        "answer_attention heads=max",
        "word_attention word=two",
        "word_attention word=two heads=1,2",
        "answer_attention",
    ]
    assert [wanted.key for wanted in every.expect.attention] == [
        "mass[birds]",
        "js against=(word_attention word=two)",
        "js against=(answer_attention)",
    ]


@pytest.mark.parametrize("text", [CASES, TODAY])
def test_the_schema_accepts_both_names(text: str) -> None:
    assert list(Draft202012Validator(schema()).iter_errors(yaml.safe_load(text))) == []


def test_a_map_compared_with_itself_under_its_other_name_is_refused(tmp_path: Path) -> None:
    text = CASES.replace(
        "metric: entropy, max: 1",
        "metric: js, against: {method: answer_attention, layers: last}, max: 1",
    )
    with pytest.raises(CaseError, match=r"against: this is the measured map itself"):
        load(tmp_path, text)


@pytest.mark.parametrize(
    ("written", "nearest"),
    [
        ("crossattention", "answer_attention"),
        ("word-attention", "word_attention"),
        ("encoder_atention", "word_attention"),
    ],
)
def test_a_name_that_is_neither_is_told_with_todays_nearest_one(
    tmp_path: Path, written: str, nearest: str
) -> None:
    with pytest.raises(
        CaseError, match=rf"map.method: '{written}' is not known; did you mean '{nearest}'\?"
    ):
        load(tmp_path, CASES.replace("cross_attention", written, 1))
