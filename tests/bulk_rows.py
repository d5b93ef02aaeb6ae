"""Sources and models for tests of bulk audits: tiny pictures, and a toy that can break."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from audit.maps.trace import NOTHING_MORE, Need, Trace
from audit.models.protocol import Query
from tests.packages import TOY, install
from tests.toy_model import ToyModel

LABELS = {"a bird sings": "yes", "a cat sleeps": "no", "it is hungry": "maybe"}
"""What the toy says to these texts."""


class BreakingToy(ToyModel):
    """A toy that breaks where a text says so, and takes its time over ``slow`` ones.

    ``crash`` fails at this question alone; ``cuda`` breaks the model for good, as a fault of a GPU
    does; ``die`` ends the process.
    """

    broken = False

    def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
        """Answer, or break."""
        for query in queries:
            self.broken |= "cuda" in query.text
            if "slow" in query.text:
                time.sleep(0.2)
            if "die" in query.text:
                os._exit(9)
            if self.broken or "crash" in query.text:
                raise RuntimeError("CUDA error: an illegal memory access" if self.broken else "bad")
        return super().trace(queries, need)


def install_toys(folder: Path) -> Path:
    """A folder for the import path, with packages that bring ``toy:…`` and ``breaking:…``."""
    breaking = TOY.replace("tests.toy_model import ToyModel", "tests.bulk_rows import BreakingToy")
    breaking = breaking.replace("ToyModel", "BreakingToy").replace("toy:", "breaking:")
    breaking = breaking.replace("BreakingBreaking", "Breaking")
    install(folder, "a-toy", {"toy": "toy_loader"}, toy_loader=TOY)
    return install(
        folder, "a-breaking-toy", {"breaking": "breaking_loader"}, breaking_loader=breaking
    )


def rows_of(number: int) -> list[dict[str, Any]]:
    """Rows about four pictures, each text in turn; the toy answers all of them rightly."""
    texts = list(LABELS)
    return [
        {
            "id": f"row-{each}",
            "image": f"images/{each % 4}.png",
            "text": texts[each % 3],
            "label": LABELS[texts[each % 3]],
            "colour": ("red", "blue")[each % 2],
        }
        for each in range(number)
    ]


def write_source(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """A CSV of rows, and four pictures beside it."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for number in range(4):
        Image.new("RGB", (12, 8), (60 * number, 90, 30)).save(folder / "images" / f"{number}.png")
    path = folder / "rows.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path
