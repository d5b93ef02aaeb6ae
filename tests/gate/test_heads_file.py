"""heads.json is read strictly, and what it holds becomes part of the cases that ask for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from audit.base.errors import BaselineError, CaseError
from audit.cases.heads import asks_for_chosen, with_heads
from audit.cases.loading import Case, load_cases
from audit.gate.baselines import prune
from audit.gate.headsfile import heads_for, looked_up, read_heads
from tests.head_toy import project
from tests.head_toy import write_heads as write


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"format": 2}, "format 2, but this version reads 1"),
        ({"heads": ["L4H1"]}, "heads: there is no L4H1, since the last head is L3H4"),
        ({"heads": ["L1H5"]}, "heads: there is no L1H5"),
        ({"heads": ["L1H1", "L1H1"]}, "heads: one is listed twice"),
        ({"heads": ["1"]}, r"heads\.json:\d+: heads\.0: "),
        ({"heads": "L1H1"}, "needs a list"),
        ({"model": {}}, "model.digest: this key is required"),
        ({"model": {"digest": "x"}}, "a SHA-256 in hexadecimal"),
        ({"layers": 0}, "layers: "),
        ({"held_out": {}}, "held_out.pictures: this key is required"),
        ({"p_values": {"uniform": {"mass": 1.5}}}, "p_values.uniform.mass: "),
        ({"map": "rollout"}, "map: "),
    ],
)
def test_a_damaged_file_is_told_with_its_key(
    changed: dict[str, Any], said: str, tmp_path: Path
) -> None:
    write(tmp_path, **changed)
    with pytest.raises(BaselineError, match=said) as raised:
        read_heads(tmp_path)
    assert "measure it anew with audit heads" in str(raised.value)


def test_a_folder_without_the_file_has_no_choice_and_the_file_is_no_baseline(
    tmp_path: Path,
) -> None:
    assert read_heads(tmp_path) is None
    found = read_heads(write(tmp_path))
    assert found is not None
    assert found.heads == ["L2H1"]
    assert prune(tmp_path, []) == []


def chosen(tmp_path: Path) -> list[Case]:
    variants = (
        "  - id: varied\n    image: images/0.png\n    text: there is a red patch\n"
        "    regions: {patch: [[0.0, 0.0, 0.5, 0.5]]}\n"
        "    expect:\n      label: yes\n      attention:\n"
        "        - {metric: js, against: {method: blank, heads: chosen}, min: 0}\n"
        "    variants: [{mirror: true}]\n"
        "  - id: plain\n    image: images/0.png\n    text: there is a red patch\n"
        "    map: {heads: max}\n    expect: {label: yes}\n"
    )
    return load_cases(project(tmp_path, 1, variants, "{heads: chosen}"))


def test_other_heads_make_another_case_and_cases_that_ask_for_none_stay_the_same(
    tmp_path: Path,
) -> None:
    cases = chosen(tmp_path)
    first = looked_up(cases, write(tmp_path / "a"))
    second = looked_up(cases, write(tmp_path / "b", heads=["L3H4", "L2H1"]))
    assert first[0].map.key == "answer_attention heads=L2H1"
    assert second[0].map.key == "answer_attention heads=L3H4,L2H1"
    for was, one, other in zip(cases, first, second, strict=True):
        digests = {was.digest, one.digest, other.digest}
        assert len(digests) == (3 if asks_for_chosen(was) else 1)
        assert not asks_for_chosen(one)
    varied, mirrored = first[1], first[2]
    assert [spec.key for spec in varied.maps] == [
        "answer_attention heads=L2H1", "blank heads=L2H1",
    ]  # fmt: skip
    assert mirrored.original is not None
    assert mirrored.original.digest == varied.digest


def test_without_a_choice_cases_stay_as_they_are_and_are_refused_by_file_and_line(
    tmp_path: Path,
) -> None:
    cases = chosen(tmp_path)
    assert looked_up(cases, tmp_path / "none") == cases
    with pytest.raises(CaseError, match=r"patches\.yaml:3: case-0: heads: chosen: there is no"):
        heads_for(cases, tmp_path / "none")
    write(tmp_path / "none", heads=[])
    assert looked_up(cases, tmp_path / "none") == cases
    with pytest.raises(CaseError, match="no heads beat the controls when they were measured"):
        heads_for(cases, tmp_path / "none")
    assert heads_for(cases, write(tmp_path / "some")) == ["L2H1"]


def test_a_damaged_choice_is_no_concern_of_cases_that_ask_for_none(tmp_path: Path) -> None:
    cases = chosen(tmp_path)
    write(tmp_path, format=2)
    plain = [case for case in cases if not asks_for_chosen(case)]
    assert [case.id for case in plain] == ["plain"]
    assert looked_up(plain, tmp_path) == plain
    assert heads_for(plain, tmp_path) == []
    assert with_heads(plain[0], ["L1H1"]) is plain[0]
    with pytest.raises(BaselineError, match="format 2"):
        looked_up(cases, tmp_path)
