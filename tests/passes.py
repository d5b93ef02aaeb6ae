"""Captured passes of OFA for tests: some small enough to work out by hand, and real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from audit.base.geometry import Grid
from audit.maps.reading import MapSpec, need_of
from audit.maps.trace import HeadChoice, Need, Trace, Word
from audit.models.kit.flow import Relevance
from audit.models.ofa import METHODS
from audit.models.ofa.finishing import Captured, Rollout, finished

F = np.vectorize(Fraction, otypes=[object])


def captured(
    cross: Any,
    grid: Grid,
    *,
    scale: Any = None,
    words: tuple[Word, ...] = (),
    of_words: Mapping[HeadChoice, np.ndarray] | None = None,
    rollouts: Mapping[Rollout, list[np.ndarray]] | None = None,
    relevances: Mapping[HeadChoice, Relevance] | None = None,
) -> Captured:
    """A sample for which a test gives only what matters; the heads' factors are 1 by default."""
    rows = np.asarray(cross, np.float32)
    factors = np.ones(rows.shape[:2]) if scale is None else scale
    return Captured(
        grid, words, rows, np.asarray(factors, np.float32), of_words or {}, rollouts or {},
        relevances or {},
    )  # fmt: skip


def traced(sample: Captured, need: Need) -> Trace:
    """The trace that the adapter makes from a sample."""
    return Trace(
        probabilities={"no": 0.25, "yes": 0.75},
        label="yes",
        prompt="two birds",
        tokens=("<s>", "two", "bi", "rds", "</s>"),
        grid=sample.grid,
        words=sample.words,
        readings=finished(need, sample),
    )


def asked(sample: Captured, *specs: MapSpec) -> Trace:
    """The trace of a sample, with all readings that ``specs`` need."""
    return traced(sample, need_of(specs, METHODS))


def two_by_two() -> Captured:
    """2 layers, 2 heads, a 2 x 2 grid and 2 text columns; each row sums to 1."""
    rows = [
        [[4, 2, 1, 1, 1, 1], [1, 1, 1, 1, 3, 3]],
        [[0, 0, 5, 0, 5, 0], [2, 2, 2, 2, 1, 1]],
    ]
    return captured(np.array(rows) / 10, Grid(2, 2))


def three_patches() -> Captured:
    """Three patches in a row, two layers, two heads; a hypothesis of two words, three tokens."""
    cross = F(
        [
            [["1/2", "1/4", "0", "1/4"], ["1/10", "1/10", "1/5", "3/5"]],
            [["0", "0", "1/2", "1/2"], ["1/4", "1/4", "1/4", "1/4"]],
        ]
    ).astype(np.float32)
    words = F(
        [  # layer, head, token, cell
            [[["1/2", "0", "0"], ["0", "1/4", "0"], ["0", "0", "1/4"]]] * 2,
            [
                [["1/4", "1/4", "1/4"], ["1/2", "1/4", "0"], ["0", "1/4", "1/2"]],
                [["1/4", "0", "0"], ["0", "0", "0"], ["1/2", "0", "1/2"]],
            ],
        ]
    ).astype(np.float32)
    return captured(
        cross,
        Grid(1, 3),
        scale=[[1, 3], [-1, 1]],
        words=(Word("two", (0,)), Word("birds", (1, 2))),
        of_words={"mean": words.mean(axis=1)},
    )


def captures(monkeypatch: pytest.MonkeyPatch) -> list[Captured]:
    """The list to which the adapter, from now on, adds each sample before it is finished."""
    kept: list[Captured] = []

    def keep(need: Need, sample: Captured) -> Any:
        kept.append(sample)
        return finished(need, sample)

    monkeypatch.setattr("audit.models.ofa.adapter.finished", keep)
    return kept


def product_of(factors: Sequence[np.ndarray]) -> np.ndarray:
    """The product of a rollout's factors, formed as a whole."""
    product = np.eye(len(factors[0]))
    for factor in factors:
        product = product @ factor
    return product


def dense_relevance(traced: Relevance, variant: str, start_layer: int) -> np.ndarray:
    """Chefer et al. 2021, eqs. 5-11, with every matrix formed: (source,)."""

    def bar(r: np.ndarray) -> np.ndarray:
        rest = r - np.eye(len(r))
        out = np.eye(len(r))
        for i, row in enumerate(rest):
            if row.sum() > 0:
                out[i] += row / row.sum()
        return out

    n, t = traced.encoder.shape[-1], traced.decoder.shape[-1]
    r_qq = np.eye(n)
    for a in traced.encoder[start_layer - 1 :].astype(np.float64):
        r_qq = r_qq + a @ r_qq
    r_ss, r_sq = np.eye(t), np.zeros((t, n))
    for a_s, a_c in zip(traced.decoder, traced.cross, strict=True):
        r_ss, r_sq = r_ss + a_s @ r_ss, r_sq + a_s @ r_sq
        left = bar(r_ss).T if variant == "paper" else bar(r_ss)
        r_sq = r_sq + left @ a_c.astype(np.float64) @ bar(r_qq)
    return r_sq[-1]
