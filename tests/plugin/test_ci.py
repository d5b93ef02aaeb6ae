"""What a pipeline reads: the step summary, annotations, properties in JUnit XML."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from typer.main import get_command

from audit.commands import main as cli

DOCS = Path(__file__).parents[2] / "docs"
WORKFLOW = Path(__file__).parents[2] / "audit" / "commands" / "project" / "workflow.yml"


@pytest.fixture
def broken(accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """One case breaks its contract, one drifts, one passes."""
    monkeypatch.setenv("TOY_CELL", "0")
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    return accepted


def test_the_summary_is_written_where_it_is_asked_for(broken: pytest.Pytester) -> None:
    broken.runpytest("cases", "--audit-summary", "out/summary.md")
    text = (broken.path / "out" / "summary.md").read_text()
    assert text.startswith("## Audit failed\n")
    assert "3 cases: 1 contract broken, 1 drifted, 1 passed. Model `toy`" in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == ["birds", "hungry"]
    assert "mass of birds is 0.01333, and must be at least 0.5" in rows[0]
    assert "| `cases/birds.yaml:2` | ![birds: contract broken](data:image/webp;base64," in rows[0]
    # What happened and what to do, and where to look and accept.
    said = [line for line in text.splitlines() if line.startswith("- ")]
    assert len(said) == 2
    assert said[0].startswith("- 3 of 3 answers are right, but in 1 case the model ")
    assert " <em>birds</em> (" in said[0]
    assert "Labels: 3 of 3 as expected." in text
    assert "The maps are in `run/gallery.html`." in text
    assert "`audit accept run` needs the run folder and no model." in text


def test_pictures_in_a_summary_end_where_there_is_no_more_room(
    broken: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit.report.summary._PICTURES", 600)
    broken.runpytest("cases", "--audit-summary=summary.md")
    text = (broken.path / "summary.md").read_text()
    assert text.count("data:image/webp") == 1
    assert len(text) < 3000
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert rows[1].endswith("`cases/others.yaml:2` |  |")


@pytest.mark.slow
def test_githubs_own_summary_is_added_to_and_cases_are_marked_in_their_files(
    broken: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = broken.path / "step.md"
    path.write_text("what another step said\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    result = broken.runpytest("cases", "-n1")
    assert path.read_text().startswith("what another step said\n## Audit failed\n")
    assert "data:" not in path.read_text()
    marked = [line for line in result.outlines if line.startswith("::error")]
    assert len(marked) == 2
    assert marked[0] == (
        "::error file=cases/birds.yaml,line=2,title=birds%3A contract broken::"
        "mass of birds is 0.01333, and must be at least 0.5"
    )


def test_without_github_nothing_is_marked_and_a_passing_run_says_so(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    result = accepted.runpytest("cases", "--audit-summary=summary.md")
    assert "::error" not in result.stdout.str()
    text = (accepted.path / "summary.md").read_text()
    assert text.startswith("## Audit passed\n")
    assert "Suite-level gate cannot tell: over 3 cases on 2 pictures: no label lost" in text
    assert "| case |" not in text
    assert "- " not in text.replace("Suite-level", "")
    assert "audit accept" not in text


def test_baselines_under_another_name_are_pointed_at(
    accepted: pytest.Pytester,
) -> None:
    """A model whose name has its version would otherwise lose its baselines without a word."""
    (accepted.path / "baselines").rename(accepted.path / "ours-1")
    (accepted.path / "baselines").mkdir()
    (accepted.path / "ours-1").rename(accepted.path / "baselines" / "ours-1")
    where = "baselines/ours-2"
    result = accepted.runpytest("cases", "--audit-baselines", where, "--audit-summary=summary.md")
    told = (
        f"{where} has no baselines, so nothing was compared; baselines/ours-1 has those of 3 cases"
    )
    result.stdout.fnmatch_lines([f"note: {told}.*audit_baselines = baselines/ours-1"])
    assert f"Note: {told}" in (accepted.path / "summary.md").read_text()
    again = accepted.runpytest("cases", "--audit-baselines", "baselines/ours-1")
    assert "has no baselines" not in again.stdout.str()


def test_nothing_in_a_case_is_markup_in_the_summary(broken: pytest.Pytester) -> None:
    path = broken.path / "cases" / "birds.yaml"
    path.write_text(path.read_text().replace("birds: [[", "two_fat_birds: [[").replace(
        "region: birds", "region: two_fat_birds"
    ))  # fmt: skip
    broken.runpytest("cases", "-k", "birds and not hungry", "--audit-summary=summary.md")
    text = (broken.path / "summary.md").read_text()
    assert r"mass of two\_fat\_birds is" in text


def test_junit_has_state_and_sentence_of_each_case(broken: pytest.Pytester) -> None:
    broken.runpytest("cases", "--junitxml=audit.xml")
    cases = ElementTree.parse(broken.path / "audit.xml").iter("testcase")
    found = {
        case.get("name"): {p.get("name"): p.get("value") for p in case.iter("property")}
        for case in cases
    }
    assert found["birds"]["audit_state"] == "contract broken"
    assert found["birds"]["audit_sentence"].startswith("mass of birds is 0.01333")
    assert found["no-cat"]["audit_state"] == "passed"
    assert (found["hungry"]["audit_label"], found["hungry"]["audit_expected"]) == ("maybe", "maybe")


def test_the_pipelines_for_others_are_yaml_and_name_options_that_exist() -> None:
    text = (DOCS / "ci.md").read_text()
    blocks = [block.split("```")[0] for block in text.split("```yaml\n")[1:]]
    shards, gitlab = (yaml.safe_load(block) for block in blocks)
    github = yaml.safe_load(WORKFLOW.read_text())
    jobs = [*github["jobs"].values(), *shards["jobs"].values()]
    steps = [step for job in jobs for step in job["steps"]]
    scripts = [step["run"] for step in steps if "run" in step] + gitlab["audit"]["script"]
    page = (DOCS / "pytest.md").read_text()
    options = {word for script in scripts for word in script.split() if word.startswith("--audit-")}
    assert len(options) >= 4
    assert all(f"`{option}`" in page for option in options)
    (merge,) = [script for script in scripts if script.startswith("audit merge ")]
    known = {name for each in get_command(cli.app).commands["merge"].params for name in each.opts}
    assert {word for word in merge.split() if word.startswith("--")} < known
