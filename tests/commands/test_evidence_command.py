"""``audit evidence``: the command writes the page, checks it, and says where it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from audit.commands import main as cli
from tests.projects import audited, made


def called(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli.app, ["evidence", *arguments])
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\naudit_baselines = baselines/toy\n")
    monkeypatch.chdir(tmp_path)
    audited(made(tmp_path), Path("run"), Path("baselines/toy"), "all")
    (tmp_path / "key").write_text("0123456789abcdef0123456789abcdef\n")
    return tmp_path / "run"


def test_a_page_is_written_into_the_run_and_holds(run: Path) -> None:
    code, said, _ = called("run")
    assert (code, said.splitlines()[0]) == (0, "page: run/evidence.html")
    digest = said.splitlines()[1].removeprefix("digest of the run: ")
    code, said, _ = called("run", "--verify", "run/evidence.html")
    assert code == 0
    assert f"the run has the digest of the page, {digest}\n" in said


def test_a_signed_page_is_checked_with_its_key(run: Path) -> None:
    assert called("run", "--key", "key", "--out", "page.html")[0] == 0
    assert called("run", "--verify", "page.html", "--key", "key")[0] == 0


def test_a_wrong_page_ends_with_code_1_and_the_reason(run: Path) -> None:
    called("run", "--out", "page.html")
    (run / "results.json").write_text((run / "results.json").read_text() + " ")
    code, _, errors = called("run", "--verify", "page.html")
    assert code == 1
    assert errors == ("WRONG: the run is not the one of the page; what differs: results.json\n")
