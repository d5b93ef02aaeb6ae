"""Accepting, creep, pruning and status, through pytest and the command line."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from audit.commands import main as cli
from audit.gate import baselines
from tests.plugin.test_gate import states, stored


def command(project: pytest.Pytester, *arguments: str) -> Any:
    del project  # pytester has made its folder the working directory
    return CliRunner().invoke(cli.app, list(arguments))


def provenance(project: pytest.Pytester, case: str) -> dict[str, Any]:
    data = json.loads((project.path / "baselines" / f"{case}.json").read_text())
    found: dict[str, Any] = data["provenance"]
    return found


def review(
    project: pytest.Pytester,
    *decisions: dict[str, str],
    run: str | None = None,
    name: str = "decisions.json",
) -> str:
    mine = json.loads((project.path / "run" / "run.json").read_text())["id"]
    path = project.path / name
    path.write_text(json.dumps({"format": 1, "run": run or mine, "decisions": decisions}))
    return str(path)


def test_new_cases_are_accepted_from_a_run_without_the_model(project: pytest.Pytester) -> None:
    project.runpytest("cases").assert_outcomes(failed=3)
    result = command(project, "accept", "run", "--reason", "first look", "--by", "Ada")
    assert result.exit_code == 0, result.output
    assert "3 baselines accepted" in result.output
    said = provenance(project, "birds")
    assert (said["reason"], said["accepted_by"]) == ("first look", "Ada")
    assert said["model"]["digest"] == "d" * 64
    assert not list((project.path / "baselines").glob(".*"))
    project.runpytest("cases").assert_outcomes(passed=3)


def test_what_a_killed_session_had_proposed_is_accepted_from_its_run(
    project: pytest.Pytester,
) -> None:
    project.runpytest("cases", "--audit-update=new").assert_outcomes(passed=3)
    # As a kill leaves it: proposals and outcomes are there, nothing was promoted or finished.
    shutil.rmtree(project.path / "baselines")
    (project.path / "run" / "results.json").unlink()
    result = command(project, "accept", "run")
    assert "3 baselines accepted" in result.output
    project.runpytest("cases").assert_outcomes(passed=3)


def test_who_accepts_a_broken_contract_or_another_models_figures_is_told(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_CELL", "0")
    accepted.runpytest("cases")
    path = accepted.path / "baselines" / "birds.json"
    stored = json.loads(path.read_text())
    stored["provenance"]["model"]["name"] = "older"
    path.write_text(json.dumps(stored))
    accepted.runpytest("cases")
    result = command(accepted, "accept", "run", "birds", "hungry")
    assert "note: 1 of these breaks its contract and goes on failing: birds" in result.output
    assert "note: these baselines were of older, and are of toy now" in result.output
    monkeypatch.setenv("TOY_CELL", "5")
    accepted.runpytest("cases")
    again = command(accepted, "accept", "run", "hungry")
    assert "note:" not in again.output


def test_precisions_are_not_mixed_by_a_session_nor_by_accepting(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_LEAN", "0.1")
    accepted.runpytest("cases")
    folder = accepted.path / "baselines"
    for path in folder.glob("*.json"):
        stored = json.loads(path.read_text())
        stored["provenance"]["model"]["dtype"] = "bfloat16"
        path.write_text(json.dumps(stored))
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    said = "baselines holds baselines in bfloat16, and this run is in float32"
    result = command(accepted, "accept", "run")
    assert result.exit_code != 0
    assert said in str(result.exception)
    for more in ((), ("--audit-update=all",)):
        refused = accepted.runpytest("cases", *more)
        assert refused.ret == pytest.ExitCode.USAGE_ERROR
        refused.stderr.fnmatch_lines([f"*{said}*--audit-baselines *baselines-float32"])
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()} == before
    # One that cannot be read is told where its case is audited, not here.
    (folder / "a.json").write_text("{")
    assert accepted.runpytest("cases").ret == pytest.ExitCode.USAGE_ERROR


def test_only_the_named_cases_are_accepted(project: pytest.Pytester) -> None:
    project.runpytest("cases")
    result = command(project, "accept", "run", "birds", "--json")
    assert json.loads(result.stdout)["accepted"] == ["birds"]
    assert sorted(stored(project)) == ["birds.json", "birds.npz"]


def test_a_contract_that_is_broken_is_accepted_only_by_name(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_CELL", "0")
    accepted.runpytest("cases", "-k", "test or birds or hungry")
    assert states(accepted)["birds"] == "contract broken"
    before = stored(accepted)
    assert command(accepted, "accept", "run", "--json").exit_code == 0
    assert stored(accepted)["birds.json"] == before["birds.json"]
    assert stored(accepted)["hungry.json"] != before["hungry.json"]
    assert command(accepted, "accept", "run", "birds").exit_code == 0
    assert stored(accepted)["birds.json"] != before["birds.json"]


def change_text(project: pytest.Pytester) -> None:
    path = project.path / "cases" / "birds.yaml"
    path.write_text(path.read_text().replace("two birds", "four birds"))


def remove_case(project: pytest.Pytester) -> None:
    (project.path / "cases" / "others.yaml").write_text(
        "cases: [{id: other, image: images/b.png, text: a, expect: {label: yes}}]"
    )


def change_baseline(project: pytest.Pytester) -> None:
    path = project.path / "baselines" / "no-cat.json"
    path.write_text(path.read_text().replace('"date"', '"day"'))


def remove_baseline(project: pytest.Pytester) -> None:
    (project.path / "baselines" / "hungry.json").unlink()


@pytest.mark.parametrize(
    ("moved", "said"),
    [
        (change_text, "birds: the case changed since the run"),
        (remove_case, "hungry: the case is gone"),
        (change_baseline, "no-cat: its baseline changed since the run"),
        (remove_baseline, "hungry: its baseline changed since the run"),
    ],
)
def test_what_moved_since_the_run_is_refused_and_nothing_is_accepted(
    accepted: pytest.Pytester, moved: Any, said: str
) -> None:
    accepted.runpytest("cases")
    moved(accepted)
    before = stored(accepted)
    result = command(accepted, "accept", "run", "birds", "hungry", "no-cat")
    assert result.exit_code != 0
    assert "nothing was accepted" in str(result.exception)
    assert said in str(result.exception)
    assert stored(accepted) == before


def test_a_case_that_the_run_does_not_hold_is_refused_with_the_nearest(
    project: pytest.Pytester,
) -> None:
    project.runpytest("cases")
    result = command(project, "accept", "run", "bird")
    assert "bird: the run has no case of this name; did you mean 'birds'?" in str(result.exception)
    assert not (project.path / "baselines").exists()


def test_a_review_accepts_what_it_accepts_with_its_reasons(project: pytest.Pytester) -> None:
    project.runpytest("cases")
    path = review(
        project,
        {"case": "birds", "decision": "accept", "reason": "on the birds"},
        {"case": "no-cat", "decision": "reject", "reason": "looks at the corner"},
        {"case": "hungry", "decision": "accept"},
    )
    result = command(project, "accept", "run", "--decisions", path, "--reason", "review of May")
    assert result.exit_code == 0, result.output
    assert sorted(stored(project)) == [
        "birds.json", "birds.npz", "decisions.jsonl", "hungry.json", "hungry.npz",
    ]  # fmt: skip
    assert provenance(project, "birds")["reason"] == "on the birds"
    assert provenance(project, "hungry")["reason"] == "review of May"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "decisions.json:1: the file ends in the middle: it was cut off"),
        ("{]", "Invalid JSON"),
        ('{"format": 1, "run": "other", "decisions": []}', "decides about run other"),
        ('{"format": 3, "run": "x", "decisions": []}', "format 3, but this version reads 1 or 2"),
        (
            '{"format": 2, "run": "RUN", "decisions": [{"case": "a", "decision": "accept", '
            '"time": "noon"}]}',
            "decisions.json:1: decisions.0.time",
        ),
        ('{"format": 1, "run": "RUN", "decisions": [{"case": "a", "decision": "ok"}]}', "decision"),
        (
            '{"format": 1, "run": "RUN", "decisions": [{"case": "a", "decision": "accept"}, '
            '{"case": "a", "decision": "reject"}]}',
            "decides twice about a",
        ),
    ],
)
def test_a_review_of_another_form_or_another_run_is_refused(
    project: pytest.Pytester, content: str, said: str
) -> None:
    project.runpytest("cases")
    mine = json.loads((project.path / "run" / "run.json").read_text())["id"]
    (project.path / "decisions.json").write_text(content.replace("RUN", mine))
    result = command(project, "accept", "run", "--decisions", "decisions.json")
    assert result.exit_code != 0
    assert said in str(result.exception)
    assert not (project.path / "baselines").exists()


def toy_at(monkeypatch: pytest.MonkeyPatch, lean: float) -> None:
    monkeypatch.setenv("TOY_LEAN", str(lean))


def test_two_accepted_steps_that_add_up_to_more_than_the_tolerance_are_creep(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The anchor does not move with steps that were too small to be shown."""
    for step in (1, 2):
        toy_at(monkeypatch, step * 0.012)
        accepted.runpytest("cases", "-k", "hungry", "--audit-update=all").assert_outcomes(passed=1)
        if step == 1:
            accepted.runpytest("cases", "-k", "hungry").assert_outcomes(passed=1)
    result = accepted.runpytest("cases", "-k", "hungry")
    result.assert_outcomes(failed=1)
    assert states(accepted) == {"hungry": "creep"}
    result.stdout.fnmatch_lines(["*creep: * crept from 0.*, first accepted, to 0.*"])
    # An update keeps the anchors, so it settles nothing; a review does.
    accepted.runpytest("cases", "-k", "hungry", "--audit-update=changed").assert_outcomes(failed=1)
    assert command(accepted, "accept", "run", "--reason", "looked at both").exit_code == 0
    accepted.runpytest("cases", "-k", "hungry").assert_outcomes(passed=1)


def test_a_promotion_that_dies_changes_nothing_before_its_mark_and_everything_after_it(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six files are written beside the baselines, then the mark, then each is renamed."""
    folder = accepted.path / "baselines"
    before = stored(accepted)
    monkeypatch.setenv("TOY_CELL", "6")
    accepted.runpytest("cases")
    real = Path.replace
    for survives in range(13):
        done = 0

        def dies(self: Path, target: Any, limit: int = survives) -> Path:
            nonlocal done
            if self.parent.name.startswith(".accepting-"):
                if done == limit:
                    raise KeyboardInterrupt
                done += 1
            return real(self, target)

        monkeypatch.setattr(Path, "replace", dies)
        with suppress(KeyboardInterrupt):
            command(accepted, "accept", "run", "birds", "hungry", "no-cat")
        monkeypatch.setattr(Path, "replace", real)
        baselines.recover(folder)
        after = stored(accepted)
        changed = {name for name in before if after[name] != before[name]}
        # The maps of no-cat are uniform wherever the toy looks.
        assert changed == (set(before) - {"no-cat.npz"} if survives >= 7 else set()), survives
        for case in ("birds", "hungry", "no-cat"):
            held = baselines.held(folder, case)
            assert held.maps
            assert not held.damage
        for name, content in before.items():
            (folder / name).write_bytes(content)
    left = list(folder.glob(".accepting-*"))
    assert len(left) == 7
    for path in left:
        os.utime(path, (0, 0))
    baselines.recover(folder)
    assert not list(folder.glob(".accepting-*"))


def test_status_and_prune_tell_how_baselines_stand(accepted: pytest.Pytester) -> None:
    path = accepted.path / "cases" / "birds.yaml"
    path.write_text(path.read_text().replace("two birds", "four birds").replace("no-cat", "no-dog"))
    found = json.loads(command(accepted, "status", "--json").stdout)
    assert found == {
        "cases": 3,
        "baselines": [
            {
                "folder": "baselines", "accepted": ["hungry"], "missing": ["no-dog"],
                "stale": ["birds"], "orphans": ["no-cat"], "damaged": {}, "rejected": {},
            }
        ],
    }  # fmt: skip
    assert "1 accepted, 1 missing, 1 stale, 1 orphan" in command(accepted, "status").output
    before = stored(accepted)
    (accepted.path / "one.yaml").write_text(
        "cases:\n  - {id: alone, image: cases/images/a.png, text: two birds, expect: {label: yes}}"
    )  # baselines of the other case files are not nobody's
    some = command(accepted, "status", "--json", "--cases", "one.yaml")
    assert json.loads(some.stdout)["baselines"][0]["orphans"] == ["no-cat"]
    assert command(accepted, "prune", "--cases", "one.yaml").output.count("orphan: ") == 1
    assert "orphan: baselines/no-cat.json" in command(accepted, "prune").output
    assert stored(accepted) == before
    assert "deleted: baselines/no-cat.json" in command(accepted, "prune", "--delete").output
    assert sorted(set(before) - set(stored(accepted))) == ["no-cat.json", "no-cat.npz"]
    assert command(accepted, "prune").output == "nothing to prune\n"


def test_status_without_cases_or_baselines_says_so(project: pytest.Pytester) -> None:
    result = command(project, "status")
    assert "baselines: 0 accepted, 3 missing, 0 stale, 0 orphans" in result.output
    (project.path / "empty").mkdir()
    result = command(project, "status", "--baselines", "empty")
    assert "empty: holds no baselines" in str(result.exception)
    result = command(project, "status", "--cases", "nowhere/*.yaml")
    assert "no case file matches nowhere/*.yaml" in str(result.exception)
