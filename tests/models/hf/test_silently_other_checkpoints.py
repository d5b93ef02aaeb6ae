"""What would silently be another model, or be identified as one that it is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import Tensor

from audit.base.errors import ModelError
from audit.models.hf.prompts import Prompter
from audit.models.protocol import Query
from audit.models.registry import load_model

Copy = Callable[[str], Path]
QUERY = Query(Image.new("RGB", (64, 48), "navy"), "two birds")


def load(folder: Path, **options: Any) -> Any:
    return load_model(f"hf:{folder}", device="cpu", **options)


def refusal(folder: Path, **options: Any) -> str:
    with pytest.raises(ModelError) as refused:
        load(folder, **options)
    return str(refused.value)


def write(weights: dict[str, Tensor], path: Path) -> None:
    save_file(weights, path, metadata={"format": "pt"})


def in_two(folder: Path) -> tuple[dict[str, Tensor], Path, Path]:
    """The weights in two files with an index; those of the first, its path, and the index's."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names, where = sorted(weights), {}
    halves = names[: len(names) // 2], names[len(names) // 2 :]
    for number, half in enumerate(halves, 1):
        path = folder / f"model-0000{number}-of-00002.safetensors"
        write({name: weights[name] for name in half}, path)
        where |= dict.fromkeys(half, path.name)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": where}))
    first = folder / "model-00001-of-00002.safetensors"
    return {name: weights[name] for name in halves[0]}, first, index


def test_the_fingerprint_is_of_the_weights_that_are_loaded_and_of_no_file_beside_them(
    copy: Copy,
) -> None:
    folder = copy("llava")
    weights = load_file(folder / "model.safetensors")
    alone = load(folder).fingerprint.weights
    write({name: 2 * value for name, value in weights.items()}, folder / "old.safetensors")
    write({"scale": torch.zeros(2, dtype=torch.int8)}, folder / "quantised.safetensors")
    assert load(folder).fingerprint.weights == alone
    write({name: 0.7 * value for name, value in weights.items()}, folder / "model.safetensors")
    assert load(folder).fingerprint.weights != alone


def test_the_fingerprint_of_pickled_weights_is_of_those_that_are_loaded(copy: Copy) -> None:
    folder = copy("llava")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    alone = load(folder).fingerprint.weights
    old = {name: 2 * value for name, value in weights.items()}
    torch.save(old, folder / "pytorch_model_old.bin")
    assert load(folder).fingerprint.weights == alone


def test_how_weights_are_divided_into_files_does_not_change_the_fingerprint(copy: Copy) -> None:
    folder = copy("llava")
    alone = load(folder).fingerprint.weights
    in_two(folder)
    assert load(folder).fingerprint.weights == alone


def test_an_index_that_names_a_weight_which_no_file_holds_is_refused(copy: Copy) -> None:
    folder = copy("llava")
    first, path, index = in_two(folder)
    name = next(name for name in first if "q_proj.weight" in name)
    write({other: value for other, value in first.items() if other != name}, path)
    assert refusal(folder) == f"{index}: names weights that none of its files holds (1): {name}"


@pytest.mark.parametrize("written", ["{", "[]", '{"weight_map": {"x": "../model.safetensors"}}'])
def test_a_broken_index_is_told_as_one(written: str, copy: Copy) -> None:
    folder = copy("llava")
    _, _, index = in_two(folder)
    index.write_text(written)
    assert refusal(folder).startswith(f"{index}: ")


def test_a_file_of_weights_that_is_cut_off_is_named(copy: Copy) -> None:
    folder = copy("llava")
    _, path, _ = in_two(folder)
    path.write_bytes(path.read_bytes()[:-1000])
    assert refusal(folder).startswith(f"{path}: cannot be read: ")


def test_an_adapter_beside_the_weights_is_refused_since_it_is_not_applied(copy: Copy) -> None:
    folder = copy("llava")
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    assert "has an adapter (such as LoRA), which is not applied" in refusal(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_no_number_is_named_when_the_model_is_loaded(
    value: float, copy: Copy
) -> None:
    folder = copy("smolvlm")
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if "q_proj.weight" in name)
    weights[name][0, 0] = value
    write(weights, folder / "model.safetensors")
    assert f"the tensor {name} holds NaN or infinity" in refusal(folder)


@pytest.mark.parametrize("family", ["qwen2_5_vl", "smolvlm", "llava"])
def test_two_different_tensors_of_which_the_configuration_makes_one_are_refused(
    family: str, copy: Copy
) -> None:
    folder = copy(family)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["tie_word_embeddings"] = config["text_config"]["tie_word_embeddings"] = True
    path.write_text(json.dumps(config))
    weights = load_file(folder / "model.safetensors")
    head = next(name for name in weights if name.endswith("lm_head.weight"))
    words = next(name for name in weights if name.endswith("embed_tokens.weight"))
    assert not torch.equal(weights[head], weights[words])
    if int(transformers.__version__.split(".")[0]) < 5:
        assert f"its files hold {head} and {words}, which differ" in refusal(folder)
    else:  # which keeps both
        network = load(folder).torch_model
        assert torch.equal(network.get_output_embeddings().weight, weights[head])
    weights[head] = weights[words].clone()
    write(weights, folder / "model.safetensors")
    load(folder)


def test_an_older_tokenizers_vocabulary_is_part_of_the_fingerprint(copy: Copy) -> None:
    folder = copy("blip")
    path = folder / "tokenizer.json"
    vocabulary = Tokenizer.from_file(str(path)).get_vocab()
    path.unlink()
    words = sorted(vocabulary, key=vocabulary.__getitem__)
    (folder / "vocab.txt").write_text("\n".join(words))
    before = load(folder).fingerprint.tokenizer
    words[20], words[25] = words[25], words[20]
    (folder / "vocab.txt").write_text("\n".join(words))
    assert load(folder).fingerprint.tokenizer != before


def test_a_chat_template_that_leaves_the_system_message_out_is_refused(copy: Copy) -> None:
    folder = copy("llava")
    path = folder / "chat_template.jinja"
    path.write_text(
        path.read_text().replace(
            "{% for m in messages %}", "{% for m in messages if m['role'] != 'system' %}"
        )
    )
    load(folder)
    asking = folder / "asking.yaml"
    asking.write_text("system: Be strict.\n")
    assert refusal(folder, asking=str(asking)) == (
        f"{asking}:1:1: system: the model's chat template leaves the system message out: write it "
        "into the question"
    )


def test_of_several_chat_templates_the_default_one_is_used(copy: Copy) -> None:
    folder = copy("llava")
    before = load(folder).prompt(QUERY).text
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "rag.jinja").write_text("rag {{ messages }}")
    assert load(folder).prompt(QUERY).text == before


def test_a_tokenizer_that_ends_every_text_is_refused(copy: Copy) -> None:
    folder = copy("qwen2_5_vl")
    path = folder / "tokenizer.json"
    words = Tokenizer.from_file(str(path))
    end = "<|im_end|>"
    words.post_processor = processors.TemplateProcessing(
        single=f"$A {end}", special_tokens=[(end, words.token_to_id(end))]
    )
    words.save(str(path))
    assert f"writes '{end}' behind every text" in refusal(folder)


@pytest.mark.parametrize("family", ["llava", "smolvlm", "gemma3", "paligemma", "florence2", "blip"])
@pytest.mark.parametrize("height", [1, 3, 4])
def test_a_low_picture_is_not_taken_for_channels(height: int, family: str, copy: Copy) -> None:
    low, high = (Image.new("RGB", (60 * n, height * n), (250, 90, 10)) for n in (1, 5))
    model = load(copy(family))
    given = model.pair if family == "blip" else model.prompt
    seen, meant = (given(Query(each, "a")).inputs["pixel_values"] for each in (low, high))
    assert seen.shape == meant.shape
    torch.testing.assert_close(seen, meant, atol=1e-5, rtol=0)


def test_an_answer_behind_a_space_is_spelled_without_a_second_one() -> None:
    """Llama's tokenizers write a space before a text that stands alone."""
    pieces = ["<unk>", "▁", "▁Q", ":", "▁Yes", "Yes", "\n"]
    made = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], unk_id=0))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    made.decoder = decoders.Metaspace(prepend_scheme="always", split=False)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>")
    before = tokenizer("Q: ")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(before) == ["▁Q", ":", "▁"]
    assert tokenizer.convert_ids_to_tokens(tokenizer("Q: Yes")["input_ids"])[-1] == "▁Yes"
    prompter = Prompter.__new__(Prompter)
    prompter._tokenizer = tokenizer
    found = prompter._alone(before, "Yes")
    assert tokenizer.convert_ids_to_tokens(list(found)) == ["Yes"]
    assert prompter._alone(before, "Maybe") == ()
