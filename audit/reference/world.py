"""Tell whether a picture could be one of the drawn scenes that the embedded models know.

The models learnt from nothing else, but they answer about a photograph as readily as about a scene.
A scene has flat patches of few colours, with the sky or a wall above the ground. A picture is
described by figures of these properties, and its distance from the scenes (Mahalanobis 1936) is
compared with the largest distance of a held-out scene. ``python -m tools.make_world`` measures the
scenes and this limit.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from audit.base.settings import EMBEDDED

_SIDE = 96
"""Pictures are scaled to this side, so that neither their size nor the noise of JPEG matters."""

_STEPS = (0.012, 0.04, 0.12)
"""Differences between neighbouring pixels, as fractions of a channel's range."""

Array = NDArray[np.float64]


def figures(image: Image.Image) -> Array:
    """What describes a picture: flatness, number and shares of colours, colours of three bands."""
    small = image.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    pixels = np.asarray(small, np.float64) / 255
    steps = np.concatenate(
        [np.abs(np.diff(pixels, axis=axis)).max(axis=-1).ravel() for axis in (0, 1)]
    )
    even = np.array([np.mean(steps <= step) for step in _STEPS])
    coarse = np.minimum(pixels * 8, 7).astype(int) @ (64, 8, 1)
    shares = np.sort(np.bincount(coarse.ravel(), minlength=512) / coarse.size)[::-1]
    there = shares[shares > 0]
    bands = [band.mean(axis=(0, 1)) for band in np.array_split(pixels, 3, axis=0)]
    vivid = pixels.max(axis=-1) - pixels.min(axis=-1)
    return np.concatenate(
        [
            np.log((even + 1e-3) / (1 - even + 1e-3)),
            [-(there * np.log(there)).sum()],
            np.log(shares[:3] + 1e-3),
            *bands,
            [vivid.mean(), vivid.std(), pixels.std()],
        ]
    )


def distance(image: Image.Image, mean: Array, whitening: Array) -> float:
    """How far a picture is from the mean of the scenes, in units of their own spread."""
    return float(np.linalg.norm(whitening @ (figures(image) - mean)))


@cache
def _scenes() -> dict[str, Any]:
    text = resources.files("audit.reference").joinpath("world.json").read_text(encoding="utf-8")
    stored: dict[str, Any] = json.loads(text)
    return {name: np.asarray(value) for name, value in stored.items()}


def is_foreign(image: Image.Image) -> bool:
    """Whether the picture is farther from the scenes than any held-out scene."""
    scenes = _scenes()
    return distance(image, scenes["mean"], scenes["whitening"]) > float(scenes["limit"])


def note_on_picture(source: str, image: Image.Image) -> str:
    """A warning about the answers of the model ``source`` to this picture; empty if none is due."""
    if source not in EMBEDDED or not is_foreign(image):
        return ""
    return (
        f"the model {source} knows only drawn scenes, and this picture is not one of them: what it "
        "says about it means nothing"
    )
