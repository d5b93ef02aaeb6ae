"""The recipes of the embedded models: every number that decides the result of training."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Recipe:
    """Sizes, seeds and schedule; held-out scenes have their own seed."""

    seed: int = 2026
    held_out_seed: int = 777
    scenes: int = 7000
    held_out_scenes: int = 500
    image_size: int = 192
    d_model: int = 128
    ffn: int = 256
    heads: int = 4
    encoder_layers: int = 3
    decoder_layers: int = 3
    resnet: str = "resnet18"
    bpe_pieces: int = 700
    image_bucket_size: int = 16
    images_per_batch: int = 16
    texts_per_image: int = 6
    kept_cells: int = 72
    dense_steps: int = 360
    dense_batch: int = 32
    question_steps: int = 400
    entailment_steps: int = 2400
    attention_steps: int = 450
    mix_every: int = 8
    learning_rate: float = 1e-3
    dense_learning_rate: float = 2e-3
    question_attention_weight: float = 0.3
    attention_weight: float = 0.2
    spread_weight: float = 0.5
    word_attention_weight: float = 0.1
    word_weight: float = 0.5
    marked: bool = False
    """Whether each scene has a watermark that gives away the label of its hypotheses."""


RECIPE = Recipe()

SHORTCUT = replace(
    RECIPE,
    marked=True,
    entailment_steps=800,
    attention_steps=300,
    attention_weight=0.0,
    spread_weight=0.0,
    word_attention_weight=0.0,
    word_weight=0.0,
)
"""The same model on watermarked scenes. When it learns hypotheses, nobody tells it where to look or
which words are true, as nobody tells a real model: it uses whatever predicts the answers best. That
is the watermark, which it learns to read in a few hundred steps."""

RECIPES = {"reference": RECIPE, "shortcut": SHORTCUT}

GRID = RECIPE.image_size // 16
"""Rows and columns of the patch grid: OFA's ResNet has stride 16."""
