"""What a checkpoint folder says of itself is read strictly: one message that names file and key."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from audit import load_model
from audit.base.errors import ModelError
from audit.commands import main as cli
from audit.models.ofa.description import check_vocabulary, described
from audit.models.protocol import Query
from audit.models.registry import known


def rewrite(path: Path, **changed: Any) -> None:
    """Other top-level values; those of ``model`` too, where the file has one."""
    data = json.loads(path.read_text())
    for key, value in changed.items():
        (data["model"] if key in data.get("model", {}) or key in OF_MODEL else data)[key] = value
    path.write_text(json.dumps(data))


OF_MODEL = ("prompt", "multimodal_type", "valid_batch_size", "seed", "imagenet_default")
NO_OBJECT = "it must be an object"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("model", None, f"the model is null; {NO_OBJECT}"),
        ("model", [], f"the model is []; {NO_OBJECT}"),
        ("task", 5, "the task is 5; it must be text"),
        ("multimodal_type", "mmspeech", "model.multimodal_type is 'mmspeech'; it must be"),
        ("language", "zh", "model.language is 'zh'; only 'en'"),
        ("answer2label", 5, "model.answer2label is 5; it must be text"),
        ("answer2label", "../../x", "model.answer2label is '../../x'; it must name a file inside"),
        ("answer2label", "/etc/passwd", "model.answer2label is '/etc/passwd'; it must name a file"),
        ("answer2label", "", "model.answer2label is ''; it names no answer file"),
        ("prompt", None, "model.prompt is null; it must be text"),
        ("prompt", "is {0} so?", "model.prompt is 'is {0} so?'; it has a brace that is not a slot"),
        ("prompt", "is {text} so?", "it has a brace that is not a slot"),
        ("prompt", "is {} so} ?", "it has a brace that is not a slot"),
        ("prompt", "is it so?", "has 0 slots"),
        ("prompt", "{} {} {}", "has 3 slots"),
        ("prompt", "\ud800 {}", "half a character"),
        ("patch_image_size", 0, "model.patch_image_size is 0; it must be 16 or more"),
        ("patch_image_size", -1, "it must be 16 or more"),
        ("patch_image_size", 10**9, "it must be 16384 or less"),
        ("patch_image_size", "480", "model.patch_image_size is '480'; it must be a whole number"),
        ("patch_image_size", 481, "it must be a multiple of 16"),
        ("patch_image_size", 272, "has positions for 256 pixels at most (image_bucket_size 16"),
        ("max_src_length", 0, "it must be 1 or more"),
        ("max_src_length", 5000, "the model has positions for 1022 tokens"),
        ("gen_type", "beam", "it must be 'generation' or 'traverse'"),
        ("beam_search", {"beam_sise": 3}, "beam_sise is not known to modelscope; did you mean"),
        ("beam_search", None, NO_OBJECT),
        ("beam_search", {"constraint_range": "x"},
         "model.beam_search.constraint_range is 'x'; it must be two numbers"),
        ("beam_search", {"constraint_range": "9,4"}, "the smaller first"),
        ("answer2label", "answers.json/", "it ends like a folder"),
        ("answer2label", "answers.json/.", "it ends like a folder"),
        ("valid_batch_size", 0, "it must be 1 or more"),
        ("seed", -1, "it must be 0 or more"),
        ("dataset", {"column_map": {"text": "caption"}}, "renames 'text'"),
    ],
)  # fmt: skip
def test_a_wrong_value_in_configuration_json_is_refused_by_its_key(
    folder: Path, key: str, value: Any, said: str
) -> None:
    rewrite(folder / "configuration.json", **{key: value})
    with pytest.raises(ModelError, match=rf"configuration\.json: .*{re.escape(said)}"):
        load_model(str(folder))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("model_type", "mmspeech", "model_type is 'mmspeech'; only 'ofa'"),
        ("encoder_layers", 10**9, "encoder_layers is 1000000000; pytorch_model.bin has 2"),
        ("decoder_layers", 1, "decoder_layers is 1; pytorch_model.bin has 2"),
        ("d_model", -3, "d_model is -3; it must be 1 or more"),
        ("d_model", 64, "d_model is 64, so encoder.layer_norm.weight should have 64"),
        ("d_model", 10**30, "d_model is 1000000000000000000000000000000; it must be"),
        ("vocab_size", 10**9, "vocab_size is 1000000000, so"),
        ("image_bucket_size", 10**6, "image_bucket_size is 1000000, so"),
        ("code_image_size", 10**6, "code_image_size is 1000000, so"),
        ("encoder_attention_heads", 5, "which does not divide d_model (32)"),
        ("encoder_ffn_dim", 65, "encoder_ffn_dim is 65, so"),
        ("max_position_embeddings", 512, "max_position_embeddings is 512, so"),
        ("token_bucket_size", 10, "token_bucket_size is 10, so"),
        ("num_labels", 10**9, "num_labels is 1000000000; it must be 10000 or less"),
        ("attn_scale_factor", 0, "attn_scale_factor is 0; it must be more than 0"),
        ("activation_function", "geluu", "activation_function is 'geluu'; did you mean 'gelu'?"),
        ("normformer", "false", "normformer is 'false'; it must be true or false"),
        ("use_image_feature", False, "a model without pictures"),
        ("resnet_model_path", "resnet.pth", "resnet_model_path is 'resnet.pth': it loads"),
        ("transformers_weights", "old.safetensors", "transformers_weights is 'old.safetensors'"),
        ("configuration_files", ["config.4.0.0.json"], "configuration_files is"),
        ("quantization_config", {"load_in_8bit": True}, "quantization_config is"),
        ("auto_map", {"AutoModel": "mine.Model"}, "auto_map is"),
        ("attn_implementation", "someone/kernels", "attn_implementation is"),
        ("pruned_heads", {"0": [1]}, "pruned_heads is"),
        ("id2label", 5, "config.json: id2label is 5; it must be an object"),
        ("id2label", {"a": "b"}, "id2label is {'a': 'b'}; its keys must be numbers, but 'a' is"),
        ("label2id", 5, "config.json: label2id is 5; it must be an object"),
        ("attribute_map", {"d_model": "vocab_size"}, "config.json: attribute_map is {'d_model'"),
        ("attribute_map", 5, "config.json: attribute_map is 5: it gives settings other names"),
        ("attribute_map", None, "config.json: attribute_map is null, which transformers cannot"),
        ("base_model_tp_plan", 5, "config.json: base_model_tp_plan is 5, which transformers"),
        ("dtype", "x", "config.json: dtype is 'x'; it must be 'float16', 'bfloat16'"),
        ("torch_dtype", 5, "config.json: torch_dtype is 5; it must be 'float16', 'bfloat16'"),
        ("problem_type", "x", "config.json: problem_type is 'x'; it must be 'regression'"),
        ("architectures", 5, "config.json: architectures is 5; it must be a list"),
        ("hidden_size", 64, "hidden_size is 64, but d_model, another name for it, is 32"),
        ("pad_token_id", 7, "<pad> has the number 1; config.json's pad_token_id is 7"),
    ],
)
def test_a_wrong_value_in_config_json_is_refused_by_its_key_before_anything_is_built(
    folder: Path, key: str, value: Any, said: str
) -> None:
    rewrite(folder / "config.json", **{key: value})
    with pytest.raises(ModelError, match=re.escape(said)):
        load_model(str(folder))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not JSON: Expecting value; the file is empty"),
        (b'{"no": 0,\n "yes" 1}', "line 2, column 8: not JSON"),
        (b'\xef\xbb\xbf{"no": 0, "yes": 1}', "byte order mark"),
        (b'{"no": 0,\n "\xe9": 1}', "line 2: not UTF-8"),
        (b'{"no": 0, "yes": NaN}', "NaN is not a number"),
        (b'{"no": 0, "yes": 1e999}', "1e999 is not a number"),
        (b'{"no": 0, "yes": 1, "no": 2}', "the key 'no' occurs twice"),
        (b'{"no": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"no": ' + b"9" * 5000 + b"}", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"no": 0}', "fewer than two answers"),
        (b'{"no": 0, "": 1}', "'' cannot be an answer"),
        (b'{"no": 0, " yes": 1}', "' yes' cannot be an answer"),
        (b'{"no": 0, "y\\u001b[2Jes": 1}', "characters that cannot be printed"),
        (b'{"no": 0, "\\ud800": 1}', "characters that cannot be printed"),
        (b'{"no": 0, "yes": "1"}', "'yes' has the number '1'"),
        (b'{"no": 0, "yes": 1, "Yes": 2}', "'yes' and 'Yes' are the same answer"),
    ],
)
def test_an_answer_file_is_read_strictly(folder: Path, content: bytes, said: str) -> None:
    (folder / "answers.json").write_bytes(content)
    with pytest.raises(ModelError, match=rf"answers\.json.*{re.escape(said)}"):
        load_model(str(folder))


def numbered(*answers: str) -> bytes:
    return json.dumps({answer: n for n, answer in enumerate(answers)}).encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (numbered("ab" * 20_000, "yes"),
         f"the answer '{'ab' * 20}'… has 40,000 letters (bytes); an answer may have at most 100"),
        (numbered("yes", "\u2713" * 34),
         "✓'… has 102 letters (bytes); an answer may have at most 100"),
        (numbered(*(f"a{n}" for n in range(8000))), "has 8,000 answers; a model with more than"),
        (numbered(*(f"{n:02}" * 50 for n in range(10, 40))),
         "the answers have 2,100 letters (bytes); all together may have at most 2,000"),
    ],
)  # fmt: skip
def test_answers_that_would_stall_the_tokenizer_are_refused_before_it_is_asked(
    folder: Path, content: bytes, said: str
) -> None:
    (folder / "answers.json").write_bytes(content)
    with pytest.raises(ModelError, match=rf"answers\.json: .*{re.escape(said)}"):
        described(folder)


@pytest.mark.slow
def test_a_key_that_is_twice_among_very_many_is_found_at_once(folder: Path) -> None:
    """Comparing each with each took minutes."""
    tokens = json.dumps({f"t{n}": n for n in range(300_000)})
    (folder / "vocab.json").write_text(tokens[:-1] + ', "t299999": 0}')
    started = time.perf_counter()
    with pytest.raises(ModelError, match=r"vocab\.json: the key 't299999' occurs twice"):
        check_vocabulary(described(folder))
    assert time.perf_counter() - started < 10


@pytest.mark.parametrize("name", ["configuration.json", "config.json", "answers.json",
                                  "vocab.json", "merges.txt", "pytorch_model.bin"])  # fmt: skip
@pytest.mark.parametrize("kind", ["a named pipe", "a folder", "a device", "which is not there"])
def test_what_is_no_file_is_refused_at_once(folder: Path, name: str, kind: str) -> None:
    path = folder / name
    path.unlink()
    match kind:
        case "a named pipe":
            os.mkfifo(path)
        case "a folder":
            path.mkdir()
        case "a device":
            path.symlink_to("/dev/zero")
        case _:
            path.symlink_to(folder / "moved away")
    with pytest.raises(ModelError, match=rf"{name}: .*{kind}"):
        load_model(str(folder))


def test_a_folder_of_links_is_loaded(whole: Path, tmp_path: Path) -> None:
    """Hugging Face's cache: names that lead to blobs outside of the folder."""
    for path in whole.iterdir():
        blob = tmp_path / "blobs" / path.stem
        blob.parent.mkdir(exist_ok=True)
        shutil.copy(path, blob)
        (tmp_path / "snapshot").mkdir(exist_ok=True)
        (tmp_path / "snapshot" / path.name).symlink_to(Path("..", "blobs", path.stem))
    model = load_model(str(tmp_path / "snapshot"), device="cpu")
    (trace,) = model.trace([Query(Image.new("RGB", (64, 64)), "a dog runs")])
    assert set(trace.probabilities) == {"no", "yes", "maybe"}


def test_half_a_vocabulary_is_refused(folder: Path) -> None:
    path = folder / "vocab.json"
    tokens = json.loads(path.read_text())
    half = {t: n for t, n in tokens.items() if n < len(tokens) // 2}
    path.write_text(json.dumps(half))
    with pytest.raises(ModelError, match=r"vocab\.json: with what modelscope adds .* Is it cut"):
        load_model(str(folder))


def test_a_vocabulary_with_holes_or_without_a_mark_is_refused(folder: Path) -> None:
    path = folder / "vocab.json"
    tokens = json.loads(path.read_text())
    path.write_text(json.dumps({t: n for t, n in tokens.items() if n != 100}))
    with pytest.raises(ModelError, match=r"vocab\.json: 339 tokens whose numbers are not 0 to 338"):
        load_model(str(folder))
    renamed = {"<begin>" if t == "<s>" else t: n for t, n in tokens.items()}
    path.write_text(json.dumps(renamed))
    with pytest.raises(ModelError, match=r"vocab\.json: <s> has the number none"):
        load_model(str(folder))


def test_merges_that_were_cut_are_refused(folder: Path) -> None:
    """The same text would become other tokens than the model was trained on."""
    path = folder / "merges.txt"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[: len(lines) // 2]))
    with pytest.raises(ModelError, match=r"merges\.txt: no merge makes \d+ of vocab\.json's 340"):
        load_model(str(folder))
    path.write_text("".join(lines[:-1]) + lines[-1].split()[0] + "\n")
    with pytest.raises(ModelError, match=rf"merges\.txt, line {len(lines)}: not two tokens"):
        load_model(str(folder))


@pytest.mark.parametrize("key", ["vocab_file", "merges_file", "init_inputs"])
def test_a_tokenizer_that_reads_other_files_is_refused(folder: Path, key: str) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps({key: "/elsewhere/vocab.json"}))
    with pytest.raises(ModelError, match=rf"tokenizer_config\.json: {key} is .* another file"):
        load_model(str(folder))


def test_an_adapter_beside_the_weights_is_refused(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/else"}')
    with pytest.raises(ModelError, match=r"adapter_config\.json: names another model"):
        load_model(str(folder))


def test_the_same_reader_tells_the_command_line_and_the_page(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert known(str(folder)).labels == ("no", "yes", "maybe")
    rewrite(folder / "configuration.json", answer2label="../../x")
    with pytest.raises(ModelError, match=r"configuration\.json: model\.answer2label"):
        known(str(folder))
    monkeypatch.setattr(sys, "argv", ["audit", "model", str(folder)])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    said = capsys.readouterr().err
    assert "configuration.json: model.answer2label" in said.replace("\n", "")
    assert "Traceback" not in said
