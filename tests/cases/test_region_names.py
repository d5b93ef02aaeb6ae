"""Names of regions: words of any script, and nothing that commands a pipeline or a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from PIL import Image

from audit.base.errors import CaseError
from audit.cases.loading import load_cases
from audit.cases.schema import schema

GOOD = [
    "birds", "two birds", "左边的鸟", "पक्षी", "bird's-eye, left (top)", "7", "a_b", "birds: both",
    "x" * 60,
]  # fmt: skip
BAD = [
    "", " a", "a ", "_a", "r\n::error ::x", "a\tb", "a[b]", "a::b", "<b>", "a|b", "a`b",
    "a\u202eb", "\x1b[2J", "##[error]x", "x" * 61,
]  # fmt: skip


def written(folder: Path, name: str) -> Path:
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    case = {
        "id": "a",
        "image": "a.png",
        "text": "two birds",
        "regions": {name: [[0.1, 0.1, 0.5, 0.5]]},
        "expect": {"label": "yes"},
    }
    path = folder / "cases.yaml"
    path.write_text(json.dumps({"cases": [case]}))
    return path


@pytest.mark.parametrize("name", GOOD)
def test_a_region_is_named_in_words_of_any_script(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, name)
    (case,) = load_cases(path)
    assert list(case.regions) == [name]
    jsonschema.validate(yaml.safe_load(path.read_text()), schema())


@pytest.mark.parametrize("name", BAD)
def test_another_name_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(CaseError) as error:
        load_cases(written(tmp_path, name))
    message = str(error.value)
    assert message.startswith(f"{tmp_path}/cases.yaml:1:")
    assert len(message.splitlines()) == 1
    assert message.isprintable()
