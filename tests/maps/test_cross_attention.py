"""The map of the answer's cross-attention on a toy that was worked by hand, in fractions."""

from __future__ import annotations

from fractions import Fraction as Fr

import numpy as np
import pytest

from audit.base.geometry import Grid
from audit.maps.reading import MapSpec, cross_attention, image_share
from audit.maps.trace import Trace


def toy() -> Trace:
    """2 layers, 2 heads, a 2 x 2 grid and 2 text columns; each row sums to 1."""
    rows = [
        [[4, 2, 1, 1, 1, 1], [1, 1, 1, 1, 3, 3]],
        [[0, 0, 5, 0, 5, 0], [2, 2, 2, 2, 1, 1]],
    ]
    return Trace({"yes": 1.0}, "yes", "", (), Grid(2, 2), np.array(rows, np.float32) / 10)


@pytest.mark.parametrize(
    ("spec", "row"),
    [
        (MapSpec(), [Fr(7, 40), Fr(5, 40), Fr(9, 40), Fr(4, 40)]),
        (MapSpec(layers="last"), [Fr(2, 20), Fr(2, 20), Fr(7, 20), Fr(2, 20)]),
        (MapSpec(layers="last:2"), [Fr(7, 40), Fr(5, 40), Fr(9, 40), Fr(4, 40)]),
        (MapSpec(layers=[1]), [Fr(5, 20), Fr(3, 20), Fr(2, 20), Fr(2, 20)]),
        (MapSpec(heads="max"), [Fr(6, 20), Fr(4, 20), Fr(6, 20), Fr(3, 20)]),
        (MapSpec(heads=[1]), [Fr(4, 20), Fr(2, 20), Fr(6, 20), Fr(1, 20)]),
    ],
)
def test_cross_attention_by_hand(spec: MapSpec, row: list[Fr]) -> None:
    """Heads are reduced within a layer, layers averaged, the image's columns renormalised."""
    total = sum(row)
    expected = [
        [float(row[0] / total), float(row[1] / total)],
        [float(row[2] / total), float(row[3] / total)],
    ]
    np.testing.assert_allclose(cross_attention(toy(), spec), expected, atol=1e-7)


def test_image_share_by_hand() -> None:
    """Rows give the image 8, 4, 5 and 8 tenths: 25 fortieths on average."""
    assert image_share(toy(), MapSpec()) == pytest.approx(25 / 40)


def test_layers_and_heads_that_are_not_there_are_refused_with_the_number_there_are() -> None:
    with pytest.raises(ValueError, match="layer 3 was asked for, but the model has 2"):
        cross_attention(toy(), MapSpec(layers=[3]))
    with pytest.raises(ValueError, match="head 5 was asked for, but the model has 2"):
        cross_attention(toy(), MapSpec(heads=[5]))
    with pytest.raises(ValueError, match="last:3 was asked for, but the model has 2"):
        cross_attention(toy(), MapSpec(layers="last:3"))


def test_a_row_that_ignores_the_image_is_no_map() -> None:
    blind = Trace({}, "", "", (), Grid(1, 1), np.array([[[0.0, 1.0]]], np.float32))
    with pytest.raises(ValueError, match="nothing falls on the image"):
        cross_attention(blind)
