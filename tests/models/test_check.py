"""The conformance suite passes what conforms, and each of its checks finds what it is for."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit import load_model
from audit.maps.trace import ANSWER, EACH_WORD, NOTHING_MORE, Need, ReadingKey, Trace
from audit.models.kit.conformance import CHECKS, check_adapter
from audit.models.kit.subject import (
    Failure,
    Subject,
    example_queries,
    places_of,
    refuse_difference,
    refuse_missing,
)
from audit.models.protocol import Query
from tests.checkpoints import make_checkpoint
from tests.faulty_toys import BROKEN, Toy, after, unlikely
from tests.second_adapter import BlipMatching
from tests.toy_model import ToyModel

pytestmark = pytest.mark.slow


def failures(model: Any, load: Callable[[], Any] | None = None) -> dict[str, str]:
    """What each check says that fails, each of them on questions of its own."""
    found = {}
    for name, check in CHECKS.items():
        try:
            check(Subject(model(), example_queries(), load))
        except Failure as failure:
            found[name] = str(failure)
    return found


@pytest.mark.parametrize(("name", "toy", "said"), BROKEN)
def test_each_check_fails_on_what_breaks_it_and_no_other_does(
    name: str, toy: type[Toy], said: str
) -> None:
    found = failures(toy, toy)
    assert set(found) == {name}, found
    assert re.search(said, found[name]), found[name]


def test_every_check_has_something_that_breaks_it() -> None:
    assert {name for name, _, _ in BROKEN} == set(CHECKS)


@pytest.mark.parametrize("toy", [ToyModel, Toy])
def test_the_toy_conforms(toy: type[ToyModel]) -> None:
    check_adapter(toy(), load=toy)


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_ofa_conforms(engine: str, tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "ofa", seed=3)
    check_adapter(
        load_model(str(folder), "cpu", engine=engine),
        load=lambda: load_model(str(folder), "cpu", engine=engine),
    )


@pytest.mark.slow
@pytest.mark.parametrize("gen_type", ["traverse", "generation"])
def test_ofa_conforms_with_answers_of_several_tokens(gen_type: str, tmp_path: Path) -> None:
    answers = ("no", "yes", "it is not possible")
    folder = make_checkpoint(tmp_path / "ofa", seed=3, gen_type=gen_type, answers=answers)
    check_adapter(load_model(str(folder), "cpu"))


@pytest.mark.slow
def test_the_embedded_reference_conforms() -> None:
    check_adapter(load_model("reference", "cpu"))


@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_blip_conforms(dtype: str) -> None:
    check_adapter(BlipMatching("cpu", dtype), load=lambda: BlipMatching("cpu", dtype))


def test_all_that_is_wrong_is_told_at_once_a_line_for_each_check() -> None:
    with pytest.raises(Failure) as caught:
        check_adapter(after(lambda t: unlikely(replace(t, tokens=("a",))))())
    lines = str(caught.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["label", "texts_matter"]


def test_what_the_model_raises_is_told_with_its_cause() -> None:
    def raises(trace: Trace) -> Trace:
        raise RuntimeError("shapes do not match")

    with pytest.raises(Failure, match="asked about 'a red square', the model raised Runtime") as c:
        Subject(after(raises)(), example_queries()).traces  # noqa: B018
    assert isinstance(c.value.__cause__, RuntimeError)


def everywhere(value: float, *, at: str) -> Callable[[Trace], Trace]:
    """Makes a part of a trace something that is not finite."""

    def changed(trace: Trace) -> Trace:
        if at == "probabilities":
            return replace(trace, probabilities=dict.fromkeys(trace.probabilities, value))
        spoilt = {
            key: reading._replace(**{at: np.full_like(getattr(reading, at), value)})
            for key, reading in trace.readings.items()
        }
        return replace(trace, readings=spoilt)

    return changed


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("at", "name"),
    [("probabilities", "probabilities"), ("cells", "readings"), ("share", "readings")],
)
def test_what_is_not_finite_is_told_by_one_check_and_no_other_gives_a_wrong_reason(
    at: str, name: str, value: float
) -> None:
    toy = after(everywhere(value, at=at))
    found = failures(toy, toy)
    assert set(found) == {name}, found
    assert "not finite" in found[name]


def test_what_is_not_finite_in_a_batch_alone_is_told_by_the_checks_of_batches() -> None:
    class Padded(Toy):
        def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
            found = super().trace(queries, need)
            change = everywhere(float("nan"), at="cells")
            return found if len(queries) < 2 else list(map(change, found))

    found = failures(Padded)
    assert set(found) == {"batch"}, found
    assert "differs by inf of its largest cell; is padding masked" in found["batch"]


def test_the_reading_that_is_named_is_the_same_in_every_run_and_in_words() -> None:
    key = ReadingKey("word_attention", word="birds", heads="max")
    need = [EACH_WORD._replace(word=1), ANSWER, key, EACH_WORD._replace(word=0)]
    (trace,) = Toy().trace([example_queries()[0]])
    for order in permutations(need):
        with pytest.raises(
            Failure, match="holds no reading of answer_attention, which was asked for"
        ):
            refuse_missing(order, trace)
    with pytest.raises(
        Failure, match="no reading of word_attention of 'birds' with heads max, which"
    ):
        refuse_missing([key], trace)


def test_two_readings_that_differ_are_named_in_the_same_order() -> None:
    subject = Subject(Toy(), example_queries())
    trace = subject.traces[0]
    other = everywhere(1e3, at="cells")(trace)
    backwards = replace(other, readings=dict(reversed(other.readings.items())))
    for each in (other, backwards):
        with pytest.raises(Failure, match=r"^it has answer_attention that differs by"):
            refuse_difference(subject, trace, each, "it", "is it?")


def test_it_is_told_where_in_the_model_something_was_raised_and_not_where_in_audit() -> None:
    def deep(trace: Trace, calls: int = 20) -> Trace:
        if not calls:
            raise KeyError("pos_embed")
        return deep(trace, calls - 1)

    with pytest.raises(Failure) as caught:
        Subject(after(deep)(), example_queries()).traces  # noqa: B018
    assert caught.value.__cause__ is not None
    places = places_of(caught.value.__cause__)
    assert len(places) == 6
    assert "toy_model.py" in places[0]
    assert re.search(r'test_check\.py:\d+ in deep: raise KeyError\("pos_embed"\)$', places[-1])
    assert not [place for place in places if "/models/kit/" in place]


def test_check_adapter_has_the_first_error_of_the_model_as_its_cause() -> None:
    class Raises(Toy):
        def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
            raise KeyError("pos_embed")

    with pytest.raises(Failure, match="the model raised KeyError: 'pos_embed'") as caught:
        check_adapter(Raises())
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_model_that_cannot_be_loaded_again_is_told() -> None:
    def load() -> Any:
        raise KeyError("weights.npz")

    with pytest.raises(Failure, match=r"loaded a second time: KeyError: 'weights.npz'"):
        CHECKS["fingerprint"](Subject(Toy(), example_queries(), load))


def test_a_model_without_maps_or_a_network_conforms() -> None:
    class Answers(ToyModel):
        methods: tuple[str, ...] = ()

    check_adapter(Answers())


def test_one_question_is_not_enough() -> None:
    with pytest.raises(ValueError, match="at least two texts about at least two pictures"):
        Subject(ToyModel(), example_queries()[:1])
