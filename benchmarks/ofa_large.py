"""Makes OFA-large at its true size with random weights, for benchmarks without a download."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch

from audit.models.ofa.embedded import unpack
from audit.models.ofa.upstream import OFAConfig, OFAModel


def large_checkpoint(folder: Path) -> None:
    """Write a checkpoint of OFA-large's sizes with random weights.

    The tokenizer is the reference model's. Its vocabulary is filled up to the true size with
    tokens that no text uses.
    """
    reference = unpack("reference")
    for name in ("merges.txt", "answer2label.json"):
        shutil.copyfile(reference / name, folder / name)
    vocabulary = json.loads((reference / "vocab.json").read_text())
    filling = {f"<unused_{i}>": i for i in range(len(vocabulary), 50265)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary | filling))
    configuration = json.loads((reference / "configuration.json").read_text())
    configuration["model"]["patch_image_size"] = 480
    (folder / "configuration.json").write_text(json.dumps(configuration))
    torch.manual_seed(0)
    model = OFAModel(
        OFAConfig(
            vocab_size=59457,
            d_model=1024,
            encoder_layers=12,
            decoder_layers=12,
            encoder_ffn_dim=4096,
            decoder_ffn_dim=4096,
            encoder_attention_heads=16,
            decoder_attention_heads=16,
            resnet_type="resnet152",
        )
    )
    model.save_pretrained(folder, safe_serialization=False)
