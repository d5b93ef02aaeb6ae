"""Heads are chosen on one half of the pictures and judged by the other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.base.errors import MapError, RunError
from audit.gate.headsfile import heads_path, read_heads
from audit.maps.reading import MapSpec, read_map
from audit.maps.trace import HeadPlace
from audit.metrics.placement import mass
from audit.runs.evidence import gather
from audit.studies.headchoice import (
    by_mass,
    elbow,
    read_heads_of,
    spatial_entropy,
    without_boxes,
)
from audit.studies.heads import halves, measure_heads, p_values_of, sentence, write_heads
from audit.studies.placing import Row, questions_of, region_of
from tests.head_toy import GOOD, HEADS, LAYERS, HeadToy, questions
from tests.looking_toys import LookingToy
from tests.progress import Titles
from tests.toy_model import ToyModel


def test_the_heads_that_look_at_the_boxes_are_chosen_and_beat_every_control() -> None:
    titles = Titles()
    found = measure_heads(HeadToy(), questions(24), titles, boxes="patches")
    assert titles == ["heads", "fitting half", "held-out half"]
    assert set(found["heads"]) <= {str(place) for place in GOOD}
    assert (found["layers"], found["heads_per_layer"]) == (LAYERS, HEADS)
    assert found["fitting"]["pictures"] == found["held_out"]["pictures"] == 12
    own = found["held_out"]["maps"][MapSpec(heads=found["heads"]).key]
    assert own["figures"]["pointing"]["mean"] == 1.0
    assert own["differences"]["answer_attention"]["mass"]["low"] > 0
    controls = ["uniform", "centre", "random", f"blank heads={','.join(found['heads'])}"]
    assert list(found["p_values"]) == controls
    assert all(p < 0.05 for values in found["p_values"].values() for p in values.values())
    assert sentence(found).startswith("heads were chosen: on 12 held-out pictures the map of L")


def test_if_no_head_looks_at_the_boxes_none_is_usable_and_the_sentence_says_so() -> None:
    found = measure_heads(HeadToy(good=()), questions(24), Titles(), boxes="patches")
    assert found["heads"] == []
    assert found["tried"]
    assert sentence(found).startswith("no heads beat the controls: on 12 held-out pictures ")
    assert "not surely more than" in sentence(found)


def test_the_choice_is_written_beside_the_baselines_and_read_back(tmp_path: Path) -> None:
    model = HeadToy()
    found = measure_heads(model, questions(20), Titles(), boxes="patches", seed=3)
    json.dumps(found, allow_nan=False)
    assert write_heads(tmp_path, found) == heads_path(tmp_path)
    record = read_heads(tmp_path)
    assert record is not None
    assert (record.heads, record.seed) == (found["heads"], 3)
    assert record.note(model.fingerprint.digest) == ""
    assert "measured with other weights" in record.note("0" * 64)


def test_the_same_seed_gives_the_same_choice() -> None:
    first, second = (
        measure_heads(HeadToy(), questions(20), Titles(), boxes="x", seed=1) for _ in range(2)
    )
    assert first == second


@given(st.integers(10, 40), st.integers(1, 3), st.integers(0, 2**31))
def test_no_picture_is_in_both_halves_and_none_is_lost(number: int, each: int, seed: int) -> None:
    asked = [q for q in MANY if int(q.picture) < number and int(q.name.split("-")[1]) < each]
    fitting, held_out = halves(asked, seed)
    first, second = ({q.picture for q in half} for half in (fitting, held_out))
    assert not first & second
    assert sorted(q.name for q in (*fitting, *held_out)) == sorted(q.name for q in asked)
    assert abs(len(first) - len(second)) <= 1


MANY = questions(40, 3)


def test_too_few_pictures_are_refused_however_many_questions_they_have() -> None:
    with pytest.raises(RunError, match="on 9 pictures with boxes: 10 are needed at least"):
        measure_heads(HeadToy(), questions(9, 5), Titles(), boxes="x")


def test_the_mass_of_a_set_of_heads_is_that_of_the_map_that_cases_read() -> None:
    model, asked = HeadToy(), questions(3, 2)
    found = read_heads_of(model, asked, 4, Titles())
    for heads in ([6], [0, 6, 8]):
        spec = MapSpec(heads=[str(found.place(n)) for n in heads])
        evidence = gather(model, [q.query for q in asked], [[spec]] * len(asked), 4)
        each = [
            mass(read_map(e, spec), region_of(q, e.trace))
            for q, e in zip(asked, evidence, strict=True)
        ]
        by_picture = np.array(each).reshape(3, 2).mean(axis=1)
        np.testing.assert_allclose(found.mass(heads), by_picture, rtol=1e-6)
        if len(heads) == 1:
            np.testing.assert_allclose(found.mass()[:, heads[0]], by_picture, rtol=1e-6)


def test_a_picture_with_many_questions_has_one_vote() -> None:
    asked = questions(2)
    found = read_heads_of(HeadToy(), [asked[0]] * 5 + [asked[1]], 4, Titles())
    alone = read_heads_of(HeadToy(), asked, 4, Titles())
    np.testing.assert_allclose(found.mass(), alone.mass())


def test_a_question_that_fails_is_told_and_stops_no_other() -> None:
    asked = questions(20, 2)
    found = measure_heads(HeadToy(fails_at="text 1"), asked, Titles(), boxes="x")
    assert set(found["failed"]) == {q.name for q in asked if q.query.text == "text 1"}
    assert found["heads"]


@pytest.mark.parametrize("model", [ToyModel(), LookingToy("whole")])
def test_a_model_without_single_heads_is_refused(model: Any) -> None:
    if isinstance(model, ToyModel):
        with pytest.raises(MapError, match="does not give its heads one by one"):
            measure_heads(model, questions(10), Titles(), boxes="x")
    model.methods = ()
    with pytest.raises(MapError, match="no answer_attention"):
        measure_heads(model, questions(10), Titles(), boxes="x")


def test_heads_are_proposed_by_mass_and_without_boxes() -> None:
    found = read_heads_of(HeadToy(), questions(12), 4, Titles())
    proposal = by_mass(found, 0)
    assert {found.place(n) for n in proposal.heads} <= set(GOOD)
    assert proposal.mass > 0.5
    other = without_boxes(found)
    assert other is not None
    # The sinks are one patch each, so that only boxes tell them from the good ones.
    assert 1 <= len(other.heads) <= 3


def test_spatial_entropy_counts_patches_that_touch_at_corners_as_one() -> None:
    corner = np.zeros((4, 4))
    corner[0, 0] = corner[1, 1] = 1
    assert spatial_entropy(corner) == 0
    apart = np.zeros((4, 4))
    apart[0, 0] = apart[0, 2] = apart[3, 3] = apart[3, 0] = 1
    assert spatial_entropy(apart) == pytest.approx(2)
    assert spatial_entropy(np.full((2, 2), 0.25)) == np.inf


def test_the_elbow_is_where_few_large_values_begin() -> None:
    assert elbow(np.array([0.9, 0.01, 0.02, 0.03, 0.8])) == 0.03
    assert elbow(np.full(4, 0.5)) == 0.5


def test_a_place_is_named_from_the_number_of_a_head() -> None:
    found = read_heads_of(HeadToy(), questions(1), 4, Titles())
    assert [found.place(n) for n in (0, 3, 4, 11)] == [
        HeadPlace(1, 1), HeadPlace(1, 4), HeadPlace(2, 1), HeadPlace(3, 4),
    ]  # fmt: skip


def test_no_cases_are_no_questions() -> None:
    assert questions_of([]) == ([], {})


def test_a_figure_that_two_maps_share_on_one_picture_alone_has_no_p_value() -> None:
    chosen, blank, uniform = (
        MapSpec(heads=["L1H1"]),
        MapSpec(method="blank"),
        MapSpec(method="uniform"),
    )
    placed = {"pointing": 1.0, "mass": 0.5}
    rows = [
        Row(name, {chosen.key: placed, blank.key: once, uniform.key: {"pointing": 0.0}})
        for name, once in (("a.png", {"pointing": 0.0, "mass": 0.1}), ("b.png", None))
    ]
    found = p_values_of(rows, chosen, [blank, uniform])
    assert found == {blank.key: {}, uniform.key: {"pointing": 0.25}}
