"""What matchers give by plain transformers: scores, and attention weights from eager attention.

Nothing here is audit's: networks and processors are called as their documentation says, and weights
come from ``output_attentions`` or from the formula of attention.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from torch import Tensor

from audit.models.kit.quiet import quiet

CLASSES = {
    "blip": "BlipForImageTextRetrieval", "blip-2": "Blip2ForImageTextRetrieval",
    "vilt": "ViltForImageAndTextRetrieval", "siglip": "SiglipModel", "siglip2": "Siglip2Model",
}  # fmt: skip


@dataclass(frozen=True)
class ByHand:
    """One pair of a text and a picture.

    Attributes:
        logs: (2,) log-probabilities of no match and match.
        weights: of each layer, (heads, rows, columns), each of which ``logs`` depends on.
        cells: the columns that are the picture's cells, row by row.
    """

    logs: Tensor
    weights: list[Tensor]
    cells: list[int]


def plain(family: str, folder: Path, **options: Any) -> tuple[Any, Any]:
    """Network and processor as transformers loads them."""
    with quiet():
        network = getattr(transformers, CLASSES[family]).from_pretrained(folder, **options)
        return network.eval(), transformers.AutoProcessor.from_pretrained(folder)


def inputs_of(family: str, processor: Any, text: str, image: Image.Image) -> Any:
    """What the processor makes of a pair."""
    options: dict[str, Any] = {}
    if family.startswith("siglip"):
        options = {"padding": "max_length", "max_length": 96, "truncation": True}
    if family == "siglip2":
        options |= {"patch_size": 8, "max_num_patches": 20}
    return processor(images=[image], text=[text], return_tensors="pt", **options)


@torch.no_grad()
def scored(family: str, network: Any, inputs: Any) -> Tensor:
    """Log-probabilities of no match and match, (2,), as the network gives them."""
    if family == "blip":
        found = network(**inputs).itm_score[0]
    elif family == "blip-2":
        found = network(**inputs, use_image_text_matching_head=True).logits_per_image[0]
    else:
        given = network(**inputs)
        logit = given.logits[0, 0] if family == "vilt" else given.logits_per_image[0, 0]
        return torch.nn.functional.logsigmoid(torch.stack([-logit, logit]))
    log_probabilities: Tensor = found.log_softmax(-1)
    return log_probabilities


def by_hand(family: str, network: Any, processor: Any, text: str, image: Image.Image) -> ByHand:
    """The scores and weights of one pair; the network must have eager attention."""
    inputs = inputs_of(family, processor, text, image)
    found = FAMILIES[family](network, inputs)
    assert torch.allclose(found.logs, scored(family, network, inputs), atol=1e-5)
    return found


def _blip(network: Any, inputs: Any) -> ByHand:
    seen = network.vision_model(pixel_values=inputs["pixel_values"]).last_hidden_state
    found = network.text_encoder(
        input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"],
        encoder_hidden_states=seen, output_attentions=True, return_dict=True,
    )  # fmt: skip
    scores = network.itm_head(found.last_hidden_state[:, 0])[0]
    return ByHand(scores.log_softmax(-1), list(found.cross_attentions), list(range(1, 17)))


def _blip2(network: Any, inputs: Any) -> ByHand:
    seen = network.vision_model(pixel_values=inputs["pixel_values"])[0]
    queries = network.query_tokens
    texts = inputs["input_ids"][:, queries.shape[1] :]
    found = network.qformer(
        query_embeds=network.embeddings(input_ids=texts, query_embeds=queries),
        query_length=queries.shape[1], attention_mask=inputs["attention_mask"],
        encoder_hidden_states=seen, output_attentions=True, return_dict=True,
    )  # fmt: skip
    hidden = found.last_hidden_state[:, : queries.shape[1]]
    scores = network.itm_head(hidden).mean(1)[0]
    return ByHand(scores.log_softmax(-1), list(found.cross_attentions), list(range(1, 17)))


def _vilt(network: Any, inputs: Any) -> ByHand:
    embeddings, order = network.vilt.embeddings, []
    original = embeddings.visual_embed

    def noted(*given: Any, **named: Any) -> Any:
        found = original(*given, **named)
        places, (_, width) = found[2]
        order.extend((places[0, :, 0] * width + places[0, :, 1]).argsort().tolist())
        return found

    embeddings.visual_embed = noted
    try:
        found = network(**inputs, output_attentions=True)
    finally:
        del embeddings.visual_embed
    first = inputs["input_ids"].shape[1] + 1
    logs = torch.nn.functional.logsigmoid(torch.stack([-found.logits[0, 0], found.logits[0, 0]]))
    return ByHand(logs, list(found.attentions), [first + place for place in order])


def _siglip(network: Any, inputs: Any) -> ByHand:
    """The pooling head written out, since torch's own does not show its weights on their way."""
    given = {"pixel_values": inputs["pixel_values"]}
    mask = None
    if "spatial_shapes" in inputs:
        mask = inputs["pixel_attention_mask"]
        name = "pixel_attention_mask" if _is_newer() else "attention_mask"
        given |= {"spatial_shapes": inputs["spatial_shapes"], name: mask}
    patches = network.vision_model(**given).last_hidden_state
    head = network.vision_model.head
    inside, size = head.attention, patches.shape[-1]
    q, k, v = (
        torch.nn.functional.linear(each, weight, bias).unflatten(-1, (4, -1)).transpose(1, 2)
        for each, weight, bias in zip(
            (head.probe, patches, patches), inside.in_proj_weight.chunk(3),
            inside.in_proj_bias.chunk(3), strict=True,
        )
    )  # fmt: skip
    scores = q @ k.transpose(2, 3) / (size // 4) ** 0.5
    if mask is not None:
        scores = scores.masked_fill(mask[:, None, None] == 0, float("-inf"))
    weights = scores.softmax(-1)
    pooled = inside.out_proj((weights @ v).transpose(1, 2).flatten(2))
    pooled = (pooled + head.mlp(head.layernorm(pooled)))[:, 0]
    texts = network.text_model(input_ids=inputs["input_ids"]).pooler_output
    cosine = torch.nn.functional.cosine_similarity(pooled, texts)[0]
    logit = cosine * network.logit_scale.exp()[0] + network.logit_bias[0]
    cells = 16 if mask is None else int(mask.sum())
    logs = torch.nn.functional.logsigmoid(torch.stack([-logit, logit]))
    return ByHand(logs, [weights], list(range(cells)))


def _is_newer() -> bool:
    return not transformers.__version__.startswith("4.")


FAMILIES: dict[str, Callable[[Any, Any], ByHand]] = {
    "blip": _blip, "blip-2": _blip2, "vilt": _vilt, "siglip": _siglip, "siglip2": _siglip,
}  # fmt: skip
