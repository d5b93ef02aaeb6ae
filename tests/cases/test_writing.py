"""Case files that programs write."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from audit.base.yamlfile import read
from audit.cases.writing import NewCase, case_file

SHIPPED = sorted((Path(__file__).parents[2] / "cases").glob("*.yaml"))


def again(path: Path) -> str:
    """A case file of our own, read and written again with its comments."""
    text = path.read_text()
    comments = re.findall(r"^# (.*)", text, re.MULTILINE)[1:]
    notes = iter(re.findall(r"^      label: \w+(?:  # (.*))?$", text, re.MULTILINE))
    held = read(path).value
    cases = [
        NewCase(
            **{key: case[key] for key in case if key != "expect"},
            label=case["expect"]["label"],
            probability=case["expect"].get("probability", {}).get("min"),
            attention=case["expect"].get("attention", ()),
            note=next(notes),
        )
        for case in held["cases"]
    ]
    return case_file(cases, comments=comments, defaults=held.get("defaults"), by_hand=True)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_case_file_that_is_read_and_written_again_is_the_same(path: Path) -> None:
    assert again(path) == path.read_text()


def test_what_is_written_for_any_reader_is_the_same_to_yaml_1_1() -> None:
    case = NewCase(
        id="no",
        image="images/a.png",
        text="it's 1:30: yes",
        premise="on",
        tags=("off", "two words"),
        regions={"y": [(1, 2, 3, 4)], "birds: both": [(1, 2, 3, 4), (5, 6, 7, 8)]},
        map={"method": "word_attention", "word": "NO", "layers": [1, 2]},
        label="yes",
        probability=0.5,
        attention=[{"metric": "iou", "region": "y", "threshold": "mass:0.8", "min": 0.2}],
        note="said so",
    )
    (found,) = yaml.safe_load(case_file([case]))["cases"]
    assert found == {
        "id": "no",
        "image": "images/a.png",
        "text": "it's 1:30: yes",
        "premise": "on",
        "tags": ["off", "two words"],
        "regions": {"y": [[1, 2, 3, 4]], "birds: both": [[1, 2, 3, 4], [5, 6, 7, 8]]},
        "map": {"method": "word_attention", "word": "NO", "layers": [1, 2]},
        "expect": {
            "label": "yes",
            "probability": {"min": 0.5},
            "attention": [{"metric": "iou", "region": "y", "threshold": "mass:0.8", "min": 0.2}],
        },
    }
