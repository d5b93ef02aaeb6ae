"""An extra that is missing, or has another version, is told in one sentence."""

from __future__ import annotations

import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from typer.testing import CliRunner

import audit
from audit.base.errors import MissingExtra
from audit.base.extras import EXTRAS, lacking, require
from audit.commands import main as cli
from audit.models.registry import check_installed, known

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "cases" / "images" / "two-birds-on-a-branch.png"
NEEDED = "needs modelscope, torch, torchvision, transformers: pip install 'ofa-audit[ofa]'"


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which pip installed no extra."""
    real = metadata.distribution
    brought = {Requirement(each).name for needed in EXTRAS.values() for each in needed}

    def distribution(name: str) -> metadata.Distribution:
        if name in brought:
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "distribution", distribution)
    for name in ("audit.models.ofa.adapter", "audit.models.kit.hardware"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it fails


@pytest.mark.parametrize("extra", EXTRAS)
def test_what_is_asked_for_is_what_the_extra_brings(extra: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needed = [Requirement(each) for each in extras[extra]]
    for own in [each for each in needed if each.name == project["name"]]:
        needed += [Requirement(each) for inner in own.extras for each in extras[inner]]
    brought = {each.name: each.specifier for each in needed}
    for each in map(Requirement, EXTRAS[extra]):
        assert brought[each.name] == each.specifier


@pytest.mark.parametrize("extra", EXTRAS)
def test_nothing_is_lacking_where_all_extras_are_installed(extra: str) -> None:
    assert lacking(extra) == ""
    require(extra, "this")


def test_a_version_that_will_not_do_is_told_with_the_one_that_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = metadata.distribution

    class Newer(metadata.PathDistribution):
        version = "5.24.0"

    def distribution(name: str) -> metadata.Distribution:
        return Newer(ROOT) if name == "transformers" else real(name)

    monkeypatch.setattr(metadata, "distribution", distribution)
    assert lacking("ofa") == (
        "needs transformers<5,>=4.57 (5.24.0 is installed): pip install 'ofa-audit[ofa]'"
    )
    assert lacking("hf") == ""


def test_a_version_before_its_release_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nightly(metadata.PathDistribution):
        version = "2.12.0.dev20261101+cpu"

    real = metadata.distribution
    monkeypatch.setattr(
        metadata, "distribution", lambda name: Nightly(ROOT) if name == "torch" else real(name)
    )
    assert lacking("ofa") == ""


@pytest.mark.parametrize(
    "command",
    [
        ["explain", str(PICTURE), "two birds"],
        ["noise", "--no-write"],
        ["compare", "reference", "shortcut"],
    ],
)
def test_a_command_that_asks_a_model_says_what_the_model_needs(
    command: list[str], core: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli.app, command)
    assert isinstance(result.exception, MissingExtra)
    assert str(result.exception) == f"reference {NEEDED}"


@pytest.mark.parametrize(("command", "needed"), [
    (["power"], f"audit power {NEEDED}"),
    (["validity"], f"audit validity {NEEDED}"),
    (["serve"], "audit serve needs gradio: pip install 'ofa-audit[app]'"),
])  # fmt: skip
def test_a_command_that_needs_an_extra_says_which(
    command: list[str], needed: str, core: None
) -> None:
    result = CliRunner().invoke(cli.app, command)
    assert isinstance(result.exception, MissingExtra)
    assert str(result.exception) == needed


def test_python_and_the_page_are_told_the_same(core: None) -> None:
    with pytest.raises(MissingExtra) as loaded:
        audit.load_model("reference")
    with pytest.raises(MissingExtra) as checked:
        check_installed("reference")  # the page asks this before it is served
    assert str(loaded.value) == str(checked.value) == f"reference {NEEDED}"


def test_what_a_model_can_do_is_known_without_its_packages(core: None) -> None:
    found = known("reference")
    assert found.labels == ("no", "yes", "maybe")
    assert found.methods
    assert found.lacking == NEEDED


def test_the_list_of_models_says_which_cannot_be_loaded_here_and_why(core: None) -> None:
    result = CliRunner().invoke(cli.app, ["model", "--list"])
    assert result.exit_code == 0
    said = f"not to be loaded here: reference, shortcut, folder, modelscope {NEEDED}"
    assert said in result.stdout
