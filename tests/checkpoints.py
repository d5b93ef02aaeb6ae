"""Tiny checkpoints in ModelScope's folder format, with random weights, made by the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import ByteLevelBPETokenizer

from audit.models.ofa.upstream import OFAConfig, OFAModel

_CORPUS = [
    ' does the image describe " there are two birds on a branch "?',
    ' can image and text1 " a cat sleeps " imply text2 " an animal sleeps "?',
    " yes no maybe it is not possible a dog runs on the grass",
] * 20


def make_checkpoint(
    folder: Path,
    *,
    gen_type: str = "traverse",
    answers: tuple[str, ...] = ("no", "yes", "maybe"),
    seed: int = 0,
    model: dict[str, Any] | None = None,
    configuration: dict[str, Any] | None = None,
    network: dict[str, Any] | None = None,
) -> Path:
    """Write a checkpoint of about 4 million random parameters; the grid is 4 x 4.

    Args:
        model, configuration, network: more keys for the model in ``configuration.json``, for the
            rest of that file, and for ``config.json``.
    """
    folder.mkdir(parents=True)
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(
        _CORPUS,
        vocab_size=340,
        min_frequency=2,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        show_progress=False,
    )
    bpe.save_model(str(folder))
    torch.manual_seed(seed)
    sizes = {
        "vocab_size": bpe.get_vocab_size() + 9192,
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "resnet_type": "resnet18",
        "image_bucket_size": 16,
        "init_std": 0.4,
    }
    OFAModel(OFAConfig(**(sizes | (network or {})))).save_pretrained(
        folder, safe_serialization=False
    )
    settings = {
        "type": "ofa",
        "language": "en",
        "gen_type": gen_type,
        "prompt_type": "prev_output",
        "patch_image_size": 64,
        "max_src_length": 80,
        "answer2label": "answers.json",
        "beam_search": {"beam_size": len(answers), "max_len_b": 120},
        **(model or {}),
    }
    described = {
        "framework": "pytorch",
        "task": "visual-entailment",
        "model": settings,
        "pipeline": {"type": "visual-entailment"},
        "preprocessor": {"type": "ofa-tasks-preprocessor"},
        **(configuration or {}),
    }
    (folder / "configuration.json").write_text(json.dumps(described))
    (folder / "answers.json").write_text(json.dumps({a: i for i, a in enumerate(answers)}))
    return folder


def set_head_factors(folder: Path) -> Path:
    """Set different factors for a checkpoint's heads, in each layer; return the folder."""
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    for number, name in enumerate(sorted(n for n in weights if n.endswith("c_attn"))):
        weights[name] = torch.tensor([1.5, -0.25]) + 0.1 * number
    torch.save(weights, folder / "pytorch_model.bin")
    return folder
