"""What the OFA adapter reads for maps, against modelscope's own attentions and autograd."""

from __future__ import annotations

import gc
import io
import itertools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from audit import load_model
from audit.maps.reading import MapSpec, need_of, read_map, word_maps
from audit.maps.trace import ANSWER, EACH_WORD, ReadingKey, Trace
from audit.models.kit.flow import Relevance
from audit.models.ofa import METHODS
from audit.models.ofa import reading as ofa_reading
from audit.models.ofa.finishing import Rollout
from audit.models.protocol import Query
from tests.checkpoints import make_checkpoint, set_head_factors
from tests.models.test_models import LONG, MULTI, QUERIES
from tests.passes import captures, dense_relevance, product_of

CHOICES: list[Any] = ["mean", "max", "weighted", (2,)]
TEXT = "there are two birds on a branch"
RELEVANCE = ReadingKey("relevance")
ROLLOUT = ReadingKey("rollout")


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    noise = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((300, 200))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Random weights, with head factors that differ, so that weighting by them shows."""
    folder = make_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny", seed=3)
    return load_model(str(set_head_factors(folder)), device="cpu", engine="reference")


def plain_pass(model: Any, query: Query) -> Any:
    """modelscope's own forward pass with all attentions kept, gradients on."""
    sample = model._samples([query])[0]
    return model.torch_model(
        input_ids=sample["source"][None],
        patch_images=sample["patch_image"][None],
        patch_masks=torch.tensor([True]),
        decoder_input_ids=torch.tensor([model._answering.prompt(sample)]),
        output_attentions=True,
        output_hidden_states=True,
    )


def over_heads(values: np.ndarray, choice: Any, scale: np.ndarray) -> np.ndarray:
    """(heads, target, source) reduced as the design notes say, written anew."""
    if choice == "max":
        return values.max(0)
    if choice == "mean":
        return values.mean(0)
    if choice == "weighted":
        weights = np.abs(scale) / np.abs(scale).sum()
        return sum(w * v for w, v in zip(weights, values, strict=True))
    return values[[n - 1 for n in choice]].mean(0)


def scale_of(attention: Any) -> np.ndarray:
    factors: np.ndarray = attention.c_attn.detach().numpy()
    return factors


@pytest.mark.parametrize("text", [TEXT, LONG])
def test_relevance_is_read_as_plain_autograd_gives_it(
    model: Any, picture: Image.Image, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    query, passed = Query(picture, text), captures(monkeypatch)
    keys = {
        RELEVANCE._replace(heads=choice, variant=variant, start_layer=start)
        for choice, variant, start in itertools.product(CHOICES, ("causal", "paper"), (1, 2))
    }
    (trace,) = model.trace([query], frozenset(keys))
    out = plain_pass(model, query)
    attentions = [*out.encoder_attentions, *out.decoder_attentions, *out.cross_attentions]
    for attention in attentions:
        attention.retain_grad()
    ids = torch.tensor([answer[0] for answer in model._answering.answers])
    ordered = torch.log_softmax(out.logits[0, -1, ids], -1).sort(descending=True).values
    (ordered[0] - ordered[1]).backward()
    positive = [(a * a.grad).clamp_min(0)[0].detach().numpy() for a in attentions]
    assert max(float(p.max()) for p in positive) > 1e-6
    network = model.torch_model
    network.zero_grad()
    sites = [
        *[layer.self_attn for layer in network.encoder.layers],
        *[layer.self_attn for layer in network.decoder.layers],
        *[layer.cross_attn for layer in network.decoder.layers],
    ]
    by_choice = {}
    for choice in CHOICES:
        found = passed[0].relevances[choice]
        bars = [over_heads(p, choice, scale_of(s)) for p, s in zip(positive, sites, strict=True)]
        for read, expected in zip(
            [*found.encoder, *found.decoder, *found.cross], bars, strict=True
        ):
            np.testing.assert_allclose(read, expected, rtol=1e-3, atol=1e-7)
        by_choice[choice] = Relevance(*(np.stack(bars[i : i + 2]) for i in (0, 2, 4)))
    for key in keys:
        dense = dense_relevance(by_choice[key.heads], key.variant, key.start_layer)[:16]
        cells = trace.readings[key].cells
        assert cells.shape == (1, 4, 4)
        np.testing.assert_allclose(cells.ravel(), dense, rtol=1e-3, atol=1e-6 * dense.max())


@pytest.mark.parametrize("postponed", [0, 1, 3])
def test_rollout_is_the_product_of_the_encoders_own_attentions(
    model: Any, picture: Image.Image, monkeypatch: pytest.MonkeyPatch, postponed: int
) -> None:
    monkeypatch.setattr(ofa_reading, "_POSTPONED", postponed)
    wanted = [
        Rollout("mean", 1, 0.5), Rollout("max", 1, 0.25), Rollout("weighted", 2, 0.5), Rollout(),
    ]  # fmt: skip
    query, passed = Query(picture, TEXT), captures(monkeypatch)
    keys = {asked: ReadingKey("rollout", asked.heads, None, *asked[1:]) for asked in wanted}
    (trace,) = model.trace([query], frozenset(keys.values()))
    layers = model.torch_model.encoder.layers
    branches: list[torch.Tensor] = []
    handles = [
        layer.self_attn_mid_layer_norm.register_forward_hook(
            lambda _, __, value: branches.append(value[0])
        )
        for layer in layers
    ]
    with torch.no_grad():
        out = plain_pass(model, query)
    for handle in handles:
        handle.remove()
    n = out.encoder_attentions[0].shape[-1]
    for asked in wanted:
        product = np.eye(n)
        for number, layer in enumerate(layers):
            if number + 1 < asked.start_layer:
                continue
            attention = out.encoder_attentions[number][0].numpy().astype(np.float64)
            a = over_heads(attention, asked.heads, scale_of(layer.self_attn))
            a = a / a.sum(-1, keepdims=True)
            if asked.residual is None:
                hidden = out.encoder_hidden_states[number][0].norm(dim=-1).numpy()
                added = branches[number].norm(dim=-1).numpy()
                share = (added / (added + hidden))[:, None]
            else:
                share = np.full((n, 1), 1 - asked.residual)
            product = (share * a + (1 - share) * np.eye(n)) @ product
        rolled = product_of(passed[0].rollouts[asked])
        np.testing.assert_allclose(rolled, product[:, :16], atol=1e-5)
        rows = [
            over_heads(attention[0, :, -1].numpy(), asked.heads, scale_of(layer.cross_attn))
            for attention, layer in zip(
                out.cross_attentions, model.torch_model.decoder.layers, strict=True
            )
        ]
        cells = trace.readings[keys[asked]].cells.reshape(2, 16)
        np.testing.assert_allclose(cells, rows @ product[:, :16], atol=1e-5)


def test_word_rows_are_the_encoders_own_attentions_at_the_words_tokens(
    model: Any, picture: Image.Image
) -> None:
    query, words = Query(picture, TEXT), ("birds", "two birds", "branch")
    keys = {ReadingKey("word_attention", choice, word) for choice in CHOICES for word in words}
    (trace,) = model.trace([query], frozenset(keys))
    assert set(trace.readings) == keys
    with torch.no_grad():
        out = plain_pass(model, query)
    for word in words:
        # The word's tokens, found by decoding the tokens one by one.
        spelt = [model._task.tokenizer.convert_tokens_to_string([t]) for t in trace.tokens[1:-1]]
        begin = "".join(spelt).index(f" {word}")
        ends = np.cumsum([len(s) for s in spelt])
        tokens = [
            i + 1 for i, (stop, s) in enumerate(zip(ends, spelt, strict=True))
            if stop - len(s) >= begin and stop <= begin + len(f" {word}")
        ]  # fmt: skip
        assert tokens, word
        rows = [a[0].numpy()[:, [16 + t for t in tokens], :16] for a in out.encoder_attentions]
        for choice in CHOICES:
            heads = list(choice) if isinstance(choice, tuple) else choice
            spec = MapSpec(method="word_attention", word=word, heads=heads)
            by_layer = [
                over_heads(r, choice, scale_of(layer.self_attn)).mean(0)
                for r, layer in zip(rows, model.torch_model.encoder.layers, strict=True)
            ]
            expected = np.mean(by_layer, axis=0)
            found = read_map(trace, spec)
            np.testing.assert_allclose(found.ravel(), expected / expected.sum(), atol=1e-6)
            reading = trace.readings[spec.reading]
            np.testing.assert_allclose(reading.cells.reshape(2, 16), by_layer, atol=1e-6)
            sums = np.clip(np.sum(by_layer, axis=1), 0, 1)
            np.testing.assert_allclose(reading.share, sums, atol=1e-5)


def test_the_words_of_a_hypothesis_are_those_that_it_has(model: Any, picture: Image.Image) -> None:
    (trace, premised) = model.trace(
        [Query(picture, TEXT), Query(picture, "a dog runs", "two birds")],
        frozenset({EACH_WORD}),
    )
    assert set(trace.readings) == {EACH_WORD._replace(word=i) for i in range(7)}
    assert set(premised.readings) == {EACH_WORD._replace(word=i) for i in range(3)}
    assert [word.text for word in trace.words] == TEXT.split()
    assert [word for word, _ in word_maps(trace)] == TEXT.split()
    # The premise's words are not the hypothesis's.
    assert [word.text for word in premised.words] == ["a", "dog", "runs"]


@pytest.mark.parametrize("gen_type", ["traverse", "generation"])
@pytest.mark.parametrize(
    "answers", [("no", "yes", "maybe"), pytest.param(MULTI, marks=pytest.mark.slow)]
)
def test_everything_read_in_a_batch_equals_what_single_calls_give(
    answers: tuple[str, ...],
    gen_type: str,
    tmp_path: Path,
    picture: Image.Image,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # With larger weights modelscope's passes differ by more than this between batches already.
    folder = make_checkpoint(
        tmp_path / "made", gen_type=gen_type, answers=answers, seed=3, network={"init_std": 0.2}
    )
    model = load_model(str(folder), device="cpu", engine="reference")
    passed = captures(monkeypatch)
    need = frozenset({ANSWER, EACH_WORD, ROLLOUT, RELEVANCE})
    queries = [Query(picture, text, premise) for text, premise in QUERIES]
    together = model.trace(queries, need)
    of_batch = passed.copy()
    for query, batched, ours in zip(queries, together, of_batch, strict=True):
        (alone,) = model.trace([query], need)
        theirs = passed[-1]
        np.testing.assert_allclose(ours.of_words["mean"], theirs.of_words["mean"], atol=1e-5)
        rolled = [product_of(c.rollouts[Rollout()]) for c in (ours, theirs)]
        np.testing.assert_allclose(*rolled, atol=1e-5)
        for part in ("encoder", "decoder", "cross"):
            bars = [getattr(c.relevances["mean"], part) for c in (ours, theirs)]
            np.testing.assert_allclose(*bars, rtol=1e-3, atol=1e-6)
        assert batched.readings.keys() == alone.readings.keys()
        assert {key.method for key in alone.readings} == set(METHODS)
        for key, reading in alone.readings.items():
            for one, other in zip(batched.readings[key], reading, strict=True):
                if other is not None:
                    np.testing.assert_allclose(one, other, rtol=2e-3, atol=1e-5, err_msg=str(key))


def arrays_in(trace: Trace) -> list[np.ndarray]:
    """Every array that a trace holds, wherever it is."""
    found: list[np.ndarray] = []

    class Collects(pickle.Pickler):
        def reducer_override(self, given: Any) -> Any:
            assert not isinstance(given, torch.Tensor)
            if isinstance(given, np.ndarray):
                found.append(given)
            return NotImplemented

    Collects(io.BytesIO()).dump(trace)
    return found


@pytest.mark.parametrize("engine", ["reference", "fast"])
def test_nothing_of_the_size_of_the_attention_crosses_the_seam(
    tmp_path: Path, picture: Image.Image, engine: str
) -> None:
    """Each array has a number for each cell and layer, or for each layer, whoever holds it."""
    folder = make_checkpoint(tmp_path / "made", seed=3, network={"encoder_layers": 3})
    model = load_model(str(folder), device="cpu", engine=engine)
    specs = [
        MapSpec.parse(text)
        for text in (
            "answer_attention", "answer_attention heads=max", "rollout", "rollout residual=0.5",
            "relevance", "relevance variant=paper heads=weighted", "word_attention word=birds",
        )
    ]  # fmt: skip
    for asked in ([MapSpec.parse("rollout")], specs):
        (trace,) = model.trace([Query(picture, LONG)], need_of(asked, METHODS) | {EACH_WORD})
        found = arrays_in(trace)
        assert len(found) > 2 * len(trace.readings)
        of_cells = {(layers, 4, 4) for layers in (1, 2, 3)}
        assert {array.shape for array in found} <= of_cells | {(1,), (2,), (3,)}
        # Nor is a larger array kept behind a view of it: source is 16 cells and the tokens.
        behind = {id(a.base): a.base.nbytes for a in found if a.base is not None}
        assert max(behind.values(), default=0) <= 3 * (16 + len(trace.tokens)) * 8


def test_what_a_case_keeps_with_relevance_is_a_few_kilobytes(
    model: Any, picture: Image.Image
) -> None:
    (trace,) = model.trace([Query(picture, LONG)], frozenset({ANSWER, RELEVANCE}))
    assert sum(array.nbytes for array in arrays_in(trace)) < 1_000
    need = frozenset({ANSWER, EACH_WORD, ROLLOUT, RELEVANCE})
    (trace,) = model.trace([Query(picture, LONG)], need)
    # 17 words, of which each has two layers of 16 cells.
    assert sum(array.nbytes for array in arrays_in(trace)) < 8_000
    assert len(pickle.dumps(trace)) < 32_000


def tensors() -> int:
    # type() and not isinstance(), which would wake lazy modules among the objects.
    return sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects())


@pytest.mark.slow
def test_a_backward_pass_leaves_no_trace_in_the_model_and_no_memory_behind(
    model: Any, picture: Image.Image
) -> None:
    network, query = model.torch_model, Query(picture, TEXT)
    (before,) = model.trace([query], frozenset({ANSWER}))
    trainable = {name: p.requires_grad for name, p in network.named_parameters()}
    assert any(trainable.values())
    need = frozenset({RELEVANCE})
    model.trace([query], need)
    gc.collect()
    held = tensors()
    for _ in range(3):
        model.trace([query], need)
    # Without a collection: nothing may wait in a cycle.
    assert tensors() <= held
    assert {name: p.requires_grad for name, p in network.named_parameters()} == trainable
    assert all(p.grad is None for p in network.parameters())
    assert not any(module.training for module in network.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    (after,) = model.trace([query], frozenset({ANSWER}))
    assert after.probabilities == before.probabilities
    for one, other in zip(after.readings[ANSWER], before.readings[ANSWER], strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_exception_in_a_backward_pass_leaves_the_model_as_it_was(
    model: Any, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = model.torch_model
    trainable = [p.requires_grad for p in network.parameters()]

    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("in the backward pass")

    monkeypatch.setattr(torch.autograd, "backward", fails)
    with pytest.raises(RuntimeError, match="in the backward pass"):
        model.trace([Query(picture, TEXT)], frozenset({RELEVANCE}))
    assert [p.requires_grad for p in network.parameters()] == trainable
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
