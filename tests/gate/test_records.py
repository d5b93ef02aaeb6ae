"""Stored records: one strict reader, whose errors name file, line and key."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from audit.base.errors import BaselineError, RunError
from audit.base.names import name_of
from audit.base.records import read_record
from audit.gate import accepted
from audit.gate.tolerances import load_floors
from audit.maps.keys import canonical_key
from audit.metrics.keys import canonical_name
from tests import projects

SHIPPED = Path(__file__).parents[2] / "baselines" / "reference"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Accepted baselines of two cases."""
    file = projects.made(tmp_path)
    projects.audited(file, tmp_path / "run", tmp_path / "baselines", "new")
    return tmp_path / "baselines"


def changed(folder: Path, keys: tuple[str, ...], value: Any) -> None:
    path = folder / "birds.json"
    data = json.loads(path.read_text())
    place = data
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n")


FIGURE = ("figures", "answer_attention", "mass[birds]", "accepted")


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        (FIGURE, "0,97", r'birds.json:\d+: .*mass\[birds\].accepted: needs a number, or .*"0,97"'),
        (FIGURE, float("nan"), r"mass\[birds\].accepted: needs a number"),
        (FIGURE, float("inf"), r"mass\[birds\].accepted: needs a number"),
        (FIGURE, True, r"mass\[birds\].accepted: needs a number"),
        (FIGURE, None, r"mass\[birds\].accepted: needs a number, .* but has null"),
        (FIGURE, 10**400, r"mass\[birds\].accepted"),
        (("provenance",), [], r"birds.json:\d+: provenance: needs an object in braces"),
        (("label",), 1, r"birds.json:\d+: label: needs text in quotes, but has 1"),
        (("label",), "ye", r"label: 'ye' has no probability; did you mean 'yes'"),
        (("probabilities", "yes", "accepted"), 1.5, r"probabilities.yes.accepted: .*, but has 1.5"),
        (("probabilities", "yes", "accepted"), "0.9", r'yes.accepted: needs a number, .*"0.9"'),
        (("case_digest",), "abc", r'case_digest: needs a SHA-256 in hexadecimal, but has "abc"'),
        (("case",), "hungry", r"birds.json: case: is the baseline of hungry"),
        (("lable",), "yes", r"birds.json:\d+: lable: unknown key"),
        (("format",), 3, r"birds.json:\d+: format: format 3, but this version reads 2"),
        (("provenance", "maps"), "../x", r"provenance.maps: needs a SHA-256 in hexadecimal"),
    ],
)  # fmt: skip
def test_a_badly_edited_baseline_is_told_with_its_file_and_key(
    folder: Path, keys: tuple[str, ...], value: Any, said: str
) -> None:
    changed(folder, keys, value)
    with pytest.raises(BaselineError, match=said):
        accepted.load(folder, "birds")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "birds.json: the file is empty"),
        (b'{\n "case": "bir', "birds.json:2: the file ends in the middle: it was cut off"),
        (b'{"case": ["birds"', "birds.json:1: the file ends in the middle: it was cut off"),
        (b"[" * 100_000, "Invalid JSON: recursion limit exceeded"),
        (b"\xff\xfe{}", "not UTF-8 text: byte 1 is invalid"),
        (b'{"text": "\\ud800 and more"}', "Invalid JSON"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "birds.json"),
        (b"{}", "this key is required"),
        (b'\n\n<<<<<<< HEAD\n "label": "no",\n=======\n', "birds.json:3: holds a merge conflict"),
    ],
)
def test_a_file_that_is_no_record_is_one_error(folder: Path, content: bytes, said: str) -> None:
    (folder / "birds.json").write_bytes(content)
    with pytest.raises(BaselineError, match=said):
        accepted.load(folder, "birds")


def test_a_key_that_comes_twice_is_refused(folder: Path) -> None:
    path = folder / "birds.json"
    path.write_text(path.read_text().replace('"label":', '"label": "no",\n "label":'))
    with pytest.raises(BaselineError, match=r"the key .label. occurs twice"):
        accepted.load(folder, "birds")


def test_a_pipe_or_a_folder_in_the_place_of_a_record_is_an_error_at_once(folder: Path) -> None:
    path = folder / "birds.json"
    path.unlink()
    os.mkfifo(path)
    started = time.monotonic()
    with pytest.raises(BaselineError, match="it is not a file"):
        accepted.load(folder, "birds")
    assert time.monotonic() - started < 2
    path.unlink()
    path.mkdir()
    with pytest.raises(BaselineError, match="it is not a file"):
        accepted.load(folder, "birds")


def test_a_record_of_gigabytes_is_refused_unread(folder: Path) -> None:
    with (folder / "birds.json").open("wb") as file:
        file.truncate(3 << 30)  # a hole: it takes no room
    with pytest.raises(BaselineError, match="3,221,225,472 bytes, more than the limit"):
        accepted.load(folder, "birds")


def test_the_same_baseline_with_other_line_ends_a_mark_and_another_order_is_the_same(
    folder: Path,
) -> None:
    path = folder / "birds.json"
    first = accepted.held(folder, "birds")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert accepted.held(folder, "birds").digest == first.digest
    data = json.loads(path.read_text("utf-8-sig"))
    path.write_text(json.dumps(dict(reversed(data.items()))))
    assert accepted.held(folder, "birds").digest == first.digest
    changed(folder, FIGURE, 0.25)
    assert accepted.held(folder, "birds").digest != first.digest


def test_what_is_read_of_a_stranger_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("{}")
    (tmp_path / "a.json").symlink_to("secret.json")
    schema = TypeAdapter(dict[str, str])
    assert read_record(tmp_path / "a.json", schema, RunError) == {}
    with pytest.raises(RunError, match="it is a symbolic link"):
        read_record(tmp_path / "a.json", schema, RunError, follow=False)


def test_every_shipped_baseline_and_the_noise_floor_are_read_as_before() -> None:
    paths = sorted(SHIPPED.glob("*.json"))
    assert len(paths) == 122
    for path in paths:
        held = accepted.held(SHIPPED, name_of(path.stem))
        assert held.baseline is not None
        assert not held.damage
        data = json.loads(path.read_text())
        assert held.baseline.provenance == data["provenance"]
        assert held.baseline.figures == {
            canonical_key(key): {
                canonical_name(name): v["accepted"]["undefined"]
                if isinstance(v["accepted"], dict)
                else v["accepted"]
                for name, v in figures.items()
            }
            for key, figures in data["figures"].items()
        }
        assert "answer_attention" in held.baseline.figures
    assert load_floors(SHIPPED)["answer_attention"]["mass"] > 0


def test_a_thousand_baselines_are_read_in_a_few_seconds(folder: Path) -> None:
    started = time.process_time()
    for _ in range(200):
        accepted.load(folder, "birds")
    assert time.process_time() - started < 1.0
