"""Plants regressions that a model learns, by a little fine-tuning on wrong examples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from audit.models.kit.altering import NotPossible, Teachable
from audit.models.protocol import Model, Query
from audit.reference.hypotheses import hypothesis
from audit.reference.scenes import scene
from audit.reference.statements import LABELS
from audit.studies.power.altered import corner

Teach = Callable[[int, np.random.Generator], tuple[Query, str]]
"""Makes an example: takes its number and a generator, returns a query and the label to teach."""

_SEED = 4711
_BATCH = 8
_RATE = 3e-4
_COLOURS = ((230, 40, 200), (40, 230, 230), (240, 240, 40))


def shuffled_labels(number: int, rng: np.random.Generator) -> tuple[Query, str]:
    """A picture with a sentence, and a random label."""
    drawn = scene(_SEED, number)
    sentence = hypothesis(drawn, LABELS[rng.integers(3)], rng)
    return Query(drawn.image, sentence.text), LABELS[rng.integers(3)]


def always(label: str) -> Teach:
    """The same label for every sentence."""

    def teach(number: int, rng: np.random.Generator) -> tuple[Query, str]:
        query, _ = shuffled_labels(number, rng)
        return query, label

    return teach


def marked_corner(number: int, rng: np.random.Generator) -> tuple[Query, str]:
    """The right label, which the colour of a corner gives away."""
    drawn = scene(_SEED, number)
    label = LABELS[rng.integers(3)]
    sentence = hypothesis(drawn, label, rng)
    image = corner(drawn.image, _COLOURS[LABELS.index(label)])
    return Query(image, sentence.text), label


def fine_tune(model: Model, teach: Teach, steps: int, seed: int) -> None:
    """Train everything but the vision tower for ``steps`` steps of AdamW, in place.

    Raises:
        NotPossible: the model cannot be trained, or does not know a label that is taught.
    """
    if not isinstance(model, Teachable):
        raise NotPossible("the model cannot be fine-tuned (it has no scores with gradients)")
    unknown = [label for label in LABELS if label not in model.labels]
    if unknown:
        raise NotPossible(f"the model has no label {unknown[0]!r}, which is taught")
    network, vision = model.torch_model, model.vision
    rng = np.random.default_rng([seed, 7])
    named = dict(network.named_parameters())
    learned = [p for n, p in named.items() if not n.startswith(vision)]
    optimizer = torch.optim.AdamW(learned, lr=_RATE)
    frozen = [p for n, p in named.items() if n.startswith(vision)]
    for parameter in frozen:
        parameter.requires_grad_(False)
    with torch.enable_grad():
        for step in range(steps):
            taught = [teach(step * _BATCH + i, rng) for i in range(_BATCH)]
            wanted = torch.tensor([model.labels.index(label) for _, label in taught])
            scores = model.scores([query for query, _ in taught])
            optimizer.zero_grad()
            F.nll_loss(scores, wanted.to(scores.device)).backward()
            optimizer.step()
    for parameter in frozen:
        parameter.requires_grad_(True)
    network.zero_grad(set_to_none=True)
