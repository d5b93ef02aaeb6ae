"""Randomise the parameters of an OFA model, layer by layer from the answer down to the picture.

This is the sanity check of Adebayo et al. ("Sanity Checks for Saliency Maps", NeurIPS 2018): a map
that stays the same when the model's weights are gone says nothing about the model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

_LAYER = re.compile(r"(encoder|decoder)\.(?:layers|\w+_table_list)\.(\d+)\.")


class Stage(NamedTuple):
    """A part of the network, with its parameters and running statistics by name."""

    name: str
    values: dict[str, Tensor]


def stages(network: Any) -> list[Stage]:
    """All parameters and running statistics of ``network``, from the top down, each in one stage.

    The embedding that input and output share counts as input: if it were randomised first, the
    model would be left without words.
    """
    found: dict[tuple[int, int], Stage] = {}
    seen: set[int] = set()
    depth = {part: len(getattr(network, part).layers) for part in ("encoder", "decoder")}
    named = [*network.named_parameters(), *network.named_buffers()]
    # By address: after loading, two parameters lie on the one memory of the shared embedding, and
    # the encoder's comes first.
    for name, value in named:
        if not value.is_floating_point() or value.data_ptr() in seen:
            continue
        seen.add(value.data_ptr())
        place, title = _place(name, depth)
        found.setdefault(place, Stage(title, {})).values[name] = value.data
    return [found[place] for place in sorted(found)]


_INPUT = ((3, 0), "embeddings and ResNet")


def _place(name: str, depth: dict[str, int]) -> tuple[tuple[int, int], str]:
    """The place of a parameter, counted from the top, and the name of its stage."""
    match = _LAYER.match(name)
    if match:
        part, layer = match[1], int(match[2])
        down = depth[part] - layer
        return ((0 if part == "decoder" else 2, down), f"{part} layer {layer + 1}")
    if name.startswith(("decoder.layer_norm", "decoder.output_projection")):
        return (0, 0), "decoder output"
    if name.startswith("decoder."):
        return (1, 0), "decoder positions"
    if name.startswith("encoder.layer_norm"):
        return (2, 0), "encoder output"
    return _INPUT


@torch.no_grad()
def randomise_downwards(network: Any, seed: int) -> Iterator[str]:
    """Randomise ``network`` in place, one stage at a time; yield the name of each when it is done.

    Values are drawn from a normal distribution with the mean and the deviation that their tensor
    had, so that the sizes of activations stay plausible. A tensor that holds a single value (such
    as a bias that was never trained) has no deviation and stays as it is.
    """
    generator = torch.Generator().manual_seed(seed)
    for stage in stages(network):
        for name, value in stage.values.items():
            drawn = torch.randn(value.shape, generator=generator)
            mean, deviation = float(value.float().mean()), float(value.float().std(correction=0))
            new = mean + deviation * drawn
            # A variance below zero would turn the network's activations into NaN.
            value.copy_(new.abs() if name.endswith("running_var") else new)
        yield stage.name
