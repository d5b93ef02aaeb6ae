"""A copy of the reference checkpoint whose attention is broken on purpose."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from audit.models.sources import resolve


def shuffle_cross_attention(folder: Path, layer: int = 1, seed: int = 0) -> Path:
    """Copy the reference with one decoder layer's cross-attention weights shuffled."""
    shutil.copytree(resolve("reference").folder, folder)
    path = folder / "pytorch_model.bin"
    weights = torch.load(path, weights_only=True)
    generator = torch.Generator().manual_seed(seed)
    for name, value in weights.items():
        if name.startswith(f"decoder.layers.{layer}.cross_attn.") and value.is_floating_point():
            order = torch.randperm(value.numel(), generator=generator)
            weights[name] = value.flatten()[order].view_as(value)
    torch.save(weights, path)
    return folder
