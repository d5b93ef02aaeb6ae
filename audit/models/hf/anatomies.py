"""How each family of matchers is run, and where its attention is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from audit.models.hf.looking import Places
from audit.models.hf.pairs import Pair, collated


@dataclass(frozen=True)
class Anatomy:
    """How a family's network is run, and where its attention is.

    Attributes:
        scores: runs the network over a batch: (batch, 2) scores of no match and match, or
            (batch, 1).
        sites: the modules whose attention is read, from the first layer on.
        before: how many of the picture's tokens come before its first cell.
        queries: whether the score is the mean over learned queries, which are all rows there are.
            If not, it is taken from the first row.
        joint: whether text and picture are one sequence, the text first, so that attention goes
            from all tokens to all of them. If not, rows are text or queries, and columns are the
            picture.
    """

    scores: Callable[[Any, dict[str, Tensor]], Tensor]
    sites: Callable[[Any], list[nn.Module]]
    before: int
    queries: bool = False
    joint: bool = False

    def places(self, network: Any, pair: Pair, text: int) -> Places:
        """Where a pair's answer, words and cells are.

        Args:
            text: how many tokens of text the batch has, with padding.
        """
        return Places(
            answer=range(network.config.num_query_tokens) if self.queries else [0],
            words=pair.first,
            cells=self.before + (text if self.joint else 0),
        )


def _blip_scores(network: Any, given: dict[str, Tensor]) -> Tensor:
    found: Tensor = network(**given).itm_score
    return found


def _blip_sites(network: Any) -> list[nn.Module]:
    return [layer.crossattention.self for layer in network.text_encoder.encoder.layer]


def _blip2_scores(network: Any, given: dict[str, Tensor]) -> Tensor:
    found: Tensor = network(**given, use_image_text_matching_head=True).logits_per_image
    return found


def _blip2_sites(network: Any) -> list[nn.Module]:
    layers = network.qformer.encoder.layer
    return [layer.crossattention.attention for layer in layers if layer.has_cross_attention]


def _vilt_scores(network: Any, given: dict[str, Tensor]) -> Tensor:
    found: Tensor = network(**given).logits
    return found


def _vilt_sites(network: Any) -> list[nn.Module]:
    return [layer.attention.attention for layer in network.vilt.encoder.layer]


def _siglip_scores(network: Any, given: dict[str, Tensor]) -> Tensor:
    return torch.diagonal(network(**given).logits_per_image)[:, None]


def _siglip_sites(network: Any) -> list[nn.Module]:
    return [network.vision_model.head.attention]


ANATOMIES: Mapping[str, Anatomy] = {
    "blip": Anatomy(_blip_scores, _blip_sites, before=1),
    "blip-2": Anatomy(_blip2_scores, _blip2_sites, before=1, queries=True),
    "vilt": Anatomy(_vilt_scores, _vilt_sites, before=1, joint=True),
    "siglip": Anatomy(_siglip_scores, _siglip_sites, before=0),
    "siglip2": Anatomy(_siglip_scores, _siglip_sites, before=0),
}
"""By ``model_type``, as in :data:`audit.models.hf.matchers.MATCHERS`."""


def vilt_batch(
    network: Any, pairs: Sequence[Pair], pad: int, device: torch.device, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Inputs of ViLT for pictures of unequal shapes, with the patches in the picture's order.

    ViLT itself puts the patches of a picture in a random order, which changes nothing in the answer
    but hides which patch is which. So each picture's patches are embedded by the network's own
    method, put in order, and padded behind; padding is masked.
    """
    embedded = []
    for pair in pairs:
        pixels = pair.inputs["pixel_values"].to(device, dtype)
        mask = pair.inputs["pixel_mask"].to(device)
        with torch.random.fork_rng(devices=[]):
            found, _, (places, (_, width)) = network.vilt.embeddings.visual_embed(
                pixels, mask, max_image_length=-1
            )
        order = (places[0, :, 0] * width + places[0, :, 1]).argsort()
        embedded.append(torch.cat([found[:, :1], found[:, 1:][:, order]], 1))
    longest = max(each.shape[1] for each in embedded)
    texts = [replace(pair, inputs=_texts(pair.inputs)) for pair in pairs]
    batch = {name: value.to(device) for name, value in collated(texts, pad).items()}
    batch["image_embeds"] = torch.cat(
        [nn.functional.pad(each, (0, 0, 0, longest - each.shape[1])) for each in embedded]
    )
    batch["pixel_mask"] = torch.tensor(
        [[1] * each.shape[1] + [0] * (longest - each.shape[1]) for each in embedded],
        device=device,
    )
    return batch


def _texts(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in inputs.items() if not name.startswith("pixel")}
