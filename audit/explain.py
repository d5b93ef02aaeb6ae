"""One picture and one sentence, explained: the verdict, the figures, the heatmap."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from audit.files import rounded, write_atomically
from audit.images import open_image
from audit.maps import Map, MapSpec, read_map
from audit.metrics import measure
from audit.models.base import Fingerprint, Model, Query
from audit.report.pictures import figure
from audit.trace import Trace


@dataclass(frozen=True)
class Explanation:
    """What a model said about one picture, and where it looked."""

    image: Image.Image
    trace: Trace
    spec: MapSpec
    map: Map
    metrics: dict[str, float | str]
    model: Fingerprint

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; the map is a nested list, rows first, that sums to 1."""
        return {
            "label": self.trace.label,
            "probabilities": self.trace.probabilities,
            "prompt": self.trace.prompt,
            "tokens": list(self.trace.tokens),
            "grid": list(self.trace.grid),
            "method": self.spec.key,
            "map": self.map.tolist(),
            "metrics": {
                name: {"undefined": value} if isinstance(value, str) else rounded(value)
                for name, value in self.metrics.items()
            },
            "model": self.model.to_dict(),
        }

    def write_heatmap(self, path: Path, colours: str) -> None:
        """Draw picture and heatmap side by side into a PNG."""
        probability = self.trace.probabilities[self.trace.label]
        title = f"{self.trace.label} ({probability:.1%}), {self.spec.key}"
        write_atomically(path, figure(self.image, self.map, title, colours=colours, boxes={}))


def explain(
    model: Model, image: Path, text: str, premise: str | None, spec: MapSpec
) -> Explanation:
    """Put one question to ``model`` and read the map that ``spec`` describes.

    Raises:
        ImageError: the picture cannot be read.
        ValueError: the map asks for a layer or head that the model does not have.
    """
    picture = open_image(image)
    (trace,) = model.trace([Query(picture, text, premise)])
    seen = read_map(trace, spec)
    return Explanation(
        picture, trace, spec, seen, measure(seen, {}, trace, spec), model.fingerprint
    )
