"""Reads every head of a model about the same questions, and proposes heads without reading maps
twice.

Only a few numbers of each head are kept for each question, so memory does not grow with the grid.
They are enough for the mass of any set of heads: attention is averaged over heads before it is
normalised, so the mass of a set is the sum of what fell inside over the sum of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from audit.base.console import Progress
from audit.base.errors import AuditError, MapError, RunError
from audit.base.files import counted
from audit.maps.checks import checked_trace
from audit.maps.trace import ANSWER, EACH_HEAD, HeadPlace, Trace
from audit.models.protocol import Model
from audit.studies.placing import OUTSIDE, Question, region_of

Array = NDArray[np.float64]

MOST = 10
"""No more heads than this are averaged; Kang et al. find three to be enough."""

FOLDS = 5


@dataclass(frozen=True)
class Heads:
    """What every head did; the second axis is (layers · heads).

    Attributes:
        layers: how many the model has.
        pictures: identity of each question's picture.
        inside, total: (questions, all heads) attention on the boxes and on the image.
        share: (questions, all heads) share of the attention row that fell on the image.
        entropy: (questions, all heads) spatial entropy, see :func:`spatial_entropy`.
        bottom: (questions, all heads) whether the largest cell is in the bottom row.
        failed: by name, the questions without an answer and why.
    """

    layers: int
    pictures: tuple[str, ...]
    inside: Array
    total: Array
    share: Array
    entropy: Array
    bottom: NDArray[np.bool_]
    failed: dict[str, str]

    @property
    def per_layer(self) -> int:
        """How many heads a layer has."""
        return int(self.inside.shape[1]) // self.layers

    def place(self, number: int) -> HeadPlace:
        """The place of a head by its number from 0, all those of the first layer first."""
        layer, head = divmod(number, self.per_layer)
        return HeadPlace(layer + 1, head + 1)

    def mass(self, heads: Sequence[int] | None = None) -> Array:
        """The mass by picture: (pictures,) of a set of heads, or (pictures, all heads) of each."""
        inside, total = self.inside, self.total
        if heads is not None:
            inside, total = inside[:, heads].sum(axis=1), total[:, heads].sum(axis=1)
        # A head that does not look at the picture at all lies on nothing.
        found = np.divide(inside, total, out=np.zeros_like(inside), where=total > 0)
        names = np.array(self.pictures)
        return np.stack([found[names == name].mean(axis=0) for name in dict.fromkeys(names)])


def read_heads_of(
    model: Model, questions: Sequence[Question], batch_size: int, progress: Progress
) -> Heads:
    """Ask all questions, and reduce every head to its numbers.

    Raises:
        MapError: the model does not give its heads one by one.
        RunError: no question was answered.
    """
    if ANSWER.method not in model.methods:
        raise MapError(f"the model gives no {ANSWER.method}, so it has no heads to choose from")
    rows: list[tuple[str, Array]] = []
    failed: dict[str, str] = {}
    layers = 0
    waiting = iter(questions)
    batches = iter(lambda: list(islice(waiting, batch_size)), [])
    for batch in progress(batches, -(-len(questions) // batch_size), "heads"):
        for question, trace in _traced(model, batch):
            if isinstance(trace, str):
                failed[question.name] = trace
                continue
            layers = len(trace.readings[ANSWER].cells)
            found = _reduced(question, trace)
            if found is None:
                failed[question.name] = OUTSIDE
            else:
                rows.append((question.picture, found))
    if not rows:
        reasons = "; ".join(dict.fromkeys(failed.values())) or "there are none"
        raise RunError(f"no question about a picture with boxes was answered: {reasons}")
    inside, total, share, entropy, bottom = np.stack([row for _, row in rows], axis=1)
    pictures = tuple(picture for picture, _ in rows)
    return Heads(layers, pictures, inside, total, share, entropy, bottom > 0, failed)


def _traced(model: Model, batch: Sequence[Question]) -> list[tuple[Question, Trace | str]]:
    try:
        need = frozenset({ANSWER, EACH_HEAD})
        found = model.trace([question.query for question in batch], need)
        return [(q, checked_trace(t)) for q, t in zip(batch, found, strict=True)]
    except MapError as error:
        raise MapError(f"the model does not give its heads one by one: {error}") from error
    except AuditError as error:
        if len(batch) == 1:
            return [(batch[0], str(error))]
    return [one for each in batch for one in _traced(model, [each])]


def _reduced(question: Question, trace: Trace) -> Array | None:
    """Inside, total, share, entropy and bottom of each head: (5, all heads)."""
    region, reading = region_of(question, trace), trace.readings[EACH_HEAD]
    if not region.any():
        return None
    cells = reading.cells
    return np.stack(
        [
            (cells * region).sum(axis=(1, 2)),
            cells.sum(axis=(1, 2)),
            reading.share,
            [spatial_entropy(p) for p in cells],
            [float(p[-1].max() >= p.max()) for p in cells],
        ]
    )


def spatial_entropy(p: Array) -> float:
    """How scattered a map's strong cells are, in bits: 0 for one patch (Batty 1974).

    As Kang et al. (2025) take it: cells above the mean form patches of neighbours, diagonal ones
    too, and the entropy is that of the patches' shares of the map. A map without any has infinite
    entropy, as nothing is less of a place.

    >>> two = np.array([[1.0, 0, 0, 0], [0, 0, 0, 1.0]])
    >>> spatial_entropy(two)
    1.0
    """
    patches, count = ndimage.label(p > p.mean(), structure=np.ones((3, 3)))
    if not count:
        return float("inf")
    sums = ndimage.sum_labels(p, patches, np.arange(1, count + 1))
    shares = sums / sums.sum()
    return float(-(shares * np.log2(shares)).sum()) + 0.0


@dataclass(frozen=True)
class Proposal:
    """A set of heads, by their numbers from 0, the best first.

    Attributes:
        rule: how they were found, in words.
        mass: what the fitting half promises of pictures that had no part in finding them.
    """

    rule: str
    heads: tuple[int, ...]
    mass: float


def by_mass(fitting: Heads, seed: int) -> Proposal:
    """The heads with the largest mean mass; how many is left to cross-validation over pictures."""
    mass = fitting.mass()
    folds = np.random.default_rng([seed, 1]).permutation(len(mass)) % min(FOLDS, len(mass))
    most = min(MOST, mass.shape[1])
    held: dict[int, list[float]] = {count: [] for count in range(1, most + 1)}
    for fold in range(folds.max() + 1):
        order = _ranked(mass[folds != fold].mean(axis=0))
        for count, values in held.items():
            values.extend(fitting.mass(order[:count].tolist())[folds == fold])
    promised = {count: float(np.mean(values)) for count, values in held.items()}
    count = max(promised, key=promised.__getitem__)
    order = _ranked(mass.mean(axis=0))
    rule = (
        f"{counted(count, 'head')} with the largest mean mass on the boxes; of 1 to {most}, this "
        "many had the largest mass in cross-validation over pictures"
    )
    return Proposal(rule, tuple(order[:count].tolist()), promised[count])


def _ranked(values: Array) -> NDArray[np.int64]:
    return np.argsort(-values, kind="stable")


def without_boxes(fitting: Heads, count: int = 3) -> Proposal | None:
    """The heads that Kang et al. (CVPR 2025) would take, who use no boxes; None if none is left.

    Heads that look at the picture more than the elbow of all heads' image shares, and not at its
    bottom row; of these, those that most often are among the ten of the lowest spatial entropy.
    """
    share = fitting.share.mean(axis=0)
    kept = share >= elbow(share)
    kept &= fitting.bottom.mean(axis=0) <= 0.5
    if not kept.any():
        return None
    entropy = np.where(kept, fitting.entropy, np.inf)
    lowest = np.argsort(entropy, axis=1, kind="stable")[:, : min(10, int(kept.sum()))]
    times = np.bincount(lowest.ravel(), minlength=len(share)).astype(np.float64)
    times[~kept] = 0
    heads = tuple(_ranked(times)[: min(count, int(kept.sum()))].tolist())
    rule = (
        f"{counted(len(heads), 'head')} found without boxes (Kang et al. 2025): image share above "
        "the elbow, lowest spatial entropy, none that look at the bottom row"
    )
    return Proposal(rule, heads, float(fitting.mass(heads).mean()))


def elbow(values: Array) -> float:
    """The value at which sorted values bend most: farthest from the line between the outer two.

    >>> elbow(np.array([0.0, 0.0, 0.0, 0.1, 1.0]))
    0.1
    """
    order = np.sort(values)
    line = np.linspace(order[0], order[-1], len(order))
    return float(order[int(np.argmax(np.abs(line - order)))])
