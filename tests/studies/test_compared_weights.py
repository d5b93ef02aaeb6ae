"""Comparing sides of the same weights, of weights that nobody sees, or of other asking files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from audit.base.errors import RunError
from audit.base.settings import Limits
from audit.gate.tolerances import Kind, Level, Noise
from audit.studies.comparison import compare
from audit.studies.sides import Subject
from tests.studies.test_comparison import cell, sides, subject

SAME = {
    "model": {"weights": "w", "device": "cpu", "dtype": "float32", "packages": {"torch": "2.11.0"}},
    "stack": {"threads": "2"},
}


LATER = {**SAME, "stack": {"threads": "8"}}


def test_the_same_weights_are_held_to_the_floor_and_what_differs_is_told() -> None:
    noise = Noise(
        {"answer_attention": {"mass": 0.1}},
        {},
        {
            Kind("float32", "cpu"): Level(
                "",
                {"answer_attention": {"mass": 0.001}, "probability": {"probability": 0.001}},
                measured={"engine": frozenset({"fast"})},
            )
        },
    )
    before, after = sides(
        *(
            (
                subject(str(n), cell(0, 0), origin=SAME),
                subject(str(n), cell(0, 0), origin=LATER, figures={"mass[birds]": 0.8 + move}),
            )
            for n, move in enumerate((0.0, 0.0015, 0.003))
        )
    )
    found = compare(before, replace(after, noise=noise), Limits())
    assert found.moved_by_stack == ["2"]
    assert found.headline == "moved by the stack"
    assert found.failed
    assert found.sentence.endswith(
        "; the weights of 3 cases are the same, 1 of them moved by more than their noise; "
        "what differs: threads 2 → 8"
    )
    covered = replace(
        noise,
        levels={
            kind: replace(level, measured={"threads": frozenset({"2", "8"})})
            for kind, level in (noise.levels or {}).items()
        },
    )
    assert compare(before, replace(after, noise=covered), Limits()).sentence.endswith(
        "nothing that is recorded differs (but threads 2 → 8, measured as harmless)"
    )
    told = found.to_dict()
    assert told["moved_by_stack"] == ["2"]
    assert {row["weights"] for row in told["cases"]} == {"same"}
    others = {
        name: replace(s, origin={**LATER, "model": {**SAME["model"], "weights": "x"}})
        for name, s in after.subjects.items()
    }
    found = compare(before, replace(after, subjects=others, noise=noise), Limits())
    assert not found.beyond
    assert not found.failed
    assert "weights" not in found.sentence


def test_noise_is_not_spoken_of_where_none_was_measured() -> None:
    moved = subject("a", cell(0, 0), origin=LATER, figures={"mass[birds]": 0.7})
    before, after = sides((subject("a", cell(0, 0), origin=SAME), moved))
    found = compare(before, after, Limits())
    assert found.moved_by_stack == ["a"]
    assert (
        "the weights of 1 case are the same, and it moved by more than the default tolerances "
        "(no noise floor was measured)" in found.sentence
    )
    floors = {"answer_attention": {"mass": 0.001}}
    some = Noise({}, {}, {Kind("float32", "cpu"): Level("", floors)})
    partly = compare(before, replace(after, noise=some), Limits())
    assert "than its tolerances (1 of 2 figures without a measured noise floor)" in partly.sentence


def test_all_moves_together_count_as_in_a_session() -> None:
    """Of other weights, each within its tolerance, and together further than what is harmless."""
    floors = {"answer_attention": {"mass": 0.001}, "probability": {"probability": 0.001}}
    harmless = {str(n): 0.1 for n in range(4)}
    noise = Noise({}, {}, {Kind("float32", "cpu"): Level("float32 on cpu", floors, harmless)})
    later = {**SAME, "model": {**SAME["model"], "weights": "x"}}
    before, after = sides(
        *(
            (
                subject(str(n), cell(0, 0), origin=SAME),
                subject(str(n), cell(0, 0), origin=later, figures={"mass[birds]": 0.8 + move}),
            )
            for n, move in enumerate((0.002, -0.002, 0.002, -0.002))
        )
    )
    found = compare(before, replace(after, noise=noise), Limits())
    assert not found.beyond
    assert found.suite.omnibus is not None
    # Each mass moved by two floors and each probability by none: (4 + 0) / 2.
    assert found.suite.omnibus.value == pytest.approx(2.0)
    assert found.failed
    assert "on average, more than the 0.4 that 4 harmless conditions allow" in found.sentence
    assert not compare(before, after, Limits()).failed


def served(what: Subject) -> Subject:
    """As behind a server: nobody can see its weights."""
    return replace(what, origin={"model": {"dtype": "unknown", "device": "server"}})


def local(what: Subject) -> Subject:
    return replace(what, origin={"model": {"dtype": "float32", "weights": "w", "device": "cpu"}})


def test_weights_behind_a_server_are_the_same_only_if_somebody_says_so() -> None:
    before, after = local(subject("a", cell(0, 0))), served(subject("a", cell(0, 0)))
    moved = replace(after, probabilities={"yes": 0.6, "no": 0.4})
    found = compare(*sides((before, moved)), Limits())
    assert not found.pairs[0].same
    assert "--same-weights says so" in found.sentence
    found = compare(*sides((before, moved)), Limits(), stated=True)
    assert found.moved_by_stack == ["a"]
    assert "weights of 1 case are said to be the same, and it moved by more than" in found.sentence
    assert "what differs: device cpu → server, precision float32 → unknown" in found.sentence
    assert not compare(*sides((before, after)), Limits(), stated=True).failed
    with pytest.raises(RunError, match="a: --same-weights is for weights that cannot be seen"):
        compare(*sides((before, before)), Limits(), stated=True)


def asked_by(what: Subject, asking: str) -> Subject:
    return replace(what, origin={"model": {**what.origin["model"], "asking": asking}})


def test_sides_that_were_asked_by_different_asking_files_are_told_apart() -> None:
    before = asked_by(local(subject("a", cell(0, 0))), "one")
    after = replace(
        asked_by(local(subject("a", cell(0, 0))), "other"), probabilities={"yes": 0.6, "no": 0.4}
    )
    others = subject("b", cell(0, 0)), subject("b", cell(0, 0))
    said = (
        "were asked by different asking files, so probabilities are of other questions or answers"
    )
    found = compare(*sides((before, after)), Limits())
    assert f"; both sides {said}" in found.sentence
    assert found.to_dict()["asked_otherwise"] == ["a"]
    partly = compare(*sides((before, after), others), Limits())
    assert f"; in 1 case both sides {said}" in partly.sentence
    for one, other in ((before, asked_by(after, "one")), (before, local(after))):
        assert "asking file" not in compare(*sides((one, other)), Limits()).sentence


def test_what_another_asking_file_moves_is_not_told_as_the_stacks_doing() -> None:
    before = asked_by(local(subject("a", cell(0, 0))), "one")
    after = asked_by(served(subject("a", cell(0, 0), probabilities={"yes": 0.2, "no": 0.8})), "two")
    found = compare(*sides((before, after)), Limits(), stated=True)
    assert found.moved_by_stack == []
    assert "different asking files" in found.sentence
    assert "--same-weights" not in found.sentence
    again = compare(*sides((before, asked_by(after, "one"))), Limits(), stated=True)
    assert again.moved_by_stack == ["a"]


def test_the_stack_is_told_by_what_can_move_what_moved() -> None:
    def of(what: Subject, pot: str) -> Subject:
        return replace(what, origin={**what.origin, "stack": {"POT": pot, "threads": pot}})

    before = of(local(subject("a", cell(0, 0))), "1")
    after = of(local(subject("a", cell(0, 0), probabilities={"yes": 0.5, "no": 0.5})), "2")
    assert compare(*sides((before, after)), Limits()).sentence.endswith(
        "what differs: threads 1 → 2"
    )


def test_figures_of_other_maps_or_of_other_grids_under_the_same_weights_are_not_compared() -> None:
    one = local(subject("a", cell(0, 0)))
    finer = replace(served(subject("a", np.eye(3) / 3)), figures={"entropy": 0.9})
    (pair,) = compare(*sides((one, finer)), Limits()).pairs
    assert pair.changes  # of other weights, as before
    (pair,) = compare(*sides((one, finer)), Limits(), stated=True).pairs
    assert not pair.changes
    assert not pair.beyond
    (pair,) = compare(*sides((one, replace(finer, method="occlusion"))), Limits()).pairs
    assert not pair.changes
    assert pair.distances["js"] == "the maps are of different methods"


def test_that_a_server_shows_no_attention_is_no_move() -> None:
    figures = {"entropy": 0.2, "image_share": 0.4}
    before = replace(local(subject("a", cell(0, 0))), figures=figures, method="occlusion")
    after = replace(served(before), figures={**figures, "image_share": "gives no attention"})
    found = compare(*sides((before, after)), Limits(), stated=True)
    assert [str(key) for key in found.pairs[0].changes] == ["entropy"]
    assert not found.failed
