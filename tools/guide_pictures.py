"""Makes the pictures of ``docs/guide.md``: heatmap, three cases, layers, and words as an animation.

Run ``python -m tools.guide_pictures``. They are drawn with the embedded model, so another one makes
other pictures.
"""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from audit import explain, load_model
from audit.base.files import write_atomically
from audit.report.strips import animation, sheet

DOCS = Path(__file__).parent.parent / "docs"
PICTURE = DOCS.parent / "cases" / "images" / "two-birds-on-a-branch.png"
SENTENCES = (
    "there are two birds on a branch",
    "a cat is sleeping on the sofa",
    "there are animals in nature",
)


def main() -> None:
    """Ask the three sentences of the guide, and draw what its page shows."""
    model = load_model("reference")
    found = [explain(PICTURE, sentence, model) for sentence in SENTENCES]
    first = found[0]
    buffer = io.BytesIO()
    first.heatmap(colours="jet", alpha=0.5).savefig(buffer, format="png")
    _write("heatmap", buffer.getvalue())
    layers = [(f"layer {number}", p) for number, p in first.layers]
    _write("layers", sheet(first.image, layers, title=first.text, scale="shared"))
    cases = [(f"{each.text}: {each.label}", each.map) for each in found]
    _write("cases", sheet(first.image, cases, title="", scale="each"))
    played = animation(first.image, list(first.words), scale="each", format="WEBP")
    write_atomically(DOCS / "guide-words.webp", played)


def _write(name: str, png: bytes) -> None:
    """A drawing as WebP, which needs a tenth of the bytes where the picture has noise."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        picture.convert("RGB").save(buffer, "WEBP", quality=85, method=6)
    write_atomically(DOCS / f"guide-{name}.webp", buffer.getvalue())


if __name__ == "__main__":
    main()
