"""Which maps can be read of a model, and where a case asks for others."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.base.errors import CaseError
from audit.cases.loading import check_methods, load_cases
from audit.cases.methods import readable_methods
from audit.maps.methods import METHODS as TABLE
from audit.models.ofa import METHODS
from tests.toy_model import ToyModel


def test_every_method_can_be_read_of_ofa() -> None:
    assert sorted(readable_methods(METHODS)) == sorted(TABLE)


@given(st.sets(st.sampled_from(METHODS)))
def test_what_a_model_gives_can_be_read_and_nothing_else_that_only_a_model_gives(
    methods: set[str],
) -> None:
    found = readable_methods(sorted(methods))
    assert set(found) & set(METHODS) == methods
    assert {"occlusion", "uniform", "centre", "random"} <= set(found)
    assert ("blank" in found) == (METHODS[0] in methods)


def test_a_map_of_the_defaults_is_told_once_for_all_its_cases(tmp_path: Path) -> None:
    picture = Path(__file__).parents[2] / "cases" / "images" / "two-birds-on-a-branch.png"
    case = f"{{image: {picture}, text: two birds, expect: {{label: yes}}, id: "
    path = tmp_path / "many.yaml"
    path.write_text(
        "defaults:\n  map:\n    method: relevance\n"
        f"cases:\n  - {case}one}}\n  - {case}two}}\n  - {case}three, map: {{smooth: 1}}}}\n"
    )
    cases = load_cases(path)
    assert cases[2].maps_at[0].where[0] == 7
    check_methods(cases, METHODS)
    with pytest.raises(CaseError) as told:
        check_methods(cases, ToyModel.methods)
    (line,) = str(told.value).splitlines()
    assert line.startswith(f"{path}:3:13: defaults.map.method: the model gives no map 'relevance'")
