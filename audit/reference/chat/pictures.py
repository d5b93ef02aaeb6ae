"""Scenes as the shipped image processor hands them to the model, made once and kept on disk."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import Qwen2VLImageProcessorFast

from audit.base.console import Progress
from audit.base.files import write_atomically
from audit.reference.chat.recipe import CELLS, ChatRecipe
from audit.reference.data import SCENES, blank
from audit.reference.scenes import Scene
from audit.reference.variety import varied

MEAN = STD = 0.5
"""Of every channel; pixels are in [-1, 1]."""


def image_processor(recipe: ChatRecipe) -> Any:
    """Qwen2.5-VL's image processor, for small pictures."""
    return Qwen2VLImageProcessorFast(
        patch_size=recipe.patch_size,
        temporal_patch_size=2,
        merge_size=recipe.merge_size,
        min_pixels=recipe.min_pixels,
        max_pixels=recipe.max_pixels,
        image_mean=[MEAN] * 3,
        image_std=[STD] * 3,
    )


def patches(processor: Any, image: Image.Image) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """The patches of a picture before they are normalised, and the grid of merged cells.

    The processor repeats a picture in time; here it is once: (patches, channels * height * width).
    """
    made = processor(image, do_rescale=False, do_normalize=False, return_tensors="pt")
    side = processor.patch_size
    every = made["pixel_values"].view(-1, 3, processor.temporal_patch_size, side * side)
    once = every[:, :, 0].flatten(1).to(torch.uint8)
    _, rows, columns = (int(n) for n in made["image_grid_thw"][0])
    return once.numpy(), (rows // processor.merge_size, columns // processor.merge_size)


def normalised(stored: Tensor) -> Tensor:
    """Patches of :func:`patches` as floating-point numbers, as the model gets them."""
    return (stored.float() / 255 - MEAN) / STD


@dataclass(frozen=True)
class Pictures:
    """Many scenes: ``patches`` (scenes, 4 * CELLS, values) uint8, padded; ``grids`` (scenes, 2)."""

    patches: NDArray[np.uint8]
    grids: NDArray[np.int64]
    truths: list[Scene]


def _one(recipe: ChatRecipe, index: int) -> tuple[NDArray[np.uint8], tuple[int, int], Scene]:
    torch.set_num_threads(1)
    drawn = varied(recipe.seed, index)
    return *patches(image_processor(recipe), drawn.image), replace(drawn, image=blank())


def render(recipe: ChatRecipe, folder: Path, progress: Progress) -> Pictures:
    """The recipe's scenes, varied; stored in ``folder``. Their own pictures are left out."""
    path = folder / f"patches-{recipe.seed}-{recipe.scenes}-{recipe.patch_size}.npy"
    truth_path = path.with_suffix(".json")
    grid_path = folder / f"grids-{recipe.seed}-{recipe.scenes}-{recipe.patch_size}.npy"
    if not truth_path.exists():
        unit = recipe.merge_size**2
        shape = (recipe.scenes, unit * CELLS, 3 * recipe.patch_size**2)
        stored = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        grids = np.empty((recipe.scenes, 2), np.int64)
        truths: list[Scene] = []
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            drawn = pool.map(partial(_one, recipe), range(recipe.scenes), chunksize=32)
            for small, grid, truth in progress(drawn, recipe.scenes, "render"):
                stored[len(truths), : len(small)] = small
                grids[len(truths)] = grid
                truths.append(truth)
        stored.flush()
        np.save(grid_path, grids, allow_pickle=False)
        facts = [(t.spec, t.animals, t.support, t.mark, t.size, t.grey) for t in truths]
        write_atomically(truth_path, SCENES.dump_json(facts))
    known = SCENES.validate_json(truth_path.read_bytes())
    return Pictures(
        np.load(path, mmap_mode="r"),
        np.load(grid_path),
        [Scene(blank(), *facts) for facts in known],
    )
