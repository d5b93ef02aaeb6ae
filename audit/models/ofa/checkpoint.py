"""Check an OFA checkpoint before and after loading, and take its fingerprint."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from audit.base.errors import ModelError, nearest
from audit.base.files import digest, digest_file, digest_stream
from audit.base.settings import EMBEDDED_OFA
from audit.models.kit import fingerprints as kit
from audit.models.kit.quiet import quiet
from audit.models.ofa.description import Description, check_vocabulary, described
from audit.models.ofa.settings import Network, shown
from audit.models.ofa.sources import Checkpoint
from audit.models.ofa.standins import stand_ins
from audit.models.ofa.weights import (
    Stored,
    check_loaded,
    check_sizes,
    misfit,
    one_line,
    stored,
    tensors_of,
)
from audit.models.protocol import Fingerprint

with stand_ins():  # without torch's compiler and everything that it imports
    from transformers.activations import ACT2FN
    from transformers.modeling_utils import init_empty_weights, no_init_weights


@dataclass(frozen=True)
class Checked:
    """A checkpoint folder that can be loaded: what it says about itself, and its weights."""

    checkpoint: Checkpoint
    description: Description
    weights: Stored


def checked(checkpoint: Checkpoint) -> Checked:
    """Check a folder before modelscope gets it, so that nothing is built with a wrong size.

    Raises:
        ModelError: a file is missing, is damaged, does not belong to the others, or asks for
            something that cannot be audited.
    """
    try:
        description = described(checkpoint.folder)
        activation = description.network.activation_function
        if activation not in ACT2FN:
            raise ModelError(
                f"{description.folder / 'config.json'}: activation_function is {activation!r}; "
                f"{nearest(activation, ACT2FN)}"
            )
        check_vocabulary(description)
        with quiet():
            weights = stored(checkpoint.folder)
        check_sizes(description, weights)
    except ModelError as error:
        if checkpoint.source in EMBEDDED_OFA:
            raise ModelError(
                f"{error}. This folder was unpacked from the package: remove it, and it will be "
                "made again"
            ) from None
        raise
    return Checked(checkpoint, description, weights)


def not_loaded(
    found: Checked, build: Callable[[dict[str, Any]], Any], error: Exception
) -> ModelError:
    """The error that says why modelscope could not load a folder that passed the checks.

    Args:
        build: makes the network that a ``config.json`` describes.
    """
    if isinstance(error, ImportError) and isinstance(error.__context__, Exception):
        # When a tokenizer fails, transformers imports protobuf's errors, which hides the reason.
        error = error.__context__

    def built(config: dict[str, Any]) -> Any:
        with quiet(), no_init_weights(), init_empty_weights():
            return build(dict(config))

    config = found.description.config
    try:
        why = misfit(found.weights, built(config))
    except Exception as refused:
        # Keys of the schema were checked; any other key may mean something to transformers.
        why = None
        for key in config.keys() - Network.model_fields.keys():
            with suppress(Exception):
                built({k: v for k, v in config.items() if k != key})
                why = (
                    f"{found.description.folder / 'config.json'}: {key} is {shown(config[key])}, "
                    f"which transformers cannot use: {one_line(refused)}"
                )
                break
    return ModelError(
        why
        or f"{found.checkpoint.folder}: modelscope cannot load this checkpoint: {one_line(error)}"
    )


def check_task(found: Checked, task: Any) -> None:
    """Check that a loaded checkpoint is what its files hold, and can give its answers.

    Args:
        task: modelscope's ``OfaForAllTasks``.

    Raises:
        ModelError: weights would be made up, or the model has no tokens for an answer.
    """
    description, tokenizer = found.description, task.tokenizer
    folder, network = description.folder, description.network
    check_loaded(description, found.weights, task.model)
    tokens, rows = len(tokenizer), network.vocab_size
    if tokens > rows or (tokens < rows and not network.use_ofasys):
        raise ModelError(
            f"{folder / 'vocab.json'}: with what modelscope adds to it, it makes {tokens} tokens; "
            f"the model has {rows} (config.json: vocab_size). Is it cut, or another model's?"
        )
    for key in ("bos_token_id", "pad_token_id", "eos_token_id"):
        wanted, made = getattr(network, key), getattr(tokenizer, key)
        if made != wanted:
            raise ModelError(
                f"{folder}: the tokenizer's {key} is {made}, config.json's {wanted}; see "
                f"{key.removesuffix('_id')} in {', '.join(p.name for p in description.optional)}"
            )
    path = folder / description.task.model.answer2label
    spelt: dict[tuple[int, ...], str] = {}
    ids = [tuple(answer.tolist()) for chunk in task.val_ans_l for answer in chunk]
    for label, pieces in zip(description.labels, ids, strict=True):
        if not pieces or tokenizer.unk_token_id in pieces:
            raise ModelError(f"{path}: vocab.json has no tokens for the answer {label!r}")
        if pieces in spelt:
            raise ModelError(f"{path}: {spelt[pieces]!r} and {label!r} are the same tokens")
        spelt[pieces] = label
    beams = task.generator.beam_size
    if task.gen_type == "generation" and any(len(p) > 1 for p in ids) and beams > len(ids):
        raise ModelError(
            f"{folder / 'configuration.json'}: model.beam_search.beam_size is {beams}, more than "
            f"there are answers ({len(ids)}); modelscope's generator refuses that"
        )


def fingerprint(
    found: Checked,
    model: Any,
    preprocess: Any,
    *,
    device: str,
    dtype: str,
    engine: str,
) -> Fingerprint:
    """What identifies a loaded checkpoint; its weights must still be on the CPU, as loaded.

    Every tensor of the weights is hashed by name, type and content, so that the same weights in
    another file format have the same digest.

    Raises:
        ModelError: a weight is NaN or infinite.
    """
    checkpoint, description = found.checkpoint, found.description
    weights = digest_stream(tensors_of(model, found.weights))
    configured = digest(
        *(json.dumps(d, sort_keys=True) for d in (description.config, description.answers)),
        json.dumps(description.configuration["model"], sort_keys=True),
    )
    folder = description.folder
    tokenizer = digest(
        *(digest_file(folder / name) for name in ("vocab.json", "merges.txt")),
        *(f"{path.name} {digest_file(path)}" for path in description.optional),
    )
    preprocessing = digest(
        repr((preprocess.patch_image_size, preprocess.mean, preprocess.std)),
        repr((preprocess.max_src_length, preprocess.prompt_type)),
        repr(preprocess.patch_resize_transform.transforms[1:]),
    )
    return kit.fingerprint(
        name=checkpoint.name,
        source=checkpoint.source,
        revision=checkpoint.revision,
        weights=weights,
        configuration=configured,
        tokenizer=tokenizer,
        preprocessing=preprocessing,
        device=device,
        dtype=dtype,
        packages=("modelscope", "torch", "torchvision", "transformers", "ofa-audit"),
        engine=engine,
    )
