"""Compute the ResNet's features once for each picture, even if several batches show it."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from audit.base.geometry import Grid
from audit.models.kit.attention import capture

_KEPT_PICTURES = 8
"""Pictures whose features are kept for later batches; 3.7 MB each in OFA-large."""


class Picture(NamedTuple):
    """Features of a picture, (1, cells, channels), its cells' positions and their embedding."""

    features: Tensor
    places: Tensor
    positions: Tensor
    grid: Grid


class Pictures:
    """Computes features with one of modelscope's ``OFAEncoder``, and remembers the last few."""

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder
        self._known: OrderedDict[bytes, Picture] = OrderedDict()
        self._resnet: list[tuple[Tensor, int]] = []

    def seen(self, patches: Sequence[Tensor]) -> list[Picture]:
        """Each picture's features; those that are not yet known are computed now.

        Args:
            patches: each picture as the preprocessor leaves it, (3, rows, columns), on the CPU.
        """
        encoder = self._encoder
        self._forget_if_changed()
        keys = [hashlib.sha256(patch.numpy().tobytes()).digest() for patch in patches]
        found = {key: self._known[key] for key in keys if key in self._known}
        new = {k: p for k, p in zip(keys, patches, strict=True) if k not in found}
        like = encoder.image_proj.weight
        # Channels last: on a CPU, convolutions in bfloat16 then take a third of the time.
        # A GPU needs many pictures at a time; on a CPU they would only take more memory.
        at_once, waiting = len(new) if like.is_cuda else 1, list(new)
        while waiting:
            part, waiting = waiting[:at_once], waiting[at_once:]
            stack = torch.stack([new[key] for key in part]).to(
                like.device, like.dtype, memory_format=torch.channels_last
            )
            found.update(zip(part, _looked_at(encoder, stack), strict=True))
        for key in dict.fromkeys(keys):
            self._known[key] = found[key]
            self._known.move_to_end(key)
        while len(self._known) > _KEPT_PICTURES:
            self._known.popitem(last=False)
        return [found[key] for key in keys]

    def forget(self) -> None:
        """Forget all features, so that they are computed again."""
        self._known.clear()

    def _forget_if_changed(self) -> None:
        """Forget all features if one of the ResNet's tensors has been changed or replaced.

        The tensors are kept, so that a new one cannot be mistaken for one that is gone.
        """
        resnet = self._encoder.embed_images
        now = [(t, t._version) for t in (*resnet.parameters(), *resnet.buffers())]
        before, self._resnet = self._resnet, now
        if len(now) != len(before) or any(
            a is not b or version != earlier
            for (a, version), (b, earlier) in zip(now, before, strict=True)
        ):
            self.forget()


def _looked_at(encoder: Any, patches: Tensor) -> list[Picture]:
    """The ResNet's features for (pictures, 3, rows, columns)."""
    with capture([encoder.embed_images], shape_of, output=True) as shape:
        features, _, _, places, positions = encoder.get_patch_images_info(
            patches, None, patches.device
        )
    grid = Grid(*shape.once()[0].tolist())
    # Copies: a slice would keep the features of the whole batch in memory.
    return [Picture(one[None].clone(), places[0], positions[:1], grid) for one in features]


def shape_of(_: int, features: Tensor) -> Tensor:
    """Rows and columns of feature maps, for a capture of a ResNet's output."""
    return torch.tensor(features.shape[-2:])
