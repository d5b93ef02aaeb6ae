"""Train the embedded chat model in stages.

a. dense: the vision tower alone, with a label for every cell (kind, colour, centre) and the place;
   then also counts: at each animal, how many of its kind there are, and how many in all.
b. questions: tower frozen and what it says of each picture cached; captions and short questions.
c. hypotheses, on a random subset of background cells.
d. counting: the same, and half of the batches say how many there are, as often wrongly as rightly.
   Sentences with a wrong number are one in thirty otherwise, too few to learn to count from.
e. whole: all of it on all cells, while the learning rate falls to zero.

From stage c on one batch in eight has text premises, and another one has questions. A head that is
thrown away tells from the states of a sentence's tokens in which respects it is true so far.
Attention is nowhere supervised: where this model looks is its own affair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from audit.base.console import Progress
from audit.reference.chat import batches, stages
from audit.reference.chat.batches import ASPECTS, Batcher, Make
from audit.reference.chat.dense import Dense, features
from audit.reference.chat.language import load_tokenizer
from audit.reference.chat.network import build, hidden_states
from audit.reference.chat.pictures import Pictures, render
from audit.reference.chat.recipe import ChatRecipe
from audit.reference.chat.stages import Stage
from audit.reference.data import coverage

_MIXED = (
    *[batches.entailment] * 3,
    batches.questions,
    *[batches.entailment] * 3,
    batches.premised,
)
_COUNTED = (
    *[batches.counting, batches.entailment, batches.counting, batches.how_many],
    *[batches.counting, batches.entailment, batches.counting, batches.premised],
)
_ALL = (
    *[batches.entailment, batches.counting, batches.entailment, batches.how_many],
    *[batches.entailment, batches.counting, batches.entailment, batches.premised],
)


class Conversations:
    """The loss of the stages that train the language model."""

    def __init__(
        self,
        model: Any,
        recipe: ChatRecipe,
        found: NDArray[np.float16],
        pictures: Pictures,
        tokenizer: Any,
    ) -> None:
        self.model, self.recipe = model, recipe
        self.found, self.pictures = found, pictures
        self.batcher = Batcher(recipe, tokenizer, pictures.grids, pictures.truths)
        self.truth = nn.Linear(recipe.width, ASPECTS)

    def seen(self, index: int, rng: np.random.Generator, kept: int | None) -> NDArray[np.int64]:
        """The cells of a picture that the model sees: animals, and a random rest up to ``kept``."""
        rows, columns = (int(n) for n in self.pictures.grids[index])
        if kept is None:
            return np.arange(rows * columns)
        truth = self.pictures.truths[index]
        there = coverage(truth.boxes(), (rows, columns), truth.size).ravel()
        score = np.where(there > 0, 1 + there, rng.random(there.shape))
        return np.sort(np.argsort(-score)[:kept])

    def loss(self, make: Make, rng: np.random.Generator, kept: int | None) -> tuple[Tensor, str]:
        """The loss of a batch, half of whose pictures are mirrored, and a note for the log."""
        chosen, items = self.batcher.sample(make, rng)
        grids = torch.from_numpy(self.pictures.grids[chosen])
        cells, states = [], []
        for index in chosen:
            columns = int(self.pictures.grids[index, 1])
            seen = self.seen(index, rng, kept)
            shown = seen
            if rng.random() < 0.5:
                shown = seen // columns * columns + columns - 1 - seen % columns
                seen, shown = seen[np.argsort(shown)], np.sort(shown)
            cells.append(torch.from_numpy(shown))
            states.append(torch.from_numpy(self.found[index][seen]).float())
        batch = self.batcher.collate(items, cells, grids)
        hidden = hidden_states(self.model, batch.packed, torch.cat(states))
        asked = batch.wanted >= 0
        logits, wanted = self.model.lm_head(hidden[asked]), batch.wanted[asked]
        loss = F.cross_entropy(logits, wanted)
        right = logits.argmax(1).eq(wanted)[batch.answers[asked]].float().mean()
        note = f"right {right:.3f}"
        told = batch.truth >= 0
        if told.any():
            said = self.truth(hidden)[told]
            truth_loss = F.binary_cross_entropy_with_logits(said, batch.truth[told])
            loss = loss + self.recipe.statement_weight * truth_loss
            note += f" statements {truth_loss:.3f}"
        return loss, note


def train(
    recipe: ChatRecipe, work: Path, progress: Progress, log: Callable[[str], None] = print
) -> tuple[Any, Any]:
    """Train in ``work`` without the stages that are saved there; return model and tokenizer."""
    work.mkdir(parents=True, exist_ok=True)
    tokenizer = load_tokenizer(recipe, work)
    pictures = render(recipe, work, progress)
    torch.manual_seed(recipe.seed)
    model = build(recipe, tokenizer).train()
    dense = Dense(model, recipe, pictures)

    def run(stage: Stage) -> None:
        stages.run(stage, model, work, progress, log)

    tower = [model.model.visual, dense.heads]
    run(Stage("a-dense", recipe.dense_steps, recipe.dense_learning_rate, True, tower, dense.loss))
    run(
        Stage(
            "a-counts",
            recipe.count_steps,
            recipe.count_learning_rate,
            True,
            tower,
            dense.loss_of_counts,
        )
    )
    path = work / "features.npy"
    if not path.exists():
        np.save(path, features(model, pictures, recipe, progress), allow_pickle=False)
    talk = Conversations(model, recipe, np.load(path), pictures, tokenizer)

    def loss_of(number: int, makes: Sequence[Make], kept: int | None) -> stages.Loss:
        """The loss of a stage that draws from ``makes`` in turn."""

        def loss(step: int) -> tuple[Tensor, str]:
            rng = np.random.default_rng([recipe.seed, number, step])
            return talk.loss(makes[step % len(makes)], rng, kept)

        return loss

    trained = [model.model.language_model, talk.truth]
    rate, kept = recipe.learning_rate, recipe.kept_cells
    for number, (name, steps, makes, cells, decay) in enumerate(
        (
            ("b-questions", recipe.question_steps, (batches.questions,), kept, False),
            ("c-hypotheses", recipe.entailment_steps, _MIXED, kept, False),
            ("d-counting", recipe.counting_steps, _COUNTED, kept, False),
            ("e-whole", recipe.whole_steps, _ALL, None, True),
        ),
        3,
    ):
        run(Stage(name, steps, rate, decay, trained, loss_of(number, makes, cells)))
    return model.eval(), tokenizer
