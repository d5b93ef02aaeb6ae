"""The page of evidence: what it states, and that a check finds every change of it or of its run."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from audit.base.errors import BaselineError, RunError
from audit.base.files import digest_file, write_json
from audit.cases.project import project_at
from audit.gate.accepted import load
from audit.gate.rundigest import digests_of, manifest, whole_digest
from audit.gate.runfolder import Run
from audit.report.evidence_page import read_key, verify, write_evidence
from audit.report.points import COVERED
from audit.report.statement import state_of
from audit.studies.power.stored import read_power
from tests.projects import audited, made

KEY = b"0123456789abcdef"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in git, with baselines and a run of a model that moved."""
    (tmp_path / "pytest.ini").write_text("[pytest]\naudit_baselines = baselines/toy\n")
    monkeypatch.chdir(tmp_path)
    file = made(tmp_path)
    audited(file, Path("first"), Path("baselines/toy"), "all")
    monkeypatch.setenv("TOY_LEAN", "0.3")
    audited(file, Path("run"), Path("baselines/toy"))
    return tmp_path


def stated(root: Path, **more: Any) -> dict[str, Any]:
    return state_of(Run(root / "run"), project_at(root), **more)


def written(root: Path, key: bytes | None = None, **more: Any) -> Path:
    return write_evidence(root / "page.html", stated(root, **more), key)


def faults_of(page: Path, run: Path) -> list[str]:
    """What a check says that is wrong, also if it refuses the page."""
    try:
        return verify(page, run).faults
    except RunError as error:
        return [str(error)]


def commit(root: Path, date: str) -> None:
    git = ["git", "-C", str(root), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "cases"], check=True)
    subprocess.run(
        [*git, "commit", "-qm", "cases"], check=True,
        env={"GIT_COMMITTER_DATE": date, "GIT_AUTHOR_DATE": date, "PATH": "/usr/bin:/bin"},
    )  # fmt: skip


def test_the_digest_is_what_sha256sum_gives(root: Path) -> None:
    digests = digests_of(root / "run")
    done = subprocess.run(
        "find run.json results.json images outcomes proposals -type f 2>/dev/null |"
        " LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum",
        shell=True, cwd=root / "run", check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.split()[0] == whole_digest(digests)
    assert manifest(digests).splitlines()[-1] == (
        f"{digest_file(root / 'run' / 'run.json')}  run.json"
    )


def test_a_page_drawn_from_the_run_leaves_its_digest_as_it_was(root: Path) -> None:
    before = digests_of(root / "run")
    write_evidence(root / "run" / "evidence.html", stated(root))
    (root / "run" / "gallery.html").write_text("drawn")
    assert digests_of(root / "run") == before


def test_a_run_that_has_not_ended_has_no_digest(root: Path) -> None:
    (root / "run" / "results.json").unlink()
    with pytest.raises(RunError, match=r"not whole: there is no results\.json"):
        digests_of(root / "run")


def test_a_link_in_a_run_is_refused(root: Path) -> None:
    (root / "run" / "outcomes" / "more.json").symlink_to("/etc/passwd")
    with pytest.raises(RunError, match="is a link"):
        digests_of(root / "run")


def test_a_page_that_nobody_changed_holds(root: Path) -> None:
    found = verify(written(root), root / "run")
    assert found.faults == []
    assert found.held[1:] == [
        "the page says what the run says",
        "the page says what its statement says",
        "it is not signed",
    ]


def test_a_run_that_changed_is_found_with_the_files_that_differ(root: Path) -> None:
    page = written(root)
    path = root / "run" / "outcomes" / "birds.json"
    path.write_text(path.read_text().replace("0.9", "0.8"))
    (fault,) = verify(page, root / "run").faults
    assert fault == "the run is not the one of the page; what differs: outcomes/birds.json"


def test_a_page_whose_words_changed_is_found(root: Path) -> None:
    page = written(root)
    page.write_text(page.read_text().replace("<h1>Evidence", "<h1>Proof", 1))
    assert verify(page, root / "run").faults == [
        "the page was changed: it does not say what its statement says"
    ]


def test_a_page_that_says_of_the_run_what_is_not_in_it_is_found_without_a_key(root: Path) -> None:
    statement = stated(root)
    statement["cases"][0]["state"] = "passed"
    statement["session"] = {"passed": True, "sentence": "passed"}
    page = write_evidence(root / "page.html", statement)
    assert faults_of(page, root / "run") == ["the page says what the run does not: cases, session"]


def test_a_signature_holds_with_its_key_alone(root: Path) -> None:
    page = written(root, KEY)
    assert verify(page, root / "run", KEY).faults == []
    (fault,) = verify(page, root / "run", b"another key 0123").faults
    assert "not made with this key" in fault


def test_a_page_that_was_stated_anew_loses_its_signature(root: Path) -> None:
    page = written(root, KEY)
    statement = stated(root)
    statement["accepted"] = []
    write_evidence(page, statement)
    assert verify(page, root / "run", KEY).faults == ["the page is not signed"]


@pytest.mark.parametrize("text", ["", "<html></html>", '{"format": 1}'])
def test_another_file_is_no_page_of_evidence(text: str, root: Path) -> None:
    (root / "other.html").write_text(text)
    with pytest.raises(RunError, match="not a page that audit evidence wrote"):
        verify(root / "other.html", root / "run")


@pytest.mark.parametrize("change", ["run", "files", "signature", "audit", "cases", "suite"])
def test_a_statement_with_something_else_in_a_key_never_breaks_the_check(
    change: str, root: Path
) -> None:
    page = written(root)
    head, _, rest = page.read_text().partition('id="statement">')
    body, _, tail = rest.partition("</script>")
    statement = json.loads(body)
    (statement["run"] if change == "files" else statement)[change] = 7
    page.write_text(f'{head}id="statement">{json.dumps(statement)}</script>{tail}')
    assert faults_of(page, root / "run")


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"short\n")
    with pytest.raises(RunError, match="5 bytes are too short for a key"):
        read_key(tmp_path / "key")
    (tmp_path / "key").write_bytes(KEY + b"\n")
    assert read_key(tmp_path / "key") == KEY


def test_limits_older_than_the_run_are_said_to_be_so(root: Path) -> None:
    started = json.loads((root / "run" / "run.json").read_text())
    write_json(root / "run" / "run.json", {**started, "started": "2026-11-25T12:00:00+00:00"})
    assert stated(root)["files"][0]["before"].startswith("not known: not in git")
    commit(root, "2026-11-24T12:00:00+00:00")
    (row,) = stated(root)["files"]
    assert (row["file"], row["cases"], row["before"]) == ("cases/birds.yaml", 2, "yes")
    assert row["digest"] == digest_file(root / "cases" / "birds.yaml")
    path = root / "cases" / "birds.yaml"
    path.write_text(path.read_text() + "# later\n")
    assert stated(root)["files"][0]["before"].startswith("not known")


def test_limits_of_another_file_than_the_run_was_judged_by_are_not_said_to_be_older(
    root: Path,
) -> None:
    path = root / "cases" / "birds.yaml"
    before = path.read_text()
    path.write_text(f"{before}# with other limits\n")
    audited(path, root / "run", Path("baselines/toy"))
    about = json.loads((root / "run" / "run.json").read_text())
    write_json(root / "run" / "run.json", {**about, "started": "2026-11-25T12:00:00+00:00"})
    path.write_text(before)
    commit(root, "2026-11-24T12:00:00+00:00")
    assert stated(root)["files"][0]["before"] == "not known: the run was judged by another file"


def test_limits_newer_than_the_run_are_said_to_be_so(root: Path) -> None:
    started = json.loads((root / "run" / "run.json").read_text())
    write_json(root / "run" / "run.json", {**started, "started": "2026-11-25T12:00:00+00:00"})
    commit(root, "2026-11-26T12:00:00+00:00")
    assert stated(root)["files"][0]["before"] == "no"


def test_each_case_has_its_limits_and_what_was_observed(root: Path) -> None:
    rows = {row["case"]: row for row in stated(root)["cases"]}
    limits = {limit["expectation"]: limit for limit in rows["birds"]["limits"]}
    assert limits["mass of birds"]["limit"] == "at least 0.5"
    assert rows["birds"]["digest"] == Run(root / "run").outcome("birds").case_digest


def test_baselines_are_told_with_who_accepted_them(root: Path) -> None:
    (row,) = stated(root)["accepted"]
    assert (row["date"], row["by"], row["cases"]) == ("2026-11-25", "", 2)
    assert row["same"] == "yes"
    baseline = load(root / "baselines" / "toy", "birds")
    assert baseline is not None
    record = json.loads(baseline.path.read_text())
    record["provenance"] |= {"accepted_by": "Ada", "reason": "looked at it"}
    write_json(baseline.path, record)
    rows = {row["by"]: row for row in stated(root)["accepted"]}
    assert (rows["Ada"]["reason"], rows["Ada"]["same"]) == ("looked at it", "no, another one since")


def test_decisions_of_reviewers_are_told_as_the_log_has_them(root: Path) -> None:
    entry = {
        "format": 1, "case": "birds", "decision": "reject", "reason": "looks at the corner",
        "reviewer": "Ada", "time": "2026-11-26T10:00:00Z", "run": "run", "state": "drifted",
    }  # fmt: skip
    log = root / "baselines" / "toy" / "decisions.jsonl"
    log.write_text(f"{json.dumps(entry)}\n{json.dumps({**entry, 'case': 'other'})}\n")
    (row,) = stated(root)["decisions"]
    assert (row["reviewer"], row["decision"], row["reason"]) == (
        "Ada", "reject", "looks at the corner",
    )  # fmt: skip
    assert "looks at the corner" in written(root).read_text()
    log.write_text(log.read_text() + "{}\n")
    with pytest.raises(BaselineError, match=r"decisions\.jsonl:3: "):
        stated(root)


def test_a_run_from_elsewhere_says_that_its_baselines_are_not_here(root: Path) -> None:
    about = json.loads((root / "run" / "run.json").read_text())
    write_json(root / "run" / "run.json", {**about, "baselines": "../others"})
    found = stated(root)
    assert found["accepted"] == []
    assert "lies outside" in found["baselines"]["missing"]


def test_slices_count_labels_and_kept_contracts(root: Path) -> None:
    rows = {row["name"]: row for row in stated(root)["slices"]}
    yes = rows["expected yes"]
    assert (yes["cases"], yes["definite"], yes["right"]) == (1, 1, 1)


def planted(folder: Path, **change: Any) -> None:
    caught = {"full": True, "labels": False, "probabilities": True}
    about = {"id": "noise-1", "family": "weights", "about": "noise", "measurable": True}
    write_json(folder / "changes" / "a.json", {**about, "caught": caught, **change})


@pytest.fixture
def power(tmp_path: Path) -> Path:
    folder = tmp_path / "power"
    about = {"model": {"digest": "e" * 64}, "cases": 2, "images": 1, "seed": 1, "multiple": 2.0}
    write_json(folder / "about.json", about)
    planted(folder)
    quiet = {"full": False, "labels": False, "probabilities": False}
    more = {"id": "threads", "family": "harmless", "about": "threads", "caught": quiet}
    write_json(folder / "changes" / "b.json", more)
    write_json(
        folder / "changes" / "c.json",
        {"id": "x", "family": "text", "about": "x", "skipped": "no such thing", "unfit": True},
    )
    return folder


def test_power_is_told_in_counts(power: Path) -> None:
    found = read_power(power)
    assert (found["planted"], found["measurable"], found["harmless"]) == (1, 1, 1)
    assert found["caught"] == {"full": 1, "labels": 0, "probabilities": 1}
    assert found["families"][0]["name"] == "weights"
    assert found["missed"] == []


def test_what_the_gate_missed_is_named_on_the_page(root: Path, power: Path) -> None:
    quiet = {"full": False, "labels": False, "probabilities": False}
    planted(power, caught=quiet)
    text = written(root, power=power).read_text()
    assert "Missed: noise." in text
    assert "measured on another model" in text


def test_a_damaged_measurement_of_power_is_refused(power: Path) -> None:
    (power / "changes" / "a.json").write_text('{"id": 1}')
    with pytest.raises(RunError, match=r"a\.json:1: "):
        read_power(power)


def test_words_of_a_run_cannot_become_markup(root: Path) -> None:
    about = json.loads((root / "run" / "run.json").read_text())
    write_json(root / "run" / "run.json", {**about, "machine": "</script><b>x"})
    assert "<b>x" not in written(root).read_text()


def test_the_machines_of_all_shards_are_told(root: Path) -> None:
    about = json.loads((root / "run" / "run.json").read_text())
    shards = [
        {"id": name, "cases": 1, "machine": "linux", "stack": {"processor": cpu, "torch": "2"}}
        for name, cpu in (("a", "EPYC 7763"), ("b", "Xeon 8370C"))
    ]
    write_json(root / "run" / "run.json", {**about, "shards": shards})
    text = written(root).read_text()
    assert "put together from 2 shards" in text
    assert [shard["stack"]["processor"] for shard in stated(root)["shards"]] == [
        "EPYC 7763", "Xeon 8370C",
    ]  # fmt: skip
    assert verify(root / "page.html", root / "run").faults == []


def test_every_section_that_a_point_names_is_on_the_page(root: Path) -> None:
    text = written(root).read_text()
    for point in COVERED:
        for section in point.sections:
            assert f'id="{section}"' in text
    assert "://" not in text.partition('id="statement"')[0]  # nothing is fetched
