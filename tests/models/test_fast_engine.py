"""The fast engine computes what modelscope computes: the same answers, the same maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from audit import load_model
from audit.base.errors import ModelError
from audit.maps.reading import need_of, read_map, word_maps
from audit.maps.spec import MapSpec
from audit.maps.trace import ANSWER, EACH_WORD, NOTHING_MORE, Need, Trace
from audit.models.ofa import METHODS
from audit.models.ofa import fast as ofa_fast
from audit.models.ofa import pictures as ofa_pictures
from audit.models.ofa.adapter import OFAVisualEntailment
from audit.models.ofa.loaders import resolve
from audit.models.protocol import Query
from tests.checkpoints import make_checkpoint, set_head_factors
from tests.models.test_models import LONG, MULTI
from tests.passes import captures, product_of

pytestmark = pytest.mark.slow

MAPS = [
    MapSpec.parse(m)
    for m in (
        "answer_attention",
        "answer_attention layers=last:1 heads=max",
        "rollout",
        "rollout heads=max residual=0.25",
        "rollout heads=weighted start_layer=2",
        "rollout heads=2",
        "word_attention word=a",
        "word_attention word=a heads=2",
        "word_attention word=a heads=max",
        "word_attention word=a heads=weighted",
    )
]
ALL = need_of(MAPS, METHODS) | {EACH_WORD}


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    draw = np.random.default_rng(1)
    noise = [draw.integers(0, 256, (5, 7, 3), dtype=np.uint8) for _ in range(2)]
    return [Image.fromarray(n).resize((300, 200)) for n in noise]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Checkpoints whose head factors differ, and whose biases and norms are not zeros and ones.

    Weights are half as large as in other tests: with those, the reference differs from itself by
    two millionths between a batch and single calls, so that nothing could be held to one.
    """

    def make(network: dict[str, Any] | None = None, **more: Any) -> Path:
        folder = make_checkpoint(
            tmp_path_factory.mktemp("checkpoint") / "tiny",
            seed=3,
            network={"init_std": 0.2, **(network or {})},
            **more,
        )
        set_head_factors(folder)
        weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
        draw = torch.Generator().manual_seed(0)
        for name in sorted(weights):
            if name.endswith(".bias") or "weight_" in name or ("_ln." in name or "norm" in name):
                # Zeros and ones as they are made would hide that one is forgotten.
                weights[name] = weights[name] + 0.2 * torch.randn(
                    weights[name].shape, generator=draw
                )
        torch.save(weights, folder / "pytorch_model.bin")
        return folder

    return make


def engines(folder: Path, **more: Any) -> list[OFAVisualEntailment]:
    return [
        OFAVisualEntailment(resolve(str(folder)), "cpu", engine=name, **more)
        for name in ("reference", "fast")
    ]


def questions(pictures: Sequence[Image.Image], premise: str | None) -> list[Query]:
    """Of unequal length; the first and the last share a picture."""
    return [
        Query(pictures[0], "there are two birds on a branch", premise),
        Query(pictures[1], "a dog runs", premise),
        Query(pictures[0], LONG, premise),
    ]


def assert_same(expected: Sequence[Trace], found: Sequence[Trace]) -> None:
    for one, other in zip(expected, found, strict=True):
        assert (one.label, one.prompt, one.tokens, one.grid, one.words) == (
            other.label, other.prompt, other.tokens, other.grid, other.words,
        )  # fmt: skip
        assert other.probabilities == pytest.approx(one.probabilities, abs=1e-5)
        for spec in MAPS:
            np.testing.assert_allclose(
                read_map(other, spec), read_map(one, spec), atol=1e-6, rtol=0, err_msg=spec.key
            )
        for (word, a), (same, b) in zip(word_maps(one), word_maps(other), strict=True):
            assert word == same
            np.testing.assert_allclose(b, a, atol=1e-6, rtol=0)
        assert one.readings.keys() == other.readings.keys()
        for key, reading in one.readings.items():
            share = other.readings[key].share
            np.testing.assert_allclose(share, reading.share, atol=1e-5, err_msg=str(key))


@pytest.mark.parametrize("premise", [None, "a cat sleeps"], ids=["one text", "two texts"])
@pytest.mark.parametrize("gen_type", ["traverse", "generation"])
@pytest.mark.parametrize("answers", [("no", "yes", "maybe"), MULTI], ids=["single", "multi"])
def test_the_fast_engine_gives_what_the_reference_gives(
    made: Callable[..., Path],
    pictures: list[Image.Image],
    answers: tuple[str, ...],
    gen_type: str,
    premise: str | None,
) -> None:
    reference, fast = engines(made(answers=answers, gen_type=gen_type))
    asked = questions(pictures, premise)
    assert_same(reference.trace(asked, ALL), fast.trace(asked, ALL))


@pytest.mark.parametrize(
    "network",
    [
        {"normformer": False},
        {"encoder_normalize_before": False, "decoder_normalize_before": False},
        {"share_attn_bias": True},
        {"use_gamma_feature": True, "gamma": 0.7},
        {"entangle_position_embedding": True},
        {"layernorm_embedding": False, "patch_layernorm_embedding": False},
        {"add_type_embedding": False, "scale_embedding": True},
        {"share_decoder_input_output_embed": False},
        {"interpolate_position": True, "orig_patch_image_size": 32},
        {"encoder_layerdrop": 0.5, "decoder_layerdrop": 0.5},
        {"attn_scale_factor": 1.0, "activation_function": "relu"},
    ],
    ids=lambda network: next(iter(network)),
)
def test_every_kind_of_network_that_modelscope_builds_gives_the_same(
    made: Callable[..., Path], pictures: list[Image.Image], network: dict[str, Any]
) -> None:
    reference, fast = engines(made(network=network))
    assert isinstance(fast._engine, ofa_fast.FastOFA)
    asked = questions(pictures, None)
    assert_same(reference.trace(asked, ALL), fast.trace(asked, ALL))


def distance(some: Sequence[Trace], others: Sequence[Trace]) -> float:
    return max(
        float(np.abs(read_map(a, spec) - read_map(b, spec)).max())
        for a, b in zip(some, others, strict=True)
        for spec in MAPS
    )


def test_with_large_weights_it_is_as_near_to_double_precision_as_the_reference(
    made: Callable[..., Path], pictures: list[Image.Image]
) -> None:
    reference, fast = engines(made(network={"init_std": 0.4}))
    asked = questions(pictures, None)
    found = [engine.trace(asked, ALL) for engine in (reference, fast)]
    reference.torch_model.double()
    reference._dtype = torch.float64
    exact = reference.trace(asked, ALL)
    assert distance(found[1], exact) < 2 * distance(found[0], exact)


WORDS = frozenset(EACH_WORD._replace(heads=heads) for heads in ("mean", "max", (2,)))


@pytest.mark.parametrize("need", [NOTHING_MORE, WORDS, ALL], ids=["none", "words", "all"])
@pytest.mark.parametrize("fused", [True, False], ids=["fused", "head by head"])
def test_attention_fused_or_not_gives_the_same_whatever_is_read(
    made: Callable[..., Path],
    pictures: list[Image.Image],
    monkeypatch: pytest.MonkeyPatch,
    need: Need,
    fused: bool,
) -> None:
    reference, fast = engines(made())
    fast._engine = ofa_fast.FastOFA(fast.torch_model, fused=fused)
    asked, passed = questions(pictures, None), captures(monkeypatch)
    traces = [model.trace(asked, need) for model in (reference, fast)]
    for one, other in zip(*traces, strict=True):
        assert other.probabilities == pytest.approx(one.probabilities, abs=1e-5)
        assert other.readings.keys() == one.readings.keys()
    for left, found in zip(passed[:3], passed[3:], strict=True):
        np.testing.assert_allclose(found.cross, left.cross, atol=1e-6)
        np.testing.assert_array_equal(found.scale, left.scale)
        assert found.of_words.keys() == left.of_words.keys()
        for heads, rows in left.of_words.items():
            np.testing.assert_allclose(found.of_words[heads], rows, atol=1e-6)
        assert found.rollouts.keys() == left.rollouts.keys()
        for asked_for, factors in left.rollouts.items():
            rolled = [product_of(each) for each in (found.rollouts[asked_for], factors)]
            np.testing.assert_allclose(*rolled, atol=1e-5)


@pytest.mark.parametrize("together", [1, 1 << 20], ids=["head by head", "all heads"])
@pytest.mark.parametrize("few", [True, False], ids=["queries carried", "keys made"])
def test_each_order_of_computing_gives_the_same(
    made: Callable[..., Path],
    pictures: list[Image.Image],
    monkeypatch: pytest.MonkeyPatch,
    together: int,
    few: bool,
) -> None:
    monkeypatch.setattr(ofa_fast, "_IN_CACHE", together)
    monkeypatch.setattr(ofa_fast, "_few", lambda *_: few)
    reference, fast = engines(made(answers=MULTI))
    asked = questions(pictures, None)
    assert_same(reference.trace(asked, ALL), fast.trace(asked, ALL))


def counted(model: OFAVisualEntailment) -> dict[str, int]:
    """How often the ResNet and a decoder layer's keys were computed, from now on."""
    calls = {"resnet": 0, "decoder": 0}

    def note(name: str) -> Callable[..., None]:
        def hook(*_: object) -> None:
            calls[name] += 1

        return hook

    network = model.torch_model
    network.encoder.embed_images.register_forward_hook(note("resnet"))
    network.decoder.layers[0].fc1.register_forward_hook(note("decoder"))
    return calls


def test_a_picture_is_looked_at_once_also_over_several_batches(
    made: Callable[..., Path], pictures: list[Image.Image]
) -> None:
    (_, fast) = engines(made(answers=MULTI))
    calls = counted(fast)
    fast.trace(questions(pictures, None), ALL)
    assert calls == {"resnet": 2, "decoder": 1}
    fast.trace(questions(pictures, "a cat sleeps"), ALL)
    assert calls == {"resnet": 2, "decoder": 2}


def test_features_of_a_changed_resnet_are_not_those_of_the_old_one(
    made: Callable[..., Path], pictures: list[Image.Image]
) -> None:
    reference, fast = engines(made())
    asked = questions(pictures, None)
    fast.trace(asked, ALL)
    for model in (reference, fast):
        with torch.no_grad():
            model.torch_model.encoder.embed_images.conv1.weight.mul_(-1)
    assert_same(reference.trace(asked, ALL), fast.trace(asked, ALL))
    for model in (reference, fast):
        old = model.torch_model.encoder.embed_images.conv1
        model.torch_model.encoder.embed_images.conv1 = torch.nn.Conv2d(
            3, 64, 7, stride=2, padding=3, bias=False
        )
        with torch.no_grad():
            model.torch_model.encoder.embed_images.conv1.weight.copy_(-old.weight)
    assert_same(reference.trace(asked, ALL), fast.trace(asked, ALL))


def test_features_of_only_a_few_pictures_are_kept(
    made: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ofa_pictures, "_KEPT_PICTURES", 2)
    (_, fast) = engines(made())
    calls = counted(fast)
    plain = [Image.new("RGB", (40, 40), (shade, 0, 0)) for shade in range(5)]
    fast.trace([Query(p, "a dog runs") for p in plain])
    assert calls["resnet"] == 5
    assert fast._engine is not None
    assert len(fast._engine._pictures._known) == 2
    fast.trace([Query(plain[4], "a dog runs"), Query(plain[0], "a dog runs")])
    assert calls["resnet"] == 6


def test_relevance_is_that_of_the_reference_engine(
    made: Callable[..., Path], pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    reference, fast = engines(made())
    passed = captures(monkeypatch)
    specs = [MapSpec.parse(f"relevance{more}") for more in ("", " variant=paper start_layer=2")]
    need = need_of(specs, METHODS) | {ANSWER}
    query = questions(pictures, None)[:1]
    ((one,), (other,)) = (model.trace(query, need) for model in (reference, fast))
    for part in ("encoder", "decoder", "cross"):
        np.testing.assert_array_equal(*(getattr(c.relevances["mean"], part) for c in passed))
    for spec in specs:
        np.testing.assert_array_equal(read_map(one, spec), read_map(other, spec))


def test_bfloat16_gives_the_labels_of_float32_and_probabilities_near_them(
    made: Callable[..., Path], pictures: list[Image.Image]
) -> None:
    folder = made(network={"init_std": 0.1})
    exact, rough = (
        OFAVisualEntailment(resolve(str(folder)), "cpu", dtype, engine="fast")
        for dtype in ("float32", "bfloat16")
    )
    asked = questions(pictures, None)
    for one, other in zip(exact.trace(asked, ALL), rough.trace(asked, ALL), strict=True):
        assert other.label == one.label
        assert other.probabilities == pytest.approx(one.probabilities, abs=0.02)
        for spec in MAPS:
            assert np.abs(read_map(other, spec) - read_map(one, spec)).max() < 0.01


def test_a_network_that_the_fast_engine_does_not_know_runs_as_the_reference() -> None:
    class Config:
        use_image_feature, use_ofasys = True, True

    assert not ofa_fast.FastOFA.supports(Config())


@pytest.mark.parametrize(
    "path",
    ["encoder.layers.1", "decoder.layers.0", "encoder.layers.0.self_attn",
     "decoder.layers.1.cross_attn.attn_dropout"],
)  # fmt: skip
def test_a_hook_on_what_the_fast_engine_does_not_call_is_run_while_it_is_there(
    made: Callable[..., Path], pictures: list[Image.Image], path: str
) -> None:
    (_, fast) = engines(made())
    calls: list[str] = []
    module = fast.torch_model.get_submodule(path)
    handle = module.register_forward_hook(lambda *_: calls.append(path))
    fast.trace(questions(pictures, None))
    assert calls
    handle.remove()
    calls.clear()
    fast.trace(questions(pictures, None))
    assert not calls


def test_an_engine_that_does_not_exist_is_refused_with_those_that_do(
    made: Callable[..., Path],
) -> None:
    with pytest.raises(ModelError, match="'quick' is not known: choose from fast, reference"):
        load_model(str(made()), engine="quick")


def test_the_fingerprint_names_the_engine_and_the_digest_does_not_depend_on_it(
    made: Callable[..., Path],
) -> None:
    one, other = (model.fingerprint for model in engines(made()))
    assert (one.engine, other.engine) == ("reference", "fast")
    assert one.digest == other.digest
