"""A model that sees a part of the picture, or more than it, is measured where it looked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from audit.base.errors import ModelError, RunError
from audit.base.geometry import WHOLE, Box, mask, view_in_words
from audit.base.settings import Limits
from audit.cases.loading import load_cases
from audit.gate import accepted, baselines
from audit.gate.outcomes import Outcome, State
from audit.gate.runfolder import Run
from audit.gate.verdict import Policy
from audit.maps.checks import checked_trace
from audit.maps.reading import read_map
from audit.maps.spec import MapSpec
from audit.maps.trace import ANSWER
from audit.metrics.measuring import measure
from audit.models.protocol import Query
from audit.report.comparison_page import write_comparison
from audit.runs.evidence import curves, gather
from audit.studies.comparison import compare
from audit.studies.sides import side_of_baselines, side_of_run
from tests.looking_toys import RED, LookingToy
from tests.projects import stored_in

PARTS = ("crop", "pad")
OCCLUSION = MapSpec(method="occlusion", window=1, stride=1)


def picture(size: tuple[int, int], patch: tuple[int, int, int, int]) -> Image.Image:
    """Blue, with a red patch from the first two pixels to right before the last two."""
    image = Image.new("RGB", size, "navy")
    ImageDraw.Draw(image).rectangle((*patch[:2], patch[2] - 1, patch[3] - 1), fill=RED)
    return image


@st.composite
def patches(draw: st.DrawFn, toy: LookingToy) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """A picture's size and a patch that is seen, and covers at least one whole cell."""
    size = draw(st.integers(60, 200)), draw(st.integers(60, 200))
    box = toy.box(size)
    least = 2 * (box[2] - box[0]) // toy.grid.cols + 2
    seen = [(max(box[axis], 0), min(box[axis + 2], size[axis])) for axis in (0, 1)]
    assume(all(high - low > least for low, high in seen))
    starts = [draw(st.integers(low, high - least)) for low, high in seen]
    ends = [
        draw(st.integers(start + least, high))
        for start, (_, high) in zip(starts, seen, strict=True)
    ]
    return size, (starts[0], starts[1], ends[0], ends[1])


def as_fractions(patch: tuple[int, int, int, int], size: tuple[int, int]) -> Box:
    left, top, right, bottom = patch
    return Box(left / size[0], top / size[1], right / size[0], bottom / size[1])


@pytest.mark.parametrize("sees", PARTS)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_the_pointing_game_is_won_where_the_model_looks_at_the_patch(
    sees: str, data: st.DataObject
) -> None:
    toy = LookingToy(sees)
    size, patch = data.draw(patches(toy))
    (seen,) = gather(toy, [Query(picture(size, patch), "a patch")], [[MapSpec()]], 8)
    area = mask([as_fractions(patch, size)], toy.grid, seen.trace.view)
    figures = measure(read_map(seen), {"patch": area}, seen, MapSpec())
    assert figures["pointing[patch]"] == 1.0


@pytest.mark.parametrize("sees", PARTS)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_occlusion_finds_the_patch(sees: str, data: st.DataObject) -> None:
    toy = LookingToy(sees, cells=5)
    size, patch = data.draw(patches(toy))
    (seen,) = gather(toy, [Query(picture(size, patch), "a patch")], [[OCCLUSION]], 64)
    drops = read_map(seen, OCCLUSION)
    area = mask([as_fractions(patch, size)], toy.grid, seen.trace.view)
    assert measure(drops, {"patch": area}, seen, OCCLUSION)["pointing[patch]"] == 1.0
    # What is hidden beyond the picture, or more than a pixel beside the patch, changes nothing.
    around = (max(patch[0] - 1, 0), max(patch[1] - 1, 0), patch[2] + 1, patch[3] + 1)
    beside = mask([as_fractions(around, size)], toy.grid, seen.trace.view) == 0
    assert drops[beside].max(initial=0.0) == 0.0


@pytest.mark.parametrize("sees", PARTS)
def test_deletion_takes_the_patch_away_first_and_insertion_shows_it_first(sees: str) -> None:
    toy, size, patch = LookingToy(sees), (160, 96), (64, 24, 96, 56)
    query = Query(picture(size, patch), "a patch")
    (seen,) = gather(toy, [query], [[MapSpec()]], 8)
    by_map = curves(toy, query, seen.trace, read_map(seen), 8)
    least, most = 0.4, seen.probabilities["yes"]
    assert by_map.deletion[0] == by_map.insertion[-1] == most
    assert by_map.deletion[-1] == by_map.insertion[0] == least
    # The patch is a quarter of what is seen at most, so a half of the steps is more than enough.
    assert by_map.deletion[15] == pytest.approx(least)
    assert by_map.insertion[15] == pytest.approx(most)


def test_a_view_that_holds_nothing_of_the_picture_is_refused() -> None:
    (trace,) = LookingToy("whole").trace([Query(picture((80, 80), (0, 0, 20, 20)), "a patch")])
    with pytest.raises(ModelError, match="hold some of the picture"):
        checked_trace(replace(trace, view=Box(1.0, 0.0, 2.0, 1.0)))


@pytest.mark.parametrize(
    ("view", "said"),
    [
        (WHOLE, ""),
        (Box(0.0, 0.0, 0.6, 1.0), "The model sees the left 60 % of the width"),
        (Box(0.0, 0.5, 1.0, 1.0), "The model sees the bottom 50 % of the height"),
        (Box(0.1, 0.0, 0.4, 1.0), "The model sees 10 % to 40 % of the width"),
        (
            Box(0.25, 0.25, 0.75, 0.75),
            "The model sees the middle 50 % of the width and the middle 50 % of the height",
        ),
        (
            Box(0.25, 0.0, 0.75, 1.5),
            "The model sees the middle 50 % of the width; the grid reaches beyond the picture by "
            "50 % of the height at the bottom",
        ),
    ],
)
def test_what_is_seen_is_said_in_words(view: Box, said: str) -> None:
    assert view_in_words(view) == said


# Cases

CASES = """\
cases:
  - id: patch
    image: images/a.png
    text: a red patch
    regions: {patch: [[64, 24, 96, 56]], edge: [[0, 0, 16, 96]]}
    expect:
      label: yes
      attention:
        - {metric: pointing, region: patch, min: 1}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "images").mkdir()
    picture((160, 96), (64, 24, 96, 56)).save(tmp_path / "images" / "a.png")
    path = tmp_path / "all.yaml"
    path.write_text(CASES)
    monkeypatch.chdir(tmp_path)
    return path


def audited(file: Path, sees: str, name: str, update: str = "") -> tuple[Outcome, Run]:
    model, run = LookingToy(sees), Run(file.parent / name)
    about = model.fingerprint.to_dict()
    run.start({"id": name, "model": about, "baselines": "accepted"})
    policy = Policy(file.parent / "accepted", update, {"model": about})
    (outcome,) = stored_in(run, load_cases(file), model, policy)
    if run.proposals.exists():
        baselines.promote(run.proposals, policy.folder)
    return outcome, run


def test_a_region_that_is_cropped_away_is_undefined_and_says_so(file: Path) -> None:
    outcome, run = audited(file, "crop", "run")
    own = outcome.metrics["answer_attention"]
    assert own["mass[edge]"] == "the region lies outside of what the model sees"
    assert {own[f"{m}[edge]"] for m in ("pointing", "auc", "lift")} == {own["mass[edge]"]}
    assert own["pointing[patch]"] == 1.0
    assert run.outcome("patch").view == pytest.approx((0.2, 0.0, 0.8, 1.0))


def test_an_expectation_about_a_region_that_is_cropped_away_says_so(file: Path) -> None:
    file.write_text(CASES.replace("region: patch, min: 1", "region: edge, tolerance: 1, min: 1"))
    outcome, _ = audited(file, "crop", "run")
    assert outcome.state is State.UNDEFINED
    assert "lies outside of what the model sees" in outcome.sentence


def test_a_padded_picture_has_its_whole_regions_seen(file: Path) -> None:
    outcome, _ = audited(file, "pad", "run")
    assert isinstance(outcome.metrics["answer_attention"]["mass[edge]"], float)


def test_a_baseline_says_what_was_seen_only_if_that_is_not_the_whole(file: Path) -> None:
    stored = {}
    for sees in ("whole", "crop"):
        audited(file, sees, sees, "all")
        stored[sees] = json.loads((file.parent / "accepted" / "patch.json").read_text())
        held = accepted.load(file.parent / "accepted", "patch")
        assert held is not None
        assert held.view == pytest.approx(WHOLE if sees == "whole" else (0.2, 0, 0.8, 1))
    assert "view" not in stored["whole"]
    assert stored["crop"]["view"] == [0.2, 0.0, 0.8, 1.0]


@pytest.mark.parametrize("sees", PARTS)
def test_the_same_view_again_has_not_drifted(file: Path, sees: str) -> None:
    audited(file, sees, "first", "all")
    outcome, run = audited(file, sees, "second")
    assert outcome.state is State.PASSED
    assert "baseline:answer_attention" in run.maps("patch")


def test_figures_of_another_view_are_not_compared_and_the_case_says_why(file: Path) -> None:
    audited(file, "whole", "first", "all")
    outcome, run = audited(file, "crop", "second")
    assert outcome.state is State.DRIFTED
    assert [row.figure for row in outcome.drift] == ["label", "probability of yes", "view"]
    assert outcome.drift[2].verdict == "drifted"
    assert (outcome.drift[2].baseline, outcome.drift[2].observed) == (
        "[0, 0, 1, 1]", "[0.2, 0, 0.8, 1]",
    )  # fmt: skip
    assert list(run.maps("patch")) == ["answer_attention"]


def test_a_case_whose_view_alone_changed_says_so(file: Path) -> None:
    audited(file, "whole", "first", "all")
    held = accepted.load(file.parent / "accepted", "patch")
    assert held is not None
    stored = json.loads(held.path.read_text()) | {"view": [0.0, 0.0, 0.5, 1.0]}
    held.path.write_text(json.dumps(stored))
    outcome, _ = audited(file, "whole", "second")
    assert outcome.state is State.STACK  # the toy's weights and preprocessing are the same
    assert outcome.sentence.startswith(
        "the weights are the baseline's, and the maps cover [0, 0, 1, 1] of the picture, those of "
        "the baseline [0, 0, 0.5, 1]: their figures are not compared; "
    )


def test_accepting_another_view_begins_its_anchors_anew(file: Path) -> None:
    audited(file, "whole", "first", "all")
    audited(file, "crop", "second", "changed")
    held = accepted.load(file.parent / "accepted", "patch")
    assert held is not None
    assert held.view == pytest.approx((0.2, 0, 0.8, 1))
    assert held.anchors == held.figures
    assert audited(file, "crop", "third")[0].state is State.PASSED


def test_maps_of_two_views_are_not_laid_over_each_other(file: Path) -> None:
    audited(file, "whole", "first", "all")
    _, before = audited(file, "whole", "second")
    _, after = audited(file, "crop", "third")
    for first in (side_of_run(before, "a"), side_of_baselines(file.parent / "accepted")):
        (pair,) = compare(first, side_of_run(after, "b"), Limits()).pairs
        assert not pair.same_view
        assert set(pair.distances.values()) == {"the maps cover different parts of the picture"}


def test_a_page_of_a_comparison_draws_only_maps_of_one_view(file: Path) -> None:
    _, whole = audited(file, "whole", "first")
    _, cropped = audited(file, "crop", "second")
    pages = []
    for before in (whole, cropped):
        found = compare(side_of_run(before, "a"), side_of_run(cropped, "b"), Limits())
        pages.append(write_comparison(file.parent / "page.html", found).read_text())
    assert "js the maps cover different parts of the picture" in pages[0]
    assert [page.count("<img") for page in pages] == [0, 3]


def test_a_run_folder_without_views_is_of_whole_pictures(file: Path) -> None:
    _, run = audited(file, "whole", "run")
    path = run.folder / "outcomes" / "patch.json"
    stored = json.loads(path.read_text())
    del stored["view"]
    path.write_text(json.dumps(stored))
    assert run.outcome("patch").view == WHOLE
    stored["view"] = [0.5, 0.0, 0.5, 1.0]
    path.write_text(json.dumps(stored))
    with pytest.raises(RunError, match=r"view: .*left, top, right and bottom"):
        run.outcome("patch")


def test_a_trace_covers_the_whole_picture_if_it_does_not_say_otherwise() -> None:
    (trace,) = LookingToy("whole").trace([Query(picture((80, 60), (0, 0, 20, 20)), "a")], {ANSWER})
    assert trace.view == WHOLE
