"""Scenes at the model's input size, rendered once into arrays that are then loaded from disk."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import TypeAdapter

from audit.base.console import Progress
from audit.base.files import write_atomically
from audit.reference.scenes import (
    COLOURS,
    KINDS,
    MARKS,
    PLACES,
    SIZE,
    Animal,
    Box,
    Mark,
    Scene,
    SceneSpec,
)
from audit.reference.variety import varied


def pixels(drawn: Scene, size: int) -> NDArray[np.uint8]:
    """The picture as modelscope's preprocessor resizes it: (size, size, 3)."""
    return np.asarray(drawn.image.resize((size, size), Image.Resampling.BICUBIC))


def _one(seed: int, size: int, marked: bool, index: int) -> tuple[NDArray[np.uint8], Scene]:
    drawn = varied(seed, index, marked)
    return pixels(drawn, size), replace(drawn, image=blank())


def blank() -> Image.Image:
    """In place of a picture that is stored elsewhere."""
    return Image.new("RGB", (1, 1))


SCENES = TypeAdapter(
    list[tuple[SceneSpec, tuple[Animal, ...], Box, Mark | None, tuple[int, int], bool]]
)
"""Reads and writes scenes without their pictures."""


def render(
    seed: int, count: int, size: int, marked: bool, folder: Path, progress: Progress
) -> tuple[NDArray[np.uint8], list[Scene]]:
    """Render ``count`` varied scenes of ``seed``, once: pixels (count, size, size, 3) and truths.

    Both are stored in ``folder``. The returned scenes have a blank picture, to save memory.
    """
    path = folder / f"scenes-{seed}-{count}-{size}{'-marked' if marked else ''}.npy"
    truth_path = path.with_suffix(".json")
    if not truth_path.exists():
        images = np.empty((count, size, size, 3), np.uint8)
        truths: list[Scene] = []
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            drawn = pool.map(partial(_one, seed, size, marked), range(count), chunksize=32)
            for small, truth in progress(drawn, count, "render"):
                images[len(truths)] = small
                truths.append(truth)
        np.save(path, images, allow_pickle=False)
        facts = [(t.spec, t.animals, t.support, t.mark, t.size, t.grey) for t in truths]
        write_atomically(truth_path, SCENES.dump_json(facts))
    stored = SCENES.validate_json(truth_path.read_bytes())
    return np.load(path), [Scene(blank(), *facts) for facts in stored]


Grid = int | tuple[int, int]
"""Rows and columns of cells; one number if they are the same."""


def _shape(grid: Grid) -> tuple[int, int]:
    return (grid, grid) if isinstance(grid, int) else grid


def coverage(
    boxes: tuple[Box, ...], grid: Grid, size: tuple[int, int] = (SIZE, SIZE)
) -> NDArray[np.float32]:
    """Share of each cell that lies in any of the boxes (which never overlap): (rows, columns).

    ``size`` is the width and height that the boxes are counted in.
    """
    rows, columns = _shape(grid)
    total = np.zeros((rows, columns), np.float32)
    for left, top, right, bottom in boxes:
        across = _overlap(left, right, size[0], columns)
        total += np.outer(_overlap(top, bottom, size[1], rows), across).astype(np.float32)
    return np.clip(total, 0, 1)


def _overlap(start: int, stop: int, length: int, grid: int) -> NDArray[np.float64]:
    """Share of each of ``grid`` equal parts of a side that lies between start and stop."""
    cell = length / grid
    edges = np.arange(grid) * cell
    covered = np.minimum(edges + cell, stop) - np.maximum(edges, start)
    share: NDArray[np.float64] = np.clip(covered, 0.0, None) / cell
    return share


def dense_labels(
    truth: Scene, grid: Grid
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """For each cell: kind (0 none, -1 partly covered), colour (same codes), centre of an animal.

    Watermarks are further kinds after the animals, without a colour. In a grey picture the colours
    of animals are -1.
    """
    rows, columns = _shape(grid)
    kind = np.zeros((rows, columns), np.int64)
    colour = np.zeros((rows, columns), np.int64)
    centre = np.zeros((rows, columns), np.float32)
    for animal in truth.animals:
        share = coverage((animal.box,), grid, truth.size)
        unsure, sure = (share > 0.05) & (share < 0.6), share >= 0.6
        kind[unsure] = colour[unsure] = -1
        kind[sure] = 1 + KINDS.index(animal.kind)
        colour[sure] = -1 if truth.grey else 1 + COLOURS.index(animal.colour)
        left, top, right, bottom = animal.box
        row = int((top + bottom) / 2 / truth.size[1] * rows)
        column = int((left + right) / 2 / truth.size[0] * columns)
        centre[min(row, rows - 1), min(column, columns - 1)] = 1
    if truth.mark:
        share = coverage((truth.mark.box,), grid, truth.size)
        kind[share > 0.05] = -1
        kind[share >= 0.6] = 1 + len(KINDS) + MARKS.index(truth.mark.shape)
    return kind, colour, centre


def place_label(truth: Scene) -> int:
    """One number for the place and the setting together; -100, which losses ignore, for nowhere."""
    if truth.spec.place is None:
        return -100
    return PLACES.index(truth.spec.place) * 2 + bool(truth.spec.outdoors)
