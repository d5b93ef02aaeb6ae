"""Checks before loading an OFA checkpoint, and its fingerprint after."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator, Set
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from audit.errors import ModelError
from audit.files import digest, digest_file, digest_stream
from audit.models.base import Fingerprint
from audit.models.sources import Checkpoint

_TASK = "visual-entailment"


def checked(checkpoint: Checkpoint) -> dict[str, Any]:
    """The folder's ``configuration.json``, once it is known to describe what can be audited.

    Raises:
        ModelError: a file is missing or unreadable, or the configuration is not supported.
    """
    folder = checkpoint.folder
    configuration = _json(folder / "configuration.json")
    config = _json(folder / "config.json")
    model = configuration.get("model", {})
    task = configuration.get("task")

    def refuse(why: str) -> ModelError:
        return ModelError(f"{checkpoint.source}: {why}")

    if model.get("type") != "ofa":
        raise refuse(f"model.type is {model.get('type')!r}; only 'ofa' can be audited")
    if task != _TASK:
        raise refuse(f"the task is {task!r}; only {_TASK!r} can be audited")
    prompt_type = model.get("prompt_type", "none")
    if prompt_type != "prev_output":
        raise refuse(
            f"model.prompt_type is {prompt_type!r}; only 'prev_output' runs in modelscope's "
            "visual entailment"
        )
    if model.get("gen_type", "generation") not in ("generation", "traverse"):
        raise refuse(f"model.gen_type is {model['gen_type']!r}; use 'generation' or 'traverse'")
    for where in (model, config):
        if where.get("sample_patch_num") is not None:
            raise refuse("sample_patch_num drops patches at random; answers could not be repeated")
    if not model.get("answer2label"):
        raise refuse("model.answer2label names no answer file, so the labels are not known")
    answers = _json(folder / model["answer2label"])
    if len(answers) < 2:
        raise refuse(f"the answer file {model['answer2label']} has fewer than two answers")
    if not any(folder.glob("*.bin")) and not any(folder.glob("*.safetensors")):
        raise refuse("there is no weight file (pytorch_model.bin or model.safetensors)")
    return configuration


def refuse_missing_weights(checkpoint: Checkpoint, model: Any, stored: Set[str]) -> None:
    """Refuse a half-loaded checkpoint: transformers fills missing weights with random numbers.

    Args:
        stored: names of the tensors in the folder's weight files, from :func:`stored_names`.

    Raises:
        ModelError: a weight of the model is not among them.
    """
    state = model.state_dict(keep_vars=True)
    present = {value.data_ptr() for name, value in state.items() if name in stored}
    lost = [n for n, v in state.items() if n not in stored and v.data_ptr() not in present]
    lost = [n for n in lost if not n.endswith("num_batches_tracked")]
    if lost:
        raise ModelError(
            f"{checkpoint.source}: the weight file lacks {len(lost)} of the model's "
            f"{len(state)} tensors, e.g. {lost[0]}; they would be random"
        )


def fingerprint(
    checkpoint: Checkpoint,
    model: Any,
    preprocess: Any,
    configuration: dict[str, Any],
    *,
    device: str,
    dtype: str,
    engine: str,
) -> Fingerprint:
    """What identifies a loaded checkpoint; the weights must still be as loaded, on the CPU.

    Weights are hashed by name, type and content, so that the same weights in another file format
    have the same digest.
    """
    folder = checkpoint.folder
    weights = digest_stream(_weights(model))
    answers = folder / configuration["model"]["answer2label"]
    configured = digest(
        *(json.dumps(_json(p), sort_keys=True) for p in (folder / "config.json", answers)),
        json.dumps(configuration.get("model", {}), sort_keys=True),
    )
    tokenizer = digest(*(digest_file(folder / name) for name in ("vocab.json", "merges.txt")))
    preprocessing = digest(
        repr((preprocess.patch_image_size, preprocess.mean, preprocess.std)),
        repr((preprocess.max_src_length, preprocess.prompt_type)),
        repr(preprocess.patch_resize_transform.transforms[1:]),
    )
    return Fingerprint(
        name=checkpoint.name,
        source=checkpoint.source,
        revision=checkpoint.revision,
        digest=digest(weights, configured, tokenizer, preprocessing),
        weights=weights,
        configuration=configured,
        tokenizer=tokenizer,
        preprocessing=preprocessing,
        device=device,
        dtype=dtype,
        packages={
            name: _version(name)
            for name in ("modelscope", "torch", "torchvision", "transformers", "ofa-audit")
        },
        engine=engine,
    )


def _weights(model: Any) -> Iterator[bytes | str]:
    for name, value in sorted(model.state_dict().items()):
        if value.is_floating_point():
            array = value.detach().contiguous()
            yield from (name, str(array.dtype), str(tuple(array.shape)), array.numpy().tobytes())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"{path.parent}: not a ModelScope checkpoint, there is no {path.name}"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from None
    if not isinstance(data, dict):
        raise ModelError(f"{path}: not a JSON object")
    return data


def stored_names(checkpoint: Checkpoint) -> set[str]:
    """Names of the tensors in the weight files.

    Raises:
        ModelError: one of the files cannot be read.
    """
    names: set[str] = set()
    folder = checkpoint.folder
    tensors = sorted(folder.glob("*.safetensors"))
    for path in tensors or sorted(folder.glob("*.bin")):
        try:
            names.update(_names(path))
        except Exception as error:  # each format, and each way to be broken, raises its own
            raise ModelError(
                f"{path}: the weights cannot be read; is the file damaged, or not copied whole? "
                f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'empty'})"
            ) from None
    return names


def _names(path: Path) -> Iterable[str]:
    if path.suffix == ".safetensors":
        from safetensors import safe_open  # noqa: PLC0415

        with safe_open(path, framework="pt") as file:
            return list(file.keys())
    # Files from before torch 1.6 are no archives, and cannot be mapped.
    found: dict[str, Any] = torch.load(
        path, map_location="meta", weights_only=True, mmap=zipfile.is_zipfile(path)
    )
    return found
