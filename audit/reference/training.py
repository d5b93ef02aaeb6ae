"""Train an embedded model in four stages; each can resume from the one before.

a. dense: the ResNet alone, with a label for every cell (kind, colour, centre) and for the place.
b. questions: ResNet frozen and its features cached; captions and short questions.
c. entailment: hypotheses, on a random subset of background cells (OFA's ``sample_patch_num``).
d. attention: the same on all cells, while the learning rate falls to zero.

In stages c and d one batch in eight has text premises, and another one has questions. The encoder
is also told which single words of a hypothesis are true of the picture; without that, comparing
colours, counts and places stays at chance for thousands of steps.

From stage b on, the answer row of the decoder's cross-attention is supervised: it should lie on the
boxes of what the text names, or be uniform if nothing that the text names is in the picture. In
stage d it should also cover the boxes, and the encoder's self-attention from each noun of a
hypothesis is supervised in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from audit.base.console import Progress
from audit.reference import batches
from audit.reference.batches import Batch, Batcher
from audit.reference.data import coverage, dense_labels, place_label, render
from audit.reference.network import answer, build, image_features
from audit.reference.recipe import GRID, Recipe
from audit.reference.scenes import COLOURS, KINDS, MARKS, PLACES, Scene
from audit.reference.tokens import load_tokenizer, train_tokenizer

_ENOUGH_MASS = 0.94
_ENOUGH_KL = 0.08
_ENOUGH_SPREAD = 0.15


def _patches(images: NDArray[np.uint8]) -> Tensor:
    patches = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    return patches.contiguous(memory_format=torch.channels_last)


def _warm(step: int, total: int, warmup: int, decay: bool) -> float:
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) if decay else 1.0


def _optimise(
    parameters: list[nn.Parameter],
    steps: int,
    rate: float,
    decay: bool,
    loss_of: Callable[[int], tuple[Tensor, str]],
    title: str,
    progress: Progress,
    log: Callable[[str], None],
) -> None:
    optimizer = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: _warm(i, steps, 40, decay))
    for step in progress(range(steps), steps, title):
        loss, note = loss_of(step)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 49 or step == steps - 1:
            log(f"{title} {step + 1}/{steps} loss {loss.item():.4f} {note}")


def _train_dense(
    model: Any,
    recipe: Recipe,
    images: NDArray[np.uint8],
    truths: list[Scene],
    progress: Progress,
    log: Callable[[str], None],
) -> None:
    rng = np.random.default_rng([recipe.seed, 2])
    labels = [dense_labels(t, GRID) for t in truths]
    kinds, colours, centres = (
        torch.from_numpy(np.stack(part)) for part in zip(*labels, strict=True)
    )
    places = torch.tensor([place_label(t) for t in truths])
    width = recipe.d_model
    heads = nn.ModuleDict(
        {
            "kind": nn.Linear(width, 1 + len(KINDS) + (len(MARKS) if recipe.marked else 0)),
            "colour": nn.Linear(width, len(COLOURS) + 1),
            "centre": nn.Linear(width, 1),
            "place": nn.Linear(width, len(PLACES) * 2),
        }
    )
    norm = nn.LayerNorm(width)
    rows = GRID // 2  # a window of half the rows: half the cost, and it still holds the animals
    occupied = (kinds > 0).sum(2)
    order = np.concatenate(
        [
            rng.permutation(len(truths))
            for _ in range(1 + recipe.dense_steps * recipe.dense_batch // len(truths))
        ]
    )

    def loss_of(step: int) -> tuple[Tensor, str]:
        chosen = order[step * recipe.dense_batch : (step + 1) * recipe.dense_batch]
        starts = []
        for index in chosen:
            inside = [int(occupied[index, r : r + rows].sum()) for r in range(GRID - rows + 1)]
            best = int(np.argmax(inside))
            starts.append(best if rng.random() < 0.75 else int(rng.integers(GRID - rows + 1)))
        windows = np.stack(
            [images[i, s * 16 : (s + rows) * 16] for i, s in zip(chosen, starts, strict=True)]
        )
        flip = rng.random() < 0.5

        def cut(labels: Tensor) -> Tensor:
            part = torch.stack(
                [labels[i, s : s + rows] for i, s in zip(chosen, starts, strict=True)]
            )
            return (part.flip(2) if flip else part).flatten()

        cells = norm(
            image_features(model, _patches(windows[:, :, ::-1].copy() if flip else windows))
        )
        flat = cells.flatten(0, 1)
        kind, colour, centre = cut(kinds), cut(colours), cut(centres)
        weight = torch.where(kind > 0, 1.0, 0.25)
        known = kind >= 0
        loss = torch.zeros(())
        for name, truth in (("kind", kind), ("colour", colour)):
            sure = known & (truth >= 0)  # colours in grey pictures are not
            each = F.cross_entropy(heads[name](flat)[sure], truth[sure], reduction="none")
            loss = loss + (each * weight[sure]).sum() / weight[sure].sum()
        loss = loss + F.binary_cross_entropy_with_logits(
            heads["centre"](flat)[:, 0], centre, pos_weight=torch.tensor(5.0)
        )
        loss = loss + 0.3 * F.cross_entropy(heads["place"](cells.mean(1)), places[chosen])
        on = kind > 0
        right = heads["kind"](flat)[on].argmax(1).eq(kind[on]).float().mean()
        hue = heads["colour"](flat)[on].argmax(1).eq(colour[on])[colour[on] >= 0].float().mean()
        return loss, f"kind {right:.3f} colour {hue:.3f}"

    model.train()
    parameters = [
        *model.encoder.embed_images.parameters(),
        *model.encoder.image_proj.parameters(),
        *norm.parameters(),
        *heads.parameters(),
    ]
    _optimise(
        parameters,
        recipe.dense_steps,
        recipe.dense_learning_rate,
        True,
        loss_of,
        "a dense",
        progress,
        log,
    )


@torch.no_grad()
def _features(
    model: Any, images: NDArray[np.uint8], progress: Progress, title: str
) -> NDArray[np.float16]:
    model.eval()
    chunks = range(0, len(images), 64)
    found = [
        image_features(model, _patches(images[i : i + 64])).half().numpy()
        for i in progress(chunks, len(chunks), title)
    ]
    return np.concatenate(found)


def _attention_loss(attention: Tensor, focus: Tensor, slack: bool, spread: float) -> Tensor:
    """-log of the mass on the boxes; if there are no boxes, KL to the uniform distribution.

    With ``slack`` both become 0 a little before they are perfect. Otherwise the softmax saturates:
    in a first training the model learned to look but not to compare.
    ``spread`` weighs a third term, KL from the even distribution over the boxes to the attention
    inside them; without it, one cell of an animal takes all the attention.
    """
    somewhere = focus.sum(1) > 0
    mass = (attention * focus).sum(1).clamp_min(1e-6)
    kl = (attention * attention.clamp_min(1e-9).log()).sum(1) + math.log(attention.shape[1])
    enough, even = (math.log(_ENOUGH_MASS), _ENOUGH_KL) if slack else (0.0, 0.0)
    on_boxes = F.relu(enough - mass.log())
    if spread:
        # Cells that are mostly background would pull attention off the animal.
        core = torch.where(focus >= 0.5, focus, 0.0)
        target = core / core.sum(1, keepdim=True).clamp_min(1e-6)
        inside = (attention * focus).clamp_min(1e-9) / mass[:, None]
        uneven = (target * (target.clamp_min(1e-9).log() - inside.log())).sum(1)
        on_boxes = on_boxes + spread * F.relu(uneven - _ENOUGH_SPREAD)
    return torch.where(somewhere, on_boxes, F.relu(kl - even)).mean()


class _Texts:
    """The stages that train on texts; they share features, batcher and loss."""

    def __init__(
        self,
        model: Any,
        recipe: Recipe,
        features: NDArray[np.float16],
        truths: list[Scene],
        tokenizer: Any,
    ) -> None:
        self.model, self.recipe, self.features = model, recipe, features
        self.batcher = Batcher(recipe, tokenizer, truths)
        # Predicts which words the picture confirms; it only guides the encoder and is not kept.
        self.truth_head = nn.Linear(recipe.d_model, 1)

    def cells(
        self, chosen: NDArray[Any], batch: Batch, rng: np.random.Generator, kept: int
    ) -> Tensor:
        """The cells that the model sees: animals, watermarks and a random rest; (images, kept)."""
        n = self.recipe.images_per_batch
        if kept == GRID * GRID:
            return torch.arange(kept).expand(n, kept)
        seen = batch.focus.view(n, -1, GRID * GRID).amax(1).numpy()
        for row, index in enumerate(chosen):
            mark = self.batcher.truths[index].mark
            if mark:
                size = self.batcher.truths[index].size
                seen[row] = np.maximum(seen[row], coverage((mark.box,), GRID, size).ravel())
        score = np.where(seen > 0, 1 + seen, rng.random(seen.shape))
        return torch.from_numpy(np.sort(np.argsort(-score, axis=1)[:, :kept], axis=1))

    def loss(
        self,
        make: Any,
        rng: np.random.Generator,
        kept: int,
        weight: float,
        slack: bool,
        spread: float,
    ) -> tuple[Tensor, str]:
        chosen, batch = self.batcher.sample(make, rng)
        cells = self.cells(chosen, batch, rng, kept)
        grid = torch.from_numpy(self.features[chosen]).float()
        focus, noun_focus = batch.focus, batch.noun_focus
        if rng.random() < 0.5:  # mirrored pictures have mirrored truths
            side = (len(chosen), GRID, GRID, -1)
            grid = grid.view(side).flip(2).flatten(1, 2)
            focus = focus.view(-1, GRID, GRID).flip(2).flatten(1)
            noun_focus = noun_focus.view(-1, GRID, GRID).flip(2).flatten(1)
            cells = cells // GRID * GRID + (GRID - 1 - cells % GRID)
            cells = cells.sort(1).values
        images = grid.gather(1, cells[..., None].expand(*cells.shape, grid.shape[-1]))
        by_text = cells.repeat_interleave(self.recipe.texts_per_image, 0)
        focus = focus.gather(1, by_text)
        out = answer(
            self.model, images, cells, batch.source, batch.target, batch.read, batch.loss_rows
        )
        answer_loss = F.cross_entropy(out.logits, batch.wanted)
        looked = _attention_loss(out.attention, focus, slack, spread)
        first = torch.cat([torch.ones(1, dtype=torch.bool), batch.wanted[:-1].eq(2)])
        right = out.logits.argmax(1).eq(batch.wanted)[first].float().mean()
        total = answer_loss + weight * looked
        known = batch.truth >= 0
        note = f"right {right:.3f} looked {looked:.3f}"
        if known.any():
            word_loss = F.binary_cross_entropy_with_logits(
                self.truth_head(out.words[known])[:, 0], batch.truth[known]
            )
            total = total + self.recipe.word_weight * word_loss
            note += f" words {word_loss:.3f}"
        if spread and len(batch.nouns):
            text, token = batch.nouns.T
            named = _attention_loss(
                out.word_attention[text, token], noun_focus.gather(1, by_text[text]), slack, spread
            )
            total = total + self.recipe.word_attention_weight * named
            note += f" nouns {named:.3f}"
        return total, note


def _parameters(model: Any) -> list[nn.Parameter]:
    frozen = {
        id(p)
        for part in ("embed_images", "image_proj")
        for p in getattr(model.encoder, part).parameters()
    }
    return [p for p in model.parameters() if id(p) not in frozen]


def train(
    recipe: Recipe, work: Path, progress: Progress, log: Callable[[str], None] = print
) -> tuple[Any, Any]:
    """Train in ``work`` without the stages that are saved there; return model and tokenizer."""
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "merges.txt").exists():
        train_tokenizer(recipe, work)
    tokenizer = load_tokenizer(work)
    images, truths = render(
        recipe.seed, recipe.scenes, recipe.image_size, recipe.marked, work, progress
    )
    torch.manual_seed(recipe.seed)
    model = build(recipe, len(tokenizer)).to(memory_format=torch.channels_last)

    def stage(name: str, body: Callable[[], None]) -> None:
        path = work / f"stage-{name}.pt"
        if path.exists():
            model.load_state_dict(torch.load(path, weights_only=True))
            return
        body()
        partial = path.with_suffix(".partial")
        torch.save(model.state_dict(), partial)
        partial.replace(path)

    stage("a-dense", lambda: _train_dense(model, recipe, images, truths, progress, log))
    path = work / "features.npy"
    if not path.exists():
        np.save(path, _features(model, images, progress, "features"), allow_pickle=False)
    texts = _Texts(model, recipe, np.load(path), truths, tokenizer)
    all_cells = GRID * GRID

    def on(make: Any, steps: int, kept: int, decay: bool, title: str, mixed: bool) -> None:
        rng = np.random.default_rng([recipe.seed, ord(title[0])])

        weight = recipe.attention_weight if mixed else recipe.question_attention_weight
        spread = recipe.spread_weight if decay else 0.0
        ask = partial(texts.loss, rng=rng, kept=kept, weight=weight, slack=mixed, spread=spread)

        def loss_of(step: int) -> tuple[Tensor, str]:
            if mixed and step % recipe.mix_every == recipe.mix_every - 1:
                return ask(batches.premised)
            if mixed and step % recipe.mix_every == recipe.mix_every // 2 - 1:
                return ask(batches.questions)
            return ask(make)

        model.train()
        _optimise(
            [*_parameters(model), *texts.truth_head.parameters()],
            steps,
            recipe.learning_rate,
            decay,
            loss_of,
            title,
            progress,
            log,
        )

    torch.manual_seed(recipe.seed)
    kept = recipe.kept_cells
    stage(
        "b-questions",
        lambda: on(batches.questions, recipe.question_steps, kept, False, "b questions", False),
    )
    stage(
        "c-entailment",
        lambda: on(batches.entailment, recipe.entailment_steps, kept, False, "c entailment", True),
    )
    stage(
        "d-attention",
        lambda: on(
            batches.entailment, recipe.attention_steps, all_cells, True, "d attention", True
        ),
    )
    return model.eval(), tokenizer
