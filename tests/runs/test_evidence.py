"""What further questions to a model give: grey pictures, parts hidden, pictures taken away."""

from __future__ import annotations

from typing import Any

import captum.attr
import numpy as np
import pytest
import torch
from PIL import Image

from audit import load_model
from audit.base.errors import MapError
from audit.base.geometry import Grid
from audit.maps.reading import MapSpec, read_map
from audit.maps.trace import ANSWER, ReadingKey, Window
from audit.models.protocol import Query
from audit.runs import evidence
from audit.runs.evidence import curves, gather
from tests.checkpoints import make_checkpoint, set_head_factors

TEXT = "there are two birds on a branch"
RELEVANCE = ReadingKey("relevance")


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    noise = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((300, 200))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Random weights, with head factors that differ, so that weighting by them shows."""
    folder = make_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny", seed=3)
    return load_model(str(set_head_factors(folder)), device="cpu", engine="reference")


def test_occlusion_is_what_a_plain_loop_over_grey_squares_gives(
    model: Any, picture: Image.Image
) -> None:
    query = Query(picture, TEXT)
    spec = MapSpec(method="occlusion", window=2, stride=1)
    (trace,) = gather(model, [query], [[spec]], batch_size=3)
    pixels = np.asarray(picture)
    height, width = pixels.shape[0] / 4, pixels.shape[1] / 4
    drops: list[list[list[float]]] = [[[] for _ in range(4)] for _ in range(4)]
    for top in range(3):
        for left in range(3):
            hidden = pixels.copy()
            hidden[
                round(top * height) : round((top + 2) * height),
                round(left * width) : round((left + 2) * width),
            ] = 128
            (seen,) = model.trace([Query(Image.fromarray(hidden), TEXT)])
            fall = trace.probabilities[trace.label] - seen.probabilities[trace.label]
            for row in (top, top + 1):
                for col in (left, left + 1):
                    drops[row][col].append(fall)
    expected = np.array([[np.mean(cell) for cell in row] for row in drops])
    np.testing.assert_allclose(trace.occlusion[Window(2, 1)], expected, atol=1e-5)
    positive = np.clip(expected, 0, None)
    np.testing.assert_allclose(read_map(trace, spec), positive / positive.sum(), atol=1e-4)


def test_occlusion_agrees_with_captum(model: Any, picture: Image.Image) -> None:
    """captum slides the same grey square over the picture's pixels and takes the same mean."""
    square = picture.resize((160, 160))  # 40 pixels a cell, so that squares fall on whole pixels
    query = Query(square, TEXT)
    spec = MapSpec(method="occlusion", window=2, stride=1)
    (trace,) = gather(model, [query], [[spec]], batch_size=9)

    def probability(pixels: torch.Tensor) -> torch.Tensor:
        pictures = [Image.fromarray(p.to(torch.uint8).numpy()) for p in pixels]
        seen = model.trace([Query(p, TEXT) for p in pictures])
        return torch.tensor([t.probabilities[trace.label] for t in seen])

    given = torch.from_numpy(np.array(square)).float()[None]
    found = captum.attr.Occlusion(probability).attribute(
        given, sliding_window_shapes=(80, 80, 3), strides=(40, 40, 3), baselines=128.0
    )
    by_cell = found[0, :, :, 0].reshape(4, 40, 4, 40)
    assert float((by_cell - by_cell.mean((1, 3), keepdim=True)).abs().max()) < 1e-6
    expected = by_cell.mean((1, 3)).numpy()
    np.testing.assert_allclose(trace.occlusion[Window(2, 1)], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("occlusion window=5", "a.* of 5 cells does not fit 4 x 4"),
        ("occlusion window=2 stride=3", "skips cells"),
        ("rollout start_layer=3", "the encoder has 2"),
        ("relevance heads=3", "head 3 was asked for, but the model has 2"),
        ("rollout heads=5", "head 5 was asked for, but the model has 2"),
        ("answer_attention heads=6", "head 6 was asked for, but the model has 2"),
        ("word_attention word=two heads=4", "head 4 was asked for, but the model has 2"),
    ],
)
def test_what_the_model_cannot_give_is_refused_by_name(
    model: Any, picture: Image.Image, asked: str, said: str
) -> None:
    with pytest.raises(MapError, match=said):
        gather(model, [Query(picture, TEXT)], [[MapSpec.parse(asked)]], 8)


def test_a_blank_is_the_answer_to_a_grey_picture(model: Any, picture: Image.Image) -> None:
    query, spec = Query(picture, TEXT), MapSpec(method="blank")
    subtracting = MapSpec(subtract="blank")
    (trace,) = gather(model, [query], [[spec, subtracting]], 8)
    shown = Query(Image.new("RGB", picture.size, (128, 128, 128)), TEXT)
    (grey,) = model.trace([shown], frozenset({ANSWER}))
    np.testing.assert_allclose(read_map(trace, spec), read_map(grey, MapSpec()), atol=1e-6)
    left = np.clip(read_map(trace, MapSpec()) - read_map(grey, MapSpec()), 0, None)
    np.testing.assert_allclose(read_map(trace, subtracting), left / left.sum(), atol=1e-5)


@pytest.mark.parametrize(
    "said", ["answer_attention", "answer_attention heads=L2H1", "word_attention word=birds"]
)
def test_a_relative_map_is_divided_by_that_of_a_hypothesis_that_asks_nothing(
    model: Any, picture: Image.Image, said: str
) -> None:
    spec = MapSpec.parse(said)
    relative = MapSpec.parse(f"{said} relative=generic")
    (seen,) = gather(model, [Query(picture, TEXT, "a dog runs")], [[spec, relative]], 8)
    need = frozenset({spec.reading._replace(word=None)})
    (generic,) = model.trace([Query(picture, "This is a picture.")], need)
    cells = np.mean([reading.cells for reading in generic.readings.values()], axis=(0, 1))
    p, usual = read_map(seen, spec), cells / cells.sum()
    quotient = (p + 0.01 / 16) / (usual + 0.01 / 16)
    found = read_map(seen, relative)
    np.testing.assert_allclose(found, quotient / quotient.sum(), atol=1e-5)
    assert found.std() > 1e-6
    (dropped,) = gather(model, [Query(picture, TEXT)], [[MapSpec(drop="sinks")]], 8)
    assert read_map(dropped, MapSpec(drop="sinks")).sum() == pytest.approx(1)


def test_the_generic_question_is_asked_only_where_a_map_needs_it(
    model: Any, picture: Image.Image
) -> None:
    queries, relative = [Query(picture, TEXT)] * 3, MapSpec(relative="generic")
    found = gather(model, queries, [[MapSpec()], [relative], [MapSpec(method="blank")]], 8)
    assert [each.generic is None for each in found] == [True, False, True]
    assert found[1].blank is None


def test_deletion_and_insertion_hide_and_show_cells_in_the_order_of_the_map(
    model: Any, picture: Image.Image
) -> None:
    query = Query(picture, TEXT)
    (trace,) = model.trace([query])
    p = np.arange(1.0, 17.0).reshape(4, 4)
    found = curves(model, query, trace, p / p.sum(), batch_size=5, steps=4)
    pixels = np.asarray(picture)
    for step in range(5):
        # Four cells a step, the last row of the grid first.
        shown = pixels.copy()
        shown[round((4 - step) * pixels.shape[0] / 4) :] = 128
        (seen,) = model.trace([Query(Image.fromarray(shown), TEXT)])
        assert found.deletion[step] == pytest.approx(seen.probabilities[trace.label], abs=1e-5)
    assert found.insertion[-1] == pytest.approx(trace.probabilities[trace.label], abs=1e-5)
    assert found.insertion[0] != pytest.approx(found.insertion[-1], abs=1e-6)


def test_one_forward_pass_serves_all_maps_without_gradient_and_one_backward_all_with(
    model: Any, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = {"forward": 0, "backward": 0}
    network, backward = model.torch_model, torch.autograd.backward

    def count(*_: Any) -> None:
        calls["forward"] += 1

    def counted(*args: Any, **more: Any) -> None:
        calls["backward"] += 1
        backward(*args, **more)

    monkeypatch.setattr(torch.autograd, "backward", counted)
    handle = network.encoder.layers[0].register_forward_pre_hook(count)
    plain = [
        "answer_attention", "answer_attention heads=max", "word_attention word=birds", "rollout",
        "rollout residual=0.5", "uniform", "centre", "random",
    ]  # fmt: skip
    with_gradient = ["relevance", "relevance variant=paper", "relevance heads=weighted"]
    try:
        specs = [MapSpec.parse(text) for text in plain]
        (trace,) = gather(model, [Query(picture, TEXT)], [specs], 8)
        assert calls == {"forward": 1, "backward": 0}
        specs += [MapSpec.parse(text) for text in with_gradient]
        (trace,) = gather(model, [Query(picture, TEXT)], [specs], 8)
        assert calls == {"forward": 2, "backward": 1}
    finally:
        handle.remove()
    for spec in specs:
        p = read_map(trace, spec)
        assert p.shape == (4, 4)
        assert p.min() >= 0
        assert p.sum() == pytest.approx(1)


def test_cases_with_and_without_gradients_keep_their_order(
    model: Any, picture: Image.Image
) -> None:
    texts = [TEXT, "a dog runs", "a cat sleeps"]
    relevance = MapSpec(method="relevance")
    wanted = [[MapSpec()], [relevance], [MapSpec()]]
    found = gather(model, [Query(picture, t) for t in texts], wanted, 8)
    assert [" ".join(w.text for w in each.trace.words) for each in found] == texts
    assert [RELEVANCE in each.trace.readings for each in found] == [False, True, False]


def test_the_default_window_is_a_sixth_of_the_grid(model: Any) -> None:
    assert evidence.window_of(Window(), model.trace([Query(Image.new("RGB", (9, 9)), "a")])[0].grid)
    assert evidence.window_of(Window(), Grid(12, 12)) == (2, 1)
    assert evidence.window_of(Window(), Grid(30, 30)) == (5, 2)
