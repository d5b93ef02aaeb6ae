"""modelscope's OFA computed in another order: the same parameters, the same numbers, less time.

What is different from ``OFAModel.forward``:

- the ResNet sees each distinct picture once, even if several questions or batches share it;
- the position bias, which modelscope gathers for every sample of every layer, is made once a layer;
- attention is computed head by head over one sample, so that scores stay in the processor's cache
  instead of being written to memory and read again six times; if no weights are read and the
  processor gains by it, attention is fused;
- samples are not padded: each keeps its own length and does not see the others;
- the decoder runs once over all answers; its queries are carried to the source, instead of the
  source to keys and values, if that is less work;
- only the logits of the answers are computed, not those of the whole vocabulary;
- in bfloat16 the residual sums and the logits stay in float32, which halves the distance from it.

Everything else is called in modelscope's own modules, so that a changed weight or a replaced module
has its effect here too. There are no gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from audit.base.geometry import Grid
from audit.models.ofa.bias import EncoderBias
from audit.models.ofa.finishing import Wanted
from audit.models.ofa.pictures import Picture, Pictures
from audit.models.ofa.reading import branch_share, head_scale
from audit.models.ofa.stream import Stream

_IN_CACHE = 8 << 20
"""Bytes of attention that are computed at a time on a CPU: two heads of OFA-large, or all heads of
a small model."""


@dataclass(frozen=True)
class Encoded:
    """One sample's encoder outputs, (cells + tokens, width), and what was read on the way."""

    hidden: Tensor
    grid: Grid
    stream: Stream


class Encodings(NamedTuple):
    """The encodings of a batch; ``positions`` is (longest sample, width), shared by all."""

    samples: list[Encoded]
    positions: Tensor


class Decoded(NamedTuple):
    """The decoder's outputs, (samples, answers, steps, width), and each sample's answer row.

    Attributes:
        rows: (layers, heads, source) of each sample.
    """

    hidden: Tensor
    rows: list[NDArray[np.float32]]


class FastOFA:
    """Runs one of modelscope's ``OFAModel``, as described in this module's docstring.

    Args:
        fused: let torch fuse the attention of encoder layers from which nothing is read.
    """

    def __init__(self, model: Any, *, fused: bool) -> None:
        self._model, self._fused = model, fused
        self._pictures = Pictures(model.encoder)

    @staticmethod
    def supports(config: Any) -> bool:
        """Whether this class can run a model with this configuration.

        OFA-Sys builds its embeddings and positions in another way.
        """
        return bool(config.use_image_feature and not config.use_ofasys)

    def watched(self) -> bool:
        """Whether there are hooks on a module that this class does not call as a whole.

        Hooks may read or change what passes there, and only modelscope's own passes run them.
        """
        encoder, decoder = self._model.encoder, self._model.decoder
        layers = [*encoder.layers, *decoder.layers]
        attentions = [layer.self_attn for layer in layers]
        attentions += [layer.cross_attn for layer in decoder.layers]
        dropouts = [attention.attn_dropout for attention in attentions]
        return any(
            module._forward_hooks or module._forward_pre_hooks
            for module in (encoder, decoder, *layers, *attentions, *dropouts)
        )

    def encode(
        self,
        sources: Sequence[Tensor],
        patches: Sequence[Tensor],
        wanted: Wanted,
        hypotheses: Sequence[tuple[int, int]],
    ) -> Encodings:
        """Run the encoder.

        Args:
            sources: token ids of each prompt.
            patches: each picture as the preprocessor leaves it, (3, rows, columns), on the CPU.
            hypotheses: where each hypothesis begins and ends in its tokens.
        """
        encoder = self._model.encoder
        pictures = self._pictures.seen(patches)
        longest = max(len(source) for source in sources)
        device = sources[0].device
        words = encoder.embed_positions(torch.arange(longest, device=device))
        hidden = [
            _embedded(encoder, source, picture, words)
            for source, picture in zip(sources, pictures, strict=True)
        ]
        positions = torch.cat(
            [encoder.image_pos_ln(pictures[0].positions[0]), encoder.pos_ln(words)]
        )
        scale = head_scale([layer.self_attn for layer in encoder.layers])
        streams = [
            Stream(wanted, scale, len(p.places), len(s), h)
            for p, s, h in zip(pictures, sources, hypotheses, strict=True)
        ]
        bias = EncoderBias(encoder, positions, pictures[0].places)
        for number, layer in enumerate(encoder.layers):
            by_position = bias.of_layer(number)
            for i, stream in enumerate(streams):
                hidden[i] = self._layer(layer, number, hidden[i], by_position, stream)
        if encoder.layer_norm is not None:
            hidden = [_normed(encoder.layer_norm, x) for x in hidden]
        hidden = [x.to(positions.dtype) for x in hidden]
        return Encodings(
            [
                Encoded(*each)
                for each in zip(hidden, (p.grid for p in pictures), streams, strict=True)
            ],
            positions,
        )

    def decode(
        self, encodings: Encodings, targets: Sequence[Sequence[Sequence[int]]], read: Sequence[int]
    ) -> Decoded:
        """Run the decoder once.

        Args:
            targets: for each sample, the token ids of the prompt with each answer; all samples have
                the same number of answers, and shorter sequences are padded at the end.
            read: for each sample, the step whose cross-attention is kept, from its first answer.
        """
        decoder = self._model.decoder
        ids = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(t) for each in targets for t in each],
            batch_first=True,
            padding_value=decoder.padding_idx,
        ).to(encodings.positions.device)
        answers, steps = len(targets[0]), ids.shape[1]
        places = decoder.embed_positions(torch.arange(steps, device=ids.device))
        x = decoder.embed_scale * decoder.embed_tokens(ids)
        if decoder.entangle_position_embedding and not decoder.disable_entangle:
            x = x + places
        if decoder.layernorm_embedding is not None:
            x = decoder.layernorm_embedding(x)
        x = x.float()
        own = decoder.get_pos_info(places[None])[0]
        # A step does not see what comes after it, padding included.
        future = torch.full_like(own[0], float("-inf")).triu(1)
        cross = decoder.get_pos_info(places[None], src_pos_embed=encodings.positions[None])[0]
        cross = cross.repeat(1, answers, 1)
        rows: list[list[Tensor]] = [[] for _ in encodings.samples]
        for number, layer in enumerate(decoder.layers):
            table = 0 if decoder.share_attn_bias else number
            behind = own + decoder.get_rel_pos_bias(ids, table) + future

            def attend_itself(x: Tensor, layer: Any = layer, behind: Tensor = behind) -> Tensor:
                return _own_attention(layer.self_attn, x, behind)

            def attend_source(x: Tensor, layer: Any = layer) -> Tensor:
                by_sample = x.view(len(encodings.samples), answers * steps, -1)
                found = []
                for i, (sample, one) in enumerate(zip(encodings.samples, by_sample, strict=True)):
                    mixed, weights = _cross_attention(layer.cross_attn, one, sample.hidden, cross)
                    rows[i].append(weights[:, read[i]].float())
                    found.append(mixed)
                return torch.stack(found).view_as(x)

            x = _branch(layer, x, "self_attn", attend_itself)
            x = _branch(layer, x, "cross_attn", attend_source)
            x = _feed_forward(layer, x)
        if decoder.layer_norm is not None:
            x = _normed(decoder.layer_norm, x)
        return Decoded(
            x.view(len(targets), answers, steps, -1), [torch.stack(r).cpu().numpy() for r in rows]
        )

    def logits(self, hidden: Tensor, tokens: Sequence[int]) -> Tensor:
        """Logits of some tokens only: from (samples, width) to (samples, tokens), in float32.

        In bfloat16 they would be rounded to steps of up to a sixteenth.
        """
        projection = self._model.decoder.output_projection
        weight = projection.weight[list(tokens)].float()
        bias = None if projection.bias is None else projection.bias[list(tokens)].float()
        return F.linear(hidden.float(), weight, bias)

    def _layer(self, layer: Any, number: int, x: Tensor, bias: Tensor, stream: Stream) -> Tensor:
        branch = x

        def attend(inner: Tensor) -> Tensor:
            return self._streamed(layer.self_attn, number, inner, bias, stream)

        def seen(added: Tensor) -> None:
            nonlocal branch
            branch = added

        out = _branch(layer, x, "self_attn", attend, seen)
        if stream.rows is not None:
            size = x.float().norm(dim=-1, keepdim=True)
            stream.layer(number, branch_share(layer, branch, size))
        return _feed_forward(layer, out)

    def _streamed(
        self, attention: Any, number: int, x: Tensor, bias: Tensor, stream: Stream
    ) -> Tensor:
        """Self-attention of one sample, (tokens, width), a few heads at a time."""
        # Contiguous, because rows of a head that are 4 KB apart share the same lines of the cache.
        q, k, v = (
            _by_head(attention, project(x)).contiguous()
            for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        scale, tokens, rows = attention.scaling, len(x), stream.rows
        bias = bias[:, :tokens, :tokens]
        if self._fused and rows != slice(None):
            if rows is not None:
                scores = torch.baddbmm(bias[:, rows], q[:, rows], k.transpose(1, 2), alpha=scale)
                stream.heads(number, 0, torch.softmax(scores, dim=-1))
            mixed = F.scaled_dot_product_attention(
                q[None], k[None], v[None], attn_mask=bias[None], scale=scale
            )[0]
            return _projected(attention, mixed)
        fitting = _IN_CACHE // (tokens**2 * q.element_size())
        together = len(q) if x.is_cuda else max(1, min(len(q), fitting))
        mixed = torch.empty_like(v)
        scores = q.new_empty(together, tokens, tokens)
        for first in range(0, len(q), together):
            part = slice(first, min(first + together, len(q)))
            weights = scores[: part.stop - first]
            torch.baddbmm(bias[part], q[part], k[part].transpose(1, 2), alpha=scale, out=weights)
            # In place, since on a CPU a whole row is read before it is written.
            weights = torch.softmax(weights, dim=-1, out=None if x.is_cuda else weights)
            if rows is not None:
                stream.heads(number, first, weights[:, rows])
            torch.bmm(weights, v[part], out=mixed[part])
        return _projected(attention, mixed)


def _embedded(encoder: Any, source: Tensor, picture: Picture, words: Tensor) -> Tensor:
    """The input of the first layer: (cells + tokens, width), float32."""
    embedded: Tensor = encoder.forward_embedding(
        source[None],
        picture.features,
        pos_embed=words[None, : len(source)],
        image_pos_embed=picture.positions,
    )[0][0]
    return embedded.float()


def _branch(
    layer: Any,
    x: Tensor,
    name: str,
    attend: Any,
    seen: Any = None,
) -> Tensor:
    """An attention branch and the residual sum; ``seen`` is called with what is added."""
    norm = getattr(layer, f"{name}_layer_norm")
    middle = getattr(layer, f"{name}_mid_layer_norm")
    added = attend(_normed(norm, x) if layer.normalize_before else x.to(norm.weight.dtype))
    if middle is not None:
        added = middle(added)
    if seen is not None:
        seen(added)
    if layer.use_gamma_feature:
        added = getattr(layer, f"weight_{name}") * added
    summed: Tensor = x + added
    return summed if layer.normalize_before else _normed(norm, summed).float()


def _normed(norm: Any, x: Tensor) -> Tensor:
    """The residual sum, normed, in the type of the model's parameters."""
    if x.dtype == norm.weight.dtype:
        normed: Tensor = norm(x)
        return normed
    weight, bias = norm.weight.float(), norm.bias.float()
    return F.layer_norm(x, norm.normalized_shape, weight, bias, norm.eps).to(norm.weight.dtype)


def _feed_forward(layer: Any, x: Tensor) -> Tensor:
    norm = layer.final_layer_norm
    added = _normed(norm, x) if layer.normalize_before else x.to(norm.weight.dtype)
    added = layer.activation_fn(layer.fc1(added))
    if layer.ffn_layer_norm is not None:
        added = layer.ffn_layer_norm(added)
    added = layer.fc2(added)
    if layer.use_gamma_feature:
        added = layer.weight_ffn * added
    summed: Tensor = x + added
    return summed if layer.normalize_before else _normed(norm, summed).float()


def _by_head(attention: Any, x: Tensor) -> Tensor:
    """(..., tokens, width) to (..., heads, tokens, width of a head)."""
    return x.view(*x.shape[:-1], attention.num_heads, attention.head_dim).transpose(-3, -2)


def _projected(attention: Any, mixed: Tensor) -> Tensor:
    """(..., heads, tokens, width of a head), scaled by head, to (..., tokens, width)."""
    if attention.c_attn is not None:
        mixed = mixed * attention.c_attn[:, None, None]
    projected: Tensor = attention.out_proj(mixed.transpose(-3, -2).flatten(-2))
    return projected


def _own_attention(attention: Any, x: Tensor, bias: Tensor) -> Tensor:
    """The decoder's self-attention: (rows, steps, width)."""
    q = _by_head(attention, attention.q_proj(x) * attention.scaling)
    k, v = _by_head(attention, attention.k_proj(x)), _by_head(attention, attention.v_proj(x))
    weights = torch.softmax(q @ k.transpose(-2, -1) + bias, dim=-1)
    return _projected(attention, weights @ v)


def _cross_attention(
    attention: Any, x: Tensor, source: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    """Attention of (steps, width) over (source, width); and its weights, (heads, steps, source)."""
    q = _by_head(attention, attention.q_proj(x) * attention.scaling)
    bias = bias[..., : len(source)]
    key, value = attention.k_proj, attention.v_proj
    if not (isinstance(key, nn.Linear) and isinstance(value, nn.Linear) and _few(attention, q)):
        k, v = _by_head(attention, key(source)), _by_head(attention, value(source))
        weights = torch.softmax(torch.baddbmm(bias, q, k.transpose(1, 2)), dim=-1)
        return _projected(attention, weights @ v), weights
    # q (W s + b) = (q W) s + q b; q b is the same for every s, so softmax ignores it.
    heads, steps, width = q.shape
    carried = torch.bmm(q, key.weight.view(heads, width, -1))
    scores = (carried.view(heads * steps, -1) @ source.T).view_as(bias) + bias
    weights = torch.softmax(scores, dim=-1)
    mean = (weights.view(heads * steps, -1) @ source).view(heads, steps, -1)
    mixed = torch.bmm(mean, value.weight.view(heads, width, -1).transpose(1, 2))
    if value.bias is not None:
        mixed += value.bias.view(heads, 1, width)  # weights sum to 1
    return _projected(attention, mixed), weights


def _few(attention: Any, q: Tensor) -> bool:
    """Whether it is less work to carry all queries to the source than the source to every head."""
    width: int = attention.head_dim
    return q.shape[1] < width
