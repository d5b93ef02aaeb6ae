"""Regressions that are planted in chat models are what they say, in every family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from audit.maps.trace import ReadingKey
from audit.models.hf import backend
from audit.models.hf.adapter import ChatModel
from audit.models.hf.parts import attention_in, parts_of
from audit.models.hf.sources import found
from audit.models.kit.altering import Alterable, Layered, NotPossible, Stored, Teachable
from audit.models.kit.randomise import stages
from audit.models.protocol import Query

NEED = frozenset({ReadingKey("answer_attention"), ReadingKey("relevance")})


@pytest.fixture
def picture() -> Image.Image:
    noise = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((150, 100))


@pytest.fixture
def fresh(folder_of: Callable[[str], Path]) -> Callable[[str], ChatModel]:
    """A newly loaded model of a family, which a test may spoil."""
    return lambda family: ChatModel(found(f"hf:{folder_of(family)}"), device="cpu")


def test_a_chat_model_has_all_parts_that_studies_ask_for(model: ChatModel) -> None:
    for part in (Alterable, Layered, Stored, Teachable):
        assert isinstance(model, part)
    named = [stage.name for stage in stages(model.torch_model, model.stages)]
    assert named[0] == "answers"
    assert named[-1] == "embeddings"
    depths = parts_of(model.torch_model).depths
    for name, depth in zip(("vision", "decoder"), depths, strict=True):
        assert [n for n in named if n.startswith(f"{name} ")] == [
            f"{name} layer {n}" for n in range(depth, 0, -1)
        ]


def test_scores_are_the_logarithms_of_a_traces_probabilities_and_have_gradients(
    model: ChatModel, picture: Image.Image
) -> None:
    queries = [Query(picture, "two birds sit on a branch"), Query(picture, "a cat")]
    scores = model.scores(queries)
    for row, trace in zip(scores.exp().tolist(), model.trace(queries), strict=True):
        assert row == pytest.approx(list(trace.probabilities.values()), abs=1e-5)
    (gradient,) = torch.autograd.grad(scores[0, 0], [model.torch_model.lm_head.weight])
    assert bool(gradient.any())


def test_heads_are_rows_of_queries_and_columns_of_the_output(model: ChatModel) -> None:
    network = model.torch_model
    attention = attention_in(network, f"{parts_of(network).saying}.0")
    assert attention is not None
    output = network.get_submodule(attention.output)
    assert output.weight.shape[1] == attention.heads * attention.size
    assert attention.heads == network.config.text_config.num_attention_heads


@pytest.mark.slow
def test_every_alteration_of_a_chat_model_can_be_planted_or_says_why_not(
    family: str, fresh: Callable[[str], ChatModel], picture: Image.Image
) -> None:
    query = Query(picture, "There are two birds, on a branch.")
    for each in fresh(family).alterations:
        model = fresh(family)
        try:
            planted: Any = model.altered(each.id, 1)
        except NotPossible:
            continue
        assert not each.unfit
        (trace,) = planted.trace([query], NEED)
        assert sum(trace.probabilities.values()) == pytest.approx(1, abs=1e-5), each.id
        assert set(trace.readings) == NEED


def moved(before: ChatModel, after: Any, picture: Image.Image) -> float:
    query = Query(picture, "two birds sit on a branch")
    (first,), (second,) = before.trace([query]), after.trace([query])
    return abs(first.probabilities["yes"] - second.probabilities["yes"])


@pytest.mark.parametrize(
    "name",
    ["drop-decoder-last", "mask-lost", "mask-lost-first", "rope-base", "windows-lost",
     "positions-text", "antialias-lost", "unscaled", "prompt", "system-other", "turn-lost",
     "merges-lost", "answers-first"],
)  # fmt: skip
def test_what_is_planted_in_a_qwen_moves_its_answer(
    name: str,
    model_of: Callable[[str], ChatModel],
    fresh: Callable[[str], ChatModel],
    picture: Image.Image,
) -> None:
    before = model_of("qwen2_5_vl")
    assert moved(before, fresh("qwen2_5_vl").altered(name, 1), picture) > 1e-5


def test_what_a_chat_model_does_not_have_cannot_be_altered(
    fresh: Callable[[str], ChatModel],
) -> None:
    for family, name, reason in (
        ("qwen2_5_vl", "bicubic", "prepared like that"),
        ("qwen2_5_vl", "system-lost", "no system message"),
        ("qwen2_5_vl", "answers-case", "both ways"),
        ("llava", "positions-text", "positions count tokens alone"),
        ("llava", "windows-lost", "no windows"),
    ):
        with pytest.raises(NotPossible, match=reason):
            fresh(family).altered(name, 1)


def test_preparation_tells_when_pictures_or_questions_are_prepared_otherwise(
    fresh: Callable[[str], ChatModel],
) -> None:
    model = fresh("qwen2_5_vl")
    told = {model.preparation}
    for name in ("unnormalised", "prompt"):
        model.altered(name, 1)
        told.add(model.preparation)
    assert len(told) == 3


def test_a_copy_of_its_folder_is_the_same_model_asked_in_the_same_way(
    model_of: Callable[[str], ChatModel],
) -> None:
    model = model_of("qwen2_5_vl")
    copy: Any = model.loaded_from(model.folder)
    assert copy.fingerprint == model.fingerprint


def test_a_lost_mask_shows_what_the_last_token_sees_and_the_next_ones_mask_one_more() -> None:
    causal = torch.ones(3, 3, dtype=torch.bool).tril()[None, None]
    padded = causal & torch.tensor([True, True, False])
    assert backend.everything(causal).all()
    assert torch.equal(backend.everything(padded)[0, 0, 0], torch.tensor([True, True, False]))
    assert backend.the_next(causal)[0, 0].int().tolist() == [[1, 1, 0], [1, 1, 1], [1, 1, 1]]


def test_another_rotary_base_is_the_one_that_is_said() -> None:
    network = torch.nn.Module()
    steps = torch.arange(4) / 4
    network.register_buffer("inv_freq", 10.0**-steps)
    backend.other_base(network, "", 2.0)
    torch.testing.assert_close(network.inv_freq, 20.0**-steps)
