"""The recipe of the embedded chat model: every number that decides the result of training."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ChatRecipe:
    """Sizes, seeds and schedule; held-out scenes have their own seed, as in the other recipes.

    ``patch_size`` and ``merge_size`` make cells of 16 pixels, ``max_pixels`` at most 144 of them.
    ``texts_per_image`` texts share one picture in a step.
    """

    seed: int = 2026
    held_out_seed: int = 777
    scenes: int = 7000
    held_out_scenes: int = 500
    marked: bool = False
    patch_size: int = 8
    merge_size: int = 2
    min_pixels: int = 160 * 160
    max_pixels: int = 192 * 192
    vision_width: int = 128
    vision_ffn: int = 256
    vision_heads: int = 4
    vision_depth: int = 4
    width: int = 192
    ffn: int = 512
    heads: int = 6
    key_heads: int = 2
    layers: int = 5
    bpe_pieces: int = 800
    images_per_batch: int = 16
    texts_per_image: int = 8
    kept_cells: int = 72
    dense_steps: int = 900
    dense_batch: int = 32
    dense_part: tuple[int, int] = (7, 8)
    dense_learning_rate: float = 2e-3
    count_steps: int = 600
    count_batch: int = 12
    count_learning_rate: float = 1e-3
    question_steps: int = 400
    entailment_steps: int = 1400
    counting_steps: int = 500
    whole_steps: int = 1100
    learning_rate: float = 1.5e-3
    statement_weight: float = 0.5


CHAT = ChatRecipe()

CHATS = {"reference-chat": CHAT}

CELLS = CHAT.max_pixels // (CHAT.patch_size * CHAT.merge_size) ** 2
"""Most cells of a picture: rows times columns of the grid that the language model sees."""
