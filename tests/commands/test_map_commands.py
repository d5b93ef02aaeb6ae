"""audit heads, and audit validity on the user's own cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from audit.commands import main as cli
from audit.gate.headsfile import read_heads
from audit.models import registry
from tests.head_toy import HeadToy, project


@pytest.fixture
def patches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of twelve cases whose model has two good heads."""
    project(tmp_path, 12)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "load_model", lambda *_, **__: HeadToy())
    return tmp_path


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, list(arguments))


def test_heads_are_written_beside_the_baselines_and_used_by_validity_and_explain(
    patches: Path,
) -> None:
    done = run("heads", "--model", "toy", "--cases", "cases/*.yaml")
    assert done.exit_code == 0, done.output
    assert "heads were chosen: on 6 held-out pictures the map of L" in done.output
    record = read_heads(patches / "baselines" / "head-toy")
    assert record is not None
    assert set(record.heads) <= {"L2H3", "L3H1"}
    assert record.boxes == "regions of 12 cases"
    key = f"answer_attention heads={','.join(record.heads)}"

    done = run("validity", "--model", "toy", "--cases", "cases/*.yaml", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["maps"][key]["place"] is True
    assert (patches / "audit-validity.md").exists()

    done = run(
        "explain", "cases/images/0.png", "a red patch", "--model", "toy", "--json",
        "--map", "answer_attention heads=chosen",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["method"] == key


def test_if_no_heads_beat_the_controls_the_exit_code_is_1_and_none_can_be_used(
    patches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "load_model", lambda *_, **__: HeadToy(good=()))
    done = run("heads", "--model", "toy", "--baselines", "here")
    assert done.exit_code == 1, done.output
    assert "no heads beat the controls: on 6 held-out pictures " in done.output
    record = read_heads(patches / "here")
    assert record is not None
    assert (record.heads, len(record.tried) > 0) == ([], True)


def test_nothing_is_written_if_nothing_shall_be(patches: Path) -> None:
    done = run("heads", "--model", "toy", "--no-write", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["path"] is None
    assert not (patches / "baselines").exists()


def test_cases_and_scenes_exclude_each_other(patches: Path) -> None:
    done = run("heads", "--cases", "cases/*.yaml", "--scenes", "20")
    assert done.exit_code == 2
    assert "not both" in done.output


def test_validity_prints_a_table_and_what_could_not_be_told(patches: Path) -> None:
    done = run("validity", "--cases", "cases/*.yaml", "--out", "page.md")
    assert done.exit_code == 0, done.output
    assert "12 cases with regions on 12 pictures, 12 of them answered as expected" in done.output
    assert "answer_attention subtract=blank" in done.output
    assert "note: whether entropy tells what is there" in done.output
    assert "page: page.md" in done.output
    assert "heads=" not in done.output
    one = run("validity", "--cases", "cases/*.yaml", "--map", "occlusion", "--out", "page.md")
    assert "subtract=blank" not in one.output


def test_single_maps_are_for_cases(patches: Path) -> None:
    done = run("validity", "--map", "occlusion")
    assert done.exit_code == 2
    assert "--map goes with --cases" in done.output


@pytest.mark.parametrize(
    "command",
    [("heads", "--no-write"), ("validity", "--cases", "cases/*.yaml", "--map", "answer_attention")],
)
def test_the_model_is_loaded_with_the_options_of_its_kind(
    patches: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    given: list[dict[str, Any]] = []

    def load_model(*_: Any, **options: Any) -> HeadToy:
        given.append(options)
        return HeadToy()

    monkeypatch.setattr(registry, "load_model", load_model)
    done = run(*command, "--model", "toy", "--asking", "a.yaml", "--requests", "2", "--key", "K")
    assert done.exit_code == 0, done.output
    assert given == [{"asking": "a.yaml", "requests": "2", "key": "K"}]
