"""The fingerprint of a checkpoint covers whatever decides an answer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from audit import load_model
from audit.base.errors import ModelError


@pytest.fixture(scope="module")
def before(whole: Path) -> str:
    return load_model(str(whole)).fingerprint.weights


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "ofa")


def change(folder: Path, name: str, how: Callable[[torch.Tensor], torch.Tensor]) -> None:
    path = folder / "pytorch_model.bin"
    weights = torch.load(path, weights_only=True)
    weights[name] = how(weights[name].clone())
    torch.save(weights, path)


@pytest.mark.parametrize(
    "name",
    [
        "decoder.image_position_idx",
        "encoder.embed_images.bn1.num_batches_tracked",
        "encoder.embed_images.bn1.running_var",
        "decoder.layers.1.fc2.bias",
    ],
)
def test_another_value_in_any_tensor_is_another_fingerprint(
    folder: Path, before: str, name: str
) -> None:
    def one_more(value: torch.Tensor) -> torch.Tensor:
        value.view(-1)[-1] += 1
        return value

    change(folder, name, one_more)
    assert load_model(str(folder)).fingerprint.weights != before


def test_zeroed_position_tables_are_another_fingerprint(folder: Path, before: str) -> None:
    change(folder, "encoder.token_rp_bucket", torch.zeros_like)
    assert load_model(str(folder)).fingerprint.weights != before


def test_every_tensor_of_the_model_is_hashed(whole: Path) -> None:
    from audit.models.ofa.checkpoint import checked
    from audit.models.ofa.loaders import resolve
    from audit.models.ofa.weights import tensors_of

    model = torch.nn.Module()
    kinds = (torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.int8, torch.bool)
    for kind in kinds:
        model.register_buffer(str(kind).replace(".", "_"), torch.ones(3).to(kind))
    model.register_buffer("scalar", torch.tensor(2))
    model.register_buffer("empty", torch.empty(0, 5))
    weights = checked(resolve(str(whole))).weights
    parts = list(tensors_of(model, weights))
    contents = {name: bytes(data) for name, data in zip(parts[::4], parts[3::4], strict=True)}
    assert set(contents) == set(model.state_dict())
    assert contents["torch_bfloat16"] == b"\x80\x3f" * 3  # 1.0 is 0x3f80
    assert contents["scalar"] == b"\x02" + bytes(7)
    assert contents["empty"] == b""


@pytest.mark.parametrize(
    ("value", "form"), [("nan", "bin"), ("inf", "safetensors"), ("-inf", "bin")]
)
def test_a_weight_that_is_no_number_is_refused_by_name(folder: Path, value: str, form: str) -> None:
    name, path = "decoder.layers.0.fc1.bias", folder / "pytorch_model.bin"
    change(folder, name, lambda bias: bias.index_fill(0, torch.tensor([5]), float(value)))
    if form == "safetensors":
        weights = torch.load(path, weights_only=True)
        save_file({n: v.clone() for n, v in weights.items()}, folder / "model.safetensors")
    file = "model.safetensors" if form == "safetensors" else "pytorch_model.bin"
    with pytest.raises(ModelError, match=rf"{file}: {name} holds NaN or infinity"):
        load_model(str(folder))


def test_files_that_change_the_tokens_are_part_of_the_fingerprint(
    folder: Path, whole: Path
) -> None:
    before = load_model(str(whole)).fingerprint
    (folder / "tokenizer_config.json").write_text(json.dumps({"add_prefix_space": True}))
    after = load_model(str(folder)).fingerprint
    assert (after.weights, after.configuration) == (before.weights, before.configuration)
    assert after.tokenizer != before.tokenizer
