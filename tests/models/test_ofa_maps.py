"""What the OFA adapter reads for maps, against modelscope's own attentions and autograd."""

from __future__ import annotations

import gc
import io
import itertools
import pickle
from pathlib import Path
from typing import Any

import captum.attr
import numpy as np
import pytest
import torch
from PIL import Image

from audit import load_model
from audit.base.errors import MapError
from audit.base.geometry import Grid
from audit.maps.reading import MapSpec, need_of, read_map, word_maps
from audit.maps.trace import ANSWER, EACH_WORD, ReadingKey, Trace, Window
from audit.models.kit.flow import Relevance
from audit.models.ofa import METHODS
from audit.models.ofa import reading as ofa_reading
from audit.models.ofa.finishing import Rollout
from audit.models.protocol import Query
from audit.runs import evidence
from audit.runs.evidence import curves, gather
from tests.checkpoints import make_checkpoint
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
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    for number, name in enumerate(sorted(n for n in weights if n.endswith("c_attn"))):
        weights[name] = torch.tensor([1.5, -0.25]) + 0.1 * number
    torch.save(weights, folder / "pytorch_model.bin")
    return load_model(str(folder), device="cpu", engine="reference")


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
@pytest.mark.parametrize("answers", [("no", "yes", "maybe"), MULTI])
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


# --- what costs further passes --------------------------------------------------------------------


def test_occlusion_is_what_a_plain_loop_over_grey_squares_gives(
    model: Any, picture: Image.Image
) -> None:
    query = Query(picture, TEXT)
    spec = MapSpec(method="occlusion", window=2, stride=1)
    (trace,) = gather(model, [query], [[spec]], batch_size=3)
    pixels = np.asarray(picture)
    height, width = pixels.shape[0] / 4, pixels.shape[1] / 4
    drops: list[list[list[float]]] = [[[] for _ in range(4)] for _ in range(4)]
    for top in range(3):
        for left in range(3):
            hidden = pixels.copy()
            hidden[
                round(top * height) : round((top + 2) * height),
                round(left * width) : round((left + 2) * width),
            ] = 128
            (seen,) = model.trace([Query(Image.fromarray(hidden), TEXT)])
            fall = trace.probabilities[trace.label] - seen.probabilities[trace.label]
            for row in (top, top + 1):
                for col in (left, left + 1):
                    drops[row][col].append(fall)
    expected = np.array([[np.mean(cell) for cell in row] for row in drops])
    np.testing.assert_allclose(trace.occlusion[Window(2, 1)], expected, atol=1e-5)
    positive = np.clip(expected, 0, None)
    np.testing.assert_allclose(read_map(trace, spec), positive / positive.sum(), atol=1e-4)


def test_occlusion_agrees_with_captum(model: Any, picture: Image.Image) -> None:
    """captum slides the same grey square over the picture's pixels and takes the same mean."""
    square = picture.resize((160, 160))  # 40 pixels a cell, so that squares fall on whole pixels
    query = Query(square, TEXT)
    spec = MapSpec(method="occlusion", window=2, stride=1)
    (trace,) = gather(model, [query], [[spec]], batch_size=9)

    def probability(pixels: torch.Tensor) -> torch.Tensor:
        pictures = [Image.fromarray(p.to(torch.uint8).numpy()) for p in pixels]
        seen = model.trace([Query(p, TEXT) for p in pictures])
        return torch.tensor([t.probabilities[trace.label] for t in seen])

    given = torch.from_numpy(np.array(square)).float()[None]
    found = captum.attr.Occlusion(probability).attribute(
        given, sliding_window_shapes=(80, 80, 3), strides=(40, 40, 3), baselines=128.0
    )
    by_cell = found[0, :, :, 0].reshape(4, 40, 4, 40)
    assert float((by_cell - by_cell.mean((1, 3), keepdim=True)).abs().max()) < 1e-6
    expected = by_cell.mean((1, 3)).numpy()
    np.testing.assert_allclose(trace.occlusion[Window(2, 1)], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("occlusion window=5", "a.* of 5 cells does not fit 4 x 4"),
        ("occlusion window=2 stride=3", "skips cells"),
        ("rollout start_layer=3", "the encoder has 2"),
        ("relevance heads=3", "head 3 was asked for, but the model has 2"),
        ("rollout heads=5", "head 5 was asked for, but the model has 2"),
        ("answer_attention heads=6", "head 6 was asked for, but the model has 2"),
        ("word_attention word=two heads=4", "head 4 was asked for, but the model has 2"),
    ],
)
def test_what_the_model_cannot_give_is_refused_by_name(
    model: Any, picture: Image.Image, asked: str, said: str
) -> None:
    with pytest.raises(MapError, match=said):
        gather(model, [Query(picture, TEXT)], [[MapSpec.parse(asked)]], 8)


def test_a_blank_is_the_answer_to_a_grey_picture(model: Any, picture: Image.Image) -> None:
    query, spec = Query(picture, TEXT), MapSpec(method="blank")
    subtracting = MapSpec(subtract="blank")
    (trace,) = gather(model, [query], [[spec, subtracting]], 8)
    shown = Query(Image.new("RGB", picture.size, (128, 128, 128)), TEXT)
    (grey,) = model.trace([shown], frozenset({ANSWER}))
    np.testing.assert_allclose(read_map(trace, spec), read_map(grey, MapSpec()), atol=1e-6)
    left = np.clip(read_map(trace, MapSpec()) - read_map(grey, MapSpec()), 0, None)
    np.testing.assert_allclose(read_map(trace, subtracting), left / left.sum(), atol=1e-5)


def test_deletion_and_insertion_hide_and_show_cells_in_the_order_of_the_map(
    model: Any, picture: Image.Image
) -> None:
    query = Query(picture, TEXT)
    (trace,) = model.trace([query])
    p = np.arange(1.0, 17.0).reshape(4, 4)
    found = curves(model, query, trace, p / p.sum(), batch_size=5, steps=4)
    pixels = np.asarray(picture)
    for step in range(5):
        # Four cells a step, the last row of the grid first.
        shown = pixels.copy()
        shown[round((4 - step) * pixels.shape[0] / 4) :] = 128
        (seen,) = model.trace([Query(Image.fromarray(shown), TEXT)])
        assert found.deletion[step] == pytest.approx(seen.probabilities[trace.label], abs=1e-5)
    assert found.insertion[-1] == pytest.approx(trace.probabilities[trace.label], abs=1e-5)
    assert found.insertion[0] != pytest.approx(found.insertion[-1], abs=1e-6)


def test_one_forward_pass_serves_all_maps_without_gradient_and_one_backward_all_with(
    model: Any, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = {"forward": 0, "backward": 0}
    network, backward = model.torch_model, torch.autograd.backward

    def count(*_: Any) -> None:
        calls["forward"] += 1

    def counted(*args: Any, **more: Any) -> None:
        calls["backward"] += 1
        backward(*args, **more)

    monkeypatch.setattr(torch.autograd, "backward", counted)
    handle = network.encoder.layers[0].register_forward_pre_hook(count)
    plain = [
        "answer_attention", "answer_attention heads=max", "word_attention word=birds", "rollout",
        "rollout residual=0.5", "uniform", "centre", "random",
    ]  # fmt: skip
    with_gradient = ["relevance", "relevance variant=paper", "relevance heads=weighted"]
    try:
        specs = [MapSpec.parse(text) for text in plain]
        (trace,) = gather(model, [Query(picture, TEXT)], [specs], 8)
        assert calls == {"forward": 1, "backward": 0}
        specs += [MapSpec.parse(text) for text in with_gradient]
        (trace,) = gather(model, [Query(picture, TEXT)], [specs], 8)
        assert calls == {"forward": 2, "backward": 1}
    finally:
        handle.remove()
    for spec in specs:
        p = read_map(trace, spec)
        assert p.shape == (4, 4)
        assert p.min() >= 0
        assert p.sum() == pytest.approx(1)


def test_cases_with_and_without_gradients_keep_their_order(
    model: Any, picture: Image.Image
) -> None:
    texts = [TEXT, "a dog runs", "a cat sleeps"]
    relevance = MapSpec(method="relevance")
    wanted = [[MapSpec()], [relevance], [MapSpec()]]
    found = gather(model, [Query(picture, t) for t in texts], wanted, 8)
    assert [" ".join(w.text for w in each.trace.words) for each in found] == texts
    assert [RELEVANCE in each.trace.readings for each in found] == [False, True, False]


def test_the_default_window_is_a_sixth_of_the_grid(model: Any) -> None:
    assert evidence.window_of(Window(), model.trace([Query(Image.new("RGB", (9, 9)), "a")])[0].grid)
    assert evidence.window_of(Window(), Grid(12, 12)) == (2, 1)
    assert evidence.window_of(Window(), Grid(30, 30)) == (5, 2)
