"""Which files of a folder hold the weights that transformers loads, and what is in them.

A folder may hold others: those of before, of another precision, or of an adapter. They are not the
model, so nothing is concluded from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors import safe_open
from torch import Tensor

from audit.base import strictjson
from audit.base.errors import ModelError, in_a_sentence
from audit.models.hf.sources import Checkpoint

_NAMES = (
    "model.safetensors", "model.safetensors.index.json",
    "pytorch_model.bin", "pytorch_model.bin.index.json",
)  # fmt: skip
"""What transformers looks for, in this order; the first that is there is loaded, and no other."""

_INDEX = ".index.json"
_SAFE = ".safetensors"
_ADAPTER = "adapter_config.json"

_CONFIGURED = "transformers_weights"
"""A key of ``config.json`` that names another file."""


def loaded_files(checkpoint: Checkpoint) -> list[Path]:
    """The files that transformers loads the weights from.

    Raises:
        ModelError: there are none; an index cannot be read, or names a file or a weight that is not
            there; or the folder has an adapter, which would not be applied.
    """
    folder = checkpoint.folder
    if (folder / _ADAPTER).exists():
        raise ModelError(
            f"{folder / _ADAPTER}: the folder has an adapter (such as LoRA), which is not applied, "
            "so another model would answer; merge it into the weights with PEFT's "
            "merge_and_unload(), save them into a folder of their own, and audit that"
        )
    named = checkpoint.config.get(_CONFIGURED)
    names = _NAMES if named is None else (_plain(named, folder / "config.json"),)
    source = next((folder / name for name in names if (folder / name).is_file()), None)
    if source is None:
        files = " or ".join(name for name in names if not name.endswith(_INDEX) or name == named)
        raise ModelError(f"{folder}: there are no weights: no {files}")
    if not source.name.endswith(_INDEX):
        return [source]
    where = _indexed(source)
    found = sorted({folder / _plain(name, source) for name in where.values()})
    if found[0].suffix == _SAFE:
        # transformers believes the index, and leaves a weight that is not there without a value.
        there = {name for path in found for name in kinds(path)}
        lacking = sorted(where.keys() - there)
        if lacking:
            raise ModelError(
                f"{source}: names weights that none of its files holds ({len(lacking)}): "
                f"{', '.join(lacking[:3])}{', …' if len(lacking) > 3 else ''}"
            )
    return found


def tensors(
    checkpoint: Checkpoint, wanted: Callable[[str], bool] = lambda _: True
) -> Iterator[tuple[str, Tensor]]:
    """Every tensor that transformers loads, by name, one at a time.

    Args:
        wanted: by its name, whether a tensor is needed.

    Raises:
        ModelError: see :func:`loaded_files`; or a file cannot be read.
    """
    files = loaded_files(checkpoint)
    if files[0].suffix == _SAFE:
        where = {name: path for path in files for name in kinds(path) if wanted(name)}
        for name, path in sorted(where.items()):
            with safe_open(path, "pt") as opened:
                yield name, opened.get_tensor(name)
        return
    merged: dict[str, Any] = {}
    for path in files:
        merged |= _unpickled(path)
    for name, value in sorted(merged.items()):
        if isinstance(value, Tensor) and wanted(name):
            yield name, value


def kinds(path: Path) -> dict[str, str]:
    """The type of each tensor in a file of safetensors, by name, as the format writes it.

    Raises:
        ModelError: the file cannot be read.
    """
    try:
        with safe_open(path, "pt") as opened:
            return {name: opened.get_slice(name).get_dtype() for name in opened.keys()}  # noqa: SIM118
    except Exception as error:
        raise ModelError(f"{path}: cannot be read: {in_a_sentence(error)}") from None


def _indexed(path: Path) -> Mapping[str, str]:
    """The file of each tensor, by name, as an index says it."""
    try:
        found: Any = strictjson.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {in_a_sentence(error)}") from None
    where = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(where, dict) or not where:
        raise ModelError(f"{path}: has no weight_map, which says what is in which file")
    return where


def _plain(name: object, said: Path) -> str:
    """A name of a file in the same folder."""
    if not isinstance(name, str) or not name or Path(name).name != name:
        raise ModelError(f"{said}: names {name!r} for weights, which is no file of its folder")
    return name


def _unpickled(path: Path) -> dict[str, Any]:
    try:
        # Files of before PyTorch 1.6 are no archives, and cannot be mapped.
        found: dict[str, Any] = torch.load(
            path, map_location="cpu", weights_only=True, mmap=is_zipfile(path)
        )
    except Exception as error:
        raise ModelError(f"{path}: cannot be read: {in_a_sentence(error)}") from None
    return found
