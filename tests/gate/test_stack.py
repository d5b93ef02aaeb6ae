"""The same weights are held to their noise floor, and what else differs is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit.base.settings import Update
from audit.cases.expectations import Verdict
from audit.gate.accepted import Held, load
from audit.gate.baselines import propose
from audit.gate.drift import compare
from audit.gate.outcomes import Outcome, State
from audit.gate.review import ACCEPTABLE
from audit.gate.stack import differences, same_weights
from audit.gate.tolerances import ENOUGH, Kind, Level, Noise, load_noise, noise_path
from audit.gate.verdict import Policy
from tests.outcomes import outcome as outcome_of

MODEL: dict[str, Any] = {
    "weights": "w", "configuration": "c", "tokenizer": "t", "preprocessing": "p", "device": "cpu",
    "dtype": "float32", "engine": "fast", "packages": {"torch": "2.11.0", "timm": "1.0"},
}  # fmt: skip
STACK = {"threads": "2", "processor": "Xeon", "numpy": "2.4"}
ORIGIN = {"model": MODEL, "stack": STACK}
FLOORS = {"m": {"mass": 0.001}, "probability": {"probability": 0.001}}
NOISE = Noise(
    {"m": {"mass": 0.05}, "probability": {"probability": 0.05}},
    {},
    {Kind("float32", "cpu"): Level("float32 on cpu", FLOORS)},
)


def other(**model: Any) -> dict[str, Any]:
    return {**ORIGIN, "model": {**MODEL, **model}}


def made(mass: float = 0.5, yes: float = 0.75, label: str = "yes") -> Outcome:
    return replace(
        outcome_of("a", State.ERROR),
        label=label,
        probabilities={"yes": yes, "no": 1 - yes},
        metrics={"m": {"mass[birds]": mass}},
    )


def judged(
    folder: Path, now: Outcome, origin: dict[str, Any] = ORIGIN, noise: Noise = NOISE,
    update: Update = "", then: dict[str, Any] = ORIGIN,
) -> tuple[State, str]:  # fmt: skip
    """The state of ``now`` beside the baseline of ``made()``."""
    propose(made(), {}, None, then).write(folder)
    before = load(folder, "a")
    assert before is not None
    policy = Policy(folder, update, origin, noise)
    now.drift = compare(
        now, before, noise.tolerances({}), {"birds": "higher"}, held=policy.held({}, before)
    )
    return policy.judge(now, Held(before))


def test_the_weights_are_the_same_if_all_that_is_the_models_own_is() -> None:
    assert same_weights(ORIGIN, other(device="cuda:0", packages={}, engine="reference"))
    for part in ("weights", "configuration", "tokenizer", "preprocessing"):
        assert not same_weights(ORIGIN, other(**{part: "x"}))
    assert not same_weights({}, {})
    assert not same_weights(other(weights=""), other(weights=""))


@pytest.mark.parametrize(
    ("moved", "told"),
    [
        ({"probability", "label", "unsaid"}, "what differs: numpy 2.4 → 2.5"),
        ({"mass"}, "what differs: numpy 2.4 → 2.5, scipy 1.16 → 1.17"),
        ({"probability", "emd"}, "what differs: numpy 2.4 → 2.5, scipy 1.16 → 1.17, POT 1 → 2"),
        (set(), "what differs: numpy 2.4 → 2.5, scipy 1.16 → 1.17, POT 1 → 2"),
    ],
)
def test_a_package_that_does_not_compute_what_moved_is_not_told(moved: set[str], told: str) -> None:
    then = {"stack": {"numpy": "2.4", "scipy": "1.16", "POT": "1"}}
    now = {"stack": {"numpy": "2.5", "scipy": "1.17", "POT": "2"}}
    assert differences(now, then, moved=moved) == told


def test_a_case_whose_probability_moved_does_not_name_the_package_of_a_distance(
    tmp_path: Path,
) -> None:
    then = {**ORIGIN, "stack": {**STACK, "POT": "0.9.5"}}
    now = {**ORIGIN, "stack": {**STACK, "POT": "0.9.6", "threads": "8"}}
    state, reason = judged(tmp_path, made(yes=0.76), now, then=then)
    assert state is State.STACK
    assert reason.endswith("what differs: threads 2 → 8")


def test_what_differs_is_told_by_name() -> None:
    now = {**other(packages={"torch": "2.12.0"}, engine="reference", device="cuda:0"),
           "stack": {**STACK, "threads": "8", "GPU": "H100"}}  # fmt: skip
    assert differences(now, ORIGIN) == (
        "what differs: torch 2.11.0 → 2.12.0, device cpu → cuda, engine fast → reference, "
        "threads 2 → 8"
    )
    assert differences(ORIGIN, ORIGIN) == "nothing that is recorded differs"
    assert differences(other(device="cuda:1"), other(device="cuda:0")).startswith("nothing")


def test_what_the_noise_was_measured_over_is_put_apart() -> None:
    """It cannot be why a figure moved further than the noise."""
    now = {**other(packages={"torch": "2.12.0"}), "stack": {**STACK, "threads": "8"}}
    covered = {"threads": frozenset({"1", "2", "8"}), "engine": frozenset({"fast"})}
    assert differences(now, ORIGIN, covered) == (
        "what differs: torch 2.11.0 → 2.12.0 (and threads 2 → 8, measured as harmless)"
    )
    only = {**other(engine="reference"), "stack": {**STACK, "threads": "8"}}
    assert differences(only, ORIGIN, covered | {"engine": frozenset({"fast", "reference"})}) == (
        "nothing that is recorded differs (but engine fast → reference, threads 2 → 8, measured as "
        "harmless)"
    )
    # With more threads than were tried, they may be why.
    assert differences(now, ORIGIN, {"threads": frozenset({"1", "2"})}).endswith("threads 2 → 8")


def test_a_session_tells_apart_what_its_own_noise_file_covers(tmp_path: Path) -> None:
    row = {"floor": 0.001, "deviations": ENOUGH}
    floors = {"probability": {"probability": row}}
    condition = {"device": "cpu", "dtype": "float32", "batch_size": 8}
    path = noise_path(tmp_path)
    path.parent.mkdir()
    written: dict[str, Any] = {
        "format": 2, "floors": floors, "model": {"engine": "fast"},
        "stack": {"threads": "2", "instruction set": "AVX512", "ONEDNN_MAX_CPU_ISA": "unset"},
        "kinds": [{"dtype": "float32", "device": "cpu", "floors": floors}],
        "conditions": [
            {**condition, "title": "a"},
            {**condition, "title": "b", "threads": 8, "engine": "reference"},
            {**condition, "title": "c", "instructions": "avx2"},
            {**condition, "title": "d", "dtype": "bfloat16", "threads": 64},
        ],
    }  # fmt: skip
    path.write_text(json.dumps(written))
    level = load_noise(tmp_path).level("float32", ["cpu"])
    assert level is not None
    assert level.measured["threads"] == {"2", "8"}  # 64 were tried in bfloat16 alone
    assert level.measured["engine"] == {"fast", "reference"}
    assert level.measured["instruction set"] == {"AVX512", "AVX2"}
    assert level.measured["ONEDNN_MAX_CPU_ISA"] == {"unset", "AVX2"}
    now = {**ORIGIN, "stack": {**STACK, "threads": "8", "numpy": "2.5"}}
    _, said = judged(tmp_path, made(yes=0.76), now, load_noise(tmp_path))
    assert said.endswith("what differs: numpy 2.4 → 2.5 (and threads 2 → 8, measured as harmless)")
    written["kinds"][0]["floors"] = {"probability": {"probability": {**row, "deviations": 9}}}
    path.write_text(json.dumps(written))
    few = load_noise(tmp_path).level("float32", ["cpu"])
    assert few is not None
    assert few.measured == {}  # too few deviations make nothing harmless


def test_an_older_baseline_did_not_record_all_of_it_and_the_sentence_says_so() -> None:
    said = differences(ORIGIN, {"model": MODEL})
    assert said == (
        "nothing that is recorded differs (the baseline's threads, processor and options are not "
        "recorded)"
    )


def test_a_long_list_and_a_long_value_are_cut() -> None:
    then = {"model": {**MODEL, "packages": {f"p{n}": "1" * 500 for n in range(20)}}, "stack": STACK}
    now = {"model": {**MODEL, "packages": {f"p{n}": "2" for n in range(20)}}, "stack": STACK}
    said = differences(now, then)
    assert said.endswith("and 12 more")
    assert len(said) < 700


@pytest.mark.parametrize("mass", [0.49, 0.51])
def test_the_same_weights_are_held_to_their_floor_in_both_directions(
    tmp_path: Path, mass: float
) -> None:
    now = {**ORIGIN, "stack": {**STACK, "threads": "8"}}
    state, said = judged(tmp_path, made(mass), now)
    assert state is State.STACK
    assert state.failed
    assert said == (
        f"the weights are the baseline's, and mass[birds] moved from 0.5 to {mass}, more than the "
        "tolerance of 0.002; what differs: threads 2 → 8"
    )
    assert judged(tmp_path, made(0.5015), now)[0] is State.PASSED


def test_other_weights_keep_the_tolerance_over_all_conditions(tmp_path: Path) -> None:
    assert judged(tmp_path, made(0.42), other(weights="x"))[0] is State.PASSED
    state, said = judged(tmp_path, made(0.3), other(weights="x"))
    assert state is State.DRIFTED
    assert "stack" not in said
    assert judged(tmp_path, made(0.7), other(weights="x"))[0] is State.IMPROVED


def test_a_label_and_a_probability_move_by_the_stack_too(tmp_path: Path) -> None:
    state, said = judged(tmp_path, made(label="no"))
    assert state is State.STACK
    assert said == (
        "the weights are the baseline's, and the label changed from yes to no; nothing that is "
        "recorded differs"
    )
    assert judged(tmp_path, made(yes=0.76))[0] is State.STACK


def test_a_precision_that_was_not_measured_keeps_the_tolerance_over_all(tmp_path: Path) -> None:
    assert judged(tmp_path, made(0.42), other(dtype="bfloat16"))[0] is State.PASSED
    assert judged(tmp_path, made(0.3), other(dtype="bfloat16"))[0] is State.STACK


def test_a_session_in_bfloat16_is_held_to_the_floor_of_bfloat16(tmp_path: Path) -> None:
    both = replace(
        NOISE,
        levels={
            **(NOISE.levels or {}),
            Kind("bfloat16", "cpu"): Level("bfloat16 on cpu", {"m": {"mass": 0.02}}),
        },
    )
    half = other(dtype="bfloat16")
    assert judged(tmp_path, made(0.53), half, both, then=half)[0] is State.PASSED
    assert judged(tmp_path, made(0.55), half, both, then=half)[0] is State.STACK
    assert judged(tmp_path, made(0.53), ORIGIN, both)[0] is State.STACK


def test_a_broken_contract_stays_one_and_says_that_the_weights_are_the_baselines(
    tmp_path: Path,
) -> None:
    broken = Verdict("mass", False, "0.1", "at least 0.5", "mass of birds is 0.1")
    state, said = judged(tmp_path, replace(made(0.1), verdicts=[broken]))
    assert state is State.BROKEN
    assert said.startswith("mass of birds is 0.1; the weights are the baseline's, and mass[birds]")
    unmoved = judged(tmp_path, replace(made(), verdicts=[broken]))
    assert unmoved == (State.BROKEN, "mass of birds is 0.1")
    others = judged(tmp_path, replace(made(0.1), verdicts=[broken]), other(weights="x"))
    assert others == (State.BROKEN, "mass of birds is 0.1")


def test_creep_is_measured_by_the_tolerance_over_all(tmp_path: Path) -> None:
    """The weights' own small steps are no creep of the stack."""
    propose(made(), {}, None, ORIGIN).write(tmp_path)
    before = load(tmp_path, "a")
    propose(made(0.58), {}, before, other(weights="x")).write(tmp_path)
    stepped = load(tmp_path, "a")
    assert stepped is not None
    assert stepped.anchors["m"]["mass[birds]"] == 0.5
    policy = Policy(tmp_path, "", other(weights="x"), NOISE)
    now = made(0.58)
    now.drift = compare(now, stepped, NOISE.tolerances({}), held=policy.held({}, stepped))
    assert policy.judge(now, Held(stepped))[0] is State.PASSED


def test_what_the_stack_moved_can_be_accepted(tmp_path: Path) -> None:
    assert State.STACK in ACCEPTABLE
    assert list(State).index(State.STACK) == list(State).index(State.DRIFTED) + 1
    state, said = judged(tmp_path, made(0.49), update="changed")
    assert state is State.PASSED
    assert said.endswith("; proposed as its baseline")


def test_a_baseline_without_a_stack_keeps_its_digest(tmp_path: Path) -> None:
    propose(made(), {}, None, {"model": MODEL}).write(tmp_path)
    plain = load(tmp_path, "a")
    assert plain is not None
    assert "stack" not in plain.provenance
    propose(made(), {}, None, ORIGIN).write(tmp_path)
    told = load(tmp_path, "a")
    assert told is not None
    assert told.provenance["stack"] == STACK
    assert told.digest != plain.digest


def test_another_asking_file_makes_baselines_stale_and_is_no_fault_of_the_model(
    tmp_path: Path,
) -> None:
    then, now = other(asking="a", configuration="a"), other(asking="b", configuration="b")
    moved = made(yes=0.3)
    propose(made(), {}, None, then).write(tmp_path)
    before = load(tmp_path, "a")
    assert before is not None
    policy = Policy(tmp_path, "", now, NOISE)
    assert policy.is_stale(moved, before)
    assert policy.judge(moved, Held(before)) == (
        State.STALE,
        "the model is not asked as it was for its baseline: the asking file changed, so "
        "probabilities are of other questions or answers; accept it with audit accept, or "
        "--audit-update=changed",
    )
    broken = replace(moved, verdicts=[Verdict("label", False, "no", "yes", "the label is no")])
    state, reason = policy.judge(broken, Held(before))
    assert state is State.BROKEN
    assert reason.startswith("the label is no; and its baseline is stale: the asking file changed")
    assert Policy(tmp_path, "changed", now, NOISE).proposes(moved, Held(before))
    # Anchors are those of another question.
    proposed = propose(moved, {}, before, now).record["probabilities"]["yes"]
    assert proposed == {"anchor": 0.3, "accepted": 0.3}


@pytest.mark.parametrize("asking", ["", "a"])
def test_the_same_asking_file_or_a_baseline_that_names_none_is_compared_as_before(
    tmp_path: Path, asking: str
) -> None:
    then = other(asking=asking) if asking else ORIGIN
    state, _ = judged(tmp_path, made(), other(asking="a"), then=then)
    assert state is State.PASSED


def test_a_baseline_keeps_its_digest_though_it_could_now_name_an_asking_file(
    tmp_path: Path,
) -> None:
    digests = []
    for model in (MODEL, {**MODEL, "asking": ""}, {**MODEL, "asking": "a"}):
        propose(made(), {}, None, {"model": model, "stack": STACK}).write(tmp_path)
        found = load(tmp_path, "a")
        assert found is not None
        digests.append(found.digest)
    assert digests[0] == digests[1] != digests[2]
