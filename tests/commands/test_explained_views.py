"""`audit explain` says what part of the picture a model sees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from audit.commands.main import app
from audit.models import registry
from tests.looking_toys import LookingToy
from tests.pages import words_of

SAID = "The model sees the middle 60 % of the width"


def explained(folder: Path, *more: str) -> str:
    Image.new("RGB", (160, 96), "navy").save(folder / "a.png")
    asked = ["explain", str(folder / "a.png"), "a red patch", "--out", str(folder / "out"), *more]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def cropping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "load_model", lambda *_, **__: LookingToy("crop"))


@pytest.fixture
def seeing_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "load_model", lambda *_, **__: LookingToy("whole"))


@pytest.mark.usefixtures("cropping")
def test_json_has_the_view(tmp_path: Path) -> None:
    found = json.loads(explained(tmp_path, "--json"))
    assert found["view"] == pytest.approx([0.2, 0.0, 0.8, 1.0])
    assert SAID in words_of(Path(found["files"]["page"]).read_text())


@pytest.mark.usefixtures("cropping")
def test_the_terminal_says_it_in_words(tmp_path: Path) -> None:
    assert SAID in explained(tmp_path).splitlines()


@pytest.mark.usefixtures("seeing_all")
def test_of_a_model_that_sees_the_whole_the_terminal_says_nothing(tmp_path: Path) -> None:
    assert json.loads(explained(tmp_path, "--json"))["view"] == [0, 0, 1, 1]
    assert "The model sees" not in explained(tmp_path)
