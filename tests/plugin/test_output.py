"""Nothing that a case file says is a command to a pipeline or to a terminal."""

from __future__ import annotations

import json

import pytest

HOSTILE = "r\n::error file=x::owned\x1b[2J\u202e"


def lines(result: pytest.RunResult) -> list[str]:
    return [line.strip() for line in result.outlines + result.errlines]


def obeyed(result: pytest.RunResult) -> list[str]:
    """Lines that GitHub would take for commands, besides the annotations of failing cases."""
    wanted = ("::error file=cases/", "::error title=suite")
    found = [line for line in lines(result) if line.startswith("::") or "##[" in line]
    return [line for line in found if not line.startswith(wanted)]


@pytest.mark.parametrize("place", ["region", "key", "text", "xfail", "tag", "word"])
def test_what_a_case_file_names_injects_no_command_and_moves_no_cursor(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    hostile = json.dumps(HOSTILE)
    text = {
        "region": f"regions: {{{hostile}: [[0.25, 0.25, 0.5, 0.5]]}}",
        "key": f"{hostile}: 1",
        "text": f"text: {hostile}",
        "xfail": f"xfail: {hostile}",
        "tag": f"tags: [{hostile}]",
        "word": f"map: {{method: word_attention, word: {hostile}}}",
    }[place]
    text += "" if place == "text" else "\n    text: there are birds"
    (accepted.path / "cases" / "others.yaml").write_text(
        f"cases:\n  - id: hostile\n    image: images/b.png\n    {text}\n"
        "    expect: {label: maybe}\n"
    )
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    result = accepted.runpytest("cases", "-rA", "--audit-summary=summary.md")
    assert obeyed(result) == []
    printed = result.stdout.str() + (accepted.path / "summary.md").read_text()
    assert "\x1b[2J" not in printed
    assert "\u202e" not in printed


def test_a_path_of_an_annotation_is_that_of_the_repository(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_CELL", "0")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(accepted.path))
    monkeypatch.chdir(accepted.path / "cases")
    result = accepted.runpytest("birds.yaml")
    marked = [line for line in result.outlines if line.startswith("::error")]
    assert marked[0].startswith(
        "::error file=cases/birds.yaml,line=2,title=birds%3A contract broken"
    )


def test_the_summary_names_files_as_the_repository_does(
    accepted: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_CELL", "0")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(accepted.path.parent))
    accepted.runpytest("cases", "--audit-summary=summary.md")
    here = accepted.path.name
    assert f"| `{here}/cases/birds.yaml:2` |" in (accepted.path / "summary.md").read_text()
