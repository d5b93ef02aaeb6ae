"""One map of a model's answer about one picture and one sentence: figures, and drawings."""

from __future__ import annotations

import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import regex
from PIL import Image

from audit.base.errors import AuditError
from audit.base.files import counted, digest, make_output, rounded, write_atomically
from audit.base.images import identity, picture_of
from audit.base.words import characters
from audit.cases.expectations import Verdict
from audit.gate.outcomes import Outcome, State
from audit.gate.runfolder import Strip
from audit.maps.reading import Map, MapSpec
from audit.maps.trace import Trace
from audit.models.protocol import Fingerprint
from audit.report.gallery import Shown, gallery_page
from audit.report.heatmap import DPI, Format, heatmap
from audit.report.lettering import isolated, one_line
from audit.report.strips import Scale, animation, sheet


def _answer(trace: Trace, model: Fingerprint) -> dict[str, Any]:
    """A model's answer as plain data for JSON."""
    return {
        "label": trace.label,
        "probabilities": trace.probabilities,
        **({} if trace.unsaid is None else {"unsaid": trace.unsaid}),
        "prompt": trace.prompt,
        "tokens": list(trace.tokens),
        "grid": list(trace.grid),
        "view": list(trace.view),
        "model": model.to_dict(),
    }


@dataclass(frozen=True)
class NoMap:
    """A model's answer about one picture when the requested map is undefined."""

    trace: Trace
    spec: MapSpec
    reason: str
    model: Fingerprint

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            **_answer(self.trace, self.model),
            "method": self.spec.key,
            "undefined": self.reason,
        }


@dataclass(frozen=True)
class ExplainedMap:
    """A model's answer about one picture, and one map of where it looked.

    Attributes:
        layers: number and map of each layer, if requested.
        words: each word of the hypothesis and its map, if requested.
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
            **_answer(self.trace, self.model),
            "method": self.spec.key,
            "map": self.map.tolist(),
            "metrics": {
                name: {"undefined": value} if isinstance(value, str) else rounded(value)
                for name, value in self.metrics.items()
            },
        }
        if self.layers:
            found["layers"] = [{"layer": n, "map": p.tolist()} for n, p in self.layers]
        if self.words:
            found["words"] = [{"word": word, "map": p.tolist()} for word, p in self.words]
        return found

    def draw(
        self,
        folder: str | Path,
        name: str,
        text: str,
        *,
        colours: str = "viridis",
        scale: str = "",
        animate: bool = False,
        format: Format = "png",
        dpi: int = DPI,
    ) -> dict[str, Path]:
        """Write the pictures into ``folder`` and return their paths by what they show.

        There is always a ``heatmap``, and a ``page`` with the gallery's view. ``layers`` and
        ``words`` are added if they were requested; with ``animate`` also as GIF and WebP, if they
        have more than one panel. The same question overwrites its files; other questions get
        other files.

        Args:
            name: of the picture; the names of the files begin with it.
            text: the hypothesis, which is the title of every picture.
            scale: colour scale, ``shared`` or ``each``. If empty, layers share one scale and words
                do not, since words differ in strength and are read one by one.
            format: of heatmap and sheets.
            dpi: of the heatmap, in pixels per inch.

        Raises:
            AuditError: the folder cannot be written.
        """
        folder = Path(folder)
        name = name.encode(errors="backslashreplace").decode()  # it need not be UTF-8
        said = headline(self.trace, isolated(text))
        title = f"{said}, {self.spec.key}"
        stem, of_words = self._stem(name, text, self.spec.key), self._stem(name, text, "words")
        drawn = {
            "heatmap": (
                f"{stem}.{format}",
                heatmap(
                    self.image, self.map, title, colours=colours, boxes={},
                    label=bar_label(self.spec),
                    format=format, dpi=dpi, view=self.trace.view,
                ),
            )
        }  # fmt: skip
        for strip, panels in self._strips().items():
            layered = strip == "layers"
            over = title if layered else f"{said}, attention by word"
            one: Scale = "shared" if (scale or _SCALES[strip]) == "shared" else "each"
            begin = f"{stem}.layers" if layered else of_words
            together = sheet(
                self.image, panels, title=over, scale=one, colours=colours, format=format,
                view=self.trace.view,
            )  # fmt: skip
            drawn[strip] = (f"{begin}.{format}", together)
            if animate and len(panels) > 1:
                for kind in ("GIF", "WEBP"):
                    moving = animation(
                        self.image, panels, scale=one, colours=colours, format=kind,
                        view=self.trace.view,
                    )  # fmt: skip
                    drawn[f"{strip} {kind.lower()}"] = (f"{begin}.{kind.lower()}", moving)
        drawn["page"] = (f"{stem}.html", self._page(name, text))
        with _writing(folder):
            make_output(folder)
            for file, data in drawn.values():
                write_atomically(folder / file, data)
        return {shown: folder / file for shown, (file, _) in drawn.items()}

    @cached_property
    def _picture(self) -> str:
        return identity(picture_of(self.image))

    def _stem(self, name: str, text: str, what: str) -> str:
        """The readable start of file names, which differs for every question."""
        model = self.model
        asked = digest(
            name, self._picture, text, what,
            model.digest, model.device, model.dtype, model.engine,
            *(() if self.premise is None else (self.premise,)),
        )  # fmt: skip
        parts = (_slug(Path(name).stem, 36), _slug(text, 36), _slug(what, 28), asked[:8])
        return ".".join(part for part in parts if part)

    def _page(self, name: str, text: str) -> bytes:
        """The gallery's view of this one picture."""
        trace = self.trace
        outcome = Outcome(
            case=_slug(Path(name).stem, 36) or "picture", file="", line=0, state=State.PASSED,
            sentence=f"{counted(len(self.metrics), 'figure')} of {self.spec.key}", text=text,
            premise=self.premise, tags=[], expected=trace.label, image=one_line(name),
            image_digest=self._picture, image_size=self.image.size, case_digest="",
            regions={}, default_map=self.spec.key, label=trace.label,
            probabilities=dict(sorted(trace.probabilities.items())),  # in the order of a run's
            metrics={self.spec.key: dict(sorted(self.metrics.items()))},
            grid=(trace.grid.rows, trace.grid.cols), view=(*trace.view,),
            verdicts=[
                Verdict(figure, True, value if isinstance(value, str) else f"{value:.4g}", "", "")
                for figure, value in self.metrics.items()
            ],
        )  # fmt: skip
        maps = {self.spec.key: self.map}
        shown = Shown(outcome, lambda: maps, self._strips, lambda: picture_of(self.image).copy())
        about = {"model": self.model.to_dict()}
        return gallery_page([shown], about, {}, "all", headline(trace, text)).encode()

    def _strips(self) -> dict[str, Strip]:
        strips: dict[str, Strip] = {
            "layers": [(f"layer {n}", p) for n, p in self.layers],
            "words": self.words,
        }
        return {name: panels for name, panels in strips.items() if panels}


def headline(trace: Trace, text: str) -> str:
    """The hypothesis and the answer, in a few words."""
    return f"“{text}”: {trace.label} ({trace.probabilities[trace.label]:.1%})"


_SCALES: dict[str, Scale] = {"layers": "shared", "words": "each"}

_LABELS = {
    "relevance": "Relevance",
    "occlusion": "Loss of probability",
    "uniform": "Control",
    "centre": "Control",
    "random": "Control",
}
"""Titles of the colour bar for maps that do not show attention."""


def bar_label(spec: MapSpec) -> str:
    """What is written beside the colour bar of a map."""
    return _LABELS.get(spec.method, "Attention Intensity")


def _slug(text: str, most: int) -> str:
    """``text`` as a part of a file name, at most ``most`` bytes long."""
    words = regex.findall(r"[\p{L}\p{M}\p{N}_]+", unicodedata.normalize("NFC", text))
    cut, left = "", most
    for character in characters("-".join(words)):
        left -= len(character.encode())
        if left < 0:
            break
        cut += character
    return cut.strip("-")


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AuditError(f"{folder}: nothing can be written there: {error.strerror}") from None


def check_folder(folder: Path) -> None:
    """Create a folder for pictures and check that it can be written, before a model is asked.

    Raises:
        AuditError: it cannot be written; the message says why.
    """
    with _writing(folder):
        make_output(folder)
        # As long as the longest file name that is written here, temporary ones included.
        with tempfile.TemporaryFile(dir=folder, prefix=f".{'x' * 130}"):
            pass
