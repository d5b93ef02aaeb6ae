"""Single heads of chat models are those of transformers' eager attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from audit.base.errors import MapError
from audit.base.geometry import Box
from audit.maps.reading import MapSpec, image_share, layer_maps, read_map
from audit.maps.trace import ANSWER, EACH_HEAD, HeadPlace, ReadingKey
from audit.models.hf.adapter import ChatModel
from audit.models.kit.singleheads import check_single_heads
from audit.models.kit.subject import Subject, example_queries
from audit.models.protocol import Query
from audit.runs.evidence import gather
from audit.studies.headchoice import read_heads_of
from audit.studies.placing import Question

LAYERS, HEADS = 2, 4
NAMED = (HeadPlace(1, 3), HeadPlace(2, 1))
TWO = pytest.mark.parametrize("family", ["llava", "qwen2_5_vl"])
SHORT, LONG = example_queries()[0], example_queries()[2]


def eager_rows(plain: tuple[Any, Any], model: ChatModel, query: Query) -> Any:
    """The answer's row of every head, and where the picture's tokens are: those of its cells."""
    network, processor = plain
    given = processor(
        text=[model.trace([query])[0].prompt], images=[query.image], return_tensors="pt"
    )
    before = network.config._attn_implementation
    network.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            seen = network(**given, output_attentions=True).attentions
    finally:
        network.set_attn_implementation(before)
    config = network.config
    token = getattr(config, "image_token_id", None) or config.image_token_index
    rows: NDArray[np.float32] = torch.stack([a[0, :, -1] for a in seen]).numpy()
    return rows, (given["input_ids"][0] == token).numpy()


@TWO
def test_single_heads_are_those_of_eager_attention(
    family: str, model: ChatModel, plain: tuple[Any, Any]
) -> None:
    some = ANSWER._replace(heads=NAMED)
    # Both in one batch, where the shorter prompt is padded.
    traces = model.trace([SHORT, LONG], frozenset({ANSWER, EACH_HEAD, some}))
    for query, trace in zip((SHORT, LONG), traces, strict=True):
        rows, image = eager_rows(plain, model, query)
        each, named = trace.readings[EACH_HEAD], trace.readings[some]
        assert each.cells.shape == (LAYERS * HEADS, *trace.grid)
        wanted = rows[:, :, image].reshape(each.cells.shape)
        np.testing.assert_allclose(each.cells, wanted, atol=1e-6)
        np.testing.assert_allclose(each.share, rows[:, :, image].sum(2).ravel(), atol=1e-6)
        together = (rows[0, 2] + rows[1, 0])[image] / 2
        np.testing.assert_allclose(named.cells, together.reshape(1, *trace.grid), atol=1e-6)
        np.testing.assert_allclose(named.share, [together.sum()], atol=1e-6)
        means = each.cells.reshape(LAYERS, HEADS, *trace.grid).mean(1)
        np.testing.assert_allclose(trace.readings[ANSWER].cells, means, atol=1e-6)


def test_every_family_gives_its_single_heads(family: str, model: ChatModel) -> None:
    assert set(model.trace([SHORT], frozenset({EACH_HEAD}))[0].readings) == {EACH_HEAD}
    check_single_heads(Subject(model, example_queries()))


@TWO
def test_a_map_of_named_heads_is_their_mean_and_so_is_its_control(model: ChatModel) -> None:
    spec = MapSpec(heads=[str(place) for place in NAMED])
    control = spec.model_copy(update={"method": "blank"})
    (seen,) = gather(model, [SHORT], [[spec, control]], 4)
    each = model.trace([SHORT], frozenset({EACH_HEAD}))[0].readings[EACH_HEAD]
    mean = each.cells[[2, HEADS]].mean(0)
    np.testing.assert_allclose(read_map(seen, spec), mean / mean.sum(), rtol=1e-4)
    assert image_share(seen, spec) == pytest.approx(each.share[[2, HEADS]].mean(), abs=1e-5)
    assert read_map(seen, control).shape == seen.trace.grid
    with pytest.raises(MapError, match="is not read layer by layer"):
        layer_maps(seen, spec)


@TWO
def test_a_head_that_is_not_there_is_refused_and_so_are_other_methods(model: ChatModel) -> None:
    beyond = ANSWER._replace(heads=(HeadPlace(3, 1),))
    with pytest.raises(MapError, match="head L3H1 was asked for, but the model has 2 layers of 4"):
        model.trace([SHORT], frozenset({beyond}))
    for method in ("word_attention", "rollout", "relevance"):
        key = ReadingKey(method, NAMED, word=0 if method == "word_attention" else None)
        with pytest.raises(MapError, match="single heads of single layers cannot be read here"):
            model.trace([SHORT], frozenset({key}))


@TWO
def test_heads_can_be_measured_for_a_choice(model: ChatModel) -> None:
    box = Box(0.0, 0.0, 0.5, 0.5)
    asked = [Question("one", "one", SHORT, (box,), "yes"), Question("two", "two", LONG, (box,), "")]
    found = read_heads_of(model, asked, 4, lambda items, *_: items)
    each = model.trace([SHORT], frozenset({EACH_HEAD}))[0].readings[EACH_HEAD].cells
    assert found.layers == LAYERS
    assert found.pictures == ("one", "two")
    np.testing.assert_allclose(found.total[0], each.sum((1, 2)), atol=1e-5)


def test_only_the_answers_rows_are_kept(model_of: Callable[[str], ChatModel]) -> None:
    from audit.models.hf.reading import Wanted, reading

    model = model_of("llava")
    prompts = [model.prompt(query) for query in (SHORT, LONG)]
    wanted = Wanted.of(frozenset({EACH_HEAD}), LAYERS)
    assert wanted.single
    assert not wanted.rows
    with torch.no_grad(), reading(model._layers, prompts, wanted) as rows:
        model._first(prompts, None)
    longest = max(prompt.length for prompt in prompts)
    assert [each.untyped_storage().nbytes() for each in rows.single] == [
        4 * 2 * HEADS * longest
    ] * LAYERS
