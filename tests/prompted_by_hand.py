"""What Florence-2 gives by plain transformers: its processor, its logits, its eager attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from audit.models.kit.asking import Asking
from audit.models.protocol import Query

FIRST = 1  # the first image token sums up the picture
CELLS = slice(FIRST, FIRST + 16)


def asked(plain: tuple[Any, Any], query: Query, asking: Asking) -> Any:
    """What the processor makes of a picture and its question."""
    question = asking.asked(query.text).question
    return plain[1](images=[query.image], text=[question], return_tensors="pt")


def begin(plain: tuple[Any, Any]) -> list[int]:
    """What the decoder is fed before an answer."""
    return [plain[0].config.text_config.decoder_start_token_id, plain[1].tokenizer.bos_token_id]


def eager(plain: tuple[Any, Any], query: Query, fed: Sequence[int], asking: Asking) -> Any:
    """Logits, and attention of every layer that gradients can be taken of."""
    network = plain[0]
    before = network.config._attn_implementation
    network.set_attn_implementation("eager")
    try:
        return network(
            **asked(plain, query, asking), decoder_input_ids=torch.tensor([list(fed)]),
            output_attentions=True,
        )  # fmt: skip
    finally:
        network.set_attn_implementation(before)
