"""The map of the answer's attention on a toy that was worked by hand, in fractions."""

from __future__ import annotations

from fractions import Fraction as Fr

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from audit.base.errors import MapError, Undefined
from audit.base.geometry import Grid
from audit.maps.reading import MapSpec, UndefinedMap, image_share, read_map
from audit.maps.trace import ANSWER, Reading, Trace
from tests.passes import asked, captured, two_by_two


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
def test_the_answers_attention_by_hand(spec: MapSpec, row: list[Fr]) -> None:
    """Heads are reduced within a layer, layers averaged, the image's columns renormalised."""
    total = sum(row)
    expected = [
        [float(row[0] / total), float(row[1] / total)],
        [float(row[2] / total), float(row[3] / total)],
    ]
    np.testing.assert_allclose(read_map(asked(two_by_two(), spec), spec), expected, atol=1e-7)


def test_a_map_that_nobody_chose_is_the_answers_attention() -> None:
    trace = asked(two_by_two(), MapSpec())
    np.testing.assert_array_equal(read_map(trace), read_map(trace, MapSpec()))


def test_layers_and_heads_that_are_not_there_are_refused_with_the_number_there_are() -> None:
    trace = asked(two_by_two(), MapSpec())
    with pytest.raises(MapError, match="layer 3 was asked for, but the model has 2"):
        read_map(trace, MapSpec(layers=[1, 3]))
    with pytest.raises(MapError, match="last:3 was asked for, but the model has 2"):
        read_map(trace, MapSpec(layers="last:3"))
    with pytest.raises(MapError, match="layer 3 was asked for, but the model has 2"):
        image_share(trace, MapSpec(layers=[3]))
    with pytest.raises(MapError, match="head 5 was asked for, but the model has 2"):
        asked(two_by_two(), MapSpec(heads=[1, 5]))


def test_a_row_that_ignores_the_image_is_no_map_and_its_share_is_zero() -> None:
    blind = asked(captured([[[0.0, 1.0]]], Grid(1, 1)), MapSpec())
    with pytest.raises(UndefinedMap, match="nothing falls on the image"):
        read_map(blind)
    assert image_share(blind, MapSpec()) == 0


# --- how much of the attention the image has ------------------------------------------------------


def test_image_share_by_hand() -> None:
    """Rows give the image 8, 4, 5 and 8 tenths: 25 fortieths on average."""
    assert image_share(asked(two_by_two(), MapSpec()), MapSpec()) == pytest.approx(25 / 40)


def test_image_share_of_the_largest_heads_by_hand() -> None:
    """Rows (4, 2, 1, 1 | 3, 3) and (2, 2, 5, 2 | 5, 1) tenths: 19 of 31, and not the mean of 8/14
    and 11/17."""
    spec = MapSpec(heads="max")
    found = image_share(asked(two_by_two(), spec), spec)
    assert found == pytest.approx(19 / 31)
    assert found != pytest.approx((8 / 14 + 11 / 17) / 2, abs=1e-4)


tenths = st.integers(0, 10).map(lambda n: n / 10)


@given(
    arrays(np.float32, (3, 2, 6), elements=tenths),
    arrays(np.float32, (3, 2), elements=st.sampled_from([-2.0, 0.5, 1.0])),
    st.lists(st.sampled_from([1, 2, 3]), min_size=1, unique=True),
    st.sampled_from(["mean", "max", "weighted", [2], [1, 2]]),
)
def test_image_share_is_the_images_part_of_the_chosen_layers_mean_row(
    cross: np.ndarray, scale: np.ndarray, layers: list[int], heads: str | list[int]
) -> None:
    """The ratio of sums, not the mean of ratios: a row of largest heads does not sum to 1."""
    wide = cross.astype(np.float64)
    factors = np.abs(scale).astype(np.float64)
    rows = {
        "mean": wide.mean(axis=1),
        "max": wide.max(axis=1),
        "weighted": (wide * factors[..., None]).sum(axis=1) / factors.sum(axis=1)[:, None],
        "[2]": wide[:, 1],
        "[1, 2]": wide.mean(axis=1),
    }[str(heads)]
    mean = rows[[n - 1 for n in layers]].mean(axis=0)
    spec = MapSpec(layers=layers, heads=heads)
    trace = asked(captured(cross, Grid(2, 2), scale=scale), spec)
    if mean.sum() == 0:
        with pytest.raises(Undefined, match="the attention row is empty"):
            image_share(trace, spec)
    else:
        expected = mean[:4].sum() / mean.sum()
        assert image_share(trace, spec) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@given(arrays(np.float32, (2, 2, 6), elements=tenths))
def test_what_has_no_share_of_its_own_has_that_of_the_answers_attention(
    cross: np.ndarray,
) -> None:
    assume(cross.any())
    uniform = MapSpec(method="uniform")
    trace = asked(captured(cross, Grid(2, 2)), uniform)
    assert image_share(trace, uniform) == image_share(trace, MapSpec())


def test_layers_without_weights_count_alike() -> None:
    reading = Reading(np.ones((2, 1, 1)), np.array([0.25, 0.75]))
    trace = Trace({"yes": 1.0}, "yes", "", (), Grid(1, 1), readings={ANSWER: reading})
    assert image_share(trace, MapSpec()) == pytest.approx(0.5)
    assert image_share(trace, MapSpec(layers="last")) == pytest.approx(0.75)


def test_a_model_that_gives_no_attention_of_its_answer_has_no_image_share() -> None:
    trace = Trace({"yes": 1.0}, "yes", "", (), Grid(1, 1))
    for method in ("answer_attention", "uniform", "occlusion"):
        with pytest.raises(Undefined, match="gives no attention of its answer"):
            image_share(trace, MapSpec(method=method))
