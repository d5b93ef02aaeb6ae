"""Collects what maps and faithfulness metrics need beyond one forward pass.

These are answers of the same model to a question that asks nothing, and to changed pictures: grey
ones, ones with a part hidden, ones that disappear cell by cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from audit.base.errors import MapError, ModelError
from audit.base.files import counted
from audit.base.geometry import Grid
from audit.base.images import picture_of
from audit.maps.checks import checked_trace
from audit.maps.methods import METHODS
from audit.maps.reading import Map, need_of
from audit.maps.spec import MapSpec
from audit.maps.trace import NOTHING_MORE, Evidence, Need, Trace, Window
from audit.models.protocol import Model, Query, Scaling

GREY = (128, 128, 128)
"""The colour that hides parts of a picture: mid-range, which is zero after OFA's scaling."""

MOST_PIXELS = 1024 * 1024
"""Larger pictures are scaled to the model's input size before parts of them are hidden."""

STEPS = 30
"""Points of a deletion or insertion curve after the first."""

Array = NDArray[np.float64]


def gather(
    model: Model,
    queries: Sequence[Query],
    specs: Sequence[Sequence[MapSpec | str]],
    batch_size: int = 8,
    also: Need = NOTHING_MORE,
) -> list[Evidence]:
    """Ask a model ``queries`` so that each of their ``specs`` can be read from what it leaves.

    One forward pass is enough for all maps without gradients, and one backward pass for all with
    gradients. Grey pictures, the generic question and occlusion take further passes.

    Args:
        queries: the questions, which are answered as one batch, but one by one if a map needs
            gradients.
        specs: for each query a list of the maps that will be read: specs, or strings as on the
            command line.
        batch_size: pictures in a batch where many are made of one, as for occlusion; at least 1.
        also: readings that every trace must have besides those of its maps.

    Returns:
        For each query what :func:`audit.read_map` reads maps from.

    Raises:
        ImageError: a picture cannot be read.
        ModelError: the model cannot answer, or its answer is malformed.
        MapError: a map asks for a method, head or layer that the model does not have.
        ValueError: a text describes no map, there is not one list of maps for each query, or
            ``batch_size`` is below 1.
    """
    _check_shape(model, queries, specs)
    check_batch_size(batch_size)
    wanted = [[MapSpec.of(spec) for spec in each] for each in specs]
    more = frozenset(key for key in also if key.method in model.methods)
    traces = _traced(model, queries, [need_of(each, model.methods) | more for each in wanted])
    found = [Evidence(trace) for trace in traces]
    grey = [i for i, each in enumerate(wanted) if any(s.needs_blank for s in each)]
    if grey:
        asked = [
            replace(queries[i], image=_grey(drawable(model, picture(queries[i])))) for i in grey
        ]
        needs = [need_of([s for s in wanted[i] if s.needs_blank], model.methods) for i in grey]
        for i, blank in zip(grey, _traced(model, asked, needs), strict=True):
            found[i] = replace(found[i], blank=blank)
    generic = [i for i, each in enumerate(wanted) if any(s.needs_generic for s in each)]
    if generic:
        needs = [
            frozenset(s.reading._replace(word=None) for s in wanted[i] if s.needs_generic)
            for i in generic
        ]
        asked = [queries[i].without_question for i in generic]
        for i, answered in zip(generic, _traced(model, asked, needs), strict=True):
            found[i] = replace(found[i], generic=answered)
    for i, each in enumerate(wanted):
        windows = {s.window_choice for s in each if s.method == "occlusion"}
        if windows:
            drops = {w: occlusion(model, queries[i], traces[i], w, batch_size) for w in windows}
            found[i] = replace(found[i], occlusion=drops)
    return found


def _check_shape(model: Model, queries: Sequence[Query], specs: Sequence[Any]) -> None:
    """Refuse what is easily handed over in another shape than a model, queries, lists of maps."""
    if not hasattr(model, "trace"):
        raise ModelError(
            "a model is what audit.load_model gives, not an object of the type "
            f"{type(model).__name__}"
        )
    if isinstance(queries, Query):
        raise ValueError("queries is a list: write [query]")
    if isinstance(specs, str | MapSpec) or any(isinstance(each, str | MapSpec) for each in specs):
        raise ValueError(
            "specs has a list of maps for each query: for the same maps of all, write "
            "[maps] * len(queries)"
        )
    if len(specs) != len(queries):
        raise ValueError(
            f"there are {counted(len(queries), 'question')}, but maps for {len(specs)}"
        )


def check_batch_size(batch_size: int) -> None:
    """Refuse a batch of no pictures.

    Raises:
        ValueError: it is not a whole number of at least 1.
    """
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size is a whole number of at least 1, not {batch_size!r}")


def _traced(model: Model, queries: Sequence[Query], needs: Sequence[Need]) -> list[Trace]:
    """Trace all queries without gradients as one batch, and those with gradients one by one.

    A backward pass keeps every layer's attention, which is gigabytes for each case in OFA-large.
    """
    found: dict[int, Trace] = {}
    costly = [any(METHODS[key.method].gradient for key in need) for need in needs]
    plain = [i for i, alone in enumerate(costly) if not alone]
    if plain:
        shared = frozenset().union(*(needs[i] for i in plain))
        found.update(zip(plain, model.trace([queries[i] for i in plain], shared), strict=True))
    for i, need in enumerate(needs):
        if costly[i]:
            (found[i],) = model.trace([queries[i]], need)
    return [checked_trace(found[i]) for i in range(len(queries))]


def picture(query: Query) -> Image.Image:
    """The picture of a query, opened if it is a path."""
    return picture_of(query.image)


def drawable(model: Model, image: Image.Image) -> Image.Image:
    """The picture, small enough to copy it for every part that is hidden.

    A large one is scaled to the model's input size, if the model says what that is.
    """
    large = image.width * image.height > MOST_PIXELS
    return model.scaled(image) if large and isinstance(model, Scaling) else image


def _grey(image: Image.Image) -> Image.Image:
    return Image.new("RGB", image.size, GREY)


def _cell_box(
    image: Image.Image, trace: Trace, row: int, col: int, rows: int, cols: int
) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a block of cells in pixels; may reach beyond the picture."""
    grid, view = trace.grid, trace.view
    wide, high = (view.right - view.left) * image.width, (view.bottom - view.top) * image.height
    left, top = view.left * image.width, view.top * image.height
    return (
        round(left + col * wide / grid.cols),
        round(top + row * high / grid.rows),
        round(left + (col + cols) * wide / grid.cols),
        round(top + (row + rows) * high / grid.rows),
    )


def _probabilities(
    model: Model, query: Query, images: Iterable[Image.Image], label: str, batch_size: int
) -> Array:
    """The label's probability for each picture; only one batch of pictures is in memory."""
    found: list[float] = []
    waiting = iter(images)
    while batch := [replace(query, image=image) for image in islice(waiting, batch_size)]:
        for trace in model.trace(batch):
            found.append(_probability(checked_trace(trace), label))
    return np.asarray(found)


def _probability(trace: Trace, label: str) -> float:
    if label not in trace.probabilities:
        raise ModelError(
            f"the model gives no probability for {label!r} when a part of the picture is changed; "
            f"its answers are then {', '.join(trace.probabilities)}"
        )
    return trace.probabilities[label]


def placements(length: int, side: int, stride: int) -> list[int]:
    """Positions of a window of ``side`` cells along ``length`` cells; the last one touches the end.

    >>> placements(12, 4, 3)
    [0, 3, 6, 8]
    """
    last = length - side
    return sorted({*range(0, last + 1, stride), last})


def window_of(window: Window, grid: Grid) -> tuple[int, int]:
    """Side and stride in cells; by default a sixth of the grid's smaller side, and half of that."""
    side = window.side or max(1, round(min(grid) / 6))
    return side, window.stride or max(1, side // 2)


def occlusion(model: Model, query: Query, trace: Trace, window: Window, batch_size: int) -> Array:
    """How much the answer's probability falls when a grey window hides a cell: (rows, cols).

    Each cell has the mean over the windows that cover it (Zeiler & Fergus 2014, with squares on
    the patch grid). It is negative if hiding the cell makes the answer more certain.

    Raises:
        MapError: the window is larger than the grid, or the stride skips cells.
    """
    grid = trace.grid
    side, stride = window_of(window, grid)
    if side > min(grid):
        raise MapError(f"an occlusion window of {side} cells does not fit {grid[0]} x {grid[1]}")
    if stride > side:
        raise MapError(f"an occlusion stride of {stride} skips cells: the window has {side}")
    places = [
        (row, col)
        for row in placements(grid.rows, side, stride)
        for col in placements(grid.cols, side, stride)
    ]
    image = drawable(model, picture(query))

    def hidden() -> Iterator[Image.Image]:
        for row, col in places:
            copy = image.copy()
            copy.paste(GREY, _cell_box(image, trace, row, col, side, side))
            yield copy

    left = _probabilities(model, query, hidden(), trace.label, batch_size)
    total, count = np.zeros(grid), np.zeros(grid)
    for (row, col), probability in zip(places, left, strict=True):
        total[row : row + side, col : col + side] += trace.probabilities[trace.label] - probability
        count[row : row + side, col : col + side] += 1
    drops: Array = total / count
    return drops


@dataclass(frozen=True)
class Curves:
    """The answer's probability while cells are greyed (deletion) or shown again (insertion).

    Both have ``STEPS + 1`` points, from no cell changed to all cells changed; the cells with the
    map's largest values change first.
    """

    deletion: Array
    insertion: Array


def curves(
    model: Model, query: Query, trace: Trace, p: Map, batch_size: int, steps: int = STEPS
) -> Curves:
    """Deletion and insertion curves of a map (Petsiuk, Das & Saenko 2018).

    Deletion greys cells in pixel space. Insertion starts from the blurred picture, because a grey
    one would add edges that are not in the scene. Tied cells come in a random order, the same for
    all maps.
    """
    whole = picture(query)
    image, radius = drawable(model, whole), max(whole.size) / 12
    # The model may squeeze the picture. Scaled like this, the blur is round on the original.
    across, down = (radius * a / b for a, b in zip(image.size, whole.size, strict=True))
    blurred = image.filter(ImageFilter.GaussianBlur((across, down)))
    order = _order(p)

    def mixed(shown: Image.Image, over: Image.Image) -> Iterator[Image.Image]:
        for step in range(steps + 1):
            cells = order[: round(step * len(order) / steps)]
            yield Image.composite(shown, over, _pixels(image, trace, cells))

    both = _probabilities(
        model, query, chain(mixed(_grey(image), image), mixed(image, blurred)), trace.label,
        batch_size,
    )  # fmt: skip
    return Curves(both[: steps + 1], both[steps + 1 :])


def _order(p: Map) -> NDArray[np.intp]:
    """Cells from the largest value to the smallest; ties in a fixed random order."""
    shuffled = np.random.default_rng(0).permutation(p.size)
    return shuffled[np.argsort(-p.ravel()[shuffled], kind="stable")]


def _pixels(image: Image.Image, trace: Trace, cells: NDArray[np.intp]) -> Image.Image:
    """A mask of the picture's size that is white on the given cells."""
    mask = Image.new("L", image.size, 0)
    for cell in cells:
        row, col = divmod(int(cell), trace.grid.cols)
        box = _cell_box(image, trace, row, col, 1, 1)
        mask.paste(255, box)
    return mask
