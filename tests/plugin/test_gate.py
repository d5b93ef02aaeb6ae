"""Each state of a case, seen through pytest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.pages import words_of


def stored(project: pytest.Pytester) -> dict[str, bytes]:
    files = sorted(p for p in (project.path / "baselines").glob("*") if p.is_file())
    return {p.name: p.read_bytes() for p in files}


def states(project: pytest.Pytester) -> dict[str, str]:
    results = json.loads((project.path / "run" / "results.json").read_text())
    return {o["case"]: o["state"] for o in results["outcomes"]}


def test_a_case_without_a_baseline_fails_and_says_how_to_create_it(
    project: pytest.Pytester,
) -> None:
    result = project.runpytest("cases")
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(["*there is no baseline*--audit-update=new*"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert not (project.path / "baselines").exists()


def test_accepted_cases_pass_and_their_baselines_are_not_written_again(
    accepted: pytest.Pytester,
) -> None:
    before = stored(accepted)
    assert sorted(before) == [
        f"{c}.{e}" for c in ("birds", "hungry", "no-cat") for e in ("json", "npz")
    ]
    accepted.runpytest("cases").assert_outcomes(passed=3)
    assert stored(accepted) == before


def test_a_deleted_baseline_makes_its_case_new_and_only_that(accepted: pytest.Pytester) -> None:
    (accepted.path / "baselines" / "birds.json").unlink()
    accepted.runpytest("cases").assert_outcomes(passed=2, failed=1)
    assert states(accepted) == {"birds": "new", "no-cat": "passed", "hungry": "passed"}


def test_an_edited_text_makes_its_case_stale_until_accepted(accepted: pytest.Pytester) -> None:
    path = accepted.path / "cases" / "birds.yaml"
    path.write_text(path.read_text().replace("two birds", "three birds"))
    accepted.runpytest("cases").assert_outcomes(passed=2, failed=1)
    assert states(accepted)["birds"] == "stale"
    accepted.runpytest("cases", "--audit-update=new").assert_outcomes(passed=2, failed=1)
    accepted.runpytest("cases", "--audit-update=changed").assert_outcomes(passed=3)
    accepted.runpytest("cases").assert_outcomes(passed=3)


def test_a_lossless_copy_of_a_picture_in_its_place_changes_nothing(
    accepted: pytest.Pytester,
) -> None:
    before, images = stored(accepted), accepted.path / "cases" / "images"
    picture = Image.open(images / "a.png").convert("RGBA")
    (images / "a.png").unlink()
    picture.save(images / "a.webp", lossless=True)
    Image.open(images / "b.png").save(images / "b.png", compress_level=0, dpi=(72, 72))
    path = accepted.path / "cases" / "birds.yaml"
    path.write_text(path.read_text().replace("a.png", "a.webp"))
    accepted.runpytest("cases", "--audit-update=changed").assert_outcomes(passed=3)
    assert stored(accepted) == before


def test_a_changed_limit_does_not_make_a_case_stale(accepted: pytest.Pytester) -> None:
    path = accepted.path / "cases" / "birds.yaml"
    path.write_text(path.read_text().replace("min: 0.5}", "min: 0.6}"))
    accepted.runpytest("cases").assert_outcomes(passed=3)


def test_a_corrupt_picture_is_an_error_of_collection_that_names_its_place(
    accepted: pytest.Pytester,
) -> None:
    before = stored(accepted)
    (accepted.path / "cases" / "images" / "b.png").write_bytes(b"not a picture")
    result = accepted.runpytest("cases")
    result.stdout.fnmatch_lines(["*others.yaml:3:5: cases?0?.image: *b.png: not a picture*"])
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert stored(accepted) == before


def test_attention_that_moves_within_the_contract_is_drift(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_CELL", "9")
    result = accepted.runpytest("cases", "-k", "hungry")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*drifted: centre_y drifted from 0.*more than the tolerance of 0.02*"]
    )
    assert states(accepted) == {"hungry": "drifted"}
    accepted.runpytest("cases", "-k", "hungry", "--audit-update=changed").assert_outcomes(passed=1)
    accepted.runpytest("cases", "-k", "hungry").assert_outcomes(passed=1)


def test_the_anchor_outlives_an_accepted_step_that_was_too_small_to_be_shown(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    def figure() -> dict[str, float]:
        data = json.loads((accepted.path / "baselines" / "hungry.json").read_text())
        found: dict[str, float] = data["figures"]["answer_attention"]["centre_y"]
        return found

    first = figure()
    assert first["anchor"] == first["accepted"]
    monkeypatch.setenv("TOY_LEAN", "0.01")
    accepted.runpytest("cases", "-k", "hungry", "--audit-update=all")
    assert figure()["anchor"] == first["anchor"]
    assert figure()["accepted"] != first["accepted"]
    # A step that was shown and accepted is where the next is measured from.
    monkeypatch.setenv("TOY_CELL", "9")
    accepted.runpytest("cases", "-k", "hungry", "--audit-update=all")
    assert figure()["anchor"] == figure()["accepted"] != first["anchor"]


def test_a_wider_tolerance_in_the_case_lets_the_drift_pass(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = accepted.path / "cases" / "others.yaml"
    path.write_text(path.read_text() + "    drift: {centre_x: 1, centre_y: 1}\n")
    monkeypatch.setenv("TOY_CELL", "9")
    accepted.runpytest("cases", "-k", "hungry").assert_outcomes(passed=1)


def test_a_broken_contract_prints_a_table_and_one_sentence_and_no_traceback(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_CELL", "0")
    result = accepted.runpytest("cases", "-k", "birds and not hungry")
    result.stdout.fnmatch_lines(
        [
            "contract broken: mass of birds is 0.01333, and must be at least 0.5",
            "expectation * observed * limit * verdict",
            "label * yes (0.9) * yes * ok",
            "mass of birds * 0.01333 * at least 0.5 * FAILED",
            "mass?birds? against baseline * DRIFTED",
            "a contract is broken: fix the model, or change what the case expects in its file",
        ]
    )
    text = result.stdout.str()
    assert "audit accept" not in text
    assert "Traceback" not in text
    assert "runner.py" not in text
    assert states(accepted) == {"birds": "contract broken", "no-cat": "passed"}


def test_a_case_that_is_known_to_fail_is_shown_and_fails_no_session(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = accepted.path / "cases" / "birds.yaml"
    path.write_text(path.read_text().replace("tags: [guide]", "xfail: looks at the corner"))
    monkeypatch.setenv("TOY_CELL", "0")
    result = accepted.runpytest("cases", "-k", "birds and not hungry", "-rx")
    result.assert_outcomes(xfailed=1, passed=1)
    assert result.ret == pytest.ExitCode.OK
    assert "fix the model" not in result.stdout.str()
    result.stdout.fnmatch_lines(
        ["*2 cases: 1 contract broken, 1 passed (1 known to fail)*", "*looks at the corner*"]
    )
    page = (accepted.path / "run" / "gallery.html").read_text()
    assert "known to fail: looks at the corner" in words_of(page)
    assert 'id="failed"' not in page


@pytest.mark.parametrize("waived", [False, True], ids=["case file", "waived for the model"])
def test_a_case_that_is_known_to_fail_but_was_not_audited_fails_the_session(
    accepted: pytest.Pytester, waived: bool
) -> None:
    path = accepted.path / "cases" / "birds.yaml"
    known = accepted.path / "baselines" / "provenance" / "waived.json"
    if waived:
        known.parent.mkdir()
        known.write_text(json.dumps({"cases": {"birds": "looks at the corner"}}))
    else:
        path.write_text(path.read_text().replace("tags: [guide]", "xfail: looks at the corner"))
    baseline = accepted.path / "baselines" / "birds.json"
    baseline.write_text(f"<<<<<<< HEAD\n{baseline.read_text()}")
    result = accepted.runpytest("cases")
    result.assert_outcomes(failed=1, passed=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["audit failed: 1 case failed, 3 of 3 audited*", "3 cases: 1 error, 2 passed"]
    )
    page = (accepted.path / "run" / "gallery.html").read_text()
    assert 'id="failed"' in page
    assert 'id="known"' not in page


def test_a_damaged_baseline_is_an_error_not_a_pass(accepted: pytest.Pytester) -> None:
    (accepted.path / "baselines" / "birds.json").write_text("{")
    (accepted.path / "baselines" / "hungry.npz").write_bytes(b"")
    accepted.runpytest("cases").assert_outcomes(passed=1, failed=2)
    assert states(accepted) == {"birds": "error", "hungry": "error", "no-cat": "passed"}


def test_an_update_is_refused_where_ci_is_set_unless_forced(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    result = project.runpytest("cases", "--audit-update=new")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--audit-update is refused where CI is set*"])
    project.runpytest("cases", "--audit-update=new", "--audit-update-force").assert_outcomes(
        passed=3
    )


def test_a_model_that_cannot_be_loaded_fails_the_session(project: pytest.Pytester) -> None:
    (project.path / "conftest.py").unlink()
    result = project.runpytest("cases", "--audit-model", "./nowhere")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*nowhere: no such checkpoint folder*"])


def test_the_run_is_redrawn_from_its_folder_alone(accepted: pytest.Pytester) -> None:
    from audit.gate.runfolder import Run
    from audit.report.gallery import write_gallery

    accepted.runpytest("cases")
    gallery = accepted.path / "run" / "gallery.html"
    before = gallery.read_bytes()
    gallery.unlink()
    assert write_gallery(Run(accepted.path / "run")) == gallery
    assert gallery.read_bytes() == before


def test_a_run_folder_with_other_files_is_refused(project: pytest.Pytester) -> None:
    folder = project.path / "run"
    folder.mkdir()
    (folder / "thesis.txt").write_text("precious")
    result = project.runpytest("cases")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert (folder / "thesis.txt").read_text() == "precious"


def test_provenance_says_where_a_baseline_came_from(accepted: pytest.Pytester) -> None:
    text = (accepted.path / "baselines" / "birds.json").read_text()
    assert text.endswith("}\n")
    provenance = json.loads(text)["provenance"]
    assert provenance["model"]["digest"] == "d" * 64
    assert provenance["model"]["device"] == "cpu"
    assert {"date", "metric_registry", "maps"} <= set(provenance)


def test_the_shipped_cases_have_a_baseline_each_and_no_other() -> None:
    from audit.base.names import stem_of
    from audit.cases.loading import load_cases

    root = Path(__file__).parents[2]
    ids = {c.id for path in (root / "cases").glob("*.yaml") for c in load_cases(path)}
    stems = {stem_of(case) for case in ids}
    assert {p.stem for p in (root / "baselines" / "reference").glob("*.json")} == stems
    assert len(ids) >= 30
