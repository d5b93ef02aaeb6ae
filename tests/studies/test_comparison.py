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
from audit.base.settings import Limits
from audit.commands import main as cli
from audit.gate import baselines
from audit.gate.outcomes import DriftRow, State
from audit.gate.runfolder import Run
from audit.gate.tolerances import Kind, Level, Noise
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
    """Two runs of two cases; in the second, one map has moved and its text tries to be markup."""
    folders = []
    for name, corner in (("a", cell(0, 0)), ("b", cell(1, 1))):
        run = Run(tmp_path / name)
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


SAME = {
    "model": {"weights": "w", "device": "cpu", "dtype": "float32", "packages": {"torch": "2.11.0"}},
    "stack": {"threads": "2"},
}
LATER = {**SAME, "stack": {"threads": "8"}}


def test_the_same_weights_are_held_to_the_floor_and_what_differs_is_told() -> None:
    noise = Noise(
        {"answer_attention": {"mass": 0.1}},
        {},
        {
            Kind("float32", "cpu"): Level(
                "",
                {"answer_attention": {"mass": 0.001}, "probability": {"probability": 0.001}},
                measured={"engine": frozenset({"fast"})},
            )
        },
    )
    before, after = sides(
        *(
            (
                subject(str(n), cell(0, 0), origin=SAME),
                subject(str(n), cell(0, 0), origin=LATER, figures={"mass[birds]": 0.8 + move}),
            )
            for n, move in enumerate((0.0, 0.0015, 0.003))
        )
    )
    found = compare(before, replace(after, noise=noise), Limits())
    assert found.moved_by_stack == ["2"]
    assert found.headline == "moved by the stack"
    assert found.failed
    assert found.sentence.endswith(
        "; the weights of 3 cases are the same, 1 of them moved by more than their noise; "
        "what differs: threads 2 → 8"
    )
    covered = replace(
        noise,
        levels={
            kind: replace(level, measured={"threads": frozenset({"2", "8"})})
            for kind, level in (noise.levels or {}).items()
        },
    )
    assert compare(before, replace(after, noise=covered), Limits()).sentence.endswith(
        "nothing that is recorded differs (but threads 2 → 8, measured as harmless)"
    )
    told = found.to_dict()
    assert told["moved_by_stack"] == ["2"]
    assert {row["weights"] for row in told["cases"]} == {"same"}
    others = {
        name: replace(s, origin={**LATER, "model": {**SAME["model"], "weights": "x"}})
        for name, s in after.subjects.items()
    }
    found = compare(before, replace(after, subjects=others, noise=noise), Limits())
    assert not found.beyond
    assert not found.failed
    assert "weights" not in found.sentence


def test_noise_is_not_spoken_of_where_none_was_measured() -> None:
    moved = subject("a", cell(0, 0), origin=LATER, figures={"mass[birds]": 0.7})
    before, after = sides((subject("a", cell(0, 0), origin=SAME), moved))
    found = compare(before, after, Limits())
    assert found.moved_by_stack == ["a"]
    assert (
        "the weights of 1 case are the same, and it moved by more than the default tolerances "
        "(no noise floor was measured)" in found.sentence
    )
    floors = {"answer_attention": {"mass": 0.001}}
    some = Noise({}, {}, {Kind("float32", "cpu"): Level("", floors)})
    partly = compare(before, replace(after, noise=some), Limits())
    assert "than its tolerances (1 of 2 figures without a measured noise floor)" in partly.sentence


def test_all_moves_together_count_as_in_a_session() -> None:
    """Of other weights, each within its tolerance, and together further than what is harmless."""
    floors = {"answer_attention": {"mass": 0.001}, "probability": {"probability": 0.001}}
    harmless = {str(n): 0.1 for n in range(4)}
    noise = Noise({}, {}, {Kind("float32", "cpu"): Level("float32 on cpu", floors, harmless)})
    later = {**SAME, "model": {**SAME["model"], "weights": "x"}}
    before, after = sides(
        *(
            (
                subject(str(n), cell(0, 0), origin=SAME),
                subject(str(n), cell(0, 0), origin=later, figures={"mass[birds]": 0.8 + move}),
            )
            for n, move in enumerate((0.002, -0.002, 0.002, -0.002))
        )
    )
    found = compare(before, replace(after, noise=noise), Limits())
    assert not found.beyond
    assert found.suite.omnibus is not None
    # Each mass moved by two floors and each probability by none: (4 + 0) / 2.
    assert found.suite.omnibus.value == pytest.approx(2.0)
    assert found.failed
    assert "on average, more than the 0.4 that 4 harmless conditions allow" in found.sentence
    assert not compare(before, after, Limits()).failed


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


def served(what: Subject) -> Subject:
    """As behind a server: nobody can see its weights."""
    return replace(what, origin={"model": {"dtype": "unknown", "device": "server"}})


def local(what: Subject) -> Subject:
    return replace(what, origin={"model": {"dtype": "float32", "weights": "w", "device": "cpu"}})


def test_weights_behind_a_server_are_the_same_only_if_somebody_says_so() -> None:
    before, after = local(subject("a", cell(0, 0))), served(subject("a", cell(0, 0)))
    moved = replace(after, probabilities={"yes": 0.6, "no": 0.4})
    found = compare(*sides((before, moved)), Limits())
    assert not found.pairs[0].same
    assert "--same-weights says so" in found.sentence
    found = compare(*sides((before, moved)), Limits(), stated=True)
    assert found.moved_by_stack == ["a"]
    assert "weights of 1 case are said to be the same, and it moved by more than" in found.sentence
    assert "what differs: device cpu → server, precision float32 → unknown" in found.sentence
    assert not compare(*sides((before, after)), Limits(), stated=True).failed
    with pytest.raises(RunError, match="a: --same-weights is for weights that cannot be seen"):
        compare(*sides((before, before)), Limits(), stated=True)


def asked_by(what: Subject, asking: str) -> Subject:
    return replace(what, origin={"model": {**what.origin["model"], "asking": asking}})


def test_sides_that_were_asked_by_different_asking_files_are_told_apart() -> None:
    before = asked_by(local(subject("a", cell(0, 0))), "one")
    after = replace(
        asked_by(local(subject("a", cell(0, 0))), "other"), probabilities={"yes": 0.6, "no": 0.4}
    )
    others = subject("b", cell(0, 0)), subject("b", cell(0, 0))
    said = (
        "were asked by different asking files, so probabilities are of other questions or answers"
    )
    found = compare(*sides((before, after)), Limits())
    assert f"; both sides {said}" in found.sentence
    assert found.to_dict()["asked_otherwise"] == ["a"]
    partly = compare(*sides((before, after), others), Limits())
    assert f"; in 1 case both sides {said}" in partly.sentence
    for one, other in ((before, asked_by(after, "one")), (before, local(after))):
        assert "asking file" not in compare(*sides((one, other)), Limits()).sentence


def test_what_another_asking_file_moves_is_not_told_as_the_stacks_doing() -> None:
    before = asked_by(local(subject("a", cell(0, 0))), "one")
    after = asked_by(served(subject("a", cell(0, 0), probabilities={"yes": 0.2, "no": 0.8})), "two")
    found = compare(*sides((before, after)), Limits(), stated=True)
    assert found.moved_by_stack == []
    assert "different asking files" in found.sentence
    assert "--same-weights" not in found.sentence
    again = compare(*sides((before, asked_by(after, "one"))), Limits(), stated=True)
    assert again.moved_by_stack == ["a"]


def test_the_stack_is_told_by_what_can_move_what_moved() -> None:
    def of(what: Subject, pot: str) -> Subject:
        return replace(what, origin={**what.origin, "stack": {"POT": pot, "threads": pot}})

    before = of(local(subject("a", cell(0, 0))), "1")
    after = of(local(subject("a", cell(0, 0), probabilities={"yes": 0.5, "no": 0.5})), "2")
    assert compare(*sides((before, after)), Limits()).sentence.endswith(
        "what differs: threads 1 → 2"
    )


def test_figures_of_other_maps_or_of_other_grids_under_the_same_weights_are_not_compared() -> None:
    one = local(subject("a", cell(0, 0)))
    finer = replace(served(subject("a", np.eye(3) / 3)), figures={"entropy": 0.9})
    (pair,) = compare(*sides((one, finer)), Limits()).pairs
    assert pair.changes  # of other weights, as before
    (pair,) = compare(*sides((one, finer)), Limits(), stated=True).pairs
    assert not pair.changes
    assert not pair.beyond
    (pair,) = compare(*sides((one, replace(finer, method="occlusion"))), Limits()).pairs
    assert not pair.changes
    assert pair.distances["js"] == "the maps are of different methods"


def test_that_a_server_shows_no_attention_is_no_move() -> None:
    figures = {"entropy": 0.2, "image_share": 0.4}
    before = replace(local(subject("a", cell(0, 0))), figures=figures, method="occlusion")
    after = replace(served(before), figures={**figures, "image_share": "gives no attention"})
    found = compare(*sides((before, after)), Limits(), stated=True)
    assert [str(key) for key in found.pairs[0].changes] == ["entropy"]
    assert not found.failed


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
