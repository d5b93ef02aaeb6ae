"""Limits are added to a person's case file, and everything else in it stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.base.errors import CaseError
from audit.base.yamlfile import read
from audit.cases.editing import Limits, with_limits

SHIPPED = sorted((Path(__file__).parents[2] / "cases").glob("*.yaml"))
BOTH = Limits(0.8, [{"metric": "mass", "region": "a bird", "min": 0.25}])

BY_HAND = """\
# yaml-language-server: $schema=schema.json
cases:
  - id: a   # the first
    image: 'a.png'
    text: "half of a \\u202eturned text"
    expect:
      label: yes  # somebody said so

  # about b
  - id: b
    expect: {label: yes}  # in one line

  - id: c
    expect:
      label: "no"
    tags: [x]
  - {id: d, expect: {label: yes}}
  - id: e
    expect:
      label: yes
# the end
"""

ADDED = """\
# yaml-language-server: $schema=schema.json
cases:
  - id: a   # the first
    image: 'a.png'
    text: "half of a \\u202eturned text"
    expect:
      label: yes  # somebody said so
      probability: {min: 0.8}
      attention:
        - {metric: mass, region: a bird, min: 0.25}

  # about b
  - id: b
    expect: {label: yes, probability: {min: 0.7}} # in one line

  - id: c
    expect:
      label: "no"
      probability: {min: 0.8}
      attention:
        - {metric: mass, region: a bird, min: 0.25}
    tags: [x]
  - {id: d, expect: {label: yes}}
  - id: e
    expect:
      label: yes
      probability: {min: 0.7}
# the end
"""


def test_limits_are_added_behind_the_label_and_comments_stay_where_they_are(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(BY_HAND)
    only = Limits(0.7)
    assert with_limits(path, {"a": BOTH, "b": only, "c": BOTH, "e": only}) == ADDED
    assert path.read_text() == BY_HAND


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_no_line_of_a_shipped_file_changes(path: Path) -> None:
    bare = [c["id"] for c in read(path).value["cases"] if set(c["expect"]) == {"label"}]
    found = with_limits(path, dict.fromkeys(bare, BOTH)).splitlines()
    lines = iter(found)
    assert all(line in lines for line in path.read_text().splitlines())  # in this order
    assert len(found) == len(path.read_text().splitlines()) + 3 * len(bare)


@pytest.mark.parametrize("indent", ["", "  ", "    "])
def test_lists_stay_indented_as_they_were(tmp_path: Path, indent: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"cases:\n{indent}- id: a\n{indent}  expect:\n{indent}    label: yes\n")
    found = with_limits(path, {"a": Limits(0.7)})
    assert found == f"{path.read_text()}{indent}    probability: {{min: 0.7}}\n"


def test_other_indents_line_ends_and_a_start_of_the_document_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    before = "# head\r\n---\r\ncases:\r\n-   id: a\r\n    expect:\r\n        label: yes\r\n"
    path.write_bytes(before.encode())
    found = with_limits(path, {"a": BOTH})
    assert found == before + (
        "        probability: {min: 0.8}\r\n"
        "        attention:\r\n"
        "        -   {metric: mass, region: a bird, min: 0.25}\r\n"
    )


def test_a_comment_is_never_lost(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("cases:\n- id: a\n  expect: {label: yes}\n...\n# after the end\n")
    with pytest.raises(CaseError, match="without losing comments"):
        with_limits(path, {"a": BOTH})


def test_a_file_that_limits_would_make_too_large_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("cases:\n- id: a\n  expect: {label: yes}\n")
    monkeypatch.setattr("audit.base.yamlfile.MAX_BYTES", len(path.read_bytes()))
    with pytest.raises(CaseError, match=r"a\.yaml: with the limits it could not be read: 1\d\d b"):
        with_limits(path, {"a": BOTH})


def test_cases_that_share_what_they_expect_are_not_edited(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("cases:\n- id: a\n  expect: &e {label: yes}\n- id: b\n  expect: *e\n")
    with pytest.raises(CaseError, match="share parts"):
        with_limits(path, {"a": BOTH})
    merged = "x-s: &s {expect: {label: yes}}\ncases:\n- {<<: *s, id: a}\n- {<<: *s, id: b}\n"
    path.write_text(merged)
    with pytest.raises(CaseError, match="share parts"):
        with_limits(path, {"a": BOTH})


def test_a_file_that_is_not_yaml_is_told_by_line(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("cases:\n- {id: a\n")
    with pytest.raises(CaseError, match=r"a\.yaml:\d+:\d+: not YAML"):
        with_limits(path, {"a": BOTH})
