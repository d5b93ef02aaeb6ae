"""Updates of one folder of baselines: one process at a time, whole or not at all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from audit.base.errors import BaselineError
from audit.base.files import digest_file
from audit.gate import accepted, baselines
from tests import projects

PROMOTES = """
import sys
from pathlib import Path
from audit.gate import baselines
for _ in range(int(sys.argv[3])):
    baselines.promote(Path(sys.argv[1]), Path(sys.argv[2]))
"""
HOLDS = """
import sys, time
from pathlib import Path
from audit.gate import baselines
with baselines.updating(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def proposals(root: Path, name: str, cell: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a session proposes whose model looks at ``cell``: other figures, other maps."""
    monkeypatch.setenv("TOY_CELL", cell)
    projects.audited(root / "cases" / "birds.yaml", root / name, root / f"own-{name}", "all")
    return root / name / "proposals"


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Proposals of two sessions about the same cases."""
    projects.made(tmp_path)
    return [proposals(tmp_path, name, name, monkeypatch) for name in ("5", "6")]


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_two_processes_that_update_at_once_mix_nothing(tmp_path: Path, two: list[Path]) -> None:
    folder = tmp_path / "baselines"
    writers = [start(PROMOTES, str(each), str(folder), "40") for each in two]
    seen = 0
    while any(writer.poll() is None for writer in writers):
        if (folder / "hungry.json").exists():
            held = [baselines.held(folder, case) for case in ("birds", "hungry")]
            assert [h.damage for h in held] == ["", ""]
            seen += 1
    assert [writer.returncode for writer in writers] == [0, 0]
    assert seen > 10
    winner = {digest_file(each / "birds.json"): each for each in two}
    mine = winner[digest_file(folder / "birds.json")]
    for name in ("birds.json", "birds.npz", "hungry.json", "hungry.npz"):
        assert digest_file(folder / name) == digest_file(mine / name)
    assert not list(folder.glob(".*"))


def test_an_update_that_is_killed_anywhere_leaves_pairs_and_blocks_nobody(
    tmp_path: Path, two: list[Path]
) -> None:
    folder = tmp_path / "baselines"
    baselines.promote(two[0], folder)
    for number in range(12):
        writer = start(PROMOTES, str(two[number % 2]), str(folder), "100000")
        until = time.monotonic() + 60
        while not list(folder.glob(".accepting-*")) and time.monotonic() < until:
            pass
        time.sleep(0.002 * number)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        started = time.monotonic()
        baselines.recover(folder)
        assert time.monotonic() - started < 5
        for case in ("birds", "hungry"):
            assert not baselines.held(folder, case).damage
    assert baselines.promote(two[0], folder) == ["birds", "hungry"]


def test_who_is_killed_while_it_holds_the_folder_lets_it_go(
    tmp_path: Path, two: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "baselines"
    holder = start(HOLDS, str(folder))
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    monkeypatch.setattr(baselines, "_PATIENCE", 0.2)
    with pytest.raises(BaselineError, match="another process has been updating these baselines"):
        baselines.promote(two[0], folder)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert baselines.promote(two[0], folder) == ["birds", "hungry"]


def test_names_are_flushed_to_disk_after_renaming(
    tmp_path: Path, two: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed = []
    real = os.fsync

    def noted(handle: int) -> None:
        flushed.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        real(handle)

    monkeypatch.setattr(os, "fsync", noted)
    folder = tmp_path / "baselines"
    baselines.promote(two[0], folder)
    assert flushed[-1] == str(folder)


def test_a_folder_that_cannot_be_written_can_be_read_and_an_update_says_so(
    tmp_path: Path, two: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "baselines"
    baselines.promote(two[0], folder)
    (folder / ".accepting-dead").mkdir()
    (folder / ".accepting-dead" / "committed").touch()
    before = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}

    def refused(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(os, "open", _only_reading(os.open, refused))
    baselines.recover(folder)
    assert not baselines.held(folder, "birds").damage
    with pytest.raises(BaselineError, match="baselines cannot be written: Permission denied"):
        baselines.promote(two[1], folder)
    monkeypatch.undo()
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()} == before


def _only_reading(real: object, refused: object) -> object:
    """The tests may run as root, to whom no folder is closed."""

    def opened(path: object, flags: int, *more: object, **named: object) -> object:
        if flags & (os.O_WRONLY | os.O_RDWR):
            return refused(path)  # type: ignore[operator]
        return real(path, flags, *more, **named)  # type: ignore[operator]

    return opened


def test_a_proposal_whose_maps_are_of_another_session_is_not_promoted(
    tmp_path: Path, two: list[Path]
) -> None:
    folder = tmp_path / "baselines"
    shutil.copy(two[1] / "birds.npz", two[0] / "birds.npz")
    with pytest.raises(BaselineError, match=r"birds.npz: missing, or not the maps"):
        baselines.promote(two[0], folder)
    assert not folder.exists()


def test_prune_takes_damaged_orphans_and_leaves_what_is_no_baseline(
    tmp_path: Path, two: list[Path]
) -> None:
    folder = tmp_path / "baselines"
    baselines.promote(two[0], folder)
    shutil.copy(folder / "birds.npz", folder / "lonely.npz")
    (folder / "hungry.json").write_text("<<<<<<< HEAD\n")
    (folder / "package.json").write_text('{"name": "somebody else\'s"}')
    assert baselines.prune(folder, ["birds"], delete=True) == ["hungry", "lonely"]
    left = sorted(path.name for path in folder.iterdir())
    assert left == ["birds.json", "birds.npz", "package.json"]
    assert accepted.load(folder, "birds") is not None
