"""Shards of one session, by pytest-split as in a pipeline's matrix, put together and judged."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from audit.base.files import write_json
from audit.commands import main as cli
from audit.gate.outcomes import Outcome
from audit.gate.runfolder import Run
from tests.pages import words_of


def sharded(project: pytest.Pytester, number: int, *more: str) -> list[str]:
    """The run folders of a session's shards; the gate over each alone is off, as docs advise."""
    for group in range(1, number + 1):
        project.runpytest(
            "cases", f"--splits={number}", f"--group={group}", f"--audit-run-dir=shard-{group}",
            "--audit-suite-gate=off", *more,
        )  # fmt: skip
    return [f"shard-{group}" for group in range(1, number + 1)]


def merged(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, ["merge", *arguments, "--out", "merged"])


def refused(*arguments: str) -> str:
    """Why the shards are refused; nothing is written then, not even in part."""
    before = sorted(Path().iterdir())
    done = merged(*arguments)
    assert sorted(Path().iterdir()) == before
    assert done.exit_code == 1
    return str(done.exception)


def edit(run: str, **changed: Any) -> None:
    path = Path(run) / "run.json"
    write_json(path, {**json.loads(path.read_text()), **changed})


def kept(run: str) -> dict[str, Outcome]:
    """Outcomes by case, without how long they took."""
    found = {outcome.case: outcome for outcome in Run(Path(run)).outcomes()}
    for outcome in found.values():
        outcome.seconds = 0.0
    return found


def test_shards_put_together_are_the_run_of_one_session(accepted: pytest.Pytester) -> None:
    whole = accepted.runpytest("cases", "--audit-run-dir=whole")
    done = merged(*sharded(accepted, 2))
    assert done.exit_code == 0, done.output
    assert kept("merged") == kept("whole")
    for case in kept("whole"):
        one, other = (Run(Path(name)).maps(case) for name in ("merged", "whole"))
        assert one.keys() == other.keys()
        assert all((one[key] == other[key]).all() for key in one)
        assert Run(Path("merged")).strips(case).keys() == Run(Path("whole")).strips(case).keys()
    pictures = [sorted(p.name for p in Path(n, "images").iterdir()) for n in ("merged", "whole")]
    assert pictures[0] == pictures[1]
    ends = [Run(Path(name)).results() for name in ("merged", "whole")]
    assert ends[0]["suite"] == ends[1]["suite"]
    assert ends[0]["session"] == ends[1]["session"]
    assert ends[0]["totals"] == ends[1]["totals"]
    page = Path("merged", "gallery.html").read_text()
    assert all(f'id="case-{case}"' in page for case in kept("whole"))
    for line in whole.outlines:
        if line.startswith(("audit passed", "suite-level gate", "3 cases", "labels")):
            assert line in done.stdout


def test_the_run_says_of_which_shards_it_is_made(accepted: pytest.Pytester) -> None:
    merged(*sharded(accepted, 2))
    about = Run(Path("merged")).about()
    parts = [Run(Path(name)).about() for name in ("shard-1", "shard-2")]
    assert [each["id"] for each in about["shards"]] == [each["id"] for each in parts]
    assert [each["cases"] for each in about["shards"]] == [2, 1]
    assert about["id"] not in {each["id"] for each in parts}
    assert about["started"] == min(each["started"] for each in parts)
    assert about["model"] == parts[0]["model"]


def test_a_shift_that_no_shard_can_tell_fails_all_together(
    many: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_LEAN", "0.006")
    for group in range(1, 5):
        alone = many.runpytest(
            "cases", "--splits=4", f"--group={group}", f"--audit-run-dir=shard-{group}"
        )
        assert alone.ret == pytest.ExitCode.OK
    done = merged(*(f"shard-{group}" for group in range(1, 5)))
    assert done.exit_code == 1
    assert re.search("suite-level gate FAILED: over 16 cases on 16 pictures: .* moved", done.stdout)
    assert done.stdout.startswith("audit failed: the suite-level gate failed, 16 of 16 audited\n")
    assert "Suite-level gate failed" in words_of(Path("merged", "gallery.html").read_text())


def test_a_failing_case_fails_the_merge(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_LEAN", "0.1")
    done = merged(*sharded(accepted, 2), "--summary", "summary.md")
    assert done.exit_code == 1
    failed = sum(outcome.failed for outcome in kept("merged").values())
    assert failed
    assert Run(Path("merged")).results()["session"]["failed"] == failed
    assert Path("summary.md").read_text().startswith("## Audit failed")


def test_what_failed_a_shard_besides_its_cases_fails_the_merge(accepted: pytest.Pytester) -> None:
    shards = sharded(accepted, 2)
    write_json(
        Path("shard-2", "results.json"),
        {
            **Run(Path("shard-2")).results(),
            "session": {
                "passed": False, "sentence": "failed: interrupted, 1 of 4 audited",
                "exit_status": 2, "selected": 4, "audited": 1, "failed": 0, "skipped": 0,
                "reasons": ["interrupted"],
            },
        },
    )  # fmt: skip
    done = merged(*shards)
    assert done.exit_code == 1
    assert done.stdout.startswith("audit failed: shard-2: interrupted, 3 of 6 audited\n")


def test_a_shard_whose_session_did_not_end_fails_the_merge(accepted: pytest.Pytester) -> None:
    shards = sharded(accepted, 2)
    Path("shard-1", "results.json").unlink()
    done = merged(*shards)
    assert done.exit_code == 1
    assert done.stdout.startswith("audit failed: shard-1: the session did not end, 3 of 3 audited")


def test_a_missing_shard_fails_the_merge_if_the_number_of_cases_is_known(
    accepted: pytest.Pytester,
) -> None:
    shards = sharded(accepted, 2)
    done = merged(shards[0], "--min-cases", "3")
    assert done.exit_code == 1
    said = "audit failed: 2 cases audited, fewer than the 3 of audit_min_cases, 2 of 2 audited\n"
    assert done.stdout.startswith(said)


def test_a_number_of_cases_that_only_all_shards_reach_is_reached_together(
    accepted: pytest.Pytester,
) -> None:
    shards = sharded(accepted, 2, "--audit-min-cases=3")
    assert not Run(Path("shard-1")).results()["session"]["passed"]
    done = merged(*shards)
    assert done.exit_code == 0, done.stdout


def test_a_case_in_two_shards_is_refused(accepted: pytest.Pytester) -> None:
    shards = sharded(accepted, 2)
    accepted.runpytest("cases/birds.yaml", "--audit-run-dir=again")
    assert refused(*shards, "again") == (
        "shard-1 and again are no shards of one session: 2 cases in both (birds, no-cat)"
    )
    assert refused("again", "again") == "one run is named twice: name each shard once"


OTHERWISE: list[tuple[dict[str, Any], str]] = [
    ({"labels": ["yes", "no"]}, "labels no, yes, maybe and yes, no"),
    ({"baselines_digest": "0" * 64}, r"digest of the baselines \w{12}… and 000000000000…"),
    ({"waived": "it looks elsewhere"}, "limits set aside none and it looks elsewhere"),
    ({"model": {"name": "toy", "weights": "other"}}, "weights .* and other"),
    ({"stack": {"numpy": "1.0"}}, r"numpy [\d.]+ and 1\.0"),
    ({"options": {"batch_size": 0, "min_cases": 0, "suite_alpha": 0.01, "suite_effect": 0.5,
                  "omnibus_limit": None}}, "--audit-suite-alpha 0.05 and 0.01"),
]  # fmt: skip


def test_shards_that_were_made_otherwise_are_refused_and_what_differs_is_named(
    accepted: pytest.Pytester,
) -> None:
    shards = sharded(accepted, 2)
    honest = Path("shard-2", "run.json").read_text()
    for changed, said in OTHERWISE:
        edit("shard-2", **changed)
        told = refused(*shards)
        Path("shard-2", "run.json").write_text(honest)
        assert told.startswith("shard-1 and shard-2 are no shards of one session: ")
        assert re.search(said, told), told


def test_other_machines_are_put_together_only_if_asked(accepted: pytest.Pytester) -> None:
    shards = sharded(accepted, 2)
    stack = Run(Path("shard-2")).about()["stack"]
    edit("shard-2", stack={**stack, "processor": "another"})
    assert refused(*shards).endswith(
        "and another; if only the machines differ, --other-machines puts them together all the same"
    )
    assert merged(*shards, "--other-machines").exit_code == 0
    about = Run(Path("merged")).about()
    assert "processor" not in about["stack"]
    assert about["stack"]["numpy"] == stack["numpy"]
    assert about["shards"][1]["stack"]["processor"] == "another"


def test_other_baselines_than_the_shards_were_compared_with_are_refused(
    accepted: pytest.Pytester,
) -> None:
    shards = sharded(accepted, 2)
    shutil.copytree("baselines", "elsewhere")
    Path("baselines", "birds.json").unlink()
    told = refused(*shards)
    assert "these are not the baselines that the shards were compared with" in told
    assert merged(*shards, "--baselines", "elsewhere").exit_code == 0


def test_another_noise_floor_than_the_shards_were_judged_by_is_refused(
    accepted: pytest.Pytester,
) -> None:
    noise = Path("baselines", "provenance", "noise.json")
    noise.parent.mkdir()
    noise.write_text('{"format": 2, "floors": {}, "cases": 1}')
    shards = sharded(accepted, 2)
    noise.write_text('{"format": 2, "floors": {}, "cases": 2}')
    told = refused(*shards)
    assert "these are not the baselines that the shards were compared with" in told


def test_the_merged_run_began_when_the_first_of_its_shards_did_in_any_zone(
    accepted: pytest.Pytester,
) -> None:
    shards = sharded(accepted, 2)
    for shard, time in zip(shards, ("2026-11-26T09:00:00+00:00", "2026-11-26T10:30:00+02:00"),
                           strict=True):  # fmt: skip
        for name in ("run.json", "results.json"):
            path = Path(shard, name)
            path.write_text(json.dumps(json.loads(path.read_text()) | {"started": time}))
    merged(*shards)
    assert json.loads(Path("merged", "run.json").read_text())["started"].endswith("10:30:00+02:00")


def test_runs_that_accept_baselines_are_refused(project: pytest.Pytester) -> None:
    project.runpytest("cases", "--audit-update=new")
    assert "run: accepted baselines (--audit-update)" in refused("run")


def test_a_run_of_an_earlier_version_is_refused(accepted: pytest.Pytester) -> None:
    shards = sharded(accepted, 2)
    path = Path("shard-1", "run.json")
    about = json.loads(path.read_text())
    del about["options"]
    write_json(path, about)
    assert "shard-1: is of an earlier version" in refused(*shards)


def test_a_damaged_shard_leaves_nothing_behind(accepted: pytest.Pytester) -> None:
    shards = sharded(accepted, 2)
    Path("shard-2", "outcomes", "hungry.npz").write_bytes(b"no maps")
    assert "hungry.npz" in refused(*shards)


def test_a_folder_with_something_in_it_is_not_overwritten(accepted: pytest.Pytester) -> None:
    shards = sharded(accepted, 2)
    Path("merged").mkdir()
    Path("merged", "mine.txt").write_text("mine")
    assert refused(*shards) == "merged: is there already: name a new folder for the run"
