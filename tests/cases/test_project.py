"""Commands find the root and the keys of the configuration that pytest finds."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from _pytest.config.findpaths import determine_setup

from audit.base.errors import ProjectError
from audit.cases.project import Project, project_at

FILES = {
    "pytest.toml": "[pytest]\naudit_cases = ['{n}/*.yaml']\n",
    ".pytest.toml": "",
    "pytest.ini": "[pytest]\naudit_cases = {n}/*.yaml\n",
    ".pytest.ini": "",
    "pyproject.toml": "[tool.pytest.ini_options]\naudit_cases = '{n}/*.yaml'\n",
    "tox.ini": "[pytest]\naudit_cases = {n}/*.yaml\n",
    "setup.cfg": "[tool:pytest]\naudit_cases = {n}/*.yaml\n",
    "setup.py": "",
}
BARE = {
    "pyproject.toml": "[project]\nname = 'x'\n",
    "tox.ini": "[tox]\n",
    "setup.cfg": "[metadata]\n",
    "pytest.ini": "",
}


@pytest.mark.parametrize("seed", range(60))
def test_root_and_patterns_are_pytests_wherever_configuration_files_lie(
    tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    here = tmp_path / "a" / "b c" / "d"
    here.mkdir(parents=True)
    for number, folder in enumerate((tmp_path, tmp_path / "a", tmp_path / "a" / "b c", here)):
        for name, text in FILES.items():
            if draw.random() < 0.12:
                (folder / name).write_text(text.format(n=number))
            elif name in BARE and draw.random() < 0.15:
                (folder / name).write_text(BARE[name])
    root, path, keys, _ = determine_setup(
        inifile=None, override_ini=None, args=[], rootdir_cmd_arg=None, invocation_dir=here
    )
    found = project_at(here)
    assert (found.root, found.file) == (root, path)
    said = keys.get("audit_cases")
    assert found.keys.get("audit_cases") == (said.value if said else None)


@pytest.mark.parametrize(
    ("written", "patterns"),
    [
        ("audit_cases = 'a/*.yaml b/**/*.yml'", ["a/*.yaml", "b/**/*.yml"]),
        ("""audit_cases = '"my cases/*.yaml" b/*.yaml'""", ["my cases/*.yaml", "b/*.yaml"]),
        ("audit_cases = ['my cases/*.yaml']", ["my cases/*.yaml"]),
        ("audit_cases = []", []),
        ("", ["cases/*.yaml", "cases/*.yml"]),
    ],
)
def test_patterns_are_a_list_or_words_and_have_a_default(
    tmp_path: Path, written: str, patterns: list[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.pytest.ini_options]\n{written}\n")
    assert [p.written for p in project_at(tmp_path).patterns()] == patterns


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("audit_cases = '../*.yaml'", "audit_cases: the pattern '../\\*.yaml' of case files: '..'"),
        ("audit_cases = '\"cases/*.yaml'", "audit_cases: No closing quotation"),
        ("audit_cases = 5", "audit_cases: patterns are needed here"),
        (
            "audit_cases = 'cases\\*.yaml'",
            "audit_cases: the pattern .*: write / between",
        ),
        ("audit_cases = [", "cannot be read: "),
    ],
)
def test_what_a_key_does_not_take_is_told_with_file_and_key(
    tmp_path: Path, written: str, why: str
) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(f"[tool.pytest.ini_options]\n{written}\n")
    with pytest.raises(ProjectError, match=f"{path}: {why}"):
        project_at(tmp_path).patterns()


def test_baselines_count_from_root_and_belong_to_the_model_that_is_configured(
    tmp_path: Path,
) -> None:
    plain = Project(tmp_path)
    assert plain.accepted == tmp_path / "baselines"
    assert plain.baselines_of("shortcut", "shortcut") == tmp_path / "baselines" / "shortcut"
    named = Project(tmp_path, None, {"audit_baselines": "accepted", "audit_model": "models/mine"})
    assert named.accepted == tmp_path / "accepted"
    assert named.baselines_of("models/mine", "mine") == tmp_path / "accepted"
    assert named.baselines_of(str(tmp_path / "models/mine"), "mine") == tmp_path / "accepted"
    assert named.baselines_of("reference", "reference") == tmp_path / "baselines" / "reference"
    home = Project(tmp_path, None, {"audit_baselines": "~/accepted"})
    assert home.accepted == Path.home() / "accepted"
