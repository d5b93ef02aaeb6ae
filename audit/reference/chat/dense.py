"""Stage a of the chat model: its vision tower alone, with a label for every cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from audit.base.console import Progress
from audit.reference.chat.network import image_features
from audit.reference.chat.pictures import Pictures, normalised
from audit.reference.chat.recipe import CELLS, ChatRecipe
from audit.reference.data import dense_labels, place_label
from audit.reference.scenes import COLOURS, KINDS, PLACES


class Dense:
    """The loss of stage a: kind, colour and centre of the animal in each cell, and the place.

    The heads that say these from the cells are thrown away afterwards.
    """

    def __init__(self, model: Any, recipe: ChatRecipe, pictures: Pictures) -> None:
        self.model, self.recipe, self.pictures = model, recipe, pictures
        self.rng = np.random.default_rng([recipe.seed, 2])
        self.heads = nn.ModuleDict(
            {
                "norm": nn.LayerNorm(recipe.width),
                "kind": nn.Linear(recipe.width, 1 + len(KINDS)),
                "colour": nn.Linear(recipe.width, 1 + len(COLOURS)),
                "centre": nn.Linear(recipe.width, 1),
                "place": nn.Linear(recipe.width, len(PLACES) * 2),
                "count": nn.Linear(recipe.width, 3),
                "total": nn.Linear(recipe.width, 3),
            }
        )
        rounds = 1 + recipe.dense_steps * recipe.dense_batch // len(pictures.truths)
        self.order = np.concatenate(
            [self.rng.permutation(len(pictures.truths)) for _ in range(rounds)]
        )

    def loss(self, step: int) -> tuple[Tensor, str]:
        """The loss of a batch of parts of pictures, half of them mirrored; a note for the log."""
        size, (rows, columns) = self.recipe.dense_batch, self.recipe.dense_part
        chosen = self.order[step * size : (step + 1) * size]
        patches, labels = [], []
        for index in chosen:
            image, truth = self._part(index, rows, columns)
            patches.append(image)
            labels.append(truth)
        kind, colour, centre = (
            torch.from_numpy(np.stack(part)) for part in zip(*labels, strict=True)
        )
        images = normalised(torch.from_numpy(np.stack(patches)))
        cells = self.heads["norm"](image_features(self.model, images, (rows, columns)))
        loss = self._known(cells, chosen, kind, colour, centre)
        return loss, self._note(cells.flatten(0, 1), kind.flatten(), colour.flatten())

    def loss_of_counts(self, step: int) -> tuple[Tensor, str]:
        """The loss of a batch of whole pictures of one shape, where animals can be counted.

        Each cell of an animal also has to say how many of its kind there are, and how many in all.
        """
        rng = np.random.default_rng([self.recipe.seed, 7, step])
        grids = self.pictures.grids
        rows, columns = (int(n) for n in grids[rng.integers(len(grids))])
        alike = np.flatnonzero((grids == [rows, columns]).all(1))
        chosen = rng.permutation(alike)[: self.recipe.count_batch]
        labels = [dense_labels(self.pictures.truths[i], (rows, columns)) for i in chosen]
        kind, colour, centre = (
            torch.from_numpy(np.stack(part)) for part in zip(*labels, strict=True)
        )
        images = normalised(
            torch.from_numpy(self.pictures.patches[chosen][:, : 4 * rows * columns])
        )
        cells = self.heads["norm"](image_features(self.model, images, (rows, columns)))
        loss = self._known(cells, chosen, kind, colour, centre)
        counts = torch.zeros_like(kind) - 1
        totals = torch.zeros_like(kind) - 1
        for row, index in enumerate(chosen):
            groups = self.pictures.truths[index].spec.groups
            for group in groups:
                its = kind[row] == 1 + KINDS.index(group.kind)
                counts[row][its] = group.count - 1
                totals[row][its] = sum(g.count for g in groups) - 1
        note = self._note(cells.flatten(0, 1), kind.flatten(), colour.flatten())
        on = counts >= 0
        for name, truth in (("count", counts), ("total", totals)):
            said = self.heads[name](cells[on.flatten(1)])
            loss = loss + F.cross_entropy(said, truth[on])
            note += f" {name} {said.argmax(1).eq(truth[on]).float().mean():.3f}"
        return loss, note

    def _known(
        self, cells: Tensor, chosen: NDArray[Any], kind: Tensor, colour: Tensor, centre: Tensor
    ) -> Tensor:
        """The loss of place, kinds, colours and centres; ``cells`` is (pictures, cells, width)."""
        places = torch.tensor([place_label(self.pictures.truths[i]) for i in chosen])
        loss = 0.3 * F.cross_entropy(self.heads["place"](cells.mean(1)), places)
        cells, kind, colour = cells.flatten(0, 1), kind.flatten(), colour.flatten()
        weight = torch.where(kind > 0, 1.0, 0.25)
        for name, wanted in (("kind", kind), ("colour", colour)):
            sure = (kind >= 0) & (wanted >= 0)  # colours in grey pictures are not
            each = F.cross_entropy(self.heads[name](cells)[sure], wanted[sure], reduction="none")
            loss = loss + (each * weight[sure]).sum() / weight[sure].sum()
        return loss + F.binary_cross_entropy_with_logits(
            self.heads["centre"](cells)[:, 0], centre.flatten(), pos_weight=torch.tensor(5.0)
        )

    def _part(
        self, index: int, rows: int, columns: int
    ) -> tuple[NDArray[np.uint8], tuple[NDArray[Any], ...]]:
        """A part of a picture, mostly where the animals are, with the labels of its cells."""
        high, wide = (int(n) for n in self.pictures.grids[index])
        whole = self.pictures.patches[index][: 4 * high * wide].reshape(high, wide, -1)
        truth = dense_labels(self.pictures.truths[index], (high, wide))
        places = [(r, c) for r in range(high - rows + 1) for c in range(wide - columns + 1)]
        inside = [(truth[0][r : r + rows, c : c + columns] > 0).sum() for r, c in places]
        best = int(np.argmax(inside))
        top, left = places[best if self.rng.random() < 0.6 else self.rng.integers(len(places))]
        cut = np.s_[top : top + rows, left : left + columns]
        image, parts = whole[cut], tuple(part[cut] for part in truth)
        side = self.recipe.patch_size
        image = image.reshape(rows, columns, 2, 2, 3, side, side)
        if self.rng.random() < 0.5:  # seen in a mirror: cells, patches in a cell, and pixels
            image = image[:, ::-1, :, ::-1, :, :, ::-1]
            parts = tuple(part[:, ::-1] for part in parts)
        return image.reshape(4 * rows * columns, -1), parts

    @torch.no_grad()
    def _note(self, cells: Tensor, kind: Tensor, colour: Tensor) -> str:
        on, hued = kind > 0, colour > 0
        right = self.heads["kind"](cells[on]).argmax(1).eq(kind[on]).float().mean()
        hue = self.heads["colour"](cells[hued]).argmax(1).eq(colour[hued]).float().mean()
        return f"kind {right:.3f} colour {hue:.3f}"


@torch.no_grad()
def features(
    model: Any, pictures: Pictures, recipe: ChatRecipe, progress: Progress
) -> NDArray[np.float16]:
    """What the language model gets of each picture: (pictures, CELLS, width), padded."""
    found = np.zeros((len(pictures.truths), CELLS, recipe.width), np.float16)
    shapes = np.unique(pictures.grids, axis=0).tolist()
    alike = [
        (part, rows, columns)
        for rows, columns in shapes
        for part in _chunks(np.flatnonzero((pictures.grids == [rows, columns]).all(1)), 32)
    ]
    for part, rows, columns in progress(alike, len(alike), "features"):
        images = normalised(torch.from_numpy(pictures.patches[part][:, : 4 * rows * columns]))
        cells = image_features(model, images, (rows, columns))
        found[part, : rows * columns] = cells.half().numpy()
    return found


def _chunks(numbers: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    return [numbers[i : i + size] for i in range(0, len(numbers), size)]
