"""Make ``docs/regression.png``: what the maps show of the model that goes by watermarks.

Run ``python -m tools.regression_picture``.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from audit import load_model
from audit.explain import explain
from audit.files import write_atomically
from audit.mapspec import MapSpec

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "cases" / "images" / "two-birds-on-a-branch-disc.jpg"
TEXT = "there are two birds on a branch"
MAPS = ("cross_attention", "relevance", "occlusion", "encoder_attention word=birds")


def main() -> None:
    """Explain one watermarked picture by several maps, and put the pictures on one sheet."""
    model: Any = load_model("shortcut")
    drawn = []
    with tempfile.TemporaryDirectory() as temporary:
        for asked in MAPS:
            found = explain(model, PICTURE, TEXT, None, MapSpec.parse(asked))
            files = found.draw(
                Path(temporary), "marked", TEXT, colours="viridis", scale="", animate=False
            )
            with Image.open(files["heatmap"]) as picture:
                drawn.append(picture.convert("RGB"))
    width, height = drawn[0].size
    page = Image.new("RGB", (2 * width, 2 * height), "white")
    for number, picture in enumerate(drawn):
        page.paste(picture, (number % 2 * width, number // 2 * height))
    page.thumbnail((1400, 1400))
    buffer = io.BytesIO()
    page.save(buffer, format="PNG", optimize=True)
    write_atomically(ROOT / "docs" / "regression.png", buffer.getvalue())


if __name__ == "__main__":
    main()
