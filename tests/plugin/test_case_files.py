"""Which files become cases, and what is said where none does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugin.conftest import OTHERS

INI = "[pytest]\naudit_baselines = baselines\naudit_run_dir = run\n"


def listed(project: pytest.Pytester, *arguments: str) -> list[str]:
    result = project.runpytest("--collect-only", "-q", *arguments)
    return [line for line in result.stdout.lines if "::" in line and "ERROR" not in line]


@pytest.fixture
def deep(project: pytest.Pytester) -> pytest.Pytester:
    """The project with a file in a folder of a folder, a ``.yml`` and somebody else's file."""
    folder = project.path / "cases" / "a" / "b"
    folder.mkdir(parents=True)
    text = OTHERS.replace("images/", "../../images/")
    (folder / "deep.yaml").write_text(text.replace("hungry\n", "deep\n", 1))
    text = OTHERS.replace("id: hungry", "id: short")
    (project.path / "cases" / "short.yml").write_text(text)
    (project.path / "cases" / "pipeline.yaml").write_text("stages: [build, test]\n")
    return project


def test_two_stars_stand_for_any_number_of_folders_none_included(deep: pytest.Pytester) -> None:
    deep.makeini(f"{INI}audit_cases = cases/**/*.yaml\n")
    assert listed(deep) == [
        "cases/a/b/deep.yaml::deep", "cases/birds.yaml::birds", "cases/birds.yaml::no-cat",
        "cases/others.yaml::hungry",
    ]  # fmt: skip


def test_by_default_both_endings_are_cases_and_what_has_no_cases_is_no_error(
    deep: pytest.Pytester,
) -> None:
    assert listed(deep) == [
        "cases/birds.yaml::birds", "cases/birds.yaml::no-cat", "cases/others.yaml::hungry",
        "cases/short.yml::short",
    ]  # fmt: skip
    assert "pipeline" not in deep.runpytest("--collect-only").stdout.str()


@pytest.mark.parametrize("pattern", ["./cases/*.yaml", "{root}/cases/*.yaml", "cases//*.yaml"])
def test_a_pattern_may_be_written_in_other_ways(project: pytest.Pytester, pattern: str) -> None:
    project.makeini(f"{INI}audit_cases = {pattern.format(root=project.path)}\n")
    assert len(listed(project)) == 3


def test_a_file_that_the_command_line_names_is_collected_wherever_it_lies(
    project: pytest.Pytester, tmp_path: Path
) -> None:
    for folder in (project.path / "drafts", tmp_path / "outside"):
        folder.mkdir()
        images = project.path / "cases" / "images"
        path = folder / "mine.yml"
        path.write_text(OTHERS.replace("images/", f"{images}/"))
        assert len(listed(project, str(path))) == 1
        assert len(listed(project, f"{path}::hungry")) == 1
        accepted = ("-c", "tox.ini", "--audit-update=all")
        project.runpytest(str(path), *accepted).assert_outcomes(passed=1)
        # Its folder alone is not enough: no pattern matches.
        assert listed(project, str(folder)) == []
    assert (project.path / "baselines" / "hungry.json").exists()


def test_a_python_file_and_a_yaml_file_of_others_named_on_the_command_line_are_not_cases(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(test_x="cases: list = []\ndef test_one(): pass\n")
    project.runpytest("test_x.py").assert_outcomes(passed=1)
    (project.path / "compose.yaml").write_text("services: {}\n")
    result = project.runpytest("compose.yaml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_patterns_and_links_that_lead_to_one_file_give_its_cases_once(
    project: pytest.Pytester,
) -> None:
    project.makeini(f"{INI}audit_cases = cases/*.yaml cases/**/*.yaml linked/*.yaml\n")
    (project.path / "linked").symlink_to("cases")
    (project.path / "cases" / "z.yaml").symlink_to("birds.yaml")
    assert len(listed(project)) == 3
    assert len(listed(project, "cases", "cases/birds.yaml")) == 3


def test_a_configured_pattern_that_matches_no_file_is_warned_of_with_its_root(
    project: pytest.Pytester,
) -> None:
    project.makeini(f"{INI}audit_cases = cases/*.yaml csaes/*.yaml\n")
    result = project.runpytest("--audit-update=new")
    result.assert_outcomes(passed=3, warnings=1)
    result.stdout.fnmatch_lines(
        [
            "*audit_cases: the pattern 'csaes/[*].yaml' of case files matches no file in "
            f"{project.path}"
        ]
    )


@pytest.mark.slow
def test_workers_do_not_warn_of_a_pattern_once_more(project: pytest.Pytester) -> None:
    project.makeini(f"{INI}audit_cases = cases/*.yaml csaes/*.yaml\n")
    project.runpytest("-n1", "--audit-update=new").assert_outcomes(passed=3, warnings=1)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("../cases/*.yaml", "'..' is not allowed"),
        ("cases\\*.yaml", "write / between folders"),
        ("cases/**.yaml", "write '**/[*].yaml'"),
        ('"cases/*.yaml', "No closing quotation"),
    ],
)
def test_a_pattern_that_is_none_stops_the_session_with_file_and_key(
    project: pytest.Pytester, written: str, why: str
) -> None:
    path = project.makeini(f"{INI}audit_cases = {written}\n")
    result = project.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{path}: audit_cases: *{why}*"])


@pytest.mark.parametrize("key", ["case", "Cases", "casess"])
def test_a_case_file_whose_key_is_misspelt_is_an_error_and_not_passed_over(
    project: pytest.Pytester, key: str
) -> None:
    path = project.path / "cases" / "birds.yaml"
    path.write_text(path.read_text().replace("cases:", f"{key}:"))
    result = project.runpytest()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([f"*birds.yaml:1:1: {key}: unknown key; did you mean 'cases'?"])


@pytest.mark.parametrize("more", [["suite"], ["--audit-model=reference"], ["-q"], ["-n1"]])
def test_where_no_case_is_found_a_line_says_where_they_were_looked_for(
    project: pytest.Pytester, more: list[str]
) -> None:
    (project.path / "cases").rename(project.path / "suite")
    result = project.runpytest(*more)
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines(
        [
            "audit: no case was collected: audit_cases is cases/[*].yaml cases/[*].yml, "
            f"from root {project.path}; no pattern matches suite/birds.yaml, suite/others.yaml"
        ]
    )


def test_where_files_match_but_hold_no_cases_the_line_names_them(project: pytest.Pytester) -> None:
    for path in (project.path / "cases").glob("*.yaml"):
        path.write_text("stages: [build]\n")
    project.runpytest("cases").stdout.fnmatch_lines(
        ["audit: no case was collected: *; without a key 'cases': cases/birds.yaml, *others.yaml"]
    )


def test_suites_of_others_with_a_folder_of_that_name_see_no_line(
    pytester: pytest.Pytester,
) -> None:
    folder = pytester.mkdir("cases")
    (folder / "test_one.py").write_text("def test_one(): pass\n")
    (folder / "data.yaml").write_text("a: 1\n")
    for arguments in (["cases"], [], ["cases/test_one.py"]):
        result = pytester.runpytest(*arguments)
        result.assert_outcomes(passed=1)
        assert "audit:" not in result.stdout.str()


@pytest.mark.parametrize("more", [[], ["-n1"]])
def test_a_session_that_audits_fewer_cases_than_it_must_fails(
    accepted: pytest.Pytester, more: list[str]
) -> None:
    accepted.makeini(f"{INI}audit_min_cases = 3\n")
    accepted.runpytest(*more).assert_outcomes(passed=3)
    result = accepted.runpytest("-k", "hungry", *more)
    result.assert_outcomes(passed=1, failed=1, deselected=0 if more else 2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["audit failed: 1 case audited, fewer than the 3 of audit_min_cases, 1 of 1 audited"]
    )
    fewer = accepted.runpytest("-k", "hungry", "--audit-min-cases=1", *more)
    assert fewer.ret == pytest.ExitCode.OK
    assert accepted.runpytest("--collect-only", "-k", "hungry", *more).ret == 0


def test_a_session_without_any_case_fails_where_it_must_audit_some(
    project: pytest.Pytester,
) -> None:
    (project.path / "cases").rename(project.path / "suite")
    project.makepyfile("def test_one(): pass")
    for arguments in ([], ["suite"]):
        result = project.runpytest("--audit-min-cases=1", *arguments)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.stdout.fnmatch_lines(
            ["audit: no case was collected: *", "audit failed: 0 cases audited, fewer than the 1 *"]
        )
    wrong = project.runpytest("--audit-min-cases=many")
    assert wrong.ret == pytest.ExitCode.USAGE_ERROR
    wrong.stderr.fnmatch_lines(["*--audit-min-cases: 'many' is not a number from 0 on"])
