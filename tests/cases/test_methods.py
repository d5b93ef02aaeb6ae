"""Which maps can be read of a model, and where a case asks for others."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

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


UNNAMED = """\
cases:
  - id: plain
    image: a.png
    text: a bird
    expect:
      label: yes
      attention: [{metric: entropy, max: 1}]
    variants: [{mirror: true}]
  - id: named
    image: a.png
    text: a bird
    map: {method: answer_attention}
    expect: {label: yes}
"""


def test_a_case_that_names_no_map_is_measured_by_the_models_default(tmp_path: Path) -> None:
    """And stays the same case, so that models with other defaults can be compared."""
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "cases.yaml").write_text(UNNAMED)
    plain, mirrored, named = load_cases(tmp_path / "cases.yaml")
    check_methods([plain, mirrored], ())
    with pytest.raises(CaseError, match=r"cases\.yaml:12:19: map\.method: the model gives no map"):
        check_methods([plain, named], ())
    without, rolled = plain.for_model(()), plain.for_model(("word_attention", "rollout"))
    assert (without.map.key, rolled.map.key) == ("occlusion", "rollout")
    assert plain.digest == without.digest == rolled.digest == named.digest
    assert named.for_model(()) is named
    assert plain.for_model(("rollout", "answer_attention")) is plain
    of_variant = mirrored.for_model(())
    assert of_variant.original is not None
    assert of_variant.map.key == of_variant.original.map.key == "occlusion"
    assert of_variant.digest == mirrored.digest
