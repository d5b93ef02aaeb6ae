"""Build the chat model, and its training forward pass: several texts about one picture at once.

The weights are in an unmodified ``Qwen2_5_VLForConditionalGeneration``, and its own modules are
called. Only the layout differs from asking one question at a time: the texts about a picture stand
one after the other behind the picture, with a mask that hides them from each other and position ids
that start again for each, so that the picture is read once. A test compares this with the model's
own forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from audit.reference.chat.recipe import ChatRecipe


def build(recipe: ChatRecipe, tokenizer: Any) -> Any:
    """A randomly initialised model of the recipe's size; the caller seeds torch."""
    token = tokenizer.convert_tokens_to_ids
    side = recipe.patch_size * recipe.merge_size
    half = recipe.width // recipe.heads // 2
    rows = half * 3 // 8  # of the rotary pairs, as in Qwen2.5-VL: 2 parts time, 3 rows, 3 columns
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": recipe.width,
            "intermediate_size": recipe.ffn,
            "num_hidden_layers": recipe.layers,
            "num_attention_heads": recipe.heads,
            "num_key_value_heads": recipe.key_heads,
            "max_position_embeddings": 1024,
            "rms_norm_eps": 1e-6,
            "rope_theta": 10000.0,
            "rope_scaling": {
                "type": "mrope",
                "mrope_section": [half - 2 * rows, rows, rows],
            },
            "tie_word_embeddings": True,
            "bos_token_id": token("<|endoftext|>"),
            "eos_token_id": token("<|im_end|>"),
            "pad_token_id": token("<|endoftext|>"),
            "initializer_range": 0.04,
        },
        vision_config={
            "depth": recipe.vision_depth,
            "hidden_size": recipe.vision_width,
            "intermediate_size": recipe.vision_ffn,
            "num_heads": recipe.vision_heads,
            "patch_size": recipe.patch_size,
            "spatial_merge_size": recipe.merge_size,
            "temporal_patch_size": 2,
            "window_size": 4 * side,
            "out_hidden_size": recipe.width,
            "fullatt_block_indexes": list(range(recipe.vision_depth)),
            "initializer_range": 0.04,
        },
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    return Qwen2_5_VLForConditionalGeneration(config)


def image_features(model: Any, patches: Tensor, grid: tuple[int, int]) -> Tensor:
    """Vision tower and merger on pictures of one shape: (pictures, cells, width).

    ``patches`` (pictures, patches, 3 * side * side) are normalised, and each is there once, not
    repeated in time; ``grid`` has the rows and columns of merged cells. The model's own pass takes
    one picture after the other and costs several times as much.
    """
    visual = model.model.visual
    merge = visual.spatial_merge_size
    count, length, _ = patches.shape
    kernel = visual.patch_embed.proj.weight.sum(2).flatten(1)  # all its frames are the same
    x = F.linear(patches, kernel)
    angles = visual.rot_pos_emb(torch.tensor([[1, grid[0] * merge, grid[1] * merge]]))
    cos, sin = angles.cos(), angles.sin()
    for block in visual.blocks:
        attention = block.attn
        q, k, v = (
            attention.qkv(block.norm1(x))
            .view(count, length, 3, attention.num_heads, -1)
            .permute(2, 0, 3, 1, 4)
        )
        mixed = F.scaled_dot_product_attention(_turned(q, cos, sin), _turned(k, cos, sin), v)
        x = x + attention.proj(mixed.transpose(1, 2).flatten(2))
        x = x + block.mlp(block.norm2(x))
    merged: Tensor = visual.merger(x.flatten(0, 1))
    return merged.view(count, -1, merged.shape[-1])


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions: each pair of channels turned by its angle."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


@dataclass(frozen=True)
class Texts:
    """The texts about one picture, as token ids.

    ``head`` is before the picture, ``tail`` behind it and the same for all texts; ``texts`` are
    the rest of each conversation, with its answer.
    """

    head: list[int]
    tail: list[int]
    texts: list[list[int]]


@dataclass(frozen=True)
class Packed:
    """Texts of several pictures in the layout of :func:`hidden_states`.

    ``ids`` is (pictures, tokens); image columns hold the image token. ``positions`` is
    (3, pictures, tokens), ``mask`` (pictures, 1, tokens, tokens) is true where a token sees
    another one. ``starts`` says for each picture in which column each of its texts begins.
    """

    ids: Tensor
    positions: Tensor
    mask: Tensor
    cells: Tensor
    starts: list[list[int]]


def pack(
    rows: Sequence[Texts], cells: Sequence[Tensor], grids: Tensor, image_token: int, pad: int
) -> Packed:
    """Lay out the texts of each picture behind those of its cells that the model sees.

    ``cells`` has the numbers of these cells in the whole grid, in rising order, for each picture.
    """
    ids, positions, groups, images = [], [], [], []
    starts: list[list[int]] = []
    for row, seen, grid in zip(rows, cells, grids, strict=True):
        columns = int(grid[1])
        head = torch.arange(len(row.head)).expand(3, -1)
        place = torch.stack([torch.zeros_like(seen), seen // columns, seen % columns])
        after = len(row.head) + int(grid.max())
        tail = torch.arange(after, after + len(row.tail)).expand(3, -1)
        front = len(row.head) + len(seen) + len(row.tail)
        parts, of, column = [head, place + len(row.head), tail], [torch.zeros(front)], front
        starts.append([])
        for number, text in enumerate(row.texts, 1):
            begin = after + len(row.tail)
            parts.append(torch.arange(begin, begin + len(text)).expand(3, -1))
            of.append(torch.full((len(text),), float(number)))
            starts[-1].append(column)
            column += len(text)
        tokens = [*row.head, *[image_token] * len(seen), *row.tail, *chain(*row.texts)]
        ids.append(torch.tensor(tokens))
        positions.append(torch.cat(parts, dim=1).T)
        groups.append(torch.cat(of))
        images.append(ids[-1] == image_token)
    group = pad_sequence(groups, batch_first=True, padding_value=-1.0)
    length = group.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool).tril()
    shared = (group[:, None, :] == 0) | (group[:, None, :] == group[:, :, None])
    return Packed(
        pad_sequence(ids, batch_first=True, padding_value=pad),
        pad_sequence(positions, batch_first=True).permute(2, 0, 1),
        (shared & earlier)[:, None],
        pad_sequence(images, batch_first=True),
        starts,
    )


def hidden_states(model: Any, packed: Packed, features: Tensor) -> Tensor:
    """The language model's last states (pictures, tokens, width).

    ``features`` (cells, width) are those of all pictures' cells in order.
    """
    language = model.model.language_model
    embedded = language.get_input_embeddings()(packed.ids)
    embedded = embedded.masked_scatter(packed.cells[..., None], features)
    out: Tensor = language(
        inputs_embeds=embedded,
        attention_mask=packed.mask,
        position_ids=packed.positions,
        use_cache=False,
    ).last_hidden_state
    return out
