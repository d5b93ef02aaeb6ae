"""Makes ``docs/regression.png``: the maps of the model that relies on watermarks.

Run ``python -m tools.regression_picture``. It also prints, for ``cases/watermarked.yaml``, how much
of each map lies on the watermark, and how often its largest value does.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

from PIL import Image

from audit import MapSpec, Query, explain, load_model, read_map
from audit.base.files import write_atomically
from audit.base.geometry import mask
from audit.cases.loading import load_cases
from audit.metrics.placement import mass, pointing
from audit.runs.evidence import gather

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "cases" / "images" / "two-birds-on-a-branch-disc.jpg"
TEXT = "there are two birds on a branch"
MEASURED = (
    "answer_attention", "relevance", "relevance variant=paper", "occlusion", "rollout",
)  # fmt: skip
MAPS = ("answer_attention", "relevance", "occlusion", "word_attention word=birds")


def main() -> None:
    """Explain one watermarked picture by several maps, and put the pictures on one sheet."""
    model: Any = load_model("shortcut")
    drawn = []
    with tempfile.TemporaryDirectory() as temporary:
        for asked in MAPS:
            found = explain(PICTURE, TEXT, model, map=asked)
            files = found.draw(Path(temporary), "marked", TEXT)
            with Image.open(files["heatmap"]) as heatmap:
                drawn.append(heatmap.convert("RGB"))
    width, height = drawn[0].size
    page = Image.new("RGB", (2 * width, 2 * height), "white")
    for number, picture in enumerate(drawn):
        page.paste(picture, (number % 2 * width, number // 2 * height))
    page.thumbnail((1400, 1400))
    buffer = io.BytesIO()
    page.save(buffer, format="PNG", optimize=True)
    write_atomically(ROOT / "docs" / "regression.png", buffer.getvalue())
    for source in ("shortcut", "reference"):
        _on_the_mark(source)


def _on_the_mark(source: str) -> None:
    model: Any = load_model(source)
    cases = load_cases(ROOT / "cases" / "watermarked.yaml")
    for spec in (MapSpec.parse(asked) for asked in MEASURED):
        masses, hits = [], []
        for case in cases:
            (seen,) = gather(model, [Query(case.image, case.text)], [[spec]], 16)
            p, region = read_map(seen, spec), mask(case.regions["watermark"], seen.trace.grid)
            masses.append(mass(p, region))
            hits.append(pointing(p, region))
        print(f"{source:10} {spec.key:26} mass {fmean(masses):.3f} pointing {fmean(hits):.2f}")


if __name__ == "__main__":
    main()
