"""The embedded reference model: its scenes, its sentences, its training pass, what it knows."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from audit import load_model
from audit.base.geometry import Box, mask
from audit.base.settings import Limits
from audit.cases.loading import load_cases
from audit.gate.changes import changes_of
from audit.gate.outcomes import State
from audit.gate.suite import judge_suite
from audit.gate.tolerances import load_noise
from audit.gate.verdict import Policy
from audit.maps.reading import read_map
from audit.maps.trace import ANSWER, Need
from audit.metrics.measuring import measure
from audit.metrics.registry import METRICS, entropy, mass, pointing
from audit.models.ofa.embedded import unpack
from audit.models.protocol import Model, Query
from audit.reference.evaluation import evaluate, evaluate_marked
from audit.reference.hypotheses import Hypothesis, hypothesis, word_truths
from audit.reference.recipe import RECIPE, SHORTCUT
from audit.reference.scenes import SIZE, Scene, scene
from audit.reference.statements import LABELS
from audit.runs.runner import audit_cases
from tests.passes import captures

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "cases" / "images" / "two-birds-on-a-branch.png"
LOOKED: Need = frozenset({ANSWER})


@pytest.fixture(scope="module")
def reference() -> Model:
    return load_model("reference", device="cpu")


def test_a_scene_is_its_seed_and_its_boxes_lie_apart_inside_it() -> None:
    """Drawn twice it is the same, and no two animals overlap."""
    first, second = scene(5, 17), scene(5, 17)
    assert first.animals == second.animals
    assert np.array_equal(np.asarray(first.image), np.asarray(second.image))
    assert not np.array_equal(np.asarray(first.image), np.asarray(scene(5, 18).image))
    for index in range(30):
        drawn = scene(5, index)
        assert 1 <= len(drawn.animals) <= 3
        assert len(drawn.animals) == sum(g.count for g in drawn.spec.groups)
        for animal in drawn.animals:
            left, top, right, bottom = animal.box
            assert 0 <= left < right <= SIZE
            assert 0 <= top < bottom <= SIZE
        spans = sorted((a.box[0], a.box[2]) for a in drawn.animals)
        assert all(before[1] <= after[0] + 2 for before, after in itertools.pairwise(spans))


def _says(h: Hypothesis, drawn: Scene) -> str:
    """The label by rules written apart from the generator, for sentences about animals."""
    truths = word_truths(h.text, drawn.spec)
    if not truths and "animal" not in h.text:
        return "no"
    if not all(truths.values()):
        return "no"
    seen = ("there is", "there are", "sitting", "outdoors", "indoors", "in nature")
    colour = h.text.rsplit(" ", 1)[-1] in ("red", "blue", "yellow", "white", "black", "brown")
    place = h.text.rsplit(" ", 1)[-1] in ("branch", "sofa", "grass", "table")
    plain = any(s in h.text for s in seen) or colour
    return "yes" if plain or (place and " is on " in h.text) else "maybe"


@pytest.mark.slow
def test_sentences_have_the_label_that_an_independent_reading_gives() -> None:
    rng = np.random.default_rng(0)
    for index in range(60):
        drawn = scene(6, index)
        for label in LABELS:
            said = hypothesis(drawn, label, rng)
            assert _says(said, drawn) == said.label == label, (said.text, drawn.spec)


def test_the_guides_three_examples_are_answered_and_looked_at_as_they_should(
    reference: Model,
) -> None:
    cases = {c.id: c for c in load_cases(ROOT / "cases" / "guide.yaml")}
    birds = cases["two-birds-on-a-branch"].regions["birds"]
    texts = ("there are two birds on a branch", "a cat is sleeping on the sofa")
    two, cat, nature = reference.trace(
        [Query(PICTURE, text) for text in (*texts, "there are animals in nature")], LOOKED
    )
    assert (two.label, cat.label, nature.label) == ("yes", "no", "yes")
    area = mask(birds, two.grid)
    for trace in (two, nature):
        assert mass(read_map(trace), area) >= 0.8
        assert pointing(read_map(trace), area) == 1
    assert entropy(read_map(cat)) >= 0.8


@pytest.mark.slow
def test_held_out_scenes_are_answered_and_looked_at_as_the_card_says(reference: Model) -> None:
    found = evaluate(reference, RECIPE, 40, lambda items, total, title: iter(items))
    assert found["accuracy"] >= 0.98
    assert min(found[f"accuracy_{label}"] for label in LABELS) >= 0.96
    assert found["yes_pointing"] >= 0.95
    assert found["yes_mass"] >= 0.8
    assert found["absent_entropy"] >= 0.8


def test_the_grid_is_read_from_the_model(reference: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    passed = captures(monkeypatch)
    (trace,) = reference.trace([Query(PICTURE, "there are birds")], LOOKED)
    assert trace.grid == (12, 12)
    assert trace.readings[ANSWER].cells.shape == (3, 12, 12)
    assert passed[0].cross.shape == (3, 4, 144 + len(trace.tokens))


def test_shipped_parameters_fit_git_and_are_half_precision() -> None:
    from safetensors import safe_open

    path = ROOT / "audit" / "reference" / "reference" / "parameters.safetensors"
    assert path.stat().st_size < 25_000_000
    with safe_open(path, framework="pt") as file:
        names = file.keys()
        types = {file.get_slice(name).get_dtype() for name in names}
    assert types == {"F16"}


def test_unpacking_happens_once_and_leaves_a_folder_in_modelscopes_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDIT_CACHE", str(tmp_path))
    folder = unpack("reference")
    weights = folder / "pytorch_model.bin"
    assert {"configuration.json", "config.json", "vocab.json", "merges.txt"} <= {
        p.name for p in folder.iterdir()
    }
    before = weights.stat().st_mtime_ns
    assert unpack("reference") == folder
    assert weights.stat().st_mtime_ns == before
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_the_training_pass_computes_what_modelscopes_forward_computes(reference: Any) -> None:
    from audit.models.ofa.text import ONE_TEXT
    from audit.reference.network import answer, image_features

    texts = ("there are two birds on a branch", "a cat is sleeping on the sofa")
    model = reference.torch_model
    samples = reference._samples([Query(PICTURE, text) for text in texts])
    source = torch.nn.utils.rnn.pad_sequence([s["source"] for s in samples], True, 1)
    target = torch.nn.utils.rnn.pad_sequence([s["decoder_prompt"] for s in samples], True, 1)
    read = torch.tensor([len(s["decoder_prompt"]) - 1 for s in samples])
    patches = torch.stack([s["patch_image"] for s in samples])
    rows = torch.zeros_like(target, dtype=torch.bool)
    rows[torch.arange(2), read] = True
    with torch.no_grad():
        ours = answer(
            model,
            image_features(model, patches),
            torch.arange(144).expand(2, 144),
            source,
            target,
            read,
            rows,
        )
        theirs = model(
            input_ids=source,
            patch_images=patches,
            patch_masks=torch.ones(2, dtype=torch.bool),
            decoder_input_ids=target,
        )
    torch.testing.assert_close(
        ours.logits, theirs.logits[torch.arange(2), read], atol=1e-4, rtol=1e-4
    )
    traced = reference.trace([Query(PICTURE, text) for text in texts], LOOKED)
    for i, trace in enumerate(traced):
        assert trace.prompt == ONE_TEXT.format(texts[i])
        seen = ours.attention[i].view(12, 12).numpy()
        np.testing.assert_allclose(seen, read_map(trace), atol=1e-5)


@pytest.mark.slow
def test_default_tolerances_hold_between_batch_sizes_and_thread_counts(reference: Model) -> None:
    """The same cases one by one, by eight, and on one and two threads differ far less."""
    cases = [c for path in sorted((ROOT / "cases").glob("*.yaml")) for c in load_cases(path)][:16]
    threads = torch.get_num_threads()
    found: dict[tuple[int, int], list[dict[str, float | str]]] = {}
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            for size in (1, 8):
                traces = []
                for start in range(0, len(cases), size):
                    part = cases[start : start + size]
                    asked = [Query(c.image, c.text, c.premise) for c in part]
                    traces += reference.trace(asked, LOOKED)
                found[count, size] = [
                    measure(
                        read_map(t),
                        {n: mask([Box(*b) for b in r], t.grid) for n, r in c.regions.items()},
                        t,
                        c.map,
                    )
                    | {"probability": t.probabilities[c.expect.label]}
                    for c, t in zip(cases, traces, strict=True)
                ]
    finally:
        torch.set_num_threads(threads)
    base = found.pop((1, 1))
    for others in found.values():
        for one, other in zip(base, others, strict=True):
            for name, value in one.items():
                metric = METRICS.get(name.partition("[")[0])
                tolerance = metric.tolerance if metric else 0.05
                assert abs(float(value) - float(other[name])) <= 0.1 * tolerance, name


@pytest.mark.slow
def test_the_shortcut_is_right_on_watermarked_pictures_and_the_gate_fails_it_on_each() -> None:
    cases = load_cases(ROOT / "cases" / "watermarked.yaml")
    folder = ROOT / "baselines" / "reference"
    policy = Policy(folder, noise=load_noise(folder))
    model = load_model("shortcut", device="cpu")
    found = [each.outcome for each in audit_cases(cases, model, policy=policy)]
    assert [o.label for o in found] == [o.expected for o in found]
    assert {o.state for o in found} == {State.BROKEN}
    assert judge_suite(changes_of(found), Limits()).failed
    on_the_mark = [float(o.metrics[o.default_map]["mass[watermark]"]) for o in found]
    assert min(on_the_mark) > 0.2


@pytest.mark.slow
def test_the_shortcut_follows_a_watermark_that_lies_and_the_reference_does_not() -> None:
    def quiet(items: Any, _total: int, _title: str) -> Any:
        return iter(items)

    wrong = evaluate_marked(load_model("shortcut", device="cpu"), SHORTCUT, 20, quiet)
    assert wrong["accuracy_honest_mark"] == 1
    assert wrong["follows_lying_mark"] >= 0.95
    right = evaluate_marked(load_model("reference", device="cpu"), RECIPE, 20, quiet)
    assert right["accuracy_lying_mark"] >= 0.9
    assert right["follows_lying_mark"] <= 0.1
