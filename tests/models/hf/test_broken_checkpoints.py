"""A checkpoint that is damaged or incomplete is refused with what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from audit.base.errors import ModelError
from audit.base.extras import lacking
from audit.models.protocol import Query
from audit.models.registry import load_model

Copy = Callable[[str], Path]


def load(folder: Path) -> Any:
    return load_model(f"hf:{folder}", device="cpu")


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as refused:
        load(folder)
    return str(refused.value)


def reweigh(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def q_proj(weights: dict[str, Tensor]) -> str:
    return next(name for name in weights if "q_proj.weight" in name)


def test_a_weight_that_is_missing_is_not_made_up(copy: Copy) -> None:
    folder = copy("llava")
    reweigh(folder, lambda weights: weights.pop(q_proj(weights)))
    assert "weights are not in its files" in refusal(folder)


@pytest.mark.parametrize("family", ["smolvlm", "florence2", "blip"])
def test_weights_that_the_model_would_not_use_are_refused(family: str, copy: Copy) -> None:
    folder = copy(family)
    extra = {f"extra.{number}.weight": torch.zeros(2) for number in range(5)}
    reweigh(folder, lambda weights: weights.update(extra))
    told = refusal(folder)
    assert "have no place in the model that config.json describes" in told
    assert told.endswith("(5): extra.0.weight, extra.1.weight, extra.2.weight, …")


def test_a_configuration_of_fewer_layers_than_there_are_is_refused(copy: Copy) -> None:
    folder = copy("qwen2_5_vl")
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for part in (config, config.get("text_config", config)):
        if "num_hidden_layers" in part:
            part["num_hidden_layers"] = 1
        if "layer_types" in part:
            part["layer_types"] = part["layer_types"][:1]
    path.write_text(json.dumps(config))
    assert "layers.1." in refusal(folder)


def test_constants_that_older_checkpoints_hold_do_no_harm(copy: Copy) -> None:
    folder = copy("smolvlm")
    query = Query(Image.new("RGB", (64, 48), "navy"), "two birds")
    before = load(folder).trace([query])[0].probabilities
    constants = {
        "model.vision_model.old.position_ids": torch.arange(4)[None],
        "model.text_model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4),
    }
    reweigh(folder, lambda weights: weights.update(constants))
    assert load(folder).trace([query])[0].probabilities == pytest.approx(before, abs=1e-6)


def test_a_weight_of_another_size_is_named(copy: Copy) -> None:
    folder, name = copy("smolvlm"), ""

    def cut(weights: dict[str, Tensor]) -> None:
        nonlocal name
        name = q_proj(weights)
        weights[name] = weights[name][:1].clone()

    reweigh(folder, cut)
    told = refusal(folder)
    assert "another size than config.json says" in told
    assert name.removeprefix("model.") in told


def test_a_weight_of_whole_numbers_is_named(copy: Copy) -> None:
    folder, name = copy("smolvlm"), ""

    def rounded(weights: dict[str, Tensor]) -> None:
        nonlocal name
        name = q_proj(weights)
        weights[name] = weights[name].to(torch.int8)

    reweigh(folder, rounded)
    assert f"the tensor {name} holds whole numbers (I8)" in refusal(folder)


@pytest.mark.parametrize("family", ["smolvlm", "qwen2_5_vl", "florence2", "siglip"])
@pytest.mark.parametrize(
    ("gone", "missing"),
    [
        (("preprocessor_config.json",), "there is no preprocessor_config.json"),
        (("preprocessor_config.json", "processor_config.json"), "no preprocessor_config.json"),
        (
            ("tokenizer.json", "vocab.json", "tokenizer.model", "spiece.model", "vocab.txt"),
            "there is no tokenizer.json",
        ),
    ],
)
def test_a_file_that_the_processor_needs_is_named_if_it_is_missing(
    family: str, gone: tuple[str, ...], missing: str, copy: Copy
) -> None:
    folder = copy(family)
    if not (folder / "preprocessor_config.json").exists() and len(gone) == 1:
        pytest.skip("this transformers writes how pictures are prepared into processor_config.json")
    for name in gone:
        (folder / name).unlink(missing_ok=True)
    asking = {"asking": threshold(folder)} if family == "siglip" else {}
    with pytest.raises(ModelError, match=missing):
        load_model(f"hf:{folder}", device="cpu", **asking)


def threshold(folder: Path) -> Path:
    path = folder.parent / "asking.yaml"
    path.write_text("threshold: 0.5\n")
    return path


def test_a_chat_template_that_is_no_template_is_named(copy: Copy) -> None:
    folder = copy("smolvlm")
    (folder / "chat_template.jinja").write_text("{% for %}")
    assert f"{folder}: the chat template in chat_template.jinja cannot be used" in refusal(folder)


@pytest.mark.parametrize("key", ["system", "question", "question_with_premise", "generic"])
def test_a_mark_of_the_models_own_is_refused_in_the_asking_file(key: str, copy: Copy) -> None:
    said = {"question": "{text}", "question_with_premise": "{text} {premise}"}.get(key, "")
    path = copy("smolvlm").parent / "asking.yaml"
    path.write_text(f"{key}: 'A <image> {said}'\n")
    with pytest.raises(
        ModelError, match=f":1:1: {key}: {key} of the asking file has '<image>', which the mo"
    ):
        load_model(f"hf:{path.parent / 'smolvlm'}", device="cpu", asking=path)


def test_a_mark_of_a_matchers_own_is_refused_in_the_asking_file(copy: Copy) -> None:
    folder = copy("blip")
    path = folder.parent / "asking.yaml"
    path.write_text("text: '[SEP] {text}'\n")
    with pytest.raises(ModelError, match=r"text of the asking file has '\[SEP\]'"):
        load_model(f"hf:{folder}", device="cpu", asking=path)


def test_no_model_is_named_by_the_scheme_alone() -> None:
    for source in ("hf:", "hf: "):
        with pytest.raises(ModelError, match="names no model; write hf:FOLDER"):
            load_model(source)


def test_a_folder_of_hugging_face_without_its_scheme_is_told_how_to_be_written(
    tmp_path: Path,
) -> None:
    if lacking("ofa"):
        pytest.skip("a folder without a scheme is one of OFA's, which needs transformers 4")
    (tmp_path / "config.json").write_text('{"model_type": "smolvlm"}')
    with pytest.raises(ModelError, match=f"no configuration.json; .* write hf:{tmp_path}"):
        load_model(str(tmp_path))


def test_a_folder_that_is_mistyped_is_told_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError) as refused:
        load_model("hf:models/smolvm")
    told = str(refused.value)
    assert "there is no folder models/smolvm; as an id it is not in Hugging Face's cache" in told
    assert "could not be downloaded: HF_HUB_OFFLINE forbids it. On a machine" in told


def test_an_answer_that_begins_as_anothers_is_told_with_its_line(copy: Copy) -> None:
    folder = copy("smolvlm")
    path = folder.parent / "asking.yaml"
    path.write_text("answers:\n  yes: [No way]\n  no: [No]\n")
    with pytest.raises(ModelError) as refused:
        load_model(f"hf:{folder}", device="cpu", asking=path)
    told = str(refused.value)
    assert told.startswith(f"{path}:3:")
    assert "'No' of 'no' begins as an answer of 'yes' does ('No way')" in told


def test_a_mapping_is_no_asking_file(copy: Copy) -> None:
    with pytest.raises(ModelError, match="a dict is no path"):
        load_model(f"hf:{copy('smolvlm')}", device="cpu", asking={"question": "{text}"})
