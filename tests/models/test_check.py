"""The conformance suite passes what conforms, and each of its checks finds what it is for."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit import load_model
from audit.maps.trace import Trace
from audit.models.kit.conformance import CHECKS, check_adapter
from audit.models.kit.subject import Failure, Subject, example_queries
from tests.checkpoints import make_checkpoint
from tests.faulty_toys import BROKEN, Toy, after, unlikely
from tests.second_adapter import BlipMatching
from tests.toy_model import ToyModel


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


def test_a_model_without_maps_or_a_network_conforms() -> None:
    class Answers(ToyModel):
        methods: tuple[str, ...] = ()

    check_adapter(Answers())


def test_one_question_is_not_enough() -> None:
    with pytest.raises(ValueError, match="at least two texts about at least two pictures"):
        Subject(ToyModel(), example_queries()[:1])
