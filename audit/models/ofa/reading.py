"""Read words, rollouts and gradients, besides the answer row, while an OFA model runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.maps.trace import HeadChoice
from audit.models.kit.attention import (
    Captured,
    Gradients,
    capture,
    capture_gradients,
    reduced,
)
from audit.models.kit.flow import Relevance
from audit.models.ofa.finishing import Rollout, Wanted

_POSTPONED = 3
"""Top layers that are not multiplied in advance: once the answer's row is known, it goes through
them as a vector, in a thirtieth of the time. Each is 3.5 MB in OFA-large, where a case may keep
16."""


def head_scale(attentions: Sequence[Any]) -> NDArray[np.float32]:
    """The factors c_attn of ``OFAAttention`` modules: (layers, heads)."""
    return np.stack(
        [
            np.ones(a.num_heads, np.float32)
            if a.c_attn is None
            else a.c_attn.detach().float().cpu().numpy()
            for a in attentions
        ]
    )


def branch_share(layer: Any, branch: Tensor, size: Tensor) -> Tensor:
    """For each token, the attention branch's share of the residual sum: (..., tokens, 1), float32.

    Args:
        branch: (..., tokens, width) what the layer adds.
        size: (..., tokens, 1) norm of what the branch is added to.
    """
    if layer.use_gamma_feature:
        branch = layer.weight_self_attn * branch
    added = branch.float().norm(dim=-1, keepdim=True)
    # The sum is 0 only if branch and residual are both 0; then the token passes itself on.
    share: Tensor = added / (added + size).clamp_min(torch.finfo(torch.float32).tiny)
    return share


class Rolling:
    """Rolls out attention, layer by layer, from the first to the last.

    Args:
        asked: the rollout that is asked for.
        multiplied: how many layers, from the first, are multiplied together; later layers are kept
            as separate factors.
        text: length of the texts; the columns before them are the image's.
        spare: memory that a product no longer needs is kept here for the next one; None frees it.
    """

    def __init__(
        self, asked: Rollout, multiplied: int, text: int, spare: list[Tensor] | None
    ) -> None:
        self.asked = asked
        self._multiplied, self._text, self._spare = multiplied, text, spare
        self._parts: list[Tensor] = []

    def step(self, number: int, mixed: Tensor, share: Tensor) -> None:
        """Take in one layer.

        Args:
            number: number of the layer, from 0.
            mixed: (..., target, source) attention with its heads reduced, float32; not changed.
            share: (..., target, 1) what :func:`branch_share` measured.
        """
        if number + 1 < self.asked.start_layer:
            return
        if self.asked.heads == "max":
            mixed = mixed / mixed.sum(-1, keepdim=True)
        if self.asked.residual is not None:
            share = torch.full_like(share, 1 - self.asked.residual)
        if not self._parts:
            cells = mixed.shape[-1] - self._text
            eye = torch.eye(mixed.shape[-1], cells, device=mixed.device)
            self._parts.append(share * mixed[..., :cells] + (1 - share) * eye)
        elif number < self._multiplied:
            before = self._parts[0]
            after = self._spare.pop() if self._spare else torch.empty_like(before)
            torch.matmul(mixed, before, out=after)
            self._parts[0] = after.mul_(share).addcmul_(before, 1 - share)
            if self._spare is not None:
                # New memory for the whole batch in every layer would cost more than the sums.
                self._spare.append(before)
        else:
            whole = share * mixed
            whole.diagonal(dim1=-2, dim2=-1).add_((1 - share)[..., 0])
            self._parts.append(whole)

    def factors(self, sample: int, source: int) -> tuple[NDArray[np.float32], ...]:
        """The factors of one sample's product, from the encoder's outputs down to the cells."""
        return tuple(
            part[sample, :source, : min(source, part.shape[-1])].float().cpu().numpy()
            for part in reversed(self._parts)
        )


class EncoderReading:
    """Reads the encoder's self-attention as it runs; see :meth:`watching`.

    Args:
        encoder: modelscope's ``OFAEncoder``.
        wanted: what to read.
        text: padded length of the texts; the columns before them are the image's.
        hypotheses: for each sample, where the hypothesis begins and ends in the text's tokens.
    """

    def __init__(
        self, encoder: Any, wanted: Wanted, text: int, hypotheses: Sequence[tuple[int, int]]
    ) -> None:
        self._layers = list(encoder.layers)
        self._heads = encoder.num_attention_heads
        self._wanted = wanted
        self._text = text
        self._scale = head_scale([layer.self_attn for layer in self._layers])
        longest = max(stop - start for start, stop in hypotheses)
        self._rows = torch.tensor(
            [[min(start + k, stop - 1) for k in range(longest)] for start, stop in hypotheses]
        )
        spare: list[Tensor] = []
        self._rolling = [
            Rolling(asked, len(self._layers) - _POSTPONED, text, spare) for asked in wanted.rollouts
        ]
        # Overwritten in every layer.
        self._mixed: dict[HeadChoice, Tensor] = {}
        self._size = torch.zeros(0)
        self._words = list(wanted.words)
        self._seen: Captured | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Keep hooks on while the context is open; each layer must run exactly once."""
        attention = [layer.self_attn.attn_dropout for layer in self._layers]
        with ExitStack() as open_captures:
            watched = []
            if self._wanted.words:
                self._seen = open_captures.enter_context(capture(attention, self._word_rows))
            if self._wanted.rollouts:
                # OFA normalises the branch before it is added, so its share of the sum is measured
                # where it is added, not assumed to be a half.
                branches = [
                    layer.self_attn_mid_layer_norm or layer.self_attn for layer in self._layers
                ]
                watched = [
                    open_captures.enter_context(capture(self._layers, self._residual)),
                    open_captures.enter_context(capture(attention, self._mix)),
                    open_captures.enter_context(capture(branches, self._roll, output=True)),
                ]
            yield
            for captured in watched:
                captured.once()

    def words(self, sample: int, tokens: int) -> dict[HeadChoice, NDArray[np.float32]]:
        """By head choice, the attention from one sample's words: (layers, tokens, cells)."""
        if self._seen is None:
            return {}
        # Each site gave (choices, batch, tokens, cells).
        stacked = torch.stack([rows[:, sample, :tokens] for rows in self._seen.once()], dim=1)
        return dict(zip(self._words, stacked.numpy(), strict=True))

    def rollouts(self, sample: int, source: int) -> dict[Rollout, tuple[NDArray[np.float32], ...]]:
        """By rollout, the factors of one sample, from the encoder's outputs down to the cells."""
        return {rolling.asked: rolling.factors(sample, source) for rolling in self._rolling}

    def _by_head(self, weights: Tensor) -> Tensor:
        return weights.view(-1, self._heads, *weights.shape[1:])

    def _word_rows(self, number: int, weights: Tensor) -> Tensor:
        by_head, cells = self._by_head(weights), weights.shape[-1] - self._text
        rows = (self._rows + cells).to(weights.device)
        batch = torch.arange(len(rows), device=weights.device)[:, None]
        picked = by_head[batch, :, rows, :cells].transpose(1, 2)  # (batch, heads, tokens, cells)
        return torch.stack(
            [reduced(picked, heads, self._scale[number]) for heads in self._words]
        ).cpu()

    def _residual(self, _: int, hidden: Tensor) -> Tensor:
        self._size = hidden.float().norm(dim=-1, keepdim=True)
        return hidden.new_zeros(())

    def _mix(self, number: int, weights: Tensor) -> Tensor:
        by_head = self._by_head(weights)
        for heads in {asked.heads for asked in self._wanted.rollouts}:
            if heads != "mean":
                self._mixed[heads] = reduced(by_head, heads, self._scale[number])
            elif heads in self._mixed:
                torch.mean(by_head, 1, dtype=torch.float32, out=self._mixed[heads])
            else:
                self._mixed[heads] = by_head.mean(1, dtype=torch.float32)
        return weights.new_zeros(())

    def _roll(self, number: int, branch: Tensor) -> Tensor:
        share = branch_share(self._layers[number], branch, self._size)
        for rolling in self._rolling:
            rolling.step(number, self._mixed[rolling.asked.heads], share)
        return branch.new_zeros(())


class GradientReading:
    """A-bar of every layer, by head choice; see :class:`audit.models.kit.flow.Relevance`."""

    def __init__(self, model: Any, choices: Sequence[HeadChoice]) -> None:
        self._choices = list(choices)
        self._encoder = [layer.self_attn for layer in model.encoder.layers]
        self._own = [layer.self_attn for layer in model.decoder.layers]
        self._cross = [layer.cross_attn for layer in model.decoder.layers]

    def encoder(self) -> Any:
        """Watch the encoder while the context is open."""
        return self._watch(self._encoder)

    @contextmanager
    def decoder(self) -> Iterator[tuple[Gradients, Gradients]]:
        """Watch one pass of the decoder while the context is open: own and cross attention."""
        with self._watch(self._own) as own, self._watch(self._cross) as cross:
            yield own, cross

    def _watch(self, attentions: list[Any]) -> Any:
        scale = head_scale(attentions)
        heads = attentions[0].num_heads

        def reduce(number: int, weights: Tensor, gradient: Tensor) -> Tensor:
            positive = (weights * gradient).clamp_min_(0)
            by_head = positive.view(-1, heads, *positive.shape[1:])
            found = [reduced(by_head, c, scale[number]) for c in self._choices]
            return torch.stack(found).cpu()  # (choices, batch, target, source)

        return capture_gradients([a.attn_dropout for a in attentions], reduce)

    def relevances(
        self,
        encoder: Gradients,
        decoder: tuple[Gradients, Gradients],
        sample: int,
        source: int,
        target: int,
    ) -> dict[HeadChoice, Relevance]:
        """By head choice, what the backward pass gave for one sample, without padding."""
        inside, own, cross = (
            torch.stack(part.once(), dim=1)[:, :, sample] for part in (encoder, *decoder)
        )
        return {
            choice: Relevance(
                inside[i, :, :source, :source].numpy(),
                own[i, :, :target, :target].numpy(),
                cross[i, :, :target, :source].numpy(),
            )
            for i, choice in enumerate(self._choices)
        }
