"""Load a checkpoint of transformers without running its code, and take its fingerprint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import torch
import transformers
from safetensors import safe_open
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor

from audit.base.errors import ModelError, in_a_sentence
from audit.base.files import digest, digest_file, digest_stream
from audit.models.hf.sources import Checkpoint
from audit.models.kit.asking import Asking
from audit.models.kit.fingerprints import content, fingerprint
from audit.models.kit.matching import Matching
from audit.models.kit.quiet import quiet
from audit.models.protocol import Fingerprint

_TOKENIZER = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "merges.txt", "chat_template.json", "chat_template.jinja",
)  # fmt: skip
_PREPROCESSING = ("preprocessor_config.json", "processor_config.json")
_NOTES = ("_name_or_path", "transformers_version")
"""Keys of ``config.json`` that say who wrote it, not what the model is."""


def network_of(
    checkpoint: Checkpoint, dtype: torch.dtype, kind: Any = AutoModelForImageTextToText
) -> Any:
    """The network, with every weight from the checkpoint, ready to be asked.

    Args:
        kind: the class of transformers that loads it.

    Raises:
        ModelError: it cannot be loaded, or a weight is missing and would be made up.
    """
    _check_code(checkpoint)
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            network, told = kind.from_pretrained(
                checkpoint.folder, dtype=dtype, output_loading_info=True,
                trust_remote_code=False, local_files_only=True,
            )  # fmt: skip
    except Exception as error:
        raise ModelError(
            f"{checkpoint.folder}: transformers cannot load this model: {in_a_sentence(error)}"
        ) from error
    for what in ("missing_keys", "mismatched_keys"):
        lacking = sorted(map(str, told[what]))
        if lacking:
            raise ModelError(
                f"{checkpoint.folder}: {len(lacking)} weights are not in its files or have another "
                f"size, such as {lacking[0]}; transformers would make them up"
            )
    return network.eval()


def class_of(name: str) -> Any:
    """A class of transformers.

    Raises:
        ModelError: the installed version does not have it.
    """
    found = getattr(transformers, name, None)
    if found is None:
        raise ModelError(f"transformers {transformers.__version__} has no {name}")
    return found


def processor_of(checkpoint: Checkpoint) -> Any:
    """The processor of pictures and texts.

    Raises:
        ModelError: it cannot be loaded.
    """
    try:
        with quiet():
            return AutoProcessor.from_pretrained(
                checkpoint.folder, trust_remote_code=False, local_files_only=True
            )
    except Exception as error:
        raise ModelError(
            f"{checkpoint.folder}: transformers cannot load its processor: {in_a_sentence(error)}"
        ) from error


def _check_code(checkpoint: Checkpoint) -> None:
    if "auto_map" in checkpoint.config:
        raise ModelError(
            f"{checkpoint.folder / 'config.json'}: asks for code of its own (auto_map), which is "
            "never run; use a checkpoint in transformers' own format, often named -hf"
        )


def stored(checkpoint: Checkpoint) -> Iterator[tuple[str, Tensor]]:
    """Every tensor in the checkpoint's files, by name, one at a time.

    Raises:
        ModelError: there are no weight files.
    """
    files = sorted(checkpoint.folder.glob("*.safetensors"))
    if files:
        where = {}
        for path in files:
            with safe_open(path, "pt") as opened:
                where.update(dict.fromkeys(opened.keys(), path))
        for name, path in sorted(where.items()):
            with safe_open(path, "pt") as opened:
                yield name, opened.get_tensor(name)
        return
    pickled = sorted(checkpoint.folder.glob("pytorch_model*.bin"))
    if not pickled:
        raise ModelError(
            f"{checkpoint.folder}: there are no weights: no *.safetensors or pytorch_model.bin"
        )
    merged: dict[str, Tensor] = {}
    for path in pickled:
        merged |= torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    yield from sorted(merged.items())


def fingerprint_of(
    checkpoint: Checkpoint, asking: Asking | Matching, *, device: str, dtype: str, engine: str
) -> Fingerprint:
    """What identifies a loaded checkpoint and the way in which it is asked.

    The weights' digest is over the tensors in the files, so that it depends neither on how they are
    divided into files, nor on the precision in which they run.
    """
    config = {key: value for key, value in checkpoint.config.items() if key not in _NOTES}
    return fingerprint(
        name=checkpoint.name,
        source=checkpoint.source,
        revision=checkpoint.revision,
        weights=digest_stream(part for each in stored(checkpoint) for part in content(*each)),
        configuration=digest(json.dumps(config, sort_keys=True), asking.digest),
        tokenizer=_files(checkpoint, _TOKENIZER),
        preprocessing=_files(checkpoint, _PREPROCESSING),
        device=device,
        dtype=dtype,
        packages=("torch", "torchvision", "transformers", "tokenizers", "ofa-audit"),
        engine=engine,
        asking=asking.digest,
    )


def _files(checkpoint: Checkpoint, names: tuple[str, ...]) -> str:
    there = (checkpoint.folder / name for name in names)
    return digest(*(f"{path.name} {digest_file(path)}" for path in there if path.is_file()))
