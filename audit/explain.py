"""One picture and one sentence, explained: the verdict, the figures, the heatmaps."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from audit.evidence import gather, picture
from audit.expectations import Verdict
from audit.files import digest, make_output, rounded, write_atomically
from audit.images import open_image
from audit.maps import Map, MapSpec, layer_maps, read_map, word_maps
from audit.metrics import measure
from audit.models.base import NOTHING_MORE, Fingerprint, Model, Query
from audit.outcomes import Outcome, Run, State, Strip
from audit.report.gallery import write_gallery
from audit.report.pictures import figure
from audit.report.strips import Scale, animation, sheet
from audit.trace import Need, Trace


@dataclass(frozen=True)
class Explanation:
    """What a model said about one picture, and where it looked.

    Attributes:
        layers: number and map of each layer, if asked for.
        words: each word of the hypothesis and its map, if asked for.
    """

    image: Image.Image
    trace: Trace
    spec: MapSpec
    map: Map
    metrics: dict[str, float | str]
    layers: list[tuple[int, Map]]
    words: list[tuple[str, Map]]
    model: Fingerprint
    premise: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; maps are nested lists, rows first, that sum to 1."""
        found: dict[str, Any] = {
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
        if self.layers:
            found["layers"] = [{"layer": n, "map": p.tolist()} for n, p in self.layers]
        if self.words:
            found["words"] = [{"word": word, "map": p.tolist()} for word, p in self.words]
        return found

    def draw(
        self, folder: Path, name: str, text: str, *, colours: str, scale: str, animate: bool
    ) -> dict[str, Path]:
        """Write the pictures into ``folder`` and return them by what they show.

        Always ``heatmap``, and ``page`` with the gallery's view of it; ``layers`` and ``words``
        where they were asked for, and with ``animate`` each of these also as GIF and WebP, if there
        is more than one panel.

        Args:
            name: of the picture; the files' names begin with it and the map's.
            text: the hypothesis; it stands on every picture.
            scale: ``shared`` or ``each``; empty for layers that share one and words that do not,
                since words differ in strength and are to be read one by one.
        """
        said = self._said(text)
        title = f"{said}, {self.spec.key}"
        method = re.sub(r"[^\w.-]+", "-", self.spec.key)
        stem = f"{name}.{method}"
        drawn = {
            "heatmap": (
                f"{stem}.png",
                figure(
                    self.image, self.map, title, colours=colours, boxes={},
                    label=_LABELS.get(self.spec.method, "Attention Intensity"),
                ),
            )
        }  # fmt: skip
        for strip, panels in self._strips().items():
            if not panels:
                continue
            over = title if strip == "layers" else f"{said}, encoder attention by word"
            one: Scale = "shared" if (scale or _SCALES[strip]) == "shared" else "each"
            together = sheet(self.image, panels, title=over, scale=one, colours=colours)
            begin = f"{stem if strip == 'layers' else name}.{strip}"
            drawn[strip] = (f"{begin}.png", together)
            if animate and len(panels) > 1:
                for kind in ("GIF", "WEBP"):
                    moving = animation(self.image, panels, scale=one, colours=colours, format=kind)
                    drawn[f"{strip} {kind.lower()}"] = (f"{begin}.{kind.lower()}", moving)
        make_output(folder)
        for file, data in drawn.values():
            write_atomically(folder / file, data)
        page = folder / f"{stem}.html"
        write_atomically(page, self._page(name, text))
        return {**{shown: folder / file for shown, (file, _) in drawn.items()}, "page": page}

    def _page(self, name: str, text: str) -> bytes:
        """The gallery's view of this one picture."""
        trace = self.trace
        outcome = Outcome(
            case=name, file="", line=0, state=State.PASSED,
            sentence=f"{len(self.metrics)} figures of {self.spec.key}", text=text,
            premise=self.premise, tags=[], expected=trace.label, image=name,
            image_digest=digest(self.image.tobytes()), image_size=self.image.size, case_digest="",
            regions={}, default_map=self.spec.key, label=trace.label,
            probabilities=trace.probabilities, metrics={self.spec.key: self.metrics},
            grid=(trace.grid.rows, trace.grid.cols),
            verdicts=[
                Verdict(figure, True, value if isinstance(value, str) else f"{value:.4g}", "", "")
                for figure, value in self.metrics.items()
            ],
        )  # fmt: skip
        with tempfile.TemporaryDirectory(prefix="audit-explain-") as temporary:
            run = Run(Path(temporary))
            run.start({"id": "", "model": self.model.to_dict()})
            run.add_image(outcome.image_digest, self.image)
            run.add(outcome, {self.spec.key: self.map}, self._strips())
            return write_gallery(run, "all", self._said(text)).read_bytes()

    def _said(self, text: str) -> str:
        label = self.trace.label
        return f"“{text}”: {label} ({self.trace.probabilities[label]:.1%})"

    def _strips(self) -> dict[str, Strip]:
        return {"layers": [(f"layer {n}", p) for n, p in self.layers], "words": self.words}


_SCALES: dict[str, Scale] = {"layers": "shared", "words": "each"}

_LABELS = {
    "relevance": "Relevance",
    "occlusion": "Loss of probability",
    "uniform": "Control",
    "centre": "Control",
    "random": "Control",
}
"""What the colour bar of a map says that is not of attention."""


def explain(
    model: Model,
    image: Path,
    text: str,
    premise: str | None,
    spec: MapSpec,
    *,
    truncate: bool = False,
    layers: bool = False,
    words: bool = False,
    batch_size: int = 8,
) -> Explanation:
    """Put one question to ``model`` and read the map that ``spec`` describes.

    Args:
        truncate: whether the model may cut texts that are longer than it reads.
        layers: also read the map of each layer alone.
        words: also read the encoder's attention from each word of the hypothesis.
        batch_size: pictures that the model is shown at a time, for maps that need many.

    Raises:
        ImageError: the picture cannot be read.
        TextError: a text is blank, or longer than the model reads.
        ValueError: the map asks for a word, layer or head that is not there, or ``layers`` for a
            method that does not read layer by layer.
    """
    query = Query(open_image(image), text, premise, truncate)
    also = Need(words=frozenset({"mean"})) if words else NOTHING_MORE
    (trace,) = gather(model, [query], [[spec]], batch_size, also)
    seen = read_map(trace, spec)
    return Explanation(
        picture(query),
        trace,
        spec,
        seen,
        measure(seen, {}, trace, spec),
        layer_maps(trace, spec) if layers else [],
        word_maps(trace) if words else [],
        model.fingerprint,
        query.premise,
    )
