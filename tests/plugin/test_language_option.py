"""The language of the gallery, asked for by option, by configuration and by command."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import audit.commands.main as cli


def language(page: Path) -> str:
    """What the page itself says it is in."""
    return page.read_text().partition('<html lang="')[2].partition('"')[0]


def test_an_option_and_a_key_give_the_gallery_its_language(accepted: pytest.Pytester) -> None:
    page = accepted.path / "run" / "gallery.html"
    accepted.runpytest("cases")
    assert language(page) == "en"
    assert 'data-language="zh"' in page.read_text()
    accepted.runpytest("cases", "--audit-language=zh")
    assert language(page) == "zh-CN"
    accepted.runpytest("cases", "-o", "audit_language=en")
    assert language(page) == "en"
    assert 'data-language="zh"' not in page.read_text()


def test_a_gallery_is_drawn_again_in_another_language(accepted: pytest.Pytester) -> None:
    accepted.runpytest("cases")
    page = accepted.path / "run" / "gallery.html"
    for asked, tag in (("zh", "zh-CN"), ("en", "en")):
        done = CliRunner().invoke(cli.app, ["report", "run", "--language", asked])
        assert done.exit_code == 0
        assert language(page) == tag
    wrong = CliRunner().invoke(cli.app, ["report", "run", "--language", "fr"])
    assert wrong.exit_code == 2
    assert "'fr' is not auto, en or zh" in " ".join(wrong.output.replace("│", " ").split())
