"""The part of the encoder's attention that depends only on the positions of tokens."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class EncoderBias:
    """The bias that positions add to the encoder's attention; it is the same for every sample.

    Args:
        positions: (cells + longest text, width) embeddings of the positions, normed.
        places: (cells,) index of each cell in the square of the bucket.
    """

    def __init__(self, encoder: Any, positions: Tensor, places: Tensor) -> None:
        self._encoder, self._cells = encoder, len(places)
        self._text = len(positions) - len(places)
        q, k = (
            linear(positions).view(len(positions), encoder.num_attention_heads, -1).transpose(0, 1)
            for linear in (encoder.pos_q_linear, encoder.pos_k_linear)
        )
        self._absolute = torch.matmul(q * encoder.pos_scaling, k.transpose(1, 2))
        self._whole = self._absolute.clone()
        self._between = encoder.image_rp_bucket[places][:, places].reshape(-1)
        self._table = -1

    def of_layer(self, number: int) -> Tensor:
        """The bias of a layer, (heads, source, source); the next call overwrites it."""
        encoder, cells = self._encoder, self._cells
        table = 0 if encoder.share_attn_bias else number
        if table != self._table:
            self._table = table
            by_head = encoder.image_rel_pos_table_list[table].weight.t().contiguous()
            for head, relative in enumerate(by_head):
                torch.add(
                    self._absolute[head, :cells, :cells],
                    relative.index_select(0, self._between).view(cells, cells),
                    out=self._whole[head, :cells, :cells],
                )
            token = encoder.token_rel_pos_table_list[table].weight
            near = F.embedding(encoder.token_rp_bucket[: self._text, : self._text], token)
            self._whole[:, cells:, cells:] = self._absolute[:, cells:, cells:] + near.permute(
                2, 0, 1
            )
        return self._whole
