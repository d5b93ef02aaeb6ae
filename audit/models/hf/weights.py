"""Load a checkpoint of transformers without running its code, and take its fingerprint."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor

from audit.base.errors import ModelError, in_a_sentence
from audit.base.files import digest, digest_file, digest_stream
from audit.models.hf.needed import check_files
from audit.models.hf.sources import Checkpoint
from audit.models.hf.weightfiles import kinds, loaded_files, tensors
from audit.models.kit.asking import Asking
from audit.models.kit.fingerprints import content, fingerprint, finite
from audit.models.kit.matching import Matching
from audit.models.kit.quiet import quiet
from audit.models.protocol import Fingerprint

_TOKENIZER = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "merges.txt", "chat_template.json", "chat_template.jinja",
)  # fmt: skip
_OLDER = ("vocab.txt", "spiece.model", "sentencepiece.bpe.model")
"""Files of tokenizers that are only read if there is no ``tokenizer.json``."""

_PREPROCESSING = ("preprocessor_config.json", "processor_config.json")
_NOTES = ("_name_or_path", "transformers_version")
"""Keys of ``config.json`` that say who wrote it, not what the model is."""

_CONSTANT = re.compile(r"(^|\.)(position_ids|inv_freq)$")
"""Tensors that older versions of transformers stored and newer ones compute: nothing is learned in
them, so it does not matter that they are not used."""

_WHOLE = re.compile(r"(^|\.)(position_ids|num_batches_tracked|relative_position_index)$")
"""Tensors that are whole numbers in every checkpoint."""


def network_of(
    checkpoint: Checkpoint, dtype: torch.dtype, kind: Any = AutoModelForImageTextToText
) -> Any:
    """The network, with every weight from the checkpoint, ready to be asked.

    Args:
        kind: the class of transformers that loads it.

    Raises:
        ModelError: it cannot be loaded, a weight is missing, of another size or not used, or holds
            whole numbers.
    """
    _check_code(checkpoint)
    _check_numbers(checkpoint)
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            network, told = kind.from_pretrained(
                checkpoint.folder, dtype=dtype, output_loading_info=True,
                ignore_mismatched_sizes=True,  # it tells their names so, and they are refused below
                trust_remote_code=False, local_files_only=True,
            )  # fmt: skip
    except Exception as error:
        raise ModelError(
            f"{checkpoint.folder}: transformers cannot load this model: {in_a_sentence(error)}"
        ) from error
    unused = [name for name in told["unexpected_keys"] if not _CONSTANT.search(str(name))]
    for names, why in (
        (told["missing_keys"], "weights are not in its files, and transformers would make them up"),
        (
            told["mismatched_keys"],
            "weights have another size than config.json says, and transformers would make them up",
        ),
        (
            unused,
            "its files hold weights that have no place in the model that config.json describes, so "
            "another model would answer",
        ),
    ):
        _refuse(f"{checkpoint.folder}: {why}", names)
    _check_shared(checkpoint, network)
    return network.eval()


def _refuse(why: str, names: Sequence[Any]) -> None:
    """Refuse a checkpoint if there are such tensors; three of them are named."""
    # Of those of another size, some versions of transformers give name and shapes.
    found = sorted(name if isinstance(name, str) else str(name[0]) for name in names)
    if found:
        more = ", …" if len(found) > 3 else ""
        raise ModelError(f"{why} ({len(found)}): {', '.join(found[:3])}{more}")


def _check_numbers(checkpoint: Checkpoint) -> None:
    """Refuse weights that are whole numbers; transformers does not say which one it stumbles on."""
    for path in loaded_files(checkpoint):
        if path.suffix != ".safetensors":
            continue
        for name, kind in sorted(kinds(path).items()):
            if kind[0] in "IU" and _WHOLE.search(name) is None:
                raise ModelError(
                    f"{path}: the tensor {name} holds whole numbers ({kind}); quantised weights "
                    "are not supported"
                )


def _check_shared(checkpoint: Checkpoint, network: Any) -> None:
    """Refuse two different tensors of which the network makes one.

    Where ``tie_word_embeddings`` is true, the answers' layer is the embedding of words, and
    transformers drops what the files have for it. A model that was trained with both apart would
    give other answers, and nobody would be told.
    """
    names: dict[int, list[str]] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    for shared in names.values():
        ends = {_end(name) for name in shared}
        if len(ends) < 2:
            continue

        def wanted(name: str, ends: Collection[str] = ends) -> bool:
            return _end(name) in ends

        found: dict[str, Tensor] = {}
        for name, tensor in tensors(checkpoint, wanted):
            for other, value in found.items():
                if value.shape == tensor.shape and not torch.equal(value, tensor.to(value.dtype)):
                    raise ModelError(
                        f"{checkpoint.folder}: its files hold {other} and {name}, which differ, "
                        "but with its config.json they are one (tie_word_embeddings), so "
                        "transformers would drop one of them; write tie_word_embeddings: false if "
                        "they were trained apart"
                    )
            found[name] = tensor


def _end(name: str) -> str:
    """The end of a tensor's name; files may have other beginnings, such as an older version's."""
    return ".".join(name.split(".")[-2:])


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
        ModelError: a file of it is missing, or it cannot be loaded.
    """
    check_files(checkpoint.folder)
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


def _contents(checkpoint: Checkpoint) -> Iterator[bytes | str | memoryview]:
    """Name, type, shape and content of every tensor that is loaded, for their digest.

    Raises:
        ModelError: one of them holds NaN or infinity.
    """
    for name, tensor in tensors(checkpoint):
        if not _CONSTANT.search(name) and not finite(tensor):
            raise ModelError(
                f"{checkpoint.folder}: the tensor {name} holds NaN or infinity; the answers would "
                "not be numbers"
            )
        yield from content(name, tensor)


def fingerprint_of(
    checkpoint: Checkpoint, asking: Asking | Matching, *, device: str, dtype: str, engine: str
) -> Fingerprint:
    """What identifies a loaded checkpoint and the way in which it is asked.

    The weights' digest is over the tensors in the files that are loaded, so that it depends neither
    on how they are divided into files, nor on the precision in which they run.

    Raises:
        ModelError: a tensor holds NaN or infinity.
    """
    config = {key: value for key, value in checkpoint.config.items() if key not in _NOTES}
    older = () if (checkpoint.folder / _TOKENIZER[0]).is_file() else _OLDER
    return fingerprint(
        name=checkpoint.name,
        source=checkpoint.source,
        revision=checkpoint.revision,
        weights=digest_stream(_contents(checkpoint)),
        configuration=digest(json.dumps(config, sort_keys=True), asking.digest),
        tokenizer=_files(checkpoint, (*_TOKENIZER, *older)),
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
