"""The OFA adapter answers as modelscope's pipeline does, and refuses what it cannot audit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from audit import load_model
from audit.base.errors import ModelError
from audit.maps.trace import ANSWER
from audit.models.ofa.loaders import resolve
from audit.models.ofa.standins import stand_ins
from audit.models.protocol import Query
from tests.checkpoints import make_checkpoint
from tests.passes import captures

LONG = "two birds are on the branch and a dog runs on the grass and a cat sleeps"
MULTI = ("no", "yes", "it is not possible")


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "noise.png"
    noise = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((300, 200)).save(path)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Checkpoints by kind of answers and generation type, each made once."""
    root = tmp_path_factory.mktemp("checkpoints")

    def make(answers: str, gen_type: str) -> Path:
        folder = root / f"{answers}-{gen_type}"
        if not folder.exists():
            choices = MULTI if answers == "multi" else ("no", "yes", "maybe")
            make_checkpoint(folder, gen_type=gen_type, answers=choices, seed=3)
        return folder

    return make


@pytest.fixture(scope="module")
def single(made: Callable[[str, str], Path]) -> Path:
    return made("single", "traverse")


every_kind = pytest.mark.parametrize(
    ("answers", "gen_type"),
    [
        ("single", "traverse"),
        ("single", "generation"),
        ("multi", "traverse"),
        pytest.param("multi", "generation", marks=pytest.mark.slow),
    ],
)


def pipeline_of(folder: Path) -> Callable[[dict[str, Any]], tuple[str, float]]:
    """What a user of modelscope gets from this checkpoint."""
    with stand_ins():
        from modelscope.pipelines import pipeline

        loaded = pipeline("visual-entailment", model=str(folder), device="cpu")

    def ask(data: dict[str, Any]) -> tuple[str, float]:
        result = loaded(data)
        label, score = result["labels"], result["scores"]
        return (
            label if isinstance(label, str) else label[0],
            score if isinstance(score, float) else score[0],
        )

    return ask


QUERIES = [
    ("there are two birds on a branch", None),
    (LONG, None),
    ("an animal sleeps", "a cat sleeps"),
    ("a dog runs", "a cat"),
]


@every_kind
def test_label_and_probability_are_those_of_the_pipeline(
    answers: str, gen_type: str, picture: Path, made: Callable[[str, str], Path]
) -> None:
    folder = made(answers, gen_type)
    model = load_model(str(folder), device="cpu")
    ask = pipeline_of(folder)
    for text, premise in QUERIES:
        data = {"image": str(picture), "text": text}
        if premise is not None:
            data["text2"] = premise
        label, score = ask(data)
        (trace,) = model.trace([Query(picture, text, premise)])
        assert trace.label == label
        if gen_type == "traverse":  # the other type's score is the constant 1.0
            assert trace.probabilities[label] == pytest.approx(score, abs=1e-5)
        assert sum(trace.probabilities.values()) == pytest.approx(1.0, abs=1e-5)


@every_kind
def test_a_batch_of_unequal_texts_over_one_picture_equals_single_calls(
    answers: str,
    gen_type: str,
    picture: Path,
    made: Callable[[str, str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = load_model(str(made(answers, gen_type)), device="cpu")
    queries = [Query(picture, text, premise) for text, premise in QUERIES]
    passed, need = captures(monkeypatch), frozenset({ANSWER})
    together = model.trace(queries, need)
    of_batch = passed.copy()
    for query, batched, ours in zip(queries, together, of_batch, strict=True):
        (alone,) = model.trace([query], need)
        assert batched.label == alone.label
        assert batched.tokens == alone.tokens
        assert batched.probabilities == pytest.approx(alone.probabilities, abs=1e-5)
        np.testing.assert_allclose(ours.cross, passed[-1].cross, atol=1e-5)
        for one, other in zip(batched.readings[ANSWER], alone.readings[ANSWER], strict=True):
            np.testing.assert_allclose(one, other, atol=2e-5)


def test_generation_probabilities_are_the_generators_own(
    tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The constrained log-probabilities that beam search sees at the answer are ours."""
    folder = make_checkpoint(tmp_path / "generation", gen_type="generation", seed=5)
    model = load_model(str(folder), device="cpu")
    (trace,) = model.trace([Query(picture, "a dog runs")])
    seen: list[torch.Tensor] = []
    with stand_ins():
        from modelscope.models.multi_modal.ofa.generate import sequence_generator as sg
    original = sg.EnsembleModel.forward_decoder

    def spy(self: Any, *args: Any, **kwargs: Any) -> Any:
        probabilities, attention = original(self, *args, **kwargs)
        seen.append(probabilities[0].clone())
        return probabilities, attention

    monkeypatch.setattr(sg.EnsembleModel, "forward_decoder", spy)
    pipeline_of(folder)({"image": str(picture), "text": "a dog runs"})
    vocabulary = json.loads((folder / "vocab.json").read_text())
    prompt_length = len(trace.tokens) - 1
    row = seen[prompt_length].exp()
    for label in ("no", "yes", "maybe"):
        token = vocabulary.get(f"Ġ{label}")
        if token is not None:
            assert trace.probabilities[label] == pytest.approx(row[token].item(), abs=1e-5)
    assert any(f"Ġ{label}" in vocabulary for label in ("no", "yes", "maybe"))


def test_an_answer_that_the_generator_blocks_is_an_error_that_says_why(
    picture: Path, made: Callable[[str, str], Path]
) -> None:
    """modelscope dies of an assertion when the hypothesis repeats an answer of several words."""
    model = load_model(str(made("multi", "generation")), device="cpu")
    with pytest.raises(ModelError, match="n-gram blocking"):
        model.trace([Query(picture, "it is not possible that a dog runs on the grass")])


def test_attention_rows_are_the_models_own(
    single: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The captured rows equal what ``output_attentions=True`` gives at the answer's position."""
    model: Any = load_model(str(single), device="cpu", engine="reference")
    text = "there are two birds on a branch"
    of_heads = [ANSWER._replace(heads=(head,)) for head in (1, 2)]
    passed = captures(monkeypatch)
    (trace,) = model.trace([Query(picture, text)], frozenset({ANSWER, *of_heads}))
    sample = model._samples([Query(picture, text)])[0]
    prompt = model._answering.prompt(sample)
    with torch.no_grad():
        out = model.torch_model(
            input_ids=sample["source"][None],
            patch_images=sample["patch_image"][None],
            patch_masks=torch.tensor([True]),
            decoder_input_ids=torch.tensor([prompt]),
            output_attentions=True,
        )
    expected = torch.stack([layer[0, :, -1] for layer in out.cross_attentions]).numpy()
    (captured,) = passed
    np.testing.assert_allclose(captured.cross, expected, atol=1e-6)
    np.testing.assert_allclose(captured.cross.sum(-1), 1.0, atol=1e-5)
    assert trace.grid == (4, 4)
    for head, key in enumerate(of_heads):
        reading, rows = trace.readings[key], expected[:, head]
        np.testing.assert_allclose(reading.cells.reshape(2, 16), rows[:, :16], atol=1e-6)
        np.testing.assert_allclose(reading.share, rows[:, :16].sum(-1), atol=1e-5)
    mean = expected.mean(axis=1)
    np.testing.assert_allclose(trace.readings[ANSWER].cells.reshape(2, 16), mean[:, :16], atol=1e-6)


def test_tracing_leaves_nothing_behind(single: Path, picture: Path) -> None:
    model: Any = load_model(str(single), device="cpu", engine="reference")
    model.trace([Query(picture, "a dog runs")])
    hooks = [m for m in model.torch_model.modules() if m._forward_hooks or m._forward_pre_hooks]
    assert hooks == []
    assert not model.torch_model.training
    assert all(p.grad is None for p in model.torch_model.parameters())


def test_loading_does_not_touch_the_global_random_state(single: Path) -> None:
    torch.manual_seed(11)
    np.random.seed(11)
    expected = torch.rand(1).item(), np.random.rand()
    torch.manual_seed(11)
    np.random.seed(11)
    load_model(str(single), device="cpu")
    assert (torch.rand(1).item(), np.random.rand()) == expected


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": {"prompt_type": "none"}}, "prompt_type is 'none'"),
        ({"model": {"sample_patch_num": 4}}, "sample_patch_num"),
        ({"configuration": {"task": "image-captioning"}}, "the task is 'image-captioning'"),
        ({"model": {"type": "clip"}}, "model.type is 'clip'"),
        ({"model": {"answer2label": None}}, "answer2label"),
    ],
)
def test_unsupported_configurations_are_refused_by_name(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    folder = make_checkpoint(tmp_path / "odd", **changes)
    with pytest.raises(ModelError, match=said):
        load_model(str(folder))


def test_a_prompt_with_one_slot_is_refused_for_a_case_with_a_premise(
    tmp_path: Path, picture: Path
) -> None:
    folder = make_checkpoint(tmp_path / "one-slot", model={"prompt": ' is " {} " true?'})
    model = load_model(str(folder), device="cpu")
    (trace,) = model.trace([Query(picture, "a dog runs")])
    assert trace.prompt == ' is " a dog runs " true?'
    with pytest.raises(ModelError, match="drop the hypothesis"):
        model.trace([Query(picture, "a dog runs", "a premise")])


def test_too_short_generation_is_refused(tmp_path: Path, picture: Path) -> None:
    """modelscope itself would return an empty label."""
    settings = {"beam_search": {"beam_size": 3, "max_len_b": 4}}
    folder = make_checkpoint(tmp_path / "short", gen_type="generation", model=settings)
    model = load_model(str(folder), device="cpu")
    with pytest.raises(ModelError, match="empty label"):
        model.trace([Query(picture, "a dog runs")])


def test_a_half_loaded_checkpoint_is_refused(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "half")
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    del weights["decoder.layers.1.fc1.weight"]
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"lacks 1 .*decoder\.layers\.1\.fc1\.weight"):
        load_model(str(folder))


@pytest.mark.parametrize("kept", [0, 1000])
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_a_weight_file_that_was_not_copied_whole_is_told_by_name(
    tmp_path: Path, name: str, kept: int
) -> None:
    folder = make_checkpoint(tmp_path / "cut")
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    (folder / "pytorch_model.bin").unlink()
    if name == "model.safetensors":
        save_file({n: v.clone() for n, v in weights.items()}, folder / name)
    else:
        torch.save(weights, folder / name)
    (folder / name).write_bytes((folder / name).read_bytes()[:kept])
    with pytest.raises(ModelError, match=rf"{name}: the weights cannot be read; is the file dam"):
        load_model(str(folder))


def test_weights_in_torchs_older_format_are_loaded(tmp_path: Path, picture: Path) -> None:
    folder = make_checkpoint(tmp_path / "old")
    (new,) = load_model(str(folder), device="cpu").trace([Query(picture, "a dog runs")])
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    torch.save(weights, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    (old,) = load_model(str(folder), device="cpu").trace([Query(picture, "a dog runs")])
    assert old.probabilities == new.probabilities


def test_cuda_asked_for_and_absent_is_an_error(
    single: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match="no usable CUDA"):
        load_model(str(single), device="cuda")
    assert load_model(str(single), device="auto").fingerprint.device == "cpu"


@pytest.mark.parametrize("device", ["mps", "gpu", "tpu:0"])
def test_unknown_devices_are_refused(single: Path, device: str) -> None:
    with pytest.raises(ModelError, match="use auto, cpu, cuda"):
        load_model(str(single), device=device)


@pytest.mark.slow
def test_the_fingerprint_tells_models_apart_by_content_not_by_place(tmp_path: Path) -> None:
    one = make_checkpoint(tmp_path / "one")
    two = shutil.copytree(one, tmp_path / "two")
    other = make_checkpoint(tmp_path / "other", seed=1)
    first, second, third = (load_model(str(p)).fingerprint for p in (one, two, other))
    assert first.digest == second.digest
    assert first.weights != third.weights
    assert first.tokenizer == third.tokenizer
    (two / "answers.json").write_text('{"no": 0, "yes": 1}')
    assert load_model(str(two)).fingerprint.configuration != first.configuration


@pytest.mark.slow
def test_the_digest_does_not_depend_on_the_file_format(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    folder = make_checkpoint(tmp_path / "bin")
    before = load_model(str(folder)).fingerprint
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    alone = {name: value.clone() for name, value in weights.items()}
    save_file(alone, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "pytorch_model.bin").unlink()
    assert load_model(str(folder)).fingerprint.digest == before.digest


def test_bfloat16_runs_and_says_so(single: Path, picture: Path) -> None:
    model = load_model(str(single), device="cpu", dtype="bfloat16")
    (trace,) = model.trace([Query(picture, "a dog runs")])
    assert model.fingerprint.dtype == "bfloat16"
    assert sum(trace.probabilities.values()) == pytest.approx(1.0, abs=1e-3)
    with pytest.raises(ModelError, match="dtype 'int8'"):
        load_model(str(single), dtype="int8")


def test_an_id_resolves_from_modelscopes_cache_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path))
    snapshot = tmp_path / "models" / "iic--ofa_tiny" / "snapshots" / "v1.0"
    make_checkpoint(snapshot)
    found = resolve("iic/ofa_tiny@v1.0")
    assert found.folder.resolve() == snapshot.resolve()
    assert (found.name, found.revision) == ("iic--ofa_tiny", "v1.0")


def test_an_id_that_is_neither_cached_nor_reachable_says_how_to_fetch_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path))
    with stand_ins():
        import modelscope

    def offline(model_id: str, **_: Any) -> str:
        raise ConnectionError(f"no route to host for {model_id}")

    monkeypatch.setattr(modelscope, "snapshot_download", offline)
    with pytest.raises(ModelError, match=r"(?s)not in ModelScope's cache.*get\('iic/absent'"):
        resolve("iic/absent")


def test_a_source_that_is_nothing_is_an_error_that_says_what_is_accepted() -> None:
    with pytest.raises(ModelError, match="no such checkpoint folder"):
        resolve("./nowhere")


def test_stand_ins_step_aside_and_speak_up() -> None:
    with stand_ins():
        import decord
        import yaml
    assert yaml.__name__ == "yaml"
    with pytest.raises(RuntimeError, match=r"decord\.VideoReader was called, but decord"):
        decord.VideoReader("film.mp4")
    with pytest.raises(ModuleNotFoundError):
        import decord as gone  # noqa: F401
