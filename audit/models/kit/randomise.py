"""Randomise the parameters of a network, layer by layer from the answer down to the picture.

This is the sanity check of Adebayo et al. ("Sanity Checks for Saliency Maps", NeurIPS 2018): a map
that stays the same when the model's weights are gone says nothing about the model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from audit.base.errors import ModelError

ALL = (("all weights", ""),)
"""The only stage of a network whose parts are not known."""


class Stage(NamedTuple):
    """A part of the network, with its parameters and running statistics by name."""

    name: str
    values: dict[str, Tensor]


def stages(network: Any, parts: Sequence[tuple[str, str]] = ALL) -> list[Stage]:
    """All parameters and running statistics of ``network``, from the top down, each in one stage.

    Args:
        parts: see :class:`audit.models.kit.altering.Layered`. A tensor with several names, such as
            an embedding that input and output share, counts by the first of them.

    Raises:
        ModelError: a tensor belongs to none of the parts.
    """
    found = [Stage(title, {}) for title, _ in parts]
    patterns = [re.compile(pattern) for _, pattern in parts]
    seen: set[int] = set()
    stored = network.state_dict().keys()  # other buffers follow from the configuration
    # By address: after loading, two parameters may lie on the one memory of a shared embedding.
    for name, value in [*network.named_parameters(), *network.named_buffers()]:
        learned = value.is_floating_point() and name in stored
        if not learned or value.data_ptr() in seen:
            continue
        seen.add(value.data_ptr())
        place = next((n for n, pattern in enumerate(patterns) if pattern.match(name)), None)
        if place is None:
            raise ModelError(f"the model's stages say nothing of its weight {name}")
        found[place].values[name] = value.data
    return [stage for stage in found if stage.values]


@torch.no_grad()
def randomise_downwards(
    network: Any, seed: int, parts: Sequence[tuple[str, str]] = ALL
) -> Iterator[str]:
    """Randomise ``network`` in place, one stage at a time; yield the name of each when it is done.

    Values are drawn from a normal distribution with the mean and the deviation that their tensor
    had, so that the sizes of activations stay plausible. A tensor that holds a single value (such
    as a bias that was never trained) has no deviation and stays as it is.
    """
    generator = torch.Generator().manual_seed(seed)
    for stage in stages(network, parts):
        for name, value in stage.values.items():
            drawn = torch.randn(value.shape, generator=generator)
            mean, deviation = float(value.float().mean()), float(value.float().std(correction=0))
            new = mean + deviation * drawn
            # A variance below zero would turn the network's activations into NaN.
            value.copy_(new.abs() if name.endswith("running_var") else new)
        yield stage.name
