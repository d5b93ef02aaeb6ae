"""Comparing two runs or sets of baselines: pairs, distances, verdict, page, command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from audit.base.errors import RunError
from audit.base.files import write_json
from audit.base.settings import Limits
from audit.commands import main as cli
from audit.gate import baselines
from audit.gate.outcomes import DriftRow, State
from audit.gate.runfolder import Run
from audit.report.comparison_page import write_comparison
from audit.studies.comparison import compare
from audit.studies.sides import Side, Subject, side_of_folder, side_of_run
from tests.outcomes import outcome

EVIL = '<script>alert("x")</script>'


def cell(row: int, col: int) -> np.ndarray:
    p = np.zeros((2, 2))
    p[row, col] = 1.0
    return p


def subject(case: str, p: np.ndarray | None, **more: object) -> Subject:
    made = Subject(
        case, "two birds", f"picture-{case}", "yes", "digest", "yes", {"yes": 0.9, "no": 0.1},
        {"mass[birds]": 0.8, "entropy": 0.2}, "answer_attention", p,
    )  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]


def sides(*pairs: tuple[Subject, Subject]) -> tuple[Side, Side]:
    before, after = zip(*pairs, strict=True)
    return Side("A", {s.case: s for s in before}), Side("B", {s.case: s for s in after})


def test_the_noise_of_a_run_is_found_from_every_folder_of_its_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    floor = {"floor": 0.001, "deviations": 200, "case": "birds", "condition": "1 thread"}
    floors = {"answer_attention": {"mass": floor}}
    write_json(tmp_path / "baselines/provenance/noise.json", {"format": 2, "floors": floors})
    Run(tmp_path / "run").start({"id": "1", "baselines": "baselines"})
    (tmp_path / "cases").mkdir()
    found = []
    for here, run in ((tmp_path, "run"), (tmp_path / "cases", "../run")):
        monkeypatch.chdir(here)
        side = side_of_folder(Path(run))
        assert side is not None
        found.append(side.noise)
    assert found[0].floors == found[1].floors != {}


def test_who_corrects_an_expected_label_has_not_changed_the_model() -> None:
    pairs = [
        (subject(f"{n}", cell(0, 0), expected="no"), subject(f"{n}", cell(0, 0))) for n in range(20)
    ]
    for before, after in (sides(*pairs), sides(*((b, a) for a, b in pairs))):
        found = compare(before, after, Limits())
        assert (found.suite.lost, found.suite.gained, found.beyond) == ([], [], [])
        assert {pair.probability[0] - pair.probability[1] for pair in found.pairs} == {0.0}
        assert "20 cases expected another label before, and both sides are held" in found.sentence
        assert not found.failed


def test_pairs_are_told_with_distances_flips_and_the_most_moved_map_first() -> None:
    moved = subject("moved", cell(1, 1), label="no", probabilities={"yes": 0.2, "no": 0.8})
    found = compare(
        *sides(
            (subject("same", cell(0, 0)), subject("same", cell(0, 0))),
            (subject("moved", cell(0, 0)), moved),
        ),
        Limits(),
    )
    first, second = found.pairs
    assert (first.after.case, second.after.case) == ("moved", "same")
    # From corner to corner of 2 x 2 cells: half of each side, which is half of the diagonal.
    assert first.distances == pytest.approx({"js": 1.0, "emd": 0.5, "centre_shift": 0.5})
    assert second.distances == pytest.approx({"js": 0.0, "emd": 0.0, "centre_shift": 0.0})
    assert first.probability == pytest.approx((0.9, 0.2))
    assert found.suite.flipped == {"moved": ("yes", "no")}
    assert found.suite.lost == ["moved"]
    assert (found.beyond, found.headline, found.failed) == (["moved"], "cannot tell", True)
    assert (
        "figures left their tolerances in 1 of 2 cases; too few pictures to tell"
        in found.suite.sentence
    )
    json.dumps(found.to_dict(), allow_nan=False)


def test_what_cannot_be_compared_is_left_out_and_named() -> None:
    before, after = sides(
        (subject("same", None), subject("same", cell(0, 0))),
        (subject("edited", cell(0, 0)), subject("edited", cell(0, 0), case_digest="other")),
    )
    before = replace(before, subjects=before.subjects | {"gone": subject("gone", None)})
    after = replace(after, failed=("broken",))
    found = compare(before, after, Limits())
    assert found.left_out == {
        "broken": "has no answer on one side",
        "edited": "the case itself changed between the two",
        "gone": "only in A",
    }
    (pair,) = found.pairs
    assert pair.distances["js"] == "one side has no map"
    assert pair.moved == 1.0
    with pytest.raises(RunError, match="share no case"):
        compare(Side("A", {}), after, Limits())


def test_figures_that_this_version_does_not_know_are_left_alone() -> None:
    figures = {"mass[birds]": 0.8, "depth[birds]": 0.1, "mass": 0.1, "mass[birds": 0.1}
    before = subject("a", cell(0, 0), figures=figures)
    after = replace(before, figures=dict.fromkeys(figures, 0.7))
    (pair,) = compare(*sides((before, after)), Limits()).pairs
    assert pair.to_dict()["metrics"] == {"mass[birds]": [0.8, 0.7]}
    assert pair.beyond


def test_a_shift_shared_by_all_cases_is_worse_and_equal_sides_are_no_regression() -> None:
    worse = [
        (
            subject(str(i), cell(0, 0)),
            subject(str(i), cell(0, 0), figures={"mass[birds]": 0.77 + i / 1000, "entropy": 0.2}),
        )
        for i in range(8)
    ]
    found = compare(*sides(*worse), Limits())
    assert found.headline == "worse"
    assert "mass moved for the worse by" in found.suite.sentence
    same = compare(*sides(*((a, a) for a, _ in worse)), Limits())
    assert same.headline == "no regression"


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    return two_runs(tmp_path)


def two_runs(root: Path) -> tuple[Path, Path]:
    """Two runs of two cases; in the second, one map has moved and its text tries to be markup."""
    folders = []
    for name, corner in (("a", cell(0, 0)), ("b", cell(1, 1))):
        run = Run(root / name)
        run.start({"model": {}, "baselines": ""})
        run.add_image("d" * 64, Image.new("RGB", (60, 40), "gray"))
        run.add(replace(outcome("still", State.PASSED), text=EVIL), {"m": cell(0, 1)})
        run.add(outcome("moves", State.PASSED), {"m": corner})
        run.add(replace(outcome("dies", State.ERROR), label="", metrics={}), {})
        folders.append(run.folder)
    return folders[0], folders[1]


def test_the_page_shows_both_maps_and_escapes_texts(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    first, second = (side_of_run(Run(folder), folder.name) for folder in runs)
    page = write_comparison(tmp_path / "page.html", compare(first, second, Limits())).read_text()
    assert page.count("<img") == 6
    assert page.index('id="moves"') < page.index('id="still"')
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "dies: has no answer on one side" in page


def test_the_command_compares_runs_and_baselines_and_exits_by_the_verdict(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "page.html"
    result = CliRunner().invoke(cli.app, ["compare", *map(str, runs), "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [c["case"] for c in found["cases"]] == ["moves", "still"]
    assert found["suite"]["images"] == 1
    assert out.exists()
    folder = tmp_path / "baselines"
    run = Run(runs[0])
    for case in ("still", "moves"):
        baselines.propose(run.outcome(case), run.maps(case), None, {}).write(folder)
    side = side_of_folder(folder)
    assert side is not None
    assert set(side.subjects) == {"still", "moves"}
    result = CliRunner().invoke(cli.app, ["compare", str(folder), str(runs[1]), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert (
        "cannot tell: over 2 cases on 1 picture: no label lost; one picture is too few"
        in result.output
    )
    assert side_of_folder(tmp_path / "nowhere") is None


def test_a_comparison_that_is_worse_exits_with_one(tmp_path: Path) -> None:
    for name, mass in (("a", 0.8), ("b", 0.6)):
        run = Run(tmp_path / name)
        run.start({"model": {}, "baselines": ""})
        for i in range(6):
            figures: dict[str, float | str] = {"mass[birds]": mass + i / 100 * (name == "a")}
            made = replace(
                outcome(f"c{i}", State.PASSED), image_digest=f"{i:064x}", metrics={"m": figures}
            )
            run.add(made, {"m": cell(0, 0)})
    folders = [str(tmp_path / "a"), str(tmp_path / "b")]
    arguments = ["compare", *folders, "--out", str(tmp_path / "page.html")]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 1
    assert "worse: over 6 cases on 6 pictures: mass moved for the worse by" in result.output
    assert CliRunner().invoke(cli.app, [*arguments, "--effect", "100"]).exit_code == 0


def better(case: str, *said: str) -> tuple[Subject, Subject]:
    """A mass that rose by four tolerances, where these expectations were declared."""
    known = frozenset(said) if said else None
    return (
        subject(case, cell(0, 0)),
        subject(case, cell(0, 0), figures={"mass[birds]": 0.88, "entropy": 0.2}, said=known),
    )


def test_a_move_for_the_better_that_nobody_asked_for_is_a_change() -> None:
    asked = compare(*sides(*(better(str(i), "label", "mass of birds") for i in range(8))), Limits())
    assert not asked.suite.failed
    assert asked.headline == "changed, not clearly worse"
    other = compare(*sides(*(better(str(i), "label") for i in range(8))), Limits())
    assert other.suite.failed
    assert other.headline == "changed"
    assert "8 cases moved for the better by more than a tolerance where" in other.suite.sentence
    unknown = compare(*sides(*(better(str(i)) for i in range(8))), Limits())
    assert not unknown.suite.failed


def test_regions_to_avoid_count_the_other_way_and_those_without_a_limit_not_at_all() -> None:
    """As in a session's gate: the means of a case's regions do not cancel each other."""
    figures = {"mass[birds]": 0.5, "mass[mark]": 0.1, "mass[sky]": 0.1}
    moved = {"mass[birds]": 0.4, "mass[mark]": 0.2, "mass[sky]": 0.9}
    wanted = {"birds": "higher", "mark": "lower", "sky": "neither"}
    pairs = [
        (
            subject(str(n), cell(0, 0), figures=figures),
            subject(str(n), cell(0, 0), figures=moved, wanted=wanted),
        )
        for n in range(8)
    ]
    found = compare(*sides(*pairs), Limits())
    (mass,) = [s for s in found.suite.shifts if s.metric == "mass"]
    assert mass.change.mean == pytest.approx(-0.1)
    assert found.headline == "worse"
    # Where nobody knows what the cases want, the metric's own direction counts for every region.
    unknown = [(a, replace(b, wanted={})) for a, b in pairs]
    (mass,) = [s for s in compare(*sides(*unknown), Limits()).suite.shifts if s.metric == "mass"]
    assert mass.change.mean == pytest.approx((-0.1 + 0.1 + 0.8) / 3)


def test_a_run_says_what_its_cases_want_of_their_regions(tmp_path: Path) -> None:
    drift = [DriftRow("mass[birds]", "0.5", "0.5", 0.0, 0.1, "within", "0.5", "lower")]
    for name, made in (
        ("told", replace(outcome("a", State.PASSED), wanted={"birds": "lower"})),
        ("earlier", replace(outcome("a", State.PASSED), drift=drift)),
    ):
        run = Run(tmp_path / name)
        run.start({"model": {}, "baselines": ""})
        run.add(made, {"m": cell(0, 0)})
        assert side_of_run(run, name).subjects["a"].wanted == {"birds": "lower"}


def test_one_picture_has_no_interval_and_cannot_tell() -> None:
    pairs = ((subject("a", cell(0, 0)), subject("a", cell(0, 0))),)
    found = compare(*sides(*pairs), Limits())
    assert found.suite.shifts
    assert {(s.interval, s.verdict) for s in found.suite.shifts} == {("", "cannot tell")}


def test_if_no_case_is_left_the_errors_of_the_model_are_told() -> None:
    after = Side("B", {}, failed=("a",), errors={"a": "the server refuses it"})
    with pytest.raises(RunError, match=r"a has no answer on one side \(B: the server refuses it"):
        compare(Side("A", {"a": subject("a", None)}), after, Limits())


def test_a_distance_without_a_value_has_a_reason() -> None:
    (pair,) = compare(*sides((subject("a", None), subject("a", cell(0, 0)))), Limits()).pairs
    assert pair.undefined == "js, emd, centre_shift: one side has no map"


def test_lost_labels_are_told_before_what_moved_for_the_better() -> None:
    before = subject("a", cell(0, 0), said=frozenset())
    after = replace(before, label="no", figures={"mass[birds]": 0.99})
    found = compare(*sides((before, after)), Limits())
    assert found.suite.sentence.startswith(
        "over 1 case on 1 picture: 1 label lost, 0 gained; 1 case moved for the better "
    )
