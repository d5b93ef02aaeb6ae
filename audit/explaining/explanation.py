"""What :func:`audit.explain` gives to scripts and notebooks: the answer, its maps, and drawings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

from audit.base.errors import MapError, NotGathered, nearest
from audit.base.extras import require
from audit.base.geometry import view_in_words
from audit.explaining.mapped import ExplainedMap, NoMap, bar_label, headline
from audit.explaining.named import Named
from audit.explaining.panels import Layers, Which, Words, fixed
from audit.gate.outcomes import unsaid_told
from audit.maps.methods import METHODS
from audit.maps.reading import Map, layer_maps, read_map, word_maps
from audit.maps.spec import MapSpec
from audit.maps.trace import EACH_WORD, Evidence, Trace
from audit.models.protocol import Fingerprint
from audit.reference.world import note_on_picture
from audit.report.animated import Animation
from audit.report.card import card
from audit.report.fragments import Picture
from audit.report.heatmap import DPI, Format, as_figure, heatmap_figure
from audit.report.lettering import isolated
from audit.report.pictures import ALPHA, data_uri, outlined, overlay
from audit.report.strips import Scale, animation, sheet

if TYPE_CHECKING:
    from pandas import DataFrame

    from audit.report.plotting import Figure

_CARD_WIDTH = 320
"""The width, in pixels, of the pictures in a notebook's output."""

_OVER = ("layers", "words")


@dataclass(frozen=True, repr=False, eq=False)
class Explanation:
    """A model's answer about one picture, and where it looked.

    A notebook shows it as picture, probabilities and heatmaps. Figures are matplotlib's and belong
    to nobody else: pyplot does not know them, and nothing is shown until you show it.

    Its maps are read-only, since drawings and figures are made of them: change a copy
    (``found.map.copy()``). It can be pickled and copied.

    Attributes:
        image: the picture, in RGB.
        text: the hypothesis.
        premise: the text premise beside the picture, if there was one.
        evidence: what the model left, to read further maps from (:func:`audit.read_map`).
        model: what answered.
        methods: the maps that this model gives.
        found: each map that was asked for, or why it is undefined; at least one is defined.
    """

    image: Image.Image
    text: str
    premise: str | None
    evidence: Evidence
    model: Fingerprint
    methods: tuple[str, ...]
    found: tuple[ExplainedMap | NoMap, ...]

    @property
    def trace(self) -> Trace:
        """The answer and the readings of one forward pass."""
        return self.evidence.trace

    @property
    def label(self) -> str:
        """The answer that the model gives."""
        return self.trace.label

    @property
    def probabilities(self) -> dict[str, float]:
        """The probability of each answer, in [0, 1], in the model's order; they sum to 1."""
        return Named("an answer", self.trace.probabilities)

    @property
    def maps(self) -> dict[str, Map]:
        """The maps that were asked for, by key, such as ``"relevance variant=paper"``.

        Each is (rows, cols) over the model's grid, float64, non-negative, with sum 1, read-only.
        Row 0 is the top of what the model sees, column 0 its left.
        """
        found = {each.spec.key: each.map for each in self.found if isinstance(each, ExplainedMap)}
        return Named("a map that was asked for", found)

    @cached_property
    def undefined(self) -> dict[str, str]:
        """By key, why a map that was asked for cannot be drawn for this question."""
        return {each.spec.key: each.reason for each in self.found if isinstance(each, NoMap)}

    @cached_property
    def first(self) -> ExplainedMap:
        """The first map that is defined, with its figures."""
        return next(each for each in self.found if isinstance(each, ExplainedMap))

    @property
    def spec(self) -> MapSpec:
        """How the first map was read."""
        return self.first.spec

    @property
    def map(self) -> Map:
        """The first map: (rows, cols), float64, non-negative, with sum 1; see :attr:`maps`."""
        return self.first.map

    @property
    def metrics(self) -> dict[str, float | str]:
        """The figures of the first map by name; a text is the reason why one is undefined.

        Figures of a region, such as ``mass``, are measured in cases, which name regions.
        """
        return Named("a figure of this map", self.first.metrics)

    @property
    def notes(self) -> list[str]:
        """What one must know to judge the answer: that it means little, or what is not seen."""
        told = (
            note_on_picture(self.model.source, self.image),
            unsaid_told([self.trace.unsaid]),
            view_in_words(self.trace.view),
        )
        return [note for note in told if note]

    def read(self, map: Which = None) -> Map:
        """Another map of the same answer: (rows, cols), float64, non-negative, with sum 1.

        No further pass of the model is made, so another temperature, smoothing or choice of layers
        costs nothing.

        Args:
            map: such as ``"answer_attention layers=last:2 temperature=0.5 smooth=1"``.

        Raises:
            MapError: the model must be asked for it: give it in ``maps`` of :func:`audit.explain`.
            UndefinedMap: there is nothing to draw; the message says why.
            ValueError: the text describes no map.
        """
        spec = self._spec(map)
        try:
            return read_map(self.evidence, spec)
        except NotGathered:
            raise self._missing(spec) from None

    def heatmap(
        self, map: Which = None, *, colours: str = "viridis", alpha: float = ALPHA, dpi: int = DPI
    ) -> Figure:
        """The picture beside the map over it, with a colour bar in shares of the largest value.

        The grid is enlarged bilinearly, for the drawing alone.

        Args:
            map: another map than the first that was asked for; see :meth:`read`.
            colours: name of a matplotlib colour map: ``viridis``, ``inferno``, ``jet``, ...
            alpha: opacity of the largest value, in [0, 1]; smaller ones are more transparent.
            dpi: pixels per inch; the figure is 9 inches wide.

        Raises:
            MapError, UndefinedMap: see :meth:`read`.
            ValueError: the text describes no map, there is no such colour map, or ``alpha`` is not
                a number from 0 to 1.
        """
        if not isinstance(alpha, int | float) or not 0 <= alpha <= 1:
            raise ValueError(f"alpha is a number from 0 to 1, not {alpha!r}")
        spec = self._spec(map)
        return heatmap_figure(
            self.image, self.read(spec), f"{self._headline}, {spec.key}", colours=colours, boxes={},
            label=bar_label(spec), dpi=dpi, alpha=alpha, view=self.trace.view,
        )  # fmt: skip

    @cached_property
    def layers(self) -> Layers:
        """The layers of the first map; ``.layers()`` draws them side by side.

        A sequence of pairs: the layer's number, from 1, and its map, as in :attr:`maps`. It is
        empty if the first map is not read layer by layer.
        """
        found = layer_maps(self.evidence, self.spec) if self.spec.per_layer else ()
        return Layers(fixed(found), partial(self._side_by_side, "layers"))

    @cached_property
    def words(self) -> Words:
        """The words of the hypothesis; ``.words()`` draws them side by side.

        A sequence of pairs: the word, and its map, as in :attr:`maps`. It is empty if the model
        gives no attention of words.
        """
        found = word_maps(self.trace) if self._of_words else ()
        return Words(fixed(found), partial(self._side_by_side, "words"))

    def animate(
        self,
        over: Literal["layers", "words"] = "layers",
        map: Which = None,
        *,
        seconds: float = 0.5,
        colours: str = "viridis",
        scale: Scale | None = None,
        format: str = "GIF",
    ) -> Animation:
        """The maps of the layers, or of the words, one after the other; a notebook plays it.

        Args:
            over: ``layers`` or ``words``.
            map: the map whose layers are shown, if it is not the first that was asked for.
            seconds: how long each is shown, 0.02 to 600.
            scale: ``shared`` or ``each``; by default layers share one colour scale and words do
                not.
            format: ``GIF`` or ``WEBP``.

        Raises:
            MapError: the map has no layers, or the model no words.
            ValueError: an argument is none of the choices.
        """
        title, panels = self._panels(over, map)
        data = animation(
            self.image, panels, scale=scale or ("shared" if over == "layers" else "each"),
            colours=colours, seconds=seconds, format=format.upper(),  # type: ignore[arg-type]
            view=self.trace.view,
        )  # fmt: skip
        return Animation(data, format.upper(), f"{title}, over {over}")

    def row(self) -> DataFrame:
        """The answer and all figures as a row of a pandas data frame; needs the extra ``data``.

        Columns are ``model.source``, ``text``, ``premise``, ``label``, ``probability.LABEL``,
        ``unsaid`` and, for each map that was asked for, ``MAP.FIGURE``. A figure that is undefined
        is missing.
        ``pandas.concat`` makes a table of several.

        Raises:
            MissingExtra: pandas is not installed.
        """
        try:
            import pandas  # noqa: PLC0415  half a second, and only this method needs it
        except ImportError:
            require("data", "Explanation.row()")
            raise
        values: dict[str, object] = {
            "model.source": self.model.source, "text": self.text, "premise": self.premise,
            "label": self.label,
            **{f"probability.{label}": share for label, share in self.probabilities.items()},
        }  # fmt: skip
        if self.trace.unsaid is not None:
            values["unsaid"] = self.trace.unsaid
        for each in self.found:
            if isinstance(each, ExplainedMap):
                for name, value in each.metrics.items():
                    known = float("nan") if isinstance(value, str) else value
                    values[f"{each.spec.key}.{name}"] = known
        return pandas.DataFrame([values])

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, as ``audit explain --json`` prints it, without the files."""
        each = [one.to_dict() for one in self.found]
        return each[0] if len(each) == 1 else {"maps": each}

    def draw(
        self,
        folder: str | Path,
        name: str = "picture",
        text: str | None = None,
        *,
        colours: str = "viridis",
        scale: str = "",
        animate: bool = False,
        format: Format = "png",
        dpi: int = DPI,
    ) -> dict[str, Path]:
        """Write the drawings of the first map into ``folder``, as ``audit explain`` does.

        Returns:
            The files by what they show: ``heatmap``, ``page`` with the gallery's view, and
            ``layers`` and ``words`` if :func:`audit.explain` was asked for them.

        Args:
            name: of the picture; the names of the files begin with it.
            text: the title of every picture, if it is not the hypothesis.
            colours: name of a matplotlib colour map.
            scale: colour scale of layers and words, ``shared`` or ``each``; if empty, layers share
                one and words do not.
            animate: whether to play layers and words as GIF and WebP, too.
            format: of heatmap and sheets.
            dpi: of the heatmap, in pixels per inch.

        Raises:
            AuditError: the folder cannot be written.
        """
        return self.first.draw(
            folder, name, self.text if text is None else text, colours=colours, scale=scale,
            animate=animate, format=format, dpi=dpi,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<Explanation {self._headline}, {', '.join(self.maps)}>"

    def _repr_html_(self) -> str:
        pictures = [
            Picture("the picture", data_uri(outlined(self.image, {}, _CARD_WIDTH)), "the picture")
        ]
        for key, p in self.maps.items():
            drawn = overlay(self.image, p, width=_CARD_WIDTH, view=self.trace.view)
            pictures.append(Picture(key, data_uri(drawn), f"{key} over the picture"))
        reasons = [f"{key} is undefined: {reason}" for key, reason in self.undefined.items()]
        grid = self.trace.grid
        return card(
            self.text, self.label, self.probabilities, pictures, premise=self.premise,
            about=f"{self.model.source}, {grid.rows} × {grid.cols} cells; full colour is the "
            "largest cell of each map",
            notes=[*self.notes, *reasons],
        )  # fmt: skip

    @property
    def _headline(self) -> str:
        return headline(self.trace, isolated(self.text))

    @property
    def _of_words(self) -> bool:
        return any(key.method == EACH_WORD.method and key.heads == EACH_WORD.heads
                   for key in self.trace.readings if isinstance(key.word, int))  # fmt: skip

    def _spec(self, map: Which) -> MapSpec:
        return self.spec if map is None else MapSpec.of(map)

    def _panels(self, over: str, map: Which) -> tuple[str, list[tuple[str, Map]]]:
        """The title of a strip, and its panels."""
        if over not in _OVER:
            raise ValueError(f"{over!r} has no maps; {nearest(over, _OVER)}")
        if over == "words":
            if not self.words:
                raise MapError(self._without_words())
            return f"{self._headline}, attention by word", list(self.words)
        spec = self._spec(map)
        if not spec.per_layer:
            layered = [name for name in self.methods if METHODS[name].by_layer]
            others = f"the model gives layers of {', '.join(layered)}" if layered else (
                "the model gives no map that is"
            )  # fmt: skip
            raise MapError(f"the map {spec.key!r} is not read layer by layer; {others}")
        try:
            found = layer_maps(self.evidence, spec)
        except NotGathered:
            raise self._missing(spec) from None
        if not found:
            raise MapError(f"nothing falls on the image in any layer of {spec.key!r}")
        return f"{self._headline}, {spec.key}", [(f"layer {n}", p) for n, p in found]

    def _side_by_side(self, over: str, map: Which, scale: Scale, colours: str) -> Figure:
        title, panels = self._panels(over, map)
        return as_figure(
            sheet(
                self.image, panels, title=title, scale=scale, colours=colours, view=self.trace.view
            )
        )

    def _without_words(self) -> str:
        if EACH_WORD.method not in self.methods:
            gives = ", ".join(self.methods) or "no maps of its own"
            return f"the model gives no {EACH_WORD.method}, so no maps of words; it gives {gives}"
        if not self._of_words and self.trace.words:
            return "the model was not asked for maps of words: explain(..., words=False)"
        return "no word of the hypothesis has a map"

    def _missing(self, spec: MapSpec) -> MapError:
        """That the model was not asked for this map, and what to do."""
        asked = ", ".join(self.maps)
        return NotGathered(
            f"the model was asked for {asked}, which does not give {spec.key}: name it in "
            f"explain(..., maps=[{spec.key!r}])"
        )
