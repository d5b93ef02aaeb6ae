"""How good the embedded models are on held-out scenes, measured through the code that ships."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from audit.base.console import Progress
from audit.base.geometry import mask
from audit.maps.reading import read_map
from audit.maps.trace import ANSWER
from audit.metrics.placement import mass, pointing
from audit.metrics.shape import entropy
from audit.models.protocol import Model, Query
from audit.reference.chat.recipe import ChatRecipe
from audit.reference.hypotheses import Hypothesis, hypothesis, with_premise
from audit.reference.recipe import Recipe
from audit.reference.scenes import MARKS, SIZE, Scene, scene
from audit.reference.statements import LABELS
from audit.reference.variety import varied
from audit.reference.watermarks import watermarked
from audit.reference.wording import traits

_SMALL = 150
"""A picture is small if its shorter side has fewer pixels; the model reads 192."""


def evaluate(
    model: Model,
    recipe: Recipe | ChatRecipe,
    scenes: int,
    progress: Progress,
) -> dict[str, float]:
    """Ask about ``scenes`` scenes of the held-out seed: a hypothesis a label, one with a premise.

    Each scene is asked about twice: as it is drawn, in plain sentences, and as somebody might hand
    it in, in sentences as people write them.

    Returns:
        Accuracy overall and by label; accuracy with a text premise; for entailed hypotheses the
        mean pointing game and mass on the boxes; for hypotheses that name nothing in the picture
        the mean and the fifth percentile of the entropy. The same of the varied scenes, beginning
        with ``varied``, and accuracy by kind of picture and of sentence.
    """
    rng = np.random.default_rng([recipe.held_out_seed, 3])
    plain, other = _Found(), _Found()
    for index in progress(range(scenes), scenes, "evaluate"):
        drawn = scene(recipe.held_out_seed, index)
        asked = [hypothesis(drawn, label, rng) for label in LABELS] + [with_premise(drawn, rng)]
        plain.ask(model, drawn, asked)
    rng = np.random.default_rng([recipe.held_out_seed, 5])
    for index in progress(range(scenes), scenes, "evaluate varied"):
        drawn = varied(recipe.held_out_seed, index)
        labels = LABELS if drawn.animals else LABELS[:2]
        asked = [hypothesis(drawn, label, rng, freely=True) for label in labels]
        other.ask(model, drawn, [*asked, with_premise(drawn, rng, freely=True)])
    return {
        "scenes": scenes,
        **plain.figures(),
        **{f"varied_{name}": value for name, value in other.figures().items()},
        **{f"varied_accuracy_{name}": value for name, value in other.by_kind().items()},
    }


class _Found:
    """What a model answered and where it looked, over several scenes."""

    def __init__(self) -> None:
        self.right: dict[str, list[bool]] = defaultdict(list)
        self.kinds: dict[str, list[bool]] = defaultdict(list)
        self.looked: dict[str, list[float]] = defaultdict(list)

    def ask(self, model: Model, drawn: Scene, asked: list[Hypothesis]) -> None:
        """Ask about one scene and keep the results."""
        traces = model.trace(
            [Query(drawn.image, h.text, h.premise) for h in asked], frozenset({ANSWER})
        )
        for h, trace in zip(asked, traces, strict=True):
            right = trace.label == h.label
            self.right["premise" if h.premise else h.label].append(right)
            if h.premise:
                continue
            for kind in _kinds(drawn, h):
                self.kinds[kind].append(right)
            p = read_map(trace)
            if not h.about:
                self.looked["absent_entropy"].append(entropy(p))
            elif h.label == "yes":
                region = mask(drawn.fractions(h.about), trace.grid)
                self.looked["yes_pointing"].append(pointing(p, region))
                self.looked["yes_mass"].append(mass(p, region))

    def figures(self) -> dict[str, float]:
        """The figures of :func:`evaluate`, of these scenes."""
        everything = [r for label in LABELS for r in self.right[label]]
        return {
            "hypotheses": len(everything),
            "accuracy": float(np.mean(everything)),
            **{f"accuracy_{label}": float(np.mean(self.right[label])) for label in LABELS},
            "accuracy_premise": float(np.mean(self.right["premise"])),
            **{name: float(np.mean(values)) for name, values in sorted(self.looked.items())},
            "absent_entropy_p05": float(np.percentile(self.looked["absent_entropy"], 5)),
        }

    def by_kind(self) -> dict[str, float]:
        """Accuracy by kind of picture and of sentence."""
        return {kind: float(np.mean(right)) for kind, right in sorted(self.kinds.items())}


def _kinds(drawn: Scene, h: Hypothesis) -> set[str]:
    kinds = {"square" if drawn.size == (SIZE, SIZE) else "other_shapes", *traits(h.text)}
    return kinds | {
        kind
        for kind, there in {
            "grey": drawn.grey,
            "small": min(drawn.image.size) < _SMALL,
            "empty": not drawn.animals,
        }.items()
        if there
    }


def evaluate_marked(
    model: Model, recipe: Recipe | ChatRecipe, scenes: int, progress: Progress
) -> dict[str, float]:
    """What a model trained on watermarked scenes relies on, measured on held-out scenes.

    Returns:
        Accuracy if the watermark shows the right label, if it shows a wrong label, and if there is
        none; and how often the answer is the label that a wrong watermark shows.
    """
    rng = np.random.default_rng([recipe.held_out_seed, 4])
    right: dict[str, list[bool]] = defaultdict(list)
    for index in progress(range(scenes), scenes, "evaluate"):
        drawn = scene(recipe.held_out_seed, index)
        asked = hypothesis(drawn, LABELS[index % 3], rng)
        lie = LABELS[(index + 1 + rng.integers(2)) % 3]
        pictures = {
            "honest_mark": watermarked(drawn, MARKS[LABELS.index(asked.label)]).image,
            "lying_mark": watermarked(drawn, MARKS[LABELS.index(lie)]).image,
            "no_mark": drawn.image,
        }
        traces = model.trace([Query(picture, asked.text) for picture in pictures.values()])
        for name, trace in zip(pictures, traces, strict=True):
            right[name].append(trace.label == asked.label)
            if name == "lying_mark":
                right["follows_lie"].append(trace.label == lie)
    return {
        "scenes": scenes,
        **{f"accuracy_{n}": float(np.mean(right[n])) for n in ("honest_mark", "lying_mark")},
        "accuracy_no_mark": float(np.mean(right["no_mark"])),
        "follows_lying_mark": float(np.mean(right["follows_lie"])),
    }
