"""A model with heads: some look at the red patch of a picture, the others somewhere else."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from audit.base.errors import MapError, ModelError
from audit.base.files import digest
from audit.base.geometry import Box, Grid
from audit.base.images import picture_of
from audit.gate.headsfile import heads_path
from audit.maps.trace import NOTHING_MORE, HeadPlace, Need, Reading, Trace
from audit.models.kit.heads import over_heads
from audit.models.protocol import Fingerprint, Query
from audit.studies.placing import Question

RED = (255, 0, 0)
GRID = Grid(8, 8)
LAYERS, HEADS = 3, 4
GOOD = (HeadPlace(2, 3), HeadPlace(3, 1))


class HeadToy:
    """Answers ``yes`` where there is red.

    Args:
        good: the heads that look at the red patch; the others look at the corner, whatever is
            there, or at nothing in particular.
        fails_at: a text that it cannot answer.
    """

    labels = ("no", "yes")
    methods = ("answer_attention",)

    def __init__(
        self, good: Collection[HeadPlace] = GOOD, name: str = "head-toy", fails_at: str = ""
    ) -> None:
        self.good, self.fails_at = set(good), fails_at
        parts = [digest(repr(sorted(self.good))), *("0" * 64 for _ in range(3))]
        self.fingerprint = Fingerprint(
            name, "toy", "", digest(*parts), *parts, "cpu", "float32", {}
        )

    def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
        return [self._one(query, need) for query in queries]

    def _one(self, query: Query, need: Need) -> Trace:
        if query.text == self.fails_at:
            raise ModelError("it does not understand")
        pixels = np.asarray(picture_of(query.image))
        red = Image.fromarray((pixels == RED).all(axis=-1).astype(np.float32))
        patch = np.asarray(red.resize((GRID.cols, GRID.rows), Image.Resampling.BOX), np.float64)
        rng = np.random.default_rng(int(pixels.sum()) % 2**32)
        rows = rng.random((LAYERS, HEADS, 64)).astype(np.float32) * 0.01
        rows[:, ::2, 0] += 0.8  # a sink
        for place in self.good:
            rows[place.layer - 1, place.head - 1, 0] = 0
            rows[place.layer - 1, place.head - 1] += 0.8 * patch.ravel() / max(patch.sum(), 1)
        rest = np.maximum(1 - rows.sum(-1, keepdims=True), 0)
        rows = np.concatenate([rows, rest], axis=-1)
        readings = {}
        for key in need:
            if key.method not in self.methods:
                raise MapError(f"the toy gives no {key.method}")
            seen = over_heads(rows, key.heads)
            cells = seen[:, :64].reshape(-1, *GRID)
            readings[key] = Reading(cells, (seen[:, :64].sum(1) / seen.sum(1)).clip(0, 1))
        yes = 0.9 if patch.any() else 0.1
        return Trace(
            {"no": 1 - yes, "yes": yes}, "yes" if yes > 0.5 else "no", query.text,
            tuple(query.text.split()), GRID, readings=readings,
        )  # fmt: skip


def picture(number: int) -> tuple[Image.Image, Box]:
    """A grey picture with a red patch of four cells, and where the patch is."""
    rng = np.random.default_rng(number)
    left, top = rng.integers(1, 7, 2)
    noise = rng.integers(90, 150, (64, 64, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    box = tuple(int(v) for v in (left * 8, top * 8, left * 8 + 16, top * 8 + 16))
    image.paste(RED, box)
    return image, Box(*(min(v, 64) / 64 for v in box))


def questions(number: int, each: int = 1) -> list[Question]:
    """So many pictures, each with so many questions."""
    found = []
    for n in range(number):
        image, box = picture(n)
        found += [
            Question(f"q{n}-{m}", str(n), Query(image, f"text {m}"), (box,), "yes")
            for m in range(each)
        ]
    return found


def project(root: Path, pictures: int, extra: str = "", map_: str = "{heads: mean}") -> Path:
    """A project with a case about each picture; returns its case file."""
    images = root / "cases" / "images"
    images.mkdir(parents=True)
    lines = [f"defaults: {{map: {map_}}}", "cases:"]
    for n in range(pictures):
        image, box = picture(n)
        image.save(images / f"{n}.png")
        corners = ", ".join(f"{v:.4f}" for v in box)
        lines += [
            f"  - id: case-{n}",
            f"    image: images/{n}.png",
            "    text: there is a red patch",
            f"    regions: {{patch: [[{corners}]]}}",
            "    expect: {label: yes, attention: [{metric: mass, region: patch, min: 0.01}]}",
        ]
    file = root / "cases" / "patches.yaml"
    file.write_text("\n".join(lines) + f"\n{extra}")
    (root / "pytest.ini").write_text("[pytest]\naudit_baselines = baselines\naudit_run_dir = run\n")
    return file


def heads_record(**changed: Any) -> dict[str, Any]:
    """What ``heads.json`` holds, with some keys changed."""
    half = {
        "pictures": 6, "questions": 6,
        "maps": {"answer_attention heads=L2H1": {"figures": {"mass": {"mean": 0.5}}}},
    }  # fmt: skip
    return {
        "format": 1, "model": {"digest": "d" * 64}, "layers": 3, "heads_per_layer": 4,
        "heads": ["L2H1"], "fitting": half, "held_out": half,
    } | changed  # fmt: skip


def write_heads(folder: Path, **changed: Any) -> Path:
    """Write such a ``heads.json`` into a folder of baselines."""
    path = heads_path(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(heads_record(**changed), indent=1))
    return folder
