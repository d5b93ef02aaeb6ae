"""What all commands have in common: version, pipes that close, Ctrl-C, folders of results."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.util import find_spec as really_find
from pathlib import Path

import pytest
from typer.testing import CliRunner

from audit import __version__
from audit.app.cost import MOST_CELLS, check_cost, pictures
from audit.base.console import alone_interrupted, progress
from audit.base.errors import RunError
from audit.base.files import make_output
from audit.base.geometry import Grid
from audit.commands import main as cli
from audit.maps.spec import MapSpec
from audit.maps.trace import Window
from audit.studies.power import measure as power

ROOT = Path(__file__).parents[2]

SLOW = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell with & ignores it
from audit.commands import main as cli

@cli.app.command()
def wait() -> None:
    print("waiting", flush=True)
    time.sleep(60)

@cli.app.command()
def talk() -> None:
    while True:
        print("more")

@cli.app.command()
def short() -> None:
    print("one line")

sys.argv = ["audit", *sys.argv[1:]]
cli.main()
"""


def started(command: str) -> subprocess.Popen[str]:
    """One command, as simple as they come, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, command], cwd=ROOT, text=True, env={**os.environ},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_the_version_is_that_of_the_package() -> None:
    result = CliRunner().invoke(cli.app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"audit {__version__}\n")


def test_ctrl_c_ends_a_command_with_one_line() -> None:
    with started("wait") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert (process.returncode, said) == (130, "audit: interrupted\n")


def test_children_leave_ctrl_c_to_their_parent() -> None:
    how = [sys.executable, "-c", "import signal; print(signal.getsignal(signal.SIGINT).name)"]
    before = signal.getsignal(signal.SIGINT)
    with alone_interrupted():
        told = subprocess.run(how, capture_output=True, text=True, check=True).stdout
    assert told == "SIG_IGN\n"
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize(("command", "code"), [("talk", 141), ("short", 0)])
def test_a_pipe_that_is_closed_is_no_error_to_tell(command: str, code: int) -> None:
    with started(command) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read()
        process.wait(timeout=60)
    assert said == ""
    assert process.returncode in (code, 141)


def test_progress_is_told_by_lines_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert list(progress(range(20), 20, "scenes")) == list(range(20))
    said = capsys.readouterr().err.splitlines()
    assert said[:2] == ["scenes: 0 of 20", "scenes: 2 of 20"]
    assert said[-1] == "scenes: 20 of 20"
    assert len(said) == 11


@pytest.mark.parametrize("name", ["audit-explain", "audit-power", "audit-runs"])
def test_a_folder_of_results_keeps_itself_out_of_git(name: str, tmp_path: Path) -> None:
    make_output(tmp_path / name / "inner")
    assert (tmp_path / name / ".gitignore").read_text().splitlines()[-1] == "*"
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / name / "inner" / "result.json").write_text("{}")
    status = ["git", "-C", str(tmp_path), "status", "--porcelain"]
    assert subprocess.run(status, capture_output=True, check=True).stdout == b""


def test_a_folder_that_was_there_or_was_named_otherwise_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "audit-runs").mkdir()
    (tmp_path / "audit-runs" / "kept.txt").write_text("in git")
    for folder in (tmp_path / "audit-runs" / "one", tmp_path / "mine"):
        make_output(folder)
        assert folder.is_dir()
    assert list(tmp_path.rglob(".gitignore")) == []


def asked(tmp_path: Path, *only: str) -> power.Asked:
    return power.Asked("reference", (), tmp_path, Path(), only=only)


@pytest.mark.slow
def test_power_of_xdist_alone_says_at_once_that_it_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(power, "find_spec", lambda n: None if n == "xdist" else really_find(n))
    with pytest.raises(RunError, match=r"--only xdist: pytest-xdist is not installed \(pip inst"):
        power.measure_power(asked(tmp_path / "audit-power", "xdist"), lambda items, *_: iter(items))
    assert list(tmp_path.iterdir()) == []


def test_the_pictures_of_occlusion_are_counted() -> None:
    # 30 x 30 cells: a window of 5, by default a sixth, lies at 0, 2 ... 24 and 25 along each side.
    assert pictures(Window(None, None), Grid(30, 30)) == 14 * 14
    assert pictures(Window(1, 1), Grid(30, 30)) == 900


def test_a_map_that_takes_too_long_is_refused_with_one_that_does_not() -> None:
    with pytest.raises(ValueError, match="900 pictures of 30 x 30 cells") as refused:
        check_cost(MapSpec.parse("occlusion window=1 stride=1"), Grid(30, 30))
    assert str(refused.value).endswith(
        "more than the 300 that this page allows; window=2 stride=2 fits"
    )
    check_cost(MapSpec.parse("occlusion window=2 stride=2"), Grid(30, 30))
    assert pictures(Window(2, 2), Grid(30, 30)) * 900 <= MOST_CELLS


@pytest.mark.parametrize("text", ["occlusion", "answer_attention", "relevance", "rollout"])
def test_every_map_as_it_comes_is_within_the_limit(text: str) -> None:
    for side in (4, 12, 24, 30):
        check_cost(MapSpec.parse(text), Grid(side, side))


def test_a_window_that_cannot_be_is_left_to_the_map_to_refuse() -> None:
    check_cost(MapSpec.parse("occlusion window=40"), Grid(30, 30))
    check_cost(MapSpec.parse("occlusion window=1 stride=2"), Grid(30, 30))


@pytest.mark.parametrize("given", ["--version", "model --list", "explain"])
def test_python_m_audit_is_audit(given: str) -> None:
    def said(*command: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, *command, *given.split()], cwd=ROOT, text=True, capture_output=True,
            check=False, env={**os.environ, "TERM": "dumb"},
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr.replace("python -m audit", "audit")

    entry = "import sys; sys.argv[0] = 'audit'; from audit.commands.main import main; main()"
    assert said("-m", "audit") == said("-c", entry)
