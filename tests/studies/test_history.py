"""What runs of many versions say together that no comparison of two of them does."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from audit.base.errors import RunError
from audit.base.settings import Limits
from audit.commands import main as cli
from audit.gate.outcomes import Outcome, State
from audit.gate.runfolder import Run
from audit.studies.history import History
from audit.studies.versions import history_of, runs_in
from tests.outcomes import outcome

KEY, FIGURE = "answer_attention", "mass[birds]"
PICTURES = 24


def case(number: int, mass: float, *, right: bool = True, tags: Sequence[str] = ()) -> Outcome:
    """One of two cases about a picture."""
    label = "yes" if right else "no"
    return replace(
        outcome(f"case-{number}", State.PASSED, number + 1),
        image_digest=f"{number // 2:064x}", case_digest=f"{number:064x}", label=label,
        default_map=KEY, metrics={KEY: {FIGURE: mass}}, tags=list(tags), verdicts=[],
        probabilities={"yes": 0.75 if right else 0.25, "no": 0.25 if right else 0.75},
        wanted={"birds": "higher"},
    )  # fmt: skip


def version(folder: Path, month: int, outcomes: Sequence[Outcome]) -> Path:
    run = Run(folder)
    run.start(
        {
            "id": folder.name,
            "model": {"name": "toy", "weights": f"{month}", "dtype": "float32", "device": "cpu"},
            "started": f"2026-{month:02}-01T00:00:00+00:00",
        }
    )
    for each in outcomes:
        run.add(each, {})
    return folder


Mass = Callable[[int, int], float]
"""By version and picture."""


def versions(root: Path, number: int, mass: Mass, seed: int = 0) -> list[Path]:
    """Runs in which every case has the mass that is given, and some noise."""
    noise = np.random.default_rng(seed).normal(0, 0.004, (number, 2 * PICTURES))
    return [
        version(
            root / f"v{v + 1}", v + 1,
            [case(n, mass(v, n // 2) + float(noise[v, n])) for n in range(2 * PICTURES)],
        )
        for v in range(number)
    ]  # fmt: skip


def told(folders: Sequence[Path]) -> History:
    return history_of(folders, Limits())


def test_a_corrected_expected_label_is_no_change_of_the_versions(tmp_path: Path) -> None:
    folders = [
        version(
            tmp_path / f"v{v}", v,
            [replace(case(n, 0.6), expected="no" if v < 3 else "yes") for n in range(12)],
        )
        for v in (1, 2, 3)
    ]  # fmt: skip
    found = told(folders)
    assert [(each.right, each.of) for each in found.versions] == [(12, 12)] * 3
    assert [each.slices for each in found.versions] == [{"expected yes": (12, 12)}] * 3
    assert found.total is not None
    assert (found.total.labels.gained, found.crept) == (0, [])


def test_what_creeps_in_steps_that_nothing_shows_is_told(tmp_path: Path) -> None:
    # The tolerance of mass is 0.02: a step of 0.008 is 0.4 of it, five are two.
    found = told(versions(tmp_path, 6, lambda v, _: 0.6 - 0.008 * v))
    (line,) = [line for line in found.lines if line.metric == "mass"]
    assert line.crept
    assert not any(step.failed for step in found.steps)
    assert max(abs(step) for step in line.steps) < 0.5
    assert line.slope == pytest.approx(-0.008, abs=0.001)
    assert line.p is not None
    assert line.p < 0.001
    assert found.sentence.startswith(
        "crept over 6 runs although no step shows it, over 48 cases on 24 pictures: "
        "mass moved for the worse by -0.0"
    )
    assert "5 of 5 steps in this direction" in found.sentence
    assert "no steady trend" not in found.sentence


def test_the_slope_is_that_of_least_squares_over_the_means(tmp_path: Path) -> None:
    found = told(versions(tmp_path, 5, lambda v, _: [0.6, 0.592, 0.588, 0.58, 0.575][v]))
    (line,) = [line for line in found.lines if line.metric == "mass"]
    means = [point.change for point in line.points]
    slope, _ = np.polyfit(np.arange(5), means, 1)
    assert line.slope == pytest.approx(slope)


def test_what_one_step_shows_has_not_crept(tmp_path: Path) -> None:
    found = told(versions(tmp_path, 6, lambda v, _: 0.6 if v < 3 else 0.5))
    assert found.crept == []
    assert found.sentence.startswith("nothing crept over 6 runs that a single step does not show")
    assert found.sentence.endswith(f"1 step moved by itself: {tmp_path}/v3 → {tmp_path}/v4")


def test_noise_around_one_level_is_no_trend(tmp_path: Path) -> None:
    for seed in range(5):
        found = told(versions(tmp_path / str(seed), 6, lambda *_: 0.6, seed))
        assert found.sentence == "nothing crept over 6 runs, over 48 cases on 24 pictures"


def test_a_move_without_a_steady_trend_is_said_to_be_none(tmp_path: Path) -> None:
    # Up and down within a tolerance, and in the end more than half of one below the first.
    found = told(versions(tmp_path, 6, lambda v, _: [0.6, 0.608, 0.6, 0.592, 0.594, 0.585][v]))
    (clause,) = found.crept
    assert "3 of 5 steps in this direction" in clause
    assert "(no steady trend, p = 0.0" in clause


@pytest.mark.parametrize("number", [2, 3])
def test_no_trend_is_claimed_of_fewer_than_four_runs(tmp_path: Path, number: int) -> None:
    found = told(versions(tmp_path, number, lambda v, _: 0.6 - 0.008 * v))
    assert found.crept == []
    assert found.lines[0].slope is None
    assert found.sentence.startswith(f"{number} runs are too few to tell a trend, which needs 4")


def test_pictures_have_one_vote_each(tmp_path: Path) -> None:
    """Many cases about one picture that falls say no more than one of them."""
    many = [
        version(
            tmp_path / f"v{v}", v + 1,
            [
                *(replace(case(n, 0.6 - 0.008 * v), image_digest="f" * 64) for n in range(40)),
                *(case(n, 0.6) for n in range(40, 44)),
            ],
        )
        for v in range(6)
    ]  # fmt: skip
    found = told(many)
    assert found.total is not None
    assert found.total.images == 3
    assert found.crept == []
    (line,) = [line for line in found.lines if line.metric == "mass"]
    assert line.points[-1].change == pytest.approx(-0.04 / 3)


def test_labels_that_are_lost_one_by_one_are_told(tmp_path: Path) -> None:
    folders = [
        version(
            tmp_path / f"v{v}", v + 1,
            [case(n, 0.6, right=n // 2 >= 2 * v) for n in range(0, 2 * PICTURES, 2)],
        )
        for v in range(6)
    ]  # fmt: skip
    found = told(folders)
    assert [version.right for version in found.versions] == [24, 22, 20, 18, 16, 14]
    assert found.crept[0].startswith("10 labels lost, 0 gained (p = ")
    assert not any(step.labels.worse for step in found.steps)


def test_a_slice_that_creeps_alone_is_told(tmp_path: Path) -> None:
    folders = [
        version(
            tmp_path / f"v{v}", v + 1,
            [
                case(n, 0.6 - (0.008 * v if n < 8 else 0) + 0.0001 * ((n * v) % 7),
                     tags=["red"] if n < 8 else ["blue"])
                for n in range(0, 4 * PICTURES, 2)
            ],
        )
        for v in range(6)
    ]  # fmt: skip
    slim = told(folders)
    assert not any("red" in clause for clause in slim.crept)  # four pictures are too few to test
    folders = [
        version(
            tmp_path / "wide" / f"v{v}", v + 1,
            [
                case(n, 0.6 - (0.008 * v if n < 16 else 0) + 0.0001 * ((n * v) % 7),
                     tags=["red"] if n < 16 else ["blue"])
                for n in range(0, 4 * PICTURES, 2)
            ],
        )
        for v in range(6)
    ]  # fmt: skip
    (clause,) = told(folders).crept
    assert clause.startswith("tag red: mass moved for the worse by -0.0")


def test_runs_are_in_the_order_of_time_whatever_the_order_of_names(tmp_path: Path) -> None:
    folders = versions(tmp_path, 4, lambda v, _: 0.6)
    found = told([folders[2], folders[0], folders[3], folders[1]])
    assert [version.about["id"] for version in found.versions] == ["v1", "v2", "v3", "v4"]


def test_cases_that_a_run_lacks_or_asked_otherwise_are_left_out(tmp_path: Path) -> None:
    folders = versions(tmp_path, 4, lambda v, _: 0.6)
    Run(folders[1]).add(replace(case(0, 0.6), case_digest="e" * 64), {})
    Run(folders[2]).add(replace(case(1, 0.6), label="", probabilities={}, metrics={}), {})
    Run(folders[3]).add(case(99, 0.6), {})
    found = told(folders)
    assert sorted(found.left_out) == ["case-0", "case-1", "case-99"]
    assert found.shared == 2 * PICTURES - 2
    assert {version.of for version in found.versions} == {found.shared}


def test_runs_that_share_nothing_have_a_page_and_no_trend(tmp_path: Path) -> None:
    folders = [version(tmp_path / f"v{v}", v + 1, [case(v, 0.6)]) for v in range(4)]
    found = told(folders)
    assert (found.lines, found.total, found.crept) == ([], None, [])
    assert found.sentence.startswith("the 4 runs share no case that was asked in the same way")


def test_what_cannot_be_ordered_or_is_there_twice_is_refused(tmp_path: Path) -> None:
    one, two = versions(tmp_path, 2, lambda v, _: 0.6)
    with pytest.raises(RunError, match="is the same run as"):
        told([one, two, one])
    with pytest.raises(RunError, match="at least two runs"):
        told([one])
    about = json.loads((two / "run.json").read_text())
    for started in ("", "yesterday", "2026-01-01T00:00:00"):
        (two / "run.json").write_text(json.dumps({**about, "started": started}))
        with pytest.raises(RunError, match=r"run\.json: started: needs a time with its zone"):
            told([one, two])
    with pytest.raises(RunError, match="neither a run nor a folder of runs"):
        runs_in([tmp_path / "v1" / "outcomes"])


def test_the_command_writes_a_page_that_needs_nothing_else_and_prints_json(tmp_path: Path) -> None:
    versions(tmp_path / "runs", 6, lambda v, _: 0.6 - 0.008 * v)
    page = tmp_path / "history.html"
    arguments = ["history", str(tmp_path / "runs"), "--out", str(page)]
    said = CliRunner().invoke(cli.app, arguments)
    assert said.exit_code == 0, said.output
    assert said.stdout.startswith("crept over 6 runs although no step shows it")
    assert "  6. " in said.stdout
    text = page.read_text()
    assert "Crept over 6 runs although no step shows it" in text
    assert "http" not in text.replace("http-equiv", "")
    assert "<script" not in text
    found = json.loads(CliRunner().invoke(cli.app, [*arguments, "--json"]).stdout)
    assert found["metrics"]["mass"]["crept"] is True
    assert len(found["metrics"]["mass"]["points"]) == 6
    assert [run["id"] for run in found["runs"]] == [f"v{n}" for n in range(1, 7)]
    assert found["page"] == str(page)


def test_words_of_a_run_are_text_on_the_page(tmp_path: Path) -> None:
    folders = versions(tmp_path, 4, lambda v, _: 0.6)
    Run(folders[0]).add(case(0, 0.6, tags=["<b>bold</b>"]), {})
    about = json.loads((folders[1] / "run.json").read_text())
    about["model"]["name"] = "<script>alert(1)</script>"
    (folders[1] / "run.json").write_text(json.dumps(about))
    page = tmp_path / "history.html"
    CliRunner().invoke(cli.app, ["history", *map(str, folders), "--out", str(page)])
    text = page.read_text()
    assert "<script" not in text
    assert "<b>" not in text
    assert "tag &lt;b&gt;bold" in text
