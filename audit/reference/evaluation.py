"""How good the embedded models are on held-out scenes, measured through the code that ships."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from audit.base.console import Progress
from audit.base.geometry import Box, mask
from audit.maps.reading import read_map
from audit.maps.trace import ANSWER
from audit.metrics.placement import mass, pointing
from audit.metrics.shape import entropy
from audit.models.protocol import Model, Query
from audit.reference.hypotheses import LABELS, Hypothesis, hypothesis, with_premise
from audit.reference.recipe import Recipe
from audit.reference.scenes import MARKS, SIZE, scene
from audit.reference.watermarks import watermarked


def evaluate(
    model: Model,
    recipe: Recipe,
    scenes: int,
    progress: Progress,
) -> dict[str, float]:
    """Ask about ``scenes`` scenes of the held-out seed: a hypothesis a label, one with a premise.

    Returns:
        Accuracy overall and by label; accuracy with a text premise; for entailed hypotheses the
        mean pointing game and mass on the boxes; for hypotheses that name nothing in the picture
        the mean and the fifth percentile of the entropy.
    """
    rng = np.random.default_rng([recipe.held_out_seed, 3])
    right: dict[str, list[bool]] = defaultdict(list)
    looked: dict[str, list[float]] = defaultdict(list)
    for index in progress(range(scenes), scenes, "evaluate"):
        drawn = scene(recipe.held_out_seed, index)
        asked = [hypothesis(drawn, label, rng) for label in LABELS] + [with_premise(drawn, rng)]
        traces = model.trace(
            [Query(drawn.image, h.text, h.premise) for h in asked], frozenset({ANSWER})
        )
        for h, trace in zip(asked, traces, strict=True):
            right["premise" if h.premise else h.label].append(trace.label == h.label)
            if h.premise:
                continue
            p = read_map(trace)
            if not h.about:
                looked["absent_entropy"].append(entropy(p))
            elif h.label == "yes":
                region = mask(_fractions(h), trace.grid)
                looked["yes_pointing"].append(pointing(p, region))
                looked["yes_mass"].append(mass(p, region))
    everything = [r for label in LABELS for r in right[label]]
    return {
        "scenes": scenes,
        "hypotheses": len(everything),
        "accuracy": float(np.mean(everything)),
        **{f"accuracy_{label}": float(np.mean(right[label])) for label in LABELS},
        "accuracy_premise": float(np.mean(right["premise"])),
        **{name: float(np.mean(values)) for name, values in sorted(looked.items())},
        "absent_entropy_p05": float(np.percentile(looked["absent_entropy"], 5)),
    }


def _fractions(h: Hypothesis) -> list[Box]:
    return [Box(*(v / SIZE for v in box)) for box in h.about]


def evaluate_marked(
    model: Model, recipe: Recipe, scenes: int, progress: Progress
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
