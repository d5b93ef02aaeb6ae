"""Scenes at the model's input size, rendered once into arrays that later stages map from disk."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from audit.reference.hypotheses import Label
from audit.reference.scenes import COLOURS, KINDS, PLACES, SIZE, Box, Scene, scene

LABEL_IDS: dict[Label, int] = {"no": 0, "yes": 1, "maybe": 2}


def pixels(drawn: Scene, size: int) -> NDArray[np.uint8]:
    """The picture as modelscope's preprocessor resizes it: (size, size, 3)."""
    return np.asarray(drawn.image.resize((size, size), Image.Resampling.BICUBIC))


def _one(seed: int, size: int, index: int) -> tuple[NDArray[np.uint8], Scene]:
    drawn = scene(seed, index)
    small = pixels(drawn, size)
    return small, Scene(Image.new("RGB", (1, 1)), drawn.spec, drawn.animals, drawn.support)


def render(seed: int, count: int, size: int, folder: Path, progress) -> tuple[NDArray[np.uint8], list[Scene]]:  # type: ignore[no-untyped-def]
    """Render ``count`` scenes of ``seed``; pixels (count, size, size, 3) are kept in ``folder``.

    The truth is drawn again with the pixels, so a cached array costs only its own disk space:
    pixels and truth come from one generator and cannot disagree.
    """
    import pickle

    path = folder / f"scenes-{seed}-{count}-{size}.npy"
    truth_path = path.with_suffix(".truth")
    if not truth_path.exists():
        images = np.empty((count, size, size, 3), np.uint8)
        truths: list[Scene] = []
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            for small, truth in progress(
                pool.map(partial(_one, seed, size), range(count), chunksize=32), count, "render"
            ):
                images[len(truths)] = small
                truths.append(truth)
        np.save(path, images, allow_pickle=False)
        truth_path.write_bytes(pickle.dumps([(t.spec, t.animals, t.support) for t in truths]))
    stored = pickle.loads(truth_path.read_bytes())  # written by this very function
    blank = Image.new("RGB", (1, 1))
    return np.load(path), [Scene(blank, *item) for item in stored]


def coverage(boxes: tuple[Box, ...], grid: int) -> NDArray[np.float32]:
    """Share of each cell that lies in any of the boxes (which never overlap): (grid, grid)."""
    cell = SIZE / grid
    edges = np.arange(grid) * cell
    total = np.zeros((grid, grid), np.float32)
    for left, top, right, bottom in boxes:
        across = np.clip(np.minimum(edges + cell, right) - np.maximum(edges, left), 0, None) / cell
        down = np.clip(np.minimum(edges + cell, bottom) - np.maximum(edges, top), 0, None) / cell
        total += np.outer(down, across).astype(np.float32)
    return np.clip(total, 0, 1)


def dense_labels(truth: Scene, grid: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Per cell: kind (0 none, -1 partly covered), colour (the same code), centre of an animal."""
    kind = np.zeros((grid, grid), np.int64)
    colour = np.zeros((grid, grid), np.int64)
    centre = np.zeros((grid, grid), np.float32)
    for animal in truth.animals:
        share = coverage((animal.box,), grid)
        unsure, sure = (share > 0.05) & (share < 0.6), share >= 0.6
        kind[unsure] = colour[unsure] = -1
        kind[sure] = 1 + KINDS.index(animal.kind)
        colour[sure] = 1 + COLOURS.index(animal.colour)
        left, top, right, bottom = animal.box
        row = int((top + bottom) / 2 / SIZE * grid)
        column = int((left + right) / 2 / SIZE * grid)
        centre[min(row, grid - 1), min(column, grid - 1)] = 1
    return kind, colour, centre


def place_label(truth: Scene) -> int:
    """One code for place and setting together."""
    return PLACES.index(truth.spec.place) * 2 + truth.spec.outdoors
