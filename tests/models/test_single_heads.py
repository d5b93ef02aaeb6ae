"""Single heads of an OFA: each by itself, and the mean of some."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audit import load_model
from audit.base.errors import MapError
from audit.maps.reading import MapSpec, image_share, layer_maps, read_map
from audit.maps.trace import ANSWER, EACH_HEAD, HeadPlace
from audit.models.protocol import Query
from audit.runs.evidence import gather
from tests.checkpoints import make_checkpoint

QUERY = Query(Image.effect_noise((48, 48), 80).convert("RGB"), "a dog runs")


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_a_map_of_single_heads_is_the_mean_of_these_heads(engine: str, tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "tiny", seed=3)
    model = load_model(str(folder), "cpu", engine=engine)
    (trace,) = model.trace([QUERY], frozenset({ANSWER, EACH_HEAD}))
    each, layers = trace.readings[EACH_HEAD], len(trace.readings[ANSWER].cells)
    heads = len(each.cells) // layers
    np.testing.assert_allclose(
        each.cells.reshape(layers, heads, *trace.grid).mean(1), trace.readings[ANSWER].cells,
        rtol=1e-6,
    )  # fmt: skip
    named, last = HeadPlace(1, 2), HeadPlace(layers, heads)
    spec = MapSpec(heads=[str(named), str(last)])
    control = MapSpec(method="blank", heads=[str(last)])
    (seen,) = gather(model, [QUERY], [[spec, control]], 1)
    expected = each.cells[[1, -1]].mean(0)
    np.testing.assert_allclose(read_map(seen, spec), expected / expected.sum(), rtol=1e-6)
    # Rows of attention sum to 1, so the share of their mean is the mean of their shares.
    assert image_share(seen, spec) == pytest.approx(each.share[[1, -1]].mean(), abs=1e-5)
    assert read_map(seen, control).shape == trace.grid
    with pytest.raises(MapError, match=r"heads=L1H2.* is not read layer by layer"):
        layer_maps(seen, spec)
    with pytest.raises(MapError, match=f"head L99H1 .* the model has {layers} layers"):
        gather(model, [QUERY], [[MapSpec(heads=["L99H1"])]], 1)
    with pytest.raises(MapError, match="single heads of single layers cannot be read here"):
        model.trace([QUERY], frozenset({EACH_HEAD._replace(method="word_attention", word="dog")}))
