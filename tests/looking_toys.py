"""Models without weights that find a red patch in what they see: part of the picture, or more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image

from audit.base.files import digest
from audit.base.geometry import Box, Grid
from audit.base.images import picture_of
from audit.maps.trace import NOTHING_MORE, Need, Reading, Trace
from audit.models.protocol import Fingerprint, Query

RED = (255, 0, 0)


class LookingToy:
    """Looks at the red patch in what it sees; the more red there is, the likelier is ``yes``.

    ``crop`` takes the largest square in the middle of the picture, ``pad`` the smallest square
    around it, filled up with grey, and ``whole`` squeezes the whole picture into its square grid.
    """

    labels = ("no", "yes", "maybe")
    methods = ("answer_attention",)

    def __init__(self, sees: Literal["crop", "pad", "whole"], cells: int = 8) -> None:
        self.sees, self.grid = sees, Grid(cells, cells)
        self.fingerprint = Fingerprint(
            sees, "toy", "r1", *("a" * 64, "b" * 64, "c" * 64, "d" * 64, digest(sees)),
            "cpu", "float32", {},
        )  # fmt: skip

    def box(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of what is seen, in pixels of the picture."""
        if self.sees == "whole":
            return 0, 0, *size
        side = min(size) if self.sees == "crop" else max(size)
        left, top = ((each - side) // 2 for each in size)
        return left, top, left + side, top + side

    def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
        return [self._one(picture_of(query.image), query.text, need) for query in queries]

    def _one(self, image: Image.Image, text: str, need: Need) -> Trace:
        (width, height), box = image.size, self.box(image.size)
        seen = Image.new("RGB", (box[2] - box[0], box[3] - box[1]), (128, 128, 128))
        seen.paste(image, (-box[0], -box[1]))
        red = (np.asarray(seen) == RED).all(axis=-1)
        cells = Image.fromarray(red.astype(np.float32)).resize(
            (self.grid.cols, self.grid.rows), Image.Resampling.BOX
        )
        found = np.tile(np.asarray(cells, dtype=np.float64) + 0.01, (2, 1, 1))
        share = red.mean()
        yes = 0.4 + 0.5 * share / (share + 0.05)
        view = Box(box[0] / width, box[1] / height, box[2] / width, box[3] / height)
        return Trace(
            {"no": (1 - yes) / 2, "yes": yes, "maybe": (1 - yes) / 2}, "yes", text, ("a", "b"),
            self.grid, readings={key: Reading(found, np.full(2, 0.5)) for key in need}, view=view,
        )  # fmt: skip
