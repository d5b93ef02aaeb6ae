"""Plants faults of code in a chat model's network: wrong masks, positions and windows.

The weights stay as they are, as when a package is updated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from audit.models.hf.parts import Parts
from audit.models.kit.altering import NotPossible

Seen = Callable[[Tensor], Tensor]
"""Takes which keys each query may see, (batch, heads, queries, keys); returns a wrong answer."""


def everything(allowed: Tensor) -> Tensor:
    """Each token sees all that the last one sees, also what comes later."""
    return allowed[:, :, -1:].expand_as(allowed)


def the_next(allowed: Tensor) -> Tensor:
    """Each token sees the next one as well."""
    return allowed | torch.cat([allowed[:, :, 1:], allowed[:, :, -1:]], dim=2)


def masked(network: Any, layers: str, numbers: list[int], seen: Seen) -> None:
    """Give the attention of some of the decoder's layers a wrong mask."""

    def wrong(_: Any, args: Any, named: dict[str, Any]) -> Any:
        hidden = named["hidden_states"] if "hidden_states" in named else args[0]
        queries, mask = hidden.shape[1], named.get("attention_mask")
        if queries == 1:
            return None  # nothing comes later
        if mask is None:
            allowed = torch.ones(1, 1, queries, queries, dtype=torch.bool, device=hidden.device)
            allowed = allowed.tril()
        else:
            allowed = mask if mask.dtype == torch.bool else mask > torch.finfo(mask.dtype).min / 2
        return args, {**named, "attention_mask": seen(allowed)}

    for number in numbers:
        layer = network.get_submodule(f"{layers}.{number}")
        layer.self_attn.register_forward_pre_hook(wrong, with_kwargs=True)


def other_base(network: Any, path: str, factor: float) -> None:
    """Rotary positions (Su et al. 2021) below ``path`` with a base ``factor`` times as large.

    Raises:
        NotPossible: there are no rotary positions.
    """
    found = False
    for name, inverse in network.get_submodule(path).named_buffers():
        if not name.endswith("inv_freq") or len(inverse) < 2:
            continue
        found = True
        # Frequencies are base ** (-i / count), i from 0.
        step = torch.arange(len(inverse), device=inverse.device) / len(inverse)
        inverse.mul_(factor**-step)
    if not found:
        raise NotPossible("it has no rotary positions")


Places = Callable[[Tensor, Tensor], Tensor]
"""Takes positions, (3, batch, tokens), and which tokens lie behind the picture, (batch, tokens)."""


def one_more(positions: Tensor, behind: Tensor) -> Tensor:
    """What comes behind the picture is one position further on."""
    return positions + behind.to(positions)


def exchanged(positions: Tensor, _: Tensor) -> Tensor:
    """Rows and columns exchanged."""
    return positions[[0, 2, 1]]


def placed(network: Any, places: Places) -> None:
    """Give tokens other positions, in families that count rows and columns."""
    inside, image = network.model, network.config.image_token_id
    own = inside.get_rope_index

    def wrong(input_ids: Tensor, *args: Any, **named: Any) -> tuple[Tensor, Tensor]:
        positions, deltas = own(input_ids, *args, **named)
        pictured = input_ids == image
        behind = (pictured.cumsum(1) == pictured.sum(1, keepdim=True)) & ~pictured
        return places(positions, behind), deltas

    inside.get_rope_index = wrong


def without_windows(network: Any, parts: Parts) -> None:
    """Every layer of the vision tower looks at the whole picture.

    Raises:
        NotPossible: its layers have no windows.
    """
    vision = network.get_submodule(parts.vision)
    if not getattr(vision, "fullatt_block_indexes", None):
        raise NotPossible("its vision tower has no windows")
    vision.fullatt_block_indexes = list(range(parts.depths[0]))
