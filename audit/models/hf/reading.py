"""Read rows, rollouts and gradients of a chat model's text part while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.base.errors import MapError
from audit.maps.trace import ANSWER, HeadChoice, Need, Reading, ReadingKey
from audit.models.hf import METHODS
from audit.models.hf.prompts import Prompt
from audit.models.kit.attention import capture, reduced
from audit.models.kit.heads import leaves_layers, over_heads
from audit.models.kit.rows import Attended, watching
from audit.models.kit.words import singly, tokens_of

Array = NDArray[np.float64]

_CHUNK = 256
"""So many rows of a layer's attention are in memory at once while it is rolled out."""


@dataclass(frozen=True)
class Wanted:
    """What must be read, by head choice, besides the answer.

    Attributes:
        rows: of the answer's row, reduced layer by layer.
        single: whether the answer's row of each single head must be kept.
        words: of the rows of the hypothesis's tokens.
        relevances: of gradient relevance.
        rolled: whether whole layers must be kept until the pass ends.
    """

    rows: tuple[HeadChoice, ...]
    single: bool
    words: tuple[HeadChoice, ...]
    relevances: tuple[HeadChoice, ...]
    rolled: bool

    @classmethod
    def of(cls, need: Need, layers: int) -> Wanted:
        """What must be read for all of ``need``.

        Raises:
            MapError: the model does not have the method of a key, or a key starts beyond the last
                layer.
        """
        for key in need:
            if key.method not in METHODS:
                raise MapError(f"a chat model gives no {key.method}; it gives {', '.join(METHODS)}")
            if key.start_layer > layers:
                raise MapError(
                    f"start_layer {key.start_layer} was asked for, but the model has {layers}"
                )

        def heads(*methods: str) -> tuple[HeadChoice, ...]:
            return tuple(sorted({k.heads for k in need if k.method in methods}, key=str))

        relevances = heads("relevance")
        answer, rollouts = heads("answer_attention"), heads("rollout")
        single = {each for each in answer if leaves_layers(each)}
        rows = {*answer, *rollouts, *([ANSWER.heads] if relevances else ())} - single
        return cls(
            tuple(sorted(rows, key=str)), bool(single), heads("word_attention"), relevances,
            bool(rollouts),
        )  # fmt: skip


@dataclass
class Rows:
    """What one pass over a batch of prompts has shown.

    Attributes:
        answer: by head choice, for each layer (batch, 1, keys).
        single: for each layer (batch, heads, keys), the answer's row of each head, if needed.
        words: by head choice, for each layer (batch, tokens of the hypothesis, keys).
        whole: each layer's attention, if it must be rolled out.
        shares: for each layer (batch, tokens), the attention's share of the residual sum.
    """

    answer: dict[HeadChoice, list[Tensor]] = field(default_factory=dict)
    single: list[Tensor] = field(default_factory=list)
    words: dict[HeadChoice, list[Tensor]] = field(default_factory=dict)
    whole: list[Attended] = field(default_factory=list)
    shares: list[Tensor] = field(default_factory=list)


@contextmanager
def reading(layers: Sequence[Any], prompts: Sequence[Prompt], wanted: Wanted) -> Iterator[Rows]:
    """Read one pass over the prompts, which are padded on the right.

    Args:
        layers: the decoder's.
    """
    found = Rows()
    if not (wanted.rows or wanted.single or wanted.words):
        yield found
        return
    longest = max((p.length - p.first for p in prompts), default=1) if wanted.words else 0
    places = torch.tensor(
        [[p.length - 1, *(min(p.first + k, p.length - 1) for k in range(longest))] for p in prompts]
    ).to(next(layers[0].parameters()).device)

    def see(attended: Attended) -> None:
        weights = attended.rows(places)
        for heads in wanted.rows:
            found.answer.setdefault(heads, []).append(reduced(weights[:, :, :1], heads))
        if wanted.single:
            # A copy: a view would keep the rows of all words.
            found.single.append(weights[:, :, 0].clone())
        for heads in wanted.words:
            found.words.setdefault(heads, []).append(reduced(weights[:, :, 1:], heads))
        if wanted.rolled:
            found.whole.append(attended)

    with ExitStack() as stack:
        shares = stack.enter_context(_branch_shares(layers)) if wanted.rolled else None
        stack.enter_context(watching(len(layers), see))
        yield found
    if shares is not None:
        found.shares = shares


@contextmanager
def _branch_shares(layers: Sequence[Any]) -> Iterator[list[Tensor]]:
    """Measure how much of each token's residual sum the attention adds: (batch, tokens) a layer."""
    sizes: list[Tensor] = []
    found: list[Tensor] = []

    def residual(_: int, hidden: Tensor) -> Tensor:
        sizes.append(hidden.float().norm(dim=-1))
        return sizes[-1]

    def branch(number: int, added: Tensor) -> Tensor:
        size = added.float().norm(dim=-1)
        # The sum is 0 only if branch and residual are both 0; then the token passes itself on.
        share: Tensor = size / (size + sizes[number]).clamp_min(torch.finfo(torch.float32).tiny)
        return share

    # Where the feed-forward part has a norm of its own before it, the one behind the attention
    # belongs to the branch.
    sites = [
        x.post_attention_layernorm if hasattr(x, "pre_feedforward_layernorm") else x.self_attn
        for x in layers
    ]
    with capture(layers, residual) as before, capture(sites, branch, output=True) as after:
        yield found
    before.once()
    found += after.once()


def rolled_out(rows: Rows, sample: int, length: int, key: ReadingKey) -> Tensor:
    """The answer's row of each layer, carried down through the layers below it: (layers, tokens).

    Abnar & Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020, for a decoder. The
    matrices are never in memory: their rows are computed again, some at a time.
    """
    device = rows.whole[0].query.device
    carried = torch.zeros(0, length, device=device)
    last = torch.tensor([[length - 1]], device=device)
    for number in reversed(range(len(rows.whole))):
        layer = rows.whole[number].of(sample)
        if len(carried) and number + 1 >= key.start_layer:
            share = rows.shares[number][sample, :length]
            if key.residual is not None:
                share = torch.full_like(share, 1 - key.residual)
            through = carried * (1 - share)
            for start in range(0, length, _CHUNK):
                at = torch.arange(start, min(start + _CHUNK, length), device=device)
                mixed = reduced(layer.rows(at[None]), key.heads)[0, :, :length]
                mixed = mixed / mixed.sum(-1, keepdim=True)
                through = through + (carried[:, at] * share[at]) @ mixed
            carried = through
        carried = torch.cat([carried, reduced(layer.rows(last), key.heads)[0, :, :length]])
    return carried.flip(0)


@contextmanager
def gradients(layers: int) -> Iterator[list[Attended]]:
    """Keep each layer's attention in a pass of one token, ready to be differentiated by."""
    seen: list[Attended] = []

    def see(attended: Attended) -> None:
        if not attended.output.requires_grad:
            attended.output.requires_grad_(True)
        seen.append(attended)

    with watching(layers, see):
        yield seen


def gradient_weighted(seen: Sequence[Attended], margin: Tensor) -> list[Tensor]:
    """Attention times the positive part of its gradient: for each layer (1, heads, 1, keys).

    The row's output is the sum of its weights times the values, so a weight's gradient is the
    product of the output's gradient and the value.

    Args:
        seen: a pass of one token.
        margin: the answer's log-probability minus the runner-up's; see
            :func:`audit.models.kit.attention.margin`.
    """
    found = []
    for layer, gradient in zip(
        seen, torch.autograd.grad(margin, [each.output for each in seen]), strict=True
    ):
        by_weight = torch.einsum(
            "bqhd,bhkd->bhqk", gradient.float(), layer.of_shared(layer.value).detach().float()
        )
        weights = layer.rows(torch.zeros(1, 1, dtype=torch.long, device=gradient.device))
        found.append(weights.detach() * by_weight.clamp_min(0))
    return found


@dataclass(frozen=True)
class Finisher:
    """Makes the readings of one prompt of a batch.

    Attributes:
        sample: which of the batch.
        weighted: what :func:`gradient_weighted` gave, if it was needed.
    """

    prompt: Prompt
    rows: Rows
    sample: int
    weighted: Sequence[Tensor]

    def readings(self, need: Need) -> dict[ReadingKey, Reading]:
        """The readings, by key; a word that is not there has none.

        Raises:
            MapError: the model does not have one of the heads.
        """
        finish = {
            "answer_attention": self._answer,
            "word_attention": self._word,
            "rollout": self._rollout,
            "relevance": self._relevance,
        }
        found = {}
        for key in singly(need, len(self.prompt.words)):
            reading = finish[key.method](key)
            if reading is not None:
                found[key] = reading
        return found

    def _rows(self, heads: HeadChoice) -> Array:
        """The answer's rows: (layers, tokens); see :func:`over_heads` for single heads."""
        if leaves_layers(heads):
            single = torch.stack([each[self.sample] for each in self.rows.single])
            return over_heads(single[..., : self.prompt.length].cpu().numpy(), heads)
        layers = torch.stack([each[self.sample, 0] for each in self.rows.answer[heads]])
        return _array(layers[:, : self.prompt.length])

    def _reading(self, cells: Array, rows: Array, weight: Array | None) -> Reading:
        """Cells of (layers, tokens), with the image share of ``rows``: (layers, tokens)."""
        total, fell = rows.sum(1), rows[:, self.prompt.image.numpy()].sum(1)
        share = np.divide(fell, total, out=np.zeros_like(fell), where=total > 0)
        shaped = cells[:, self.prompt.cells.numpy()].reshape(-1, *self.prompt.grid)
        return Reading(shaped, share.clip(0, 1), weight)

    def _answer(self, key: ReadingKey) -> Reading:
        rows = self._rows(key.heads)
        return self._reading(rows, rows, rows.sum(1))

    def _word(self, key: ReadingKey) -> Reading | None:
        assert key.word is not None
        tokens = tokens_of(key.word, self.prompt.words)
        if not tokens:
            return None
        layers = [each[self.sample, tokens].mean(0) for each in self.rows.words[key.heads]]
        rows = _array(torch.stack(layers)[:, : self.prompt.length])
        return self._reading(rows, rows, None)

    def _rollout(self, key: ReadingKey) -> Reading:
        rows = self._rows(key.heads)
        cells = _array(rolled_out(self.rows, self.sample, self.prompt.length, key))
        return self._reading(cells, rows, rows.sum(1))

    def _relevance(self, key: ReadingKey) -> Reading:
        layers = [reduced(each, key.heads)[0, 0] for each in self.weighted[key.start_layer - 1 :]]
        rows = self._rows(ANSWER.heads).mean(0, keepdims=True)
        cells = _array(torch.stack(layers).mean(0, keepdim=True))
        return self._reading(cells, rows, rows.sum(1))


def _array(tensor: Tensor) -> Array:
    return tensor.double().cpu().numpy()
