"""The omnibus figure sees what all figures moved together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.gate.omnibus import (
    CAP,
    FEWEST,
    STEP,
    Move,
    harmless_limit,
    judge_moves,
    judge_omnibus,
    mean_square,
    moves_of,
    without_floor,
)
from audit.gate.outcomes import DriftRow, Outcome, State
from audit.gate.stack import Weights
from audit.gate.tolerances import PROBABILITY_TOLERANCE, Level, Noise, Tolerances
from audit.metrics.keys import FigureKey
from tests.outcomes import outcome

FLOORS = {"probability": {"probability": 0.01}, "answer_attention": {"mass": 0.01, "peaks": 0.0}}
HARMLESS = {f"condition {n}": 0.1 * n for n in range(1, FEWEST + 1)}


def case(
    name: str, *, mass: float, probability: float = 0.0, weights: Weights = "same",
    allowed: float = 0.02,
) -> Outcome:  # fmt: skip
    rows = [
        DriftRow("label", "yes", "yes", 0.0, 0.0, "within"),
        DriftRow("probability of yes", "0.5", "0.5", probability, 0.02, "within"),
        DriftRow("mass[birds]", "0.5", "0.5", mass, allowed, "within"),
        DriftRow("lift[birds]", "undefined", "undefined", 0.0, 0.2, "within"),
    ]
    return replace(
        outcome(name, State.PASSED),
        default_map="answer_attention",
        metrics={"answer_attention": {"mass[birds]": 0.5, "lift[birds]": "the region is empty"}},
        drift=rows,
        weights=weights,
    )


def test_moves_are_those_of_figures_that_are_defined_and_the_label_is_none() -> None:
    found = list(moves_of([case("a", mass=0.004, probability=-0.002)]))
    assert found == [
        Move("probability", "probability", -0.002, 0.02),
        Move("answer_attention", "mass", 0.004, 0.02),
    ]
    (_, moved) = moves_of([case("a", mass=0.004, weights="other")])
    assert moved.allowed is None


def test_the_figure_is_the_mean_of_squared_moves_in_floors() -> None:
    moves = [
        Move("answer_attention", "mass", 0.02),
        Move("answer_attention", "mass", -0.01),
        Move("answer_attention", "peaks", 5.0),  # no floor: it never moved
        Move("rollout", "mass", 5.0),  # not measured
        Move("probability", "probability", 0.0),
    ]
    assert mean_square(moves, FLOORS) == (pytest.approx((4 + 1 + 0) / 3, abs=1e-6), 3)
    assert mean_square([], FLOORS) == (0.0, 0)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_one_figure_cannot_speak_for_all(changes: list[float]) -> None:
    value, _ = mean_square([Move("answer_attention", "mass", c) for c in changes], FLOORS)
    assert 0 <= value <= CAP**2


def test_a_figure_whose_case_declares_a_tolerance_is_left_out() -> None:
    given = [Move("answer_attention", "mass", 0.05, allowed=0.3)]
    assert mean_square(given, FLOORS) == (0.0, 0)
    assert mean_square([given[0]._replace(allowed=0.02)], FLOORS)[1] == 1


def test_a_floor_below_the_last_decimal_of_baselines_counts_as_that_decimal() -> None:
    value, _ = mean_square([Move("m", "mass", 1e-6)], {"m": {"mass": 1e-12}})
    assert value == pytest.approx(1.0)


@pytest.mark.parametrize("floor", [1e-12, 1e-7, 1e-6, 0.3])
def test_the_tolerance_that_a_floor_gives_is_not_taken_for_a_declared_one(floor: float) -> None:
    floors = {"answer_attention": {"mass": floor}}
    allowed = Tolerances({}, floors).figure("answer_attention", FigureKey("mass", "birds"))
    assert mean_square([Move("answer_attention", "mass", 0.0, allowed)], floors)[1] == 1
    assert mean_square([Move("answer_attention", "mass", 0.0, allowed * 1.1)], floors)[1] == 0


def test_a_limit_follows_from_enough_harmless_conditions_only() -> None:
    assert harmless_limit(HARMLESS) == pytest.approx(STEP * 0.1 * FEWEST)
    assert harmless_limit(dict(list(HARMLESS.items())[1:])) is None


def test_many_small_moves_fail_that_no_tolerance_finds() -> None:
    level = Level("float32 on cpu", FLOORS, HARMLESS)
    small = [case(str(n), mass=0.015, probability=0.018) for n in range(20)]
    found = judge_omnibus(small, level)
    assert found is not None
    assert found.failed
    assert found.value == pytest.approx((1.5**2 + 1.8**2) / 2)
    assert found.sentence == (
        "40 figures moved by 2.7 squared noise floors (float32 on cpu) on average, more than the "
        "1.6 that 4 harmless conditions allow; if what computes was changed on purpose, "
        "--audit-update=all accepts it"
    )
    harmless = judge_omnibus([case(str(n), mass=0.004) for n in range(20)], level)
    assert harmless is not None
    assert not harmless.failed
    assert harmless.sentence.endswith("on average, within the 1.6 that 4 harmless conditions allow")


def test_the_furthest_that_figures_can_move_is_told_in_plain_digits() -> None:
    level = Level("float32 on cpu", FLOORS, HARMLESS)
    found = judge_omnibus([case(str(n), mass=9.0, probability=0.9) for n in range(20)], level)
    assert found is not None
    assert "moved by 100 squared noise floors" in found.sentence


def test_a_limit_that_was_set_lets_other_weights_pass_and_never_the_same() -> None:
    level = Level("float32 on cpu", FLOORS, HARMLESS)
    updated = [case(str(n), mass=0.05, weights="other") for n in range(20)]
    plain, let = judge_omnibus(updated, level), judge_omnibus(updated, level, 50.0)
    assert plain is not None
    assert plain.failed
    assert "--audit-omnibus-limit" in plain.sentence
    assert let is not None
    assert not let.failed
    assert let.sentence.endswith("within the limit of 50 that was set")
    same = judge_omnibus([case(str(n), mass=0.02) for n in range(20)], level, 50.0)
    assert same is not None
    assert same.failed
    assert same.sentence.endswith(
        "; the limit of 50 that was set is not for the baselines' own weights"
    )


def test_figures_of_the_same_weights_without_a_floor_are_told() -> None:
    """They are held to far wider tolerances than what the same weights need."""
    default = {"mass": 0.02, "probability": PROBABILITY_TOLERANCE}

    def held(weights: Weights = "same", **allowed: float) -> Outcome:
        found = case("a", mass=0.0, weights=weights)
        label, probability, mass, lift = found.drift
        probability = replace(probability, tolerance=(default | allowed)["probability"])
        mass = replace(mass, tolerance=(default | allowed)["mass"])
        return replace(found, drift=[label, probability, mass, lift])

    assert without_floor([held()], Noise(), None) == (
        "the weights are the baselines', but both figures have no noise floor from at least 100 "
        "deviations and are held to default tolerances: measure it with audit noise"
    )
    assert without_floor([held("other")], Noise(), None) == ""
    assert "but the only figure has no noise floor" in without_floor(
        [held(mass=0.3)],
        Noise(),
        None,  # this one the case declares
    )
    wide = Noise({"answer_attention": {"mass": 0.01}, "probability": {"probability": 0.025}})
    assert without_floor([held(mass=0.02, probability=0.05)], wide, None).endswith(
        "the wider tolerances for other weights: measure more cases with audit noise"
    )
    level = Level("float32 on cpu", FLOORS)
    assert without_floor([held(mass=0.02, probability=0.02)], wide, level) == ""


def test_without_a_floor_nothing_is_judged_and_few_conditions_give_no_limit() -> None:
    moved = [case("a", mass=0.02)]
    assert judge_omnibus(moved, None) is None
    assert judge_omnibus(moved, Level("float32 on cpu", {})) is None
    found = judge_omnibus(moved, Level("float32 on cpu", FLOORS, {"one": 0.1}))
    assert found is not None
    assert not found.failed
    assert found.sentence.endswith("1 harmless condition was measured, too few for a limit")
    alone = judge_moves([Move("answer_attention", "mass", 0.02)], Level("x", FLOORS), other=False)
    assert alone is not None
    assert alone.sentence.startswith("1 figure moved by ")
    none = judge_omnibus(moved, Level("float32 on cpu", FLOORS))
    assert none is not None
    assert none.sentence.endswith("no harmless condition was measured, too few for a limit")


def test_held_out_harmless_conditions_raise_no_alarm() -> None:
    """Moves of figures with heavy tails, floors and limit from some conditions, others held out."""
    rng = np.random.default_rng(5)
    alarms = trials = 0
    for _ in range(50):
        sizes = rng.lognormal(0, 0.3, 8)[:, None] * rng.lognormal(0, 2, 400)
        moves = sizes * rng.standard_normal((8, 400)) * 1e-3
        held, shown = moves[:2], moves[2:]
        floors = {"m": {"mass": float(np.abs(shown).max())}}

        def value(row: np.ndarray, floors: dict[str, dict[str, float]] = floors) -> float:
            return mean_square([Move("m", "mass", float(c)) for c in row], floors)[0]

        limit = harmless_limit({str(n): value(row) for n, row in enumerate(shown)})
        assert limit is not None
        alarms += sum(value(row) > limit for row in held)
        trials += len(held)
    assert alarms / trials <= 0.02
