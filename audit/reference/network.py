"""The training forward pass of the embedded models: modelscope's OFA modules, called cheaply.

The weights are in an unmodified ``OFAModel``. Only the calls differ from its ``forward``: image
features are computed beforehand, once per image; position biases are computed once per batch
instead of once per sample; and only the rows that have a loss reach the vocabulary. A test compares
this pass with modelscope's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from audit.models.ofa.upstream import OFAConfig, OFAModel
from audit.reference.recipe import GRID, Recipe


def build(recipe: Recipe, vocabulary: int) -> Any:
    """A randomly initialised OFA of the recipe's size; the caller seeds torch."""
    return OFAModel(
        OFAConfig(
            vocab_size=vocabulary,
            d_model=recipe.d_model,
            encoder_layers=recipe.encoder_layers,
            decoder_layers=recipe.decoder_layers,
            encoder_ffn_dim=recipe.ffn,
            decoder_ffn_dim=recipe.ffn,
            encoder_attention_heads=recipe.heads,
            decoder_attention_heads=recipe.heads,
            resnet_type=recipe.resnet,
            image_bucket_size=recipe.image_bucket_size,
            init_std=0.05,
            dropout=0.0,
            attention_dropout=0.0,
        )
    )


def image_features(model: Any, patches: Tensor) -> Tensor:
    """ResNet and projection: (images, 3, size, size) -> (images, cells, d_model)."""
    features = model.encoder.embed_images(patches)
    projected: Tensor = model.encoder.image_proj(features.flatten(2).transpose(1, 2))
    return projected


def _heads(x: Tensor, heads: int) -> Tensor:
    return x.view(*x.shape[:-1], heads, -1).transpose(-2, -3)


def _attend(
    attention: Any, x: Tensor, source: Tensor, bias: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    """One ``OFAAttention``; bias and mask broadcast over (images, texts, heads, target, source)."""
    q = _heads(attention.q_proj(x) * attention.scaling, attention.num_heads)
    k = _heads(attention.k_proj(source), attention.num_heads)
    v = _heads(attention.v_proj(source), attention.num_heads)
    scores = (q @ k.transpose(-1, -2)).add_(bias).add_(mask)
    weights = torch.softmax(scores, dim=-1)
    mixed = (weights @ v) * attention.c_attn[:, None, None]
    return attention.out_proj(mixed.transpose(-2, -3).flatten(-2)), weights


def _feed_forward(layer: Any, x: Tensor) -> Tensor:
    hidden = layer.activation_fn(layer.fc1(layer.final_layer_norm(x)))
    result: Tensor = x + layer.fc2(layer.ffn_layer_norm(hidden))
    return result


def _position_bias(
    q: Any, k: Any, rows: Tensor, columns: Tensor, heads: int, scale: float
) -> Tensor:
    return (_heads(q(rows), heads) * scale) @ _heads(k(columns), heads).transpose(-1, -2)


@dataclass(frozen=True)
class Answered:
    """Logits (selected rows, vocabulary) and the answer row's image attention (batch, cells).

    The attention is the mean over decoder layers and heads of the row that reads the answer,
    cut to the image's columns and normalised to sum 1. ``words`` are the encoder's states of the
    text tokens (batch, tokens, d), ``word_attention`` the mean over the encoder's layers and heads
    of where those tokens look in the image (batch, tokens, cells), normalised too.
    """

    logits: Tensor
    attention: Tensor
    words: Tensor
    word_attention: Tensor


def answer(
    model: Any,
    images: Tensor,
    cells: Tensor,
    source: Tensor,
    target: Tensor,
    read: Tensor,
    loss_rows: Tensor,
) -> Answered:
    """Run the transformer on ``images`` with the same number of texts for each.

    images (n, k, d) projected features of the cells numbered by ``cells`` (n, k) in the full grid;
    source, target (n * texts, tokens) padded ids, the texts of one image together;
    read (n * texts,) the row that reads the answer; loss_rows (n * texts, tokens) bool, the target
    rows whose logits are needed.
    """
    enc, dec, pad = model.encoder, model.decoder, model.config.pad_token_id
    heads, (n, kept, width) = enc.num_attention_heads, images.shape
    length, steps = source.shape[1], target.shape[1]
    source, target = source.view(n, -1, length), target.view(n, -1, steps)
    texts = source.shape[1]

    text = enc.layernorm_embedding(enc.embed_tokens(source) + enc.type_embedding.weight[0])
    picture = enc.patch_layernorm_embedding(images + enc.type_embedding.weight[1])
    padded = source.eq(pad)
    x = torch.cat(
        [
            picture[:, None].expand(n, texts, kept, width),
            text.masked_fill(padded[..., None], 0.0),
        ],
        dim=2,
    )
    mask = F.pad(x.new_zeros(padded.shape).masked_fill(padded, -1e9), (kept, 0))[:, :, None, None]

    ids = cells // GRID * enc.image_bucket_size + cells % GRID + 1
    words = enc.pos_ln(enc.embed_positions(torch.arange(length)))
    places = torch.cat(
        [enc.image_pos_ln(enc.embed_image_positions(ids)), words.expand(n, length, width)], dim=1
    )
    base = _position_bias(
        enc.pos_q_linear, enc.pos_k_linear, places, places, heads, enc.pos_scaling
    )
    from_words = []
    buckets = enc.image_rp_bucket[ids[:, :, None], ids[:, None, :]]
    for i, layer in enumerate(enc.layers):
        near = F.embedding(buckets, enc.image_rel_pos_table_list[i].weight).permute(0, 3, 1, 2)
        order = F.embedding(
            enc.token_rp_bucket[:length, :length], enc.token_rel_pos_table_list[i].weight
        ).permute(2, 0, 1)
        bias = base + F.pad(near, (0, length, 0, length)) + F.pad(order, (kept, 0, kept, 0))
        h = layer.self_attn_layer_norm(x)
        mixed, weights = _attend(layer.self_attn, h, h, bias[:, None], mask)
        from_words.append(weights[:, :, :, kept:, :kept].mean(2))
        x = x + layer.self_attn_mid_layer_norm(mixed)
        x = _feed_forward(layer, x)
    memory = enc.layer_norm(x)

    tgt_places = dec.pos_ln(dec.embed_positions(torch.arange(steps)))
    own = _position_bias(
        dec.self_pos_q_linear, dec.self_pos_k_linear, tgt_places, tgt_places, heads, dec.pos_scaling
    )
    cross = _position_bias(
        dec.cross_pos_q_linear, dec.cross_pos_k_linear, tgt_places, places, heads, dec.pos_scaling
    )
    causal = torch.full((steps, steps), -1e9).triu(1)
    y = dec.layernorm_embedding(dec.embed_tokens(target))
    rows = torch.arange(n * texts)
    looked = []
    for i, layer in enumerate(dec.layers):
        order = F.embedding(
            dec.token_rp_bucket[:steps, :steps], dec.token_rel_pos_table_list[i].weight
        ).permute(2, 0, 1)
        h = layer.self_attn_layer_norm(y)
        mixed, _ = _attend(layer.self_attn, h, h, own + order, causal)
        y = y + layer.self_attn_mid_layer_norm(mixed)
        mixed, weights = _attend(
            layer.cross_attn, layer.cross_attn_layer_norm(y), memory, cross[:, None], mask
        )
        looked.append(weights.flatten(0, 1)[rows, :, read, :kept].mean(1))
        y = y + layer.cross_attn_mid_layer_norm(mixed)
        y = _feed_forward(layer, y)
    attention = torch.stack(looked).mean(0)
    logits = dec.output_projection(dec.layer_norm(y.flatten(0, 1)[loss_rows]))
    return Answered(
        logits,
        _normalised(attention),
        memory[:, :, kept:].flatten(0, 1),
        _normalised(torch.stack(from_words).mean(0).flatten(0, 1)),
    )


def _normalised(attention: Tensor) -> Tensor:
    return attention / attention.sum(-1, keepdim=True)
