"""The registered attention function gives the rows that explicit attention gives."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from audit.base.errors import CaptureError
from audit.models.kit.rows import Attended, _attend, watching


class Layer(nn.Module):
    """What the function is told of a layer."""

    is_causal = True

    def __init__(self, number: int, groups: int) -> None:
        super().__init__()
        self.layer_idx, self.num_key_value_groups = number, groups


def explicit(query: Tensor, key: Tensor, hidden: Tensor, scaling: float) -> Tensor:
    """Softmax of all products, in double precision; ``hidden`` is what may not be seen."""
    keys = key.repeat_interleave(query.shape[1] // key.shape[1], 1).double()
    scores = query.double() @ keys.transpose(2, 3) * scaling
    return scores.masked_fill(hidden, -math.inf).softmax(-1)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10_000), st.integers(1, 3), st.sampled_from([(4, 4), (4, 2), (6, 1)]),
    st.integers(1, 7), st.integers(0, 5), st.sampled_from(["none", "boolean", "added"]),
)  # fmt: skip
def test_rows_are_those_of_explicit_attention(
    seed: int, batch: int, heads: tuple[int, int], queries: int, cached: int, kind: str
) -> None:
    generator = torch.Generator().manual_seed(seed)
    keys = queries + cached
    query = torch.randn(batch, heads[0], queries, 8, generator=generator)
    key, value = torch.randn(2, batch, heads[1], keys, 8, generator=generator)
    later = torch.arange(keys) > torch.arange(queries)[:, None] + cached
    hidden = later.expand(batch, 1, queries, keys)
    mask = None
    if kind == "none" and cached and queries > 1:
        return  # sdpa's own causal mask begins at the first key; transformers gives a mask here
    if kind != "none":
        seen = ~later & (torch.rand(batch, 1, 1, keys, generator=generator) > 0.3)
        seen[..., 0] = True
        hidden = ~seen
        mask = seen if kind == "boolean" else (~seen).float() * torch.finfo(torch.float32).min
        # A mask may be longer than the keys, as that of a cache of a fixed length is.
        more = torch.ones(batch, 1, queries, 3) if kind == "added" else torch.zeros(3).bool()
        mask = torch.cat([mask, more.expand(batch, 1, queries, 3).to(mask.dtype)], -1)
    places = torch.randint(queries, (batch, 2), generator=generator)
    found: list[Tensor] = []
    with watching(1, lambda attended: found.append(attended.rows(places))):
        output, weights = _attend(
            Layer(0, heads[0] // heads[1]), query, key, value, mask, scaling=0.3
        )
    assert weights is None
    expected = explicit(query, key, hidden, 0.3)
    for sample in range(batch):
        torch.testing.assert_close(
            found[0][sample].double(), expected[sample][:, places[sample]], atol=1e-6, rtol=0
        )
    values = value.repeat_interleave(heads[0] // heads[1], 1).double()
    torch.testing.assert_close(
        output.double(), (expected @ values).transpose(1, 2), atol=1e-5, rtol=0
    )


def attend(number: int, times: int = 1) -> None:
    query = torch.ones(1, 2, 3, 4)
    for _ in range(times):
        _attend(Layer(number, 1), query, query, query, None, scaling=1.0)


def test_a_layer_that_is_not_seen_is_an_error_and_no_empty_map() -> None:
    with (
        pytest.raises(CaptureError, match=r"2 layers once each, saw \[1, 0\]"),
        watching(2, len_of),
    ):
        attend(0)
    with pytest.raises(CaptureError, match=r"saw \[0\]"), watching(1, len_of):
        pass


def test_a_layer_that_is_seen_twice_is_an_error() -> None:
    with pytest.raises(CaptureError, match=r"saw \[2\]"), watching(1, len_of):
        attend(0, times=2)


def test_nothing_is_shown_when_nobody_watches() -> None:
    seen: list[Attended] = []
    with watching(1, seen.append):
        attend(0)
    attend(0)
    assert len(seen) == 1


def len_of(attended: Attended) -> int:
    return attended.layer
