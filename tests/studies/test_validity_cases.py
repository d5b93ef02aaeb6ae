"""Maps are measured on the user's own regions, a vote for each picture."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from audit.base.errors import RunError
from audit.cases.loading import load_cases
from audit.maps.reading import MapSpec, read_map
from audit.metrics.placement import mass
from audit.models.protocol import Query
from audit.report.placing_page import write_cases_page
from audit.runs.evidence import gather
from audit.studies.placing import questions_of, region_of
from audit.studies.validity.cases import measure_cases
from tests.head_toy import HeadToy, project
from tests.progress import Titles

HEADS = ["L2H3", "L3H1"]

OTHERS = """\
  - id: avoided
    image: images/0.png
    text: there is a red patch
    regions: {sky: [[0.0, 0.0, 1.0, 0.5]]}
    expect: {label: yes, attention: [{metric: mass, region: sky, max: 0.9}]}
  - id: label-only
    image: images/0.png
    text: there is a red patch
    expect: {label: yes}
  - id: both
    image: images/1.png
    text: there is a red patch
    regions:
      patch: [[0.0, 0.0, 0.5, 0.5]]
      sky: [[0.0, 0.0, 1.0, 0.25]]
      rest: [[0.0, 0.5, 1.0, 1.0]]
    expect:
      label: yes
      attention:
        - {metric: mass, region: patch, min: 0.0}
        - {metric: mass, region: sky, max: 1.0}
    variants: [{brightness: 0.9}]
"""


def absent(number: int) -> str:
    return "".join(
        f"  - id: absent-{n}\n    image: images/{n}.png\n    text: there is a whale\n"
        "    expect: {label: yes, attention: [{metric: entropy, min: 0.1}]}\n"
        for n in range(number)
    )


def measured(tmp_path: Path, pictures: int, extra: str = "", **more: Any) -> dict[str, Any]:
    cases = load_cases(project(tmp_path, pictures, extra))
    model = more.pop("model", HeadToy())
    return measure_cases(model, cases, Titles(), **more)


def test_every_map_that_the_model_gives_is_measured_with_the_controls(tmp_path: Path) -> None:
    found = measured(tmp_path, 8, heads=HEADS)
    assert list(found["maps"]) == [
        "answer_attention", "answer_attention subtract=blank", "occlusion",
        "answer_attention heads=L2H3,L3H1", "uniform", "centre", "random", "blank",
    ]  # fmt: skip
    chosen = found["maps"]["answer_attention heads=L2H3,L3H1"]
    assert chosen["place"] is True
    assert chosen["figures"]["pointing"]["mean"] == 1.0
    assert found["maps"]["answer_attention"]["place"] is False  # the sink takes it all
    assert found["maps"]["uniform"]["figures"]["lift"]["mean"] == pytest.approx(1)
    assert found["maps"]["uniform"]["place"] is None
    assert found["cases"] == {
        "measured": 8, "pictures": 8, "right": 8, "absent": 0, "left_out": {},
    }  # fmt: skip
    json.dumps(found, allow_nan=False)


def test_figures_are_those_of_the_maps_with_students_interval(tmp_path: Path) -> None:
    found = measured(tmp_path, 7)["maps"]["answer_attention"]["figures"]["mass"]
    model, values = HeadToy(), []
    cases = load_cases(tmp_path / "cases" / "patches.yaml")
    for question in questions_of(cases)[0]:
        (seen,) = gather(model, [question.query], [[MapSpec()]], 1)
        values.append(mass(read_map(seen), region_of(question, seen.trace)))
    interval = stats.t.interval(0.95, 6, np.mean(values), stats.sem(values))
    assert found["mean"] == pytest.approx(np.mean(values), abs=1e-4)
    assert (found["low"], found["high"]) == pytest.approx(interval, abs=1e-4)


def test_fewer_than_five_pictures_have_means_and_say_what_could_not_be_told(tmp_path: Path) -> None:
    found = measured(tmp_path, 4, heads=HEADS)
    assert set(found["maps"]["answer_attention"]["figures"]["mass"]) == {"mean"}
    assert found["maps"]["answer_attention heads=L2H3,L3H1"]["place"] is None
    assert found["notes"][0] == (
        "4 pictures with regions: too few for intervals, so whether a map beats the controls could "
        "not be told; 5 are needed"
    )


def test_regions_to_avoid_variants_and_cases_without_regions_are_left_out_with_a_reason(
    tmp_path: Path,
) -> None:
    found = measured(tmp_path, 5, OTHERS)
    assert found["cases"]["measured"] == 6
    assert found["cases"]["pictures"] == 5
    assert found["cases"]["left_out"] == {
        "avoided": "it has only regions to avoid",
        "label-only": "it has no regions",
        "both[brightness]": "it is made from another case, which is measured",
    }


def test_of_several_regions_those_with_a_least_value_are_where_a_map_should_lie(
    tmp_path: Path,
) -> None:
    asked, _ = questions_of(load_cases(project(tmp_path, 2, OTHERS)))
    both = next(question for question in asked if question.name == "both")
    assert [tuple(box) for box in both.boxes] == [(0, 0, 0.5, 0.5)]
    assert both.names == ("patch",)


def test_entropy_tells_absent_things_if_there_are_cases_about_them(tmp_path: Path) -> None:
    found = measured(tmp_path, 5, absent(5))
    assert found["cases"]["absent"] == 5
    assert found["cases"]["left_out"] == {}
    row = found["maps"]["answer_attention"]["entropy"]
    assert row["separation"] == 0.5  # the toy looks the same way whatever the text
    assert found["maps"]["occlusion"]["entropy"] is None
    assert not any("entropy" in note for note in found["notes"])


def test_a_case_that_the_model_cannot_answer_stops_no_other(tmp_path: Path) -> None:
    extra = (
        "  - id: odd\n    image: images/0.png\n    text: odd\n"
        "    regions: {patch: [[0.0, 0.0, 0.5, 0.5]]}\n    expect: {label: yes}\n"
    )
    found = measured(tmp_path, 5, extra, model=HeadToy(fails_at="odd"))
    assert found["cases"]["left_out"] == {"odd": "it does not understand"}
    assert found["cases"]["measured"] == 5


def test_only_the_maps_that_are_asked_for_are_measured_beside_the_controls(tmp_path: Path) -> None:
    found = measured(tmp_path, 5, maps=[MapSpec(heads=["L2H3"])])
    assert next(iter(found["maps"])) == "answer_attention heads=L2H3"
    assert list(found["maps"])[1:] == found["controls"]


def test_cases_without_any_region_cannot_be_measured(tmp_path: Path) -> None:
    file = project(tmp_path, 1)
    file.write_text("cases: [{id: a, image: images/0.png, text: x, expect: {label: yes}}]\n")
    with pytest.raises(RunError, match=r"no case has a region .*: it has no regions"):
        measure_cases(HeadToy(), load_cases(file), Titles())


def test_a_region_whose_name_is_a_word_of_the_text_has_a_map_of_that_word(tmp_path: Path) -> None:
    class Worded(HeadToy):
        methods = ("answer_attention", "word_attention")

        def _one(self, query: Query, need: Any) -> Any:
            words = {key for key in need if key.method == "word_attention"}
            found = super()._one(query, need - words)
            plain = super()._one(query, frozenset({MapSpec().reading}))
            reading = plain.readings[MapSpec().reading]
            return replace(found, readings={**found.readings, **dict.fromkeys(words, reading)})

    unnamed = (
        "  - id: unnamed\n    image: images/0.png\n    text: something is red\n"
        "    regions: {patch: [[0.0, 0.0, 0.5, 0.5]]}\n    expect: {label: yes}\n"
    )
    found = measured(tmp_path, 5, unnamed, model=Worded())
    assert found["cases"]["measured"] == 6
    assert found["maps"]["word_attention word=REGION"]["cases"] == 5
    assert found["maps"]["word_attention word=REGION"]["undefined"] == 0


def test_the_page_has_every_map_and_what_is_left_out(tmp_path: Path) -> None:
    found = measured(tmp_path, 5, OTHERS + absent(5))
    text = write_cases_page(tmp_path / "page.md", found).read_text()
    assert found["model"]["digest"] in text
    assert all(f"| `{name}` |" in text for name in found["maps"])
    assert "6 cases with regions on 5 pictures, 6 of them answered as expected" in text
    assert "- `avoided`: it has only regions to avoid" in text
    assert "## Entropy" in text
