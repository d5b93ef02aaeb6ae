"""Where things lie: from root, from where pytest is called, and in another checkout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from audit.commands import main as cli
from tests.toy_model import ToyModel

INI = "[pytest]\naudit_run_dir = run\n"


@pytest.fixture
def nested(project: pytest.Pytester) -> pytest.Pytester:
    """The project without a folder of baselines in its configuration."""
    project.makeini(INI)
    return project


def command(*arguments: str) -> Any:
    result = CliRunner().invoke(cli.app, list(arguments))
    assert not result.exception or isinstance(result.exception, SystemExit), result.exception
    return result


def folders(root: Path) -> set[str]:
    """Folders with baselines."""
    found = {path.parent for path in root.rglob("*.json") if "run" not in path.parts}
    return {path.relative_to(root).as_posix() for path in found}


def test_from_a_sub_directory_the_same_baselines_are_made_and_found(
    nested: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("cases", "."):
        monkeypatch.chdir(nested.path / place)
        nested.runpytest("--audit-update=new").assert_outcomes(passed=3)
        assert folders(nested.path) == {"baselines/toy"}
        nested.runpytest().assert_outcomes(passed=3)
    assert not (nested.path / "cases" / "run").exists()


@pytest.mark.parametrize("key", ["audit_baselines", "audit_run_dir", "audit_summary"])
def test_a_place_in_the_configuration_counts_from_root(
    nested: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    nested.makeini(f"[pytest]\n{key} = my places/one\n")
    monkeypatch.chdir(nested.path / "cases")
    nested.runpytest("--audit-update=new", "-n0").assert_outcomes(passed=3)
    assert (nested.path / "my places" / "one").exists()
    assert not (nested.path / "cases" / "my places").exists()


@pytest.mark.parametrize("option", ["baselines", "run-dir", "summary"])
def test_a_place_on_the_command_line_counts_from_where_pytest_is_called(
    nested: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.chdir(nested.path / "cases")
    nested.runpytest("--audit-update=new", f"--audit-{option}=../my places/one").assert_outcomes(
        passed=3
    )
    assert (nested.path / "my places" / "one").exists()


@pytest.mark.parametrize("more", [[], ["-n1"]])
@pytest.mark.parametrize("place", ["cases", "."])
def test_a_models_folder_in_the_configuration_counts_from_root(
    nested: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, place: str, more: list[str]
) -> None:
    (nested.path / "models" / "mine").mkdir(parents=True)
    nested.makeini(f"{INI}audit_model = models/mine\n")
    nested.makeconftest(
        """
        from dataclasses import replace
        import audit.runs.session
        from pathlib import Path
        from tests.toy_model import ToyModel
        def load(source, *_):
            assert Path(source).is_dir() and Path(source).is_absolute(), source
            model = ToyModel()
            model.fingerprint = replace(model.fingerprint, source=source)
            return model
        audit.runs.session.load_model = load
        """
    )
    monkeypatch.chdir(nested.path / place)
    nested.runpytest("--audit-update=new", *more).assert_outcomes(passed=3)
    # What is stored names the folder as any checkout has it.
    about = json.loads((nested.path / "run" / "run.json").read_text())
    assert about["model"]["source"] == "models/mine"
    stored = json.loads((nested.path / "baselines" / "toy" / "birds.json").read_text())
    assert stored["provenance"]["model"]["source"] == "models/mine"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--rootdir={root}", "{root}/cases"],
        ["-c", "{root}/tox.ini", "{root}/cases"],
        ["-c", "{root}/tox.ini", "--rootdir={root}", "--confcutdir={root}", "{root}/cases"],
        ["{root}/cases/birds.yaml", "{root}/cases/others.yaml"],
        ["-n1", "{root}/cases"],
        ["--rootdir={link}", "{root}/cases"],
        ["-c", "{link}/tox.ini", "{root}/cases"],
        ["{link}/cases"],
    ],
)
def test_however_pytest_is_pointed_to_the_project_it_finds_cases_and_baselines(
    nested: pytest.Pytester,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
) -> None:
    root, link, elsewhere = tmp_path / "my project", tmp_path / "link", tmp_path / "elsewhere"
    shutil.copytree(nested.path, root)
    link.symlink_to(root)
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    given = [argument.format(root=root, link=link) for argument in arguments]
    nested.runpytest(*given, "--audit-update=new").assert_outcomes(passed=3)
    assert not list(elsewhere.rglob("*.json"))
    assert folders(root) == {"baselines/toy"}
    about = json.loads((root / "run" / "run.json").read_text())
    assert about["baselines"] == "baselines/toy"
    outcome = json.loads((root / "run" / "outcomes" / "birds.json").read_text())
    assert outcome["file"] == "cases/birds.yaml"


@pytest.mark.parametrize(
    ("made_in", "accepted_in"),
    [("cases", "cases"), ("cases", "."), (".", "cases"), ("cases", "other"), (".", "other/cases")],
)
def test_a_run_made_anywhere_in_a_project_is_accepted_anywhere_in_any_checkout(
    nested: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, made_in: str, accepted_in: str
) -> None:
    other = nested.path / "other"
    checkout = shutil.copytree(nested.path, nested.path.parent / "another checkout")
    monkeypatch.chdir(nested.path / made_in)
    nested.runpytest().assert_outcomes(failed=3)
    shutil.copytree(nested.path / "run", checkout / "downloaded" / "run")
    shutil.move(checkout, other)
    monkeypatch.chdir(nested.path / accepted_in)
    there = accepted_in.startswith("other")
    root = other if there else nested.path
    result = command("accept", str(root / ("downloaded/run" if there else "run")))
    assert result.exit_code == 0, result.output
    assert len(list((root / "baselines" / "toy").glob("*.json"))) == 3
    assert folders(nested.path) - {"other/baselines/toy"} == (set() if there else {"baselines/toy"})


def test_commands_in_a_sub_directory_know_the_projects_cases_and_baselines(
    nested: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nested.path / "cases").rename(nested.path / "suite")
    nested.makeini(f"{INI}audit_cases = suite/**/*.yaml\naudit_baselines = accepted\n")
    nested.runpytest("--audit-update=new").assert_outcomes(passed=3)
    for place in (".", "suite/images"):
        monkeypatch.chdir(nested.path / place)
        said = json.loads(command("status", "--json").output)
        assert said["cases"] == 3
        assert [len(row["accepted"]) for row in said["baselines"]] == [3]
        assert command("prune").output == "nothing to prune\n"
    # What a command is given counts from the working directory.
    monkeypatch.chdir(nested.path / "suite")
    shutil.copytree(nested.path / "accepted", nested.path / "suite" / "accepted")
    (nested.path / "accepted" / "birds.json").unlink()
    given = ("status", "--json", "--cases", "birds.yaml")
    assert json.loads(command(*given).output)["baselines"][0]["missing"] == ["birds"]
    said = json.loads(command(*given, "--baselines", "accepted").output)
    assert said["baselines"][0]["missing"] == []


def test_noise_is_left_beside_the_baselines_of_the_project(
    nested: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    from audit.models import registry
    from audit.studies import answers, conditions

    monkeypatch.setattr(registry, "check_installed", lambda _: None)
    monkeypatch.setattr(registry, "options_of", lambda _: {})
    monkeypatch.setattr(answers, "load_model", lambda *_: ToyModel())
    # Other instructions need a process of their own, which does not know the toy.
    monkeypatch.setattr(conditions, "INSTRUCTIONS", {})
    monkeypatch.chdir(nested.path / "cases")
    result = command("noise", "--model", "toy", "--json")
    assert result.exit_code == 0, result.output
    assert (nested.path / "baselines" / "toy" / "provenance" / "noise.json").exists()
