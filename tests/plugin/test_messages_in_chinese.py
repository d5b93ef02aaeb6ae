"""Messages about case files in the language that a session asks for; English by default."""

from __future__ import annotations

import pytest

PLACE = "cases/birds.yaml:3:5: cases[0].imag: "
ENGLISH, CHINESE = "unknown key; did you mean 'image'?", "没有这个键；是不是想写 'image'？"


@pytest.fixture
def faulty(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """The project with a mistake in a case file."""
    monkeypatch.delenv("AUDIT_LANGUAGE", raising=False)
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    path = project.path / "cases" / "birds.yaml"
    path.write_text(path.read_text().replace("image:", "imag:", 1))
    return project


def collected(project: pytest.Pytester, *arguments: str) -> str:
    result = project.runpytest("cases", *arguments)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    return result.stdout.str()


def test_english_stays_the_default_whatever_the_locale(faulty: pytest.Pytester) -> None:
    assert f"{PLACE}{ENGLISH}" in collected(faulty)


def test_an_option_a_key_or_the_environment_asks_for_chinese(
    faulty: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert f"{PLACE}{CHINESE}" in collected(faulty, "--audit-language=zh")
    assert f"{PLACE}{CHINESE}" in collected(faulty, "-o", "audit_language=zh")
    monkeypatch.setenv("AUDIT_LANGUAGE", "zh")
    assert f"{PLACE}{CHINESE}" in collected(faulty)
    assert f"{PLACE}{ENGLISH}" in collected(faulty, "--audit-language=en")


def test_a_language_that_there_is_not_is_refused(
    faulty: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = faulty.runpytest("cases", "--audit-language=fr")
    result.stderr.fnmatch_lines(["ERROR: --audit-language: 'fr' is not auto or en or zh"])
    monkeypatch.setenv("AUDIT_LANGUAGE", "fr")
    result = faulty.runpytest("cases")
    result.stderr.fnmatch_lines(["*AUDIT_LANGUAGE: 'fr' is not known; choose from: en, zh"])


def test_a_pattern_that_is_none_is_told_in_chinese(faulty: pytest.Pytester) -> None:
    result = faulty.runpytest("-o", "audit_cases=../x.yaml", "--audit-language=zh")
    result.stderr.fnmatch_lines(["*audit_cases: 用例文件的匹配模式 '../x.yaml'：不允许用 '..'*"])
