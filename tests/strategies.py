"""Maps, regions and boxes that Hypothesis draws."""

from __future__ import annotations

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from audit.base.geometry import Box


@st.composite
def distributions(draw: st.DrawFn, rows: int = 3, cols: int = 4) -> np.ndarray:
    values = draw(arrays(np.float64, (rows, cols), elements=st.floats(0, 1)))
    assume(values.sum() > 1e-3)
    return values / values.sum()


regions = arrays(np.float64, (3, 4), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0])).filter(
    lambda region: region.sum() > 0
)


@st.composite
def tied(draw: st.DrawFn, rows: int = 3, cols: int = 4) -> np.ndarray:
    """Maps of few distinct values, read-only: ties and empty cells are common."""
    counts = draw(arrays(np.int64, (rows, cols), elements=st.integers(0, 5)))
    assume(counts.sum() > 0)
    p = counts / counts.sum()
    p.flags.writeable = False
    return p


fractions = st.floats(0, 1).map(lambda v: round(v, 3))


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    left, right = sorted((draw(fractions), draw(fractions)))
    top, bottom = sorted((draw(fractions), draw(fractions)))
    assume(left < right and top < bottom)
    return Box(left, top, right, bottom)
