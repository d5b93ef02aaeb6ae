"""A model of another kind is read through the same seam, with nothing of OFA."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from audit.maps.reading import read_map
from audit.maps.spec import MapSpec
from audit.maps.trace import ANSWER
from audit.models.kit.subject import example_queries
from audit.runs.evidence import gather
from tests import second_adapter
from tests.second_adapter import BlipMatching

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def blip() -> BlipMatching:
    return BlipMatching("cpu")


def test_the_adapter_is_short_and_imports_nothing_of_ofa() -> None:
    source = Path(second_adapter.__file__).read_text()
    assert len(source.splitlines()) < 250
    code = (
        "import json, sys\n"
        "from audit.models.kit.subject import Subject, example_queries\n"
        "from tests.second_adapter import BlipMatching\n"
        "Subject(BlipMatching('cpu'), example_queries()).traces\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert [name for name in loaded if name.startswith(("audit.models.ofa", "modelscope"))] == []


def test_attention_is_what_transformers_gives_out(blip: BlipMatching) -> None:
    query, *_ = example_queries()
    (trace,) = blip.trace([query], frozenset({ANSWER}))
    ids = torch.tensor([second_adapter.tokenizer().encode(query.text).ids])
    pixels = blip._processor([query.image], return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        seen = blip.torch_model.vision_model(pixel_values=pixels).last_hidden_state
        said = blip.torch_model.text_encoder(
            input_ids=ids, encoder_hidden_states=seen, output_attentions=True, is_decoder=False
        )
    for layer, weights in enumerate(said.cross_attentions):
        row = weights[0, :, 0].mean(0).double().numpy()
        np.testing.assert_allclose(
            trace.readings[ANSWER].cells[layer].ravel(), row[1:], rtol=1e-5, atol=1e-7
        )
        assert trace.readings[ANSWER].share[layer] == pytest.approx(row[1:].sum(), abs=1e-6)


@pytest.mark.parametrize(
    "key",
    [
        "answer_attention layers=last heads=1,3",
        "word_attention word=square",
        "rollout residual=0.5",
        "rollout start_layer=2",
        "relevance variant=paper heads=max",
        "answer_attention subtract=blank",
        "answer_attention relative=generic",
        "word_attention word=square relative=generic drop=sinks",
        "occlusion",
        "blank",
    ],
)
def test_its_maps_are_asked_for_as_those_of_any_model(blip: BlipMatching, key: str) -> None:
    spec = MapSpec.parse(key)
    (seen,) = gather(blip, [example_queries()[0]], [[spec]], 4)
    p = read_map(seen, spec)
    assert p.shape == (4, 4)
    assert p.sum() == pytest.approx(1.0)
    assert p.std() > 1e-4
