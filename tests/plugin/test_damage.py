"""Baselines that edits and merges damaged: they cost their own case, and the advice works."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.plugin.test_gate import states, stored
from tests.plugin.test_review import command, provenance

CONFLICT = '{\n<<<<<<< HEAD\n "label": "yes"\n=======\n "label": "no"\n>>>>>>> theirs\n}\n'


def sentence(project: pytest.Pytester, case: str) -> str:
    data = json.loads((project.path / "run" / "outcomes" / f"{case}.json").read_text())
    return str(data["sentence"])


def test_a_merge_conflict_costs_its_own_case_and_the_advice_it_gives_can_be_followed(
    accepted: pytest.Pytester,
) -> None:
    path = accepted.path / "baselines" / "birds.json"
    path.write_text(CONFLICT)
    accepted.runpytest("cases").assert_outcomes(passed=2, failed=1)
    assert states(accepted)["birds"] == "error"
    said = "birds.json:2: holds a merge conflict (<<<<<<<): resolve it"
    assert said in sentence(accepted, "birds")

    told = command(accepted, "status").output
    assert "2 accepted, 0 missing, 0 stale, 0 orphans, 1 damaged" in told
    assert "damaged: birds: " in told

    # Without a name nothing is taken that cannot be compared with what was accepted.
    assert command(accepted, "accept", "run", "--json").exit_code == 0
    assert path.read_text() == CONFLICT
    done = command(accepted, "accept", "run", "birds")
    assert done.exit_code == 0, done.exception
    assert "the anchors are lost, so creep is measured from now on: birds" in done.output
    accepted.runpytest("cases").assert_outcomes(passed=3)


@pytest.mark.parametrize("update", ["changed", "all"])
def test_an_update_replaces_a_damaged_baseline_and_says_that_its_anchors_are_lost(
    accepted: pytest.Pytester, update: str
) -> None:
    (accepted.path / "baselines" / "birds.json").write_text(CONFLICT)
    accepted.runpytest("cases", "--audit-update=new").assert_outcomes(passed=2, failed=1)
    accepted.runpytest("cases", f"--audit-update={update}").assert_outcomes(passed=3)
    said = "in place of the damaged one; its anchors are lost and begin anew"
    assert said in sentence(accepted, "birds")
    accepted.runpytest("cases").assert_outcomes(passed=3)


def test_maps_that_are_missing_are_accepted_anew_and_the_anchors_are_kept(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = accepted.path / "baselines"
    data = json.loads((folder / "birds.json").read_text())
    figure = data["figures"]["answer_attention"]["mass[birds]"]
    figure["anchor"] = round(figure["anchor"] - 0.01, 6)
    (folder / "birds.json").write_text(json.dumps(data))
    (folder / "birds.npz").unlink()
    accepted.runpytest("cases").assert_outcomes(passed=2, failed=1)
    assert "birds.npz: missing" in sentence(accepted, "birds")
    assert command(accepted, "accept", "run", "birds").exit_code == 0
    kept = json.loads((folder / "birds.json").read_text())
    assert kept["figures"]["answer_attention"]["mass[birds]"]["anchor"] == figure["anchor"]
    assert provenance(accepted, "birds")["run"]
    accepted.runpytest("cases").assert_outcomes(passed=3)


def test_a_number_written_as_text_costs_its_own_case(accepted: pytest.Pytester) -> None:
    path = accepted.path / "baselines" / "birds.json"
    data = json.loads(path.read_text())
    data["figures"]["answer_attention"]["mass[birds]"]["accepted"] = "0,97"
    path.write_text(json.dumps(data, indent=1))
    before = stored(accepted)
    accepted.runpytest("cases").assert_outcomes(passed=2, failed=1)
    assert 'accepted: needs a number, or {"undefined": reason}, but has "0,97"' in sentence(
        accepted, "birds"
    )
    assert stored(accepted) == before


def test_a_folder_in_the_place_of_a_baseline_costs_its_own_case(accepted: pytest.Pytester) -> None:
    path: Path = accepted.path / "baselines" / "birds.json"
    path.unlink()
    path.mkdir()
    accepted.runpytest("cases").assert_outcomes(passed=2, failed=1)
    refused = command(accepted, "accept", "run", "birds")
    assert "birds.json: is a folder; move it away" in str(refused.exception)
