"""Exactly the weight file that is loaded is checked, and all of it."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from audit import load_model
from audit.base.errors import ModelError, NotFinite
from audit.models.ofa.weights import CANDIDATES, chosen
from audit.models.protocol import Query

Weights = dict[str, torch.Tensor]
LOST = "decoder.layers.1.fc1.weight"


@pytest.fixture(scope="module")
def digest(whole: Path) -> str:
    return load_model(str(whole)).fingerprint.digest


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(whole, tmp_path / "ofa")


def weights_of(folder: Path) -> Weights:
    found: Weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    return found


def change(folder: Path, name: str, how: Callable[[torch.Tensor], torch.Tensor]) -> None:
    weights = weights_of(folder)
    weights[name] = how(weights[name])
    torch.save(weights, folder / "pytorch_model.bin")


def drop(folder: Path, name: str) -> None:
    weights = weights_of(folder)
    del weights[name]
    torch.save(weights, folder / "pytorch_model.bin")


def save_safely(weights: Weights, path: Path) -> None:
    save_file({n: v.clone() for n, v in weights.items()}, path, metadata={"format": "pt"})


def shard(folder: Path, *, safely: bool) -> Path:
    """Replace the folder's one file by an index and two shards; returns the index."""
    weights = weights_of(folder)
    (folder / "pytorch_model.bin").unlink()
    stem, end = ("model", "safetensors") if safely else ("pytorch_model", "bin")
    names, places = sorted(weights), {}
    for i, part in enumerate((names[: len(names) // 2], names[len(names) // 2 :]), 1):
        path = folder / f"{stem}-0000{i}-of-00002.{end}"
        held = {name: weights[name] for name in part}
        save_safely(held, path) if safely else torch.save(held, path)
        places |= dict.fromkeys(part, path.name)
    index = folder / f"{stem}.{end}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return index


def test_the_file_that_is_checked_is_the_one_that_transformers_loads(tmp_path: Path) -> None:
    """For every set of the four names, beside files of other names."""
    from transformers.modeling_utils import _get_resolved_checkpoint_files

    unasked: dict[str, Any] = dict.fromkeys(
        ["variant", "gguf_file", "use_safetensors", "cache_dir", "proxies", "token", "commit_hash"]
    )
    unasked |= dict.fromkeys(
        ["from_tf", "from_flax", "force_download", "local_files_only", "is_remote_code"], False
    )
    for number, there in enumerate(itertools.product([False, True], repeat=len(CANDIDATES))):
        folder = tmp_path / str(number)
        folder.mkdir()
        names = [n for n, is_there in zip(CANDIDATES, there, strict=True) if is_there]
        for name in [*names, "old.bin", "training_args.bin", "a.safetensors"]:
            (folder / name).write_text('{"metadata": {}, "weight_map": {"x": "the shard"}}')
        if not names:
            with pytest.raises(ModelError, match="no weight file"):
                chosen(folder)
            continue
        found, _ = _get_resolved_checkpoint_files(
            str(folder), subfolder="", revision="main", user_agent={}, **unasked
        )
        taken = chosen(folder)
        wanted = folder / "the shard" if taken.suffix == ".json" else taken
        assert found == [str(wanted)]


def test_a_half_checkpoint_is_not_made_whole_by_an_old_copy_beside_it(folder: Path) -> None:
    shutil.copy(folder / "pytorch_model.bin", folder / "old.bin")
    save_safely(weights_of(folder), folder / "a-copy.safetensors")
    drop(folder, LOST)
    with pytest.raises(ModelError, match=rf"pytorch_model\.bin: .* lacks 1 .*{LOST}.* random"):
        load_model(str(folder))


def test_files_of_a_training_run_beside_the_weights_change_nothing(
    folder: Path, digest: str
) -> None:
    torch.save({"lr": 1e-4, "seed": 1}, folder / "training_args.bin")
    torch.save({"state": {0: torch.ones(2)}}, folder / "optimizer.bin")
    (folder / "scheduler.bin").write_bytes(b"not torch's at all")
    save_safely({"step": torch.ones(1)}, folder / "state.safetensors")
    assert load_model(str(folder)).fingerprint.digest == digest


def test_of_two_formats_that_differ_the_one_that_is_loaded_is_fingerprinted(folder: Path) -> None:
    other = weights_of(folder)
    other["encoder.layer_norm.weight"] = other["encoder.layer_norm.weight"] + 1
    save_safely(other, folder / "model.safetensors")
    both = load_model(str(folder))
    (folder / "pytorch_model.bin").unlink()
    alone = load_model(str(folder))
    assert both.fingerprint.weights == alone.fingerprint.weights
    query = Query(Image.new("RGB", (64, 64)), "a dog runs")
    assert both.trace([query])[0].probabilities == alone.trace([query])[0].probabilities


@pytest.mark.parametrize("safely", [False, True])
def test_a_sharded_checkpoint_is_the_same_model(folder: Path, digest: str, safely: bool) -> None:
    shard(folder, safely=safely)
    assert load_model(str(folder)).fingerprint.digest == digest


def test_every_shard_must_be_there(folder: Path) -> None:
    shard(folder, safely=False)
    (folder / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(
        ModelError,
        match=r"bin\.index\.json: .*there is no pytorch_model-00002-of-00002\.bin beside it",
    ):
        load_model(str(folder))


def test_a_shard_must_hold_what_the_index_says(folder: Path) -> None:
    shard(folder, safely=False)
    path = folder / "pytorch_model-00001-of-00002.bin"
    held = torch.load(path, weights_only=True)
    del held[LOST]
    torch.save(held, path)
    with pytest.raises(ModelError, match=rf"00001-of-00002\.bin: lacks 1 of .*{LOST}"):
        load_model(str(folder))


@pytest.mark.parametrize("shard_name", ["../x.bin", "/etc/passwd", 5, "", "sub/x.bin"])
def test_a_shard_lies_beside_its_index(folder: Path, shard_name: Any) -> None:
    index = shard(folder, safely=False)
    content = json.loads(index.read_text())
    content["weight_map"][LOST] = shard_name
    index.write_text(json.dumps(content))
    with pytest.raises(ModelError, match=rf"index\.json: {LOST} lies in .* not a file beside it"):
        load_model(str(folder))


def test_a_tensor_of_another_shape_is_refused_by_name(folder: Path) -> None:
    change(folder, "encoder.token_rp_bucket", lambda table: table[:16])
    with pytest.raises(
        ModelError, match=r"encoder\.token_rp_bucket has the shape \(16, 1024\).*\(1024, 1024\)"
    ):
        load_model(str(folder))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("encoder.layer_norm.weight", torch.complex64),
        ("encoder.layer_norm.weight", torch.int64),
        ("encoder.embed_images.bn1.running_mean", torch.bool),
        ("encoder.token_rp_bucket", torch.float32),
    ],
)
def test_a_tensor_of_another_kind_is_refused_by_name(
    folder: Path, name: str, dtype: torch.dtype
) -> None:
    change(folder, name, lambda value: value.to(dtype))
    with pytest.raises(ModelError, match=rf"pytorch_model\.bin: {name} is of the type \w+"):
        load_model(str(folder))


def test_tensors_without_values_and_sparse_ones_are_refused_by_name(folder: Path) -> None:
    name = "encoder.layer_norm.weight"
    change(folder, name, lambda value: value.to("meta"))
    with pytest.raises(ModelError, match=rf"{name} was stored without its values"):
        load_model(str(folder))
    change(folder, name, lambda _: torch.ones(32).to_sparse())
    with pytest.raises(ModelError, match=rf"{name} is sparse"):
        load_model(str(folder))


def test_positions_outside_of_their_table_are_refused_by_name(folder: Path) -> None:
    change(folder, "encoder.token_rp_bucket", lambda table: table + 1)
    with pytest.raises(ModelError, match=r"token_rp_bucket points at row 511 of a table of 511"):
        load_model(str(folder))


def test_a_tensor_larger_than_its_file_is_refused_before_it_is_copied(folder: Path) -> None:
    """One stored number can claim any shape."""
    change(folder, "encoder.layer_norm.weight", lambda _: torch.ones(1).expand(10**11))
    with pytest.raises(ModelError, match=r"encoder\.layer_norm\.weight is said to be larger"):
        load_model(str(folder))


def test_a_part_of_the_network_that_the_settings_leave_out_is_refused(folder: Path) -> None:
    """Its weights would be ignored, and another model would answer."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"normformer": False}))
    with pytest.raises(ModelError, match=r"tensors have no place in the model .*config\.json"):
        load_model(str(folder))


def test_heads_of_other_tasks_in_the_file_are_left_alone(folder: Path, digest: str) -> None:
    weights = weights_of(folder)
    weights |= {"mlp_head.weight": torch.ones(4, 4), "encoder.version": torch.ones(1)}
    torch.save({**weights, "epoch": 3}, folder / "pytorch_model.bin")
    assert load_model(str(folder)).fingerprint.digest == digest


def test_names_under_a_model_prefix_are_loaded_as_transformers_loads_them(
    folder: Path, digest: str
) -> None:
    weights = weights_of(folder)
    torch.save({f"model.{n}": v for n, v in weights.items()}, folder / "pytorch_model.bin")
    assert load_model(str(folder)).fingerprint.digest == digest


@pytest.mark.parametrize("content", [[torch.ones(2)], {"model": {"x": torch.ones(2)}}, {}])
def test_a_file_that_holds_something_else_says_what(folder: Path, content: Any) -> None:
    torch.save(content, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin: holds (a list|no tensor of an OFA)"):
        load_model(str(folder))


def test_an_archive_whose_directory_is_damaged_is_told_by_name(folder: Path) -> None:
    path = folder / "pytorch_model.bin"
    data = bytearray(path.read_bytes())
    data[-3000:-22] = bytes(2978)
    path.write_bytes(bytes(data))
    with pytest.raises(ModelError, match=r"pytorch_model\.bin: the weights cannot be read"):
        load_model(str(folder))


def test_a_negative_variance_is_refused_by_name(folder: Path) -> None:
    name = "encoder.embed_images.bn1.running_var"
    change(folder, name, lambda value: torch.full_like(value, -5))
    with pytest.raises(ModelError, match=rf"pytorch_model\.bin: {name} holds -5: a variance is"):
        load_model(str(folder))


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_a_weight_that_makes_answers_no_numbers_is_told_as_that(folder: Path, engine: str) -> None:
    """It is finite itself; the sums of the first layer are not."""

    def huge(weight: torch.Tensor) -> torch.Tensor:
        weight[0] = 3e38
        return weight

    change(folder, "encoder.layers.0.fc1.weight", huge)
    model = load_model(str(folder), device="cpu", engine=engine)
    with pytest.raises(NotFinite, match="the model's answers are not numbers"):
        model.trace([Query(Image.new("RGB", (64, 64)), "a dog runs")])
