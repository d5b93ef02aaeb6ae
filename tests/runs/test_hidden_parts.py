"""Hiding parts of a large picture costs what the model takes of it, not what the picture has."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from audit import load_model
from audit.maps.spec import MapSpec
from audit.maps.trace import ANSWER, NOTHING_MORE, Need, Trace, Window
from audit.models.protocol import Query
from audit.runs import evidence
from audit.runs.evidence import curves, drawable, gather
from audit.runs.session import Auditor, Settings
from tests.checkpoints import make_checkpoint
from tests.toy_model import ToyModel

TEXT = "there are two birds on a branch"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("hidden") / "model", seed=2)


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> Any:
    return load_model(str(checkpoint), device="cpu")


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(4).integers(0, 256, (11, 17, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height))


def test_a_large_picture_and_what_is_scaled_of_it_get_the_same_answer(model: Any) -> None:
    image = noise(1700, 1100)
    small = drawable(model, image)
    assert small.size == (64, 64)
    asked = [Query(image, TEXT), Query(small, TEXT)]
    whole, scaled = model.trace(asked, frozenset({ANSWER}))
    # Not to the last bit: sums of two samples of a batch may be split between threads differently.
    assert whole.probabilities == pytest.approx(scaled.probabilities, abs=1e-6)
    np.testing.assert_allclose(
        whole.readings[ANSWER].cells, scaled.readings[ANSWER].cells, atol=1e-6
    )
    np.testing.assert_allclose(
        whole.readings[ANSWER].share, scaled.readings[ANSWER].share, atol=1e-6
    )


def test_a_picture_of_common_size_is_hidden_at_its_own_size(model: Any) -> None:
    image = noise(1024, 1024)
    assert drawable(model, image) is image


def test_occlusion_of_a_large_picture_greys_what_the_model_takes(model: Any) -> None:
    image, spec = noise(1700, 1100), MapSpec(method="occlusion", window=4, stride=1)
    (seen,) = gather(model, [Query(image, TEXT)], [[spec]], batch_size=3)
    (grey,) = model.trace([Query(Image.new("RGB", (64, 64), evidence.GREY), TEXT)])
    fall = seen.probabilities[seen.label] - grey.probabilities[seen.label]
    np.testing.assert_allclose(seen.occlusion[Window(4, 1)], np.full((4, 4), fall), atol=1e-6)


def test_curves_of_a_large_picture_begin_and_end_where_the_whole_picture_is(model: Any) -> None:
    query = Query(noise(1700, 1100), TEXT)
    (trace,) = model.trace([query])
    p = np.arange(1.0, 17.0).reshape(4, 4)
    found = curves(model, query, trace, p / p.sum(), batch_size=5, steps=4)
    assert found.deletion[0] == pytest.approx(trace.probabilities[trace.label], abs=1e-6)
    assert found.insertion[-1] == pytest.approx(trace.probabilities[trace.label], abs=1e-6)


def test_a_large_picture_is_blurred_as_round_as_the_whole_one(model: Any) -> None:
    image = noise(2048, 1024)
    query, p = Query(image, TEXT), np.full((4, 4), 1 / 16)
    (trace,) = model.trace([query])
    found = curves(model, query, trace, p, batch_size=5, steps=4)
    small = image.resize((512, 256))  # its own proportions, few enough pixels to be hidden at
    again = curves(model, Query(small, TEXT), trace, p, batch_size=5, steps=4)
    assert found.insertion[0] == pytest.approx(again.insertion[0], abs=0.005)


class Counting:
    """Passes on to a model, and notes how many pictures there are while it answers."""

    def __init__(self, model: Any) -> None:
        self._model, self.sizes = model, list[int]()
        self.labels, self.methods = model.labels, model.methods
        self.fingerprint = model.fingerprint

    def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
        self.sizes.append(len(queries))
        found: list[Trace] = self._model.trace(queries, need)
        return found


def test_a_model_that_does_not_say_how_it_scales_is_asked_about_the_whole_picture(
    model: Any,
) -> None:
    counting, image = Counting(model), noise(1700, 1100)
    assert drawable(counting, image) is image
    spec = MapSpec(method="occlusion", window=2, stride=1)
    gather(counting, [Query(image, TEXT)], [[spec]], batch_size=4)
    assert counting.sizes == [1, 4, 4, 1]


MEASURED = """
import resource, sys
from audit import load_model
from audit.runs.session import Auditor, Settings
from audit.runs.evidence import curves, gather
from audit.maps.reading import read_map
from audit.maps.spec import MapSpec
from audit.models.protocol import Query
from pathlib import Path

peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model = load_model(sys.argv[1], device="cpu")
query = Query(Path(sys.argv[2]), "there are two birds")
occluded = MapSpec.parse("occlusion window=2 stride=1")
(trace,) = model.trace([query])
before = peak()
(seen,) = gather(model, [query], [[occluded, MapSpec.parse("blank"), MapSpec()]], 4)
curves(model, query, seen.trace, read_map(seen, MapSpec()), 4)
print(peak() - before)
"""


@pytest.mark.slow
def test_occlusion_and_curves_take_no_copy_of_a_large_picture_for_each_window(
    tmp_path: Path, checkpoint: Path
) -> None:
    Image.new("RGB", (5000, 5000), (200, 30, 30)).save(tmp_path / "flat.png")  # 100 MB in memory
    asked = [sys.executable, "-c", MEASURED, str(checkpoint), str(tmp_path / "flat.png")]
    more = int(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)
    # Nine windows and 62 steps, each a copy, would be seven gigabytes.
    assert more < 250_000


def test_pictures_of_a_batch_are_not_held_together(
    tmp_path: Path, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import weakref

    from audit.models.ofa import adapter

    opened: list[Any] = []
    original = adapter.picture_of

    def watched(image: Any) -> Image.Image:
        assert not any(seen() for seen in opened), "the one before is still held"
        found = original(image)
        opened.append(weakref.ref(found))
        return found

    monkeypatch.setattr(adapter, "picture_of", watched)
    for name in "abc":
        noise(30, 20).save(tmp_path / f"{name}.png")
    queries = [Query(tmp_path / f"{name}.png", TEXT) for name in "abcab"]
    together = model.trace(queries)
    assert len(opened) == 3
    monkeypatch.undo()
    for query, trace in zip(queries, together, strict=True):
        (alone,) = model.trace([query])
        assert trace.probabilities == pytest.approx(alone.probabilities, abs=1e-5)


def test_of_what_a_python_test_asked_a_small_picture_is_kept(tmp_path: Path) -> None:
    settings = Settings("toy", "cpu", "float32", 1, None, "", tmp_path / "run", "id")
    auditor = Auditor(settings)
    vars(auditor)["model"] = ToyModel()
    auditor.ask(noise(3000, 1500), TEXT)
    assert [asked.image.size for asked in auditor.asked] == [(1024, 512)]
