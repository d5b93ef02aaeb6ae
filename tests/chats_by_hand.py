"""What chat models give by plain transformers: its processors, its logits, its eager attention."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from audit.models.hf.adapter import ChatModel
from audit.models.protocol import Query

Plain = tuple[Any, Any]
"""A network and its processor, as transformers loads them."""

LAST = {"smolvlm", "internvl"}
"""Families whose cells are the last image tokens; those of the others are the first."""


def inputs_of(plain: Plain, model: ChatModel, query: Query) -> dict[str, Tensor]:
    """What the processor makes of a query's picture and of its prompt, as the trace tells it."""
    (trace,) = model.trace([query])
    begins = trace.prompt.startswith(plain[1].tokenizer.bos_token or "no mark")
    given = plain[1](
        text=[trace.prompt], images=[query.image], return_tensors="pt",
        **({"add_special_tokens": False} if begins else {}),
    )  # fmt: skip
    return {k: v for k, v in given.items() if k != "labels"}


def image_tokens(plain: Plain, inputs: dict[str, Tensor]) -> Tensor:
    """Which tokens of a prompt are the picture's: (tokens,) of true and false."""
    config = plain[0].config
    token = getattr(config, "image_token_id", None) or config.image_token_index
    found: Tensor = inputs["input_ids"][0] == token
    return found


def columns(plain: Plain, family: str, inputs: dict[str, Tensor], cells: int) -> Tensor:
    """The places of the tokens that are cells: (cells,)."""
    places = image_tokens(plain, inputs).nonzero()[:, 0]
    return places[-cells:] if family in LAST else places[:cells]


def eager(plain: Plain, inputs: dict[str, Tensor]) -> Any:
    """Logits, and attention of every layer that gradients can be taken of."""
    network = plain[0]
    before = network.config._attn_implementation
    network.set_attn_implementation("eager")
    try:
        given = network(**inputs, output_attentions=True)
    finally:
        network.set_attn_implementation(before)
    return given
