"""Chat models are asked the generic question of the asking file, as a whole question."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.base.errors import TextError
from audit.maps.generic import relative_to
from audit.maps.reading import MapSpec, read_map
from audit.maps.trace import ANSWER, Trace
from audit.models.hf.adapter import ChatModel
from audit.models.hf.sources import found
from audit.models.kit.asking import Asking
from audit.models.kit.subject import example_queries
from audit.runs.evidence import gather

QUERY = example_queries()[0]
USUAL = "Write a general description of the image."


def test_the_generic_question_takes_the_place_of_the_whole_question(
    family: str, model: ChatModel
) -> None:
    asked, generic = (model.prompt(q).text for q in (QUERY, QUERY.without_question))
    usual = Asking().asked(QUERY.text).question
    assert usual in asked
    assert generic == asked.replace(usual, USUAL)
    words = [word.text for word in model.prompt(QUERY.without_question).words]
    assert words == ["write", "a", "general", "description", "of", "the", "image"]


def swapped(folder: Path, question: str) -> Trace:
    """What a model without a generic question of its own sees if that is its only question."""
    asking = Asking(question=question.replace("general", "{text}"))
    model = ChatModel(found(f"hf:{folder}"), device="cpu", asking=asking)
    query = type(QUERY)(QUERY.image, "general")
    assert model.prompt(query).text.count(question) == 1
    return model.trace([query], frozenset({ANSWER}))[0]


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl"])
def test_a_relative_map_is_divided_by_that_of_the_generic_question(
    family: str, model: ChatModel, folder_of: Callable[[str], Path]
) -> None:
    relative = MapSpec(relative="generic", layers="last")
    word = MapSpec(method="word_attention", word="square", relative="generic", drop="sinks")
    single = MapSpec(heads=["L2H3"], relative="generic")
    (seen,) = gather(model, [QUERY], [[relative, word, single]], 4)
    plain = MapSpec(layers="last")
    expected = relative_to(
        read_map(seen, plain), read_map(swapped(folder_of(family), USUAL), plain)
    )
    np.testing.assert_allclose(read_map(seen, relative), expected, atol=1e-5)
    for spec in (word, single):
        assert read_map(seen, spec).sum() == pytest.approx(1)


def test_the_asking_file_may_ask_another_question_that_is_not_cut(
    folder_of: Callable[[str], Path],
) -> None:
    def loaded(question: str) -> Any:
        asking = Asking(generic=question)
        return ChatModel(found(f"hf:{folder_of('llava')}"), device="cpu", asking=asking)

    model = loaded("What is {here}?\n")
    assert "What is {here}?" in model.prompt(QUERY.without_question).text
    assert model.fingerprint.digest != loaded(USUAL).fingerprint.digest
    with pytest.raises(TextError, match="shorten generic in the asking file"):
        loaded("there are two birds " * 200).prompt(QUERY.without_question)
