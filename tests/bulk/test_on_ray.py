"""The same rows through Ray: the same answers, whatever dies on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from audit.bulk.format import BulkFolder
from tests.bulk.conftest import Audited, ids, table_of
from tests.bulk_rows import install_toys, rows_of, write_source

ROOT = Path(__file__).parents[2]


def test_importing_audit_and_its_commands_does_not_import_ray() -> None:
    code = (
        "import sys, audit, audit.commands.main, audit.bulk.on_ray, audit.bulk.running;"
        "print(sorted({'ray', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_importing_the_commands_does_not_import_pyarrow() -> None:
    code = "import sys, audit.commands.main; print('pyarrow' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.strip() == "False"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Ray on this machine with two cores, once for the module; its processes know the toys."""
    pytest.importorskip("ray")
    folder = install_toys(tmp_path_factory.mktemp("packages"))
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(folder)])
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    ray.init(
        "local", num_cpus=2, include_dashboard=False, log_to_driver=False,
        object_store_memory=100_000_000,
    )  # fmt: skip
    yield folder
    ray.shutdown()
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


def on_two(job, parts, tell):
    from audit.bulk.on_ray import on_ray

    on_ray(job, parts, tell, address="", actors=2)


def without_time(out: Path) -> dict[str, object]:
    return {row["id"]: {k: v for k, v in row.items() if k != "seconds"} for row in table_of(out)}


@pytest.mark.slow
def test_ray_writes_what_one_process_writes(
    cluster: Path, audited: Audited, tmp_path: Path
) -> None:
    rows = rows_of(60)
    rows[17]["text"] = "crash"
    source = write_source(tmp_path, rows)
    done = []
    account = audited(
        source, tmp_path / "ray", model="breaking:x", runner=on_two, sample=10,
        started=lambda _: lambda *each: done.append(each),
    )  # fmt: skip
    alone = audited(source, tmp_path / "alone", model="breaking:x", sample=10)
    assert without_time(tmp_path / "ray") == without_time(tmp_path / "alone")
    assert {row["id"] for row in table_of(tmp_path / "ray", "maps")} == {
        row["id"] for row in table_of(tmp_path / "alone", "maps")
    }
    assert account.model_copy(update={"seconds": 0}) == alone.model_copy(update={"seconds": 0})
    assert [sum(column) for column in zip(*done, strict=True)] == [60, 1]
    assert BulkFolder(tmp_path / "ray").batches() is not None


@pytest.mark.slow
def test_what_one_process_left_ray_finishes(
    cluster: Path, audited: Audited, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = write_source(tmp_path, rows_of(40)), tmp_path / "out"
    with monkeypatch.context() as alone:
        # Another test may have loaded torch, which the toy does without, as Ray's processes do.
        alone.delitem(sys.modules, "torch", raising=False)
        audited(source, out)
    for path in BulkFolder(out).files()[1:3]:
        path.unlink()
    account = audited(source, out, runner=on_two)
    assert (account.earlier, account.written) == (20, 40)
    assert ids(out) == [f"row-{n}" for n in range(40)]


@pytest.mark.slow
def test_a_model_that_cannot_be_loaded_is_told_in_one_sentence(
    cluster: Path, audited: Audited, tmp_path: Path
) -> None:
    from audit.base.errors import BulkError

    with pytest.raises(BulkError, match="no map 'rollout'"):
        audited(write_source(tmp_path, rows_of(20)), runner=on_two, maps=("rollout",))


@pytest.mark.slow
def test_a_model_that_breaks_on_ray_ends_the_work_and_blames_no_row(
    cluster: Path, audited: Audited, tmp_path: Path
) -> None:
    from audit.base.errors import Unfinished

    rows = rows_of(60)
    rows[33]["text"] = "cuda"
    with pytest.raises(Unfinished, match="CUDA error"):
        audited(write_source(tmp_path, rows), model="breaking:x", runner=on_two)
    assert {row["error"] for row in table_of(tmp_path / "out")} == {None}
    assert "row-33" not in ids(tmp_path / "out")


@pytest.mark.slow
def test_a_row_that_kills_every_process_ends_the_work_with_its_place(
    cluster: Path, audited: Audited, tmp_path: Path
) -> None:
    from audit.base.errors import Unfinished

    rows = rows_of(30)
    rows[13]["text"] = "die"
    with pytest.raises(Unfinished, match="3 processes died while they asked the rows of plan/"):
        audited(write_source(tmp_path, rows), model="breaking:x", runner=on_two)
    assert "row-13" not in ids(tmp_path / "out")


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """A source of rows over which the breaking toy takes its time, as long as it is whole."""
    rows = rows_of(80)
    for row in rows:
        row["text"] = f"slow {row['text']}"
    return write_source(tmp_path, rows)


def whole(account: Mapping[str, Any], out: Path) -> bool:
    """Whether each row was answered once."""
    counted = (account["read"], account["written"], account["failed"])
    return counted == (80, 80, 0) and ids(out) == [f"row-{n}" for n in range(80)]


def some_written(out: Path, parts: int = 2) -> None:
    """Wait until some parts are there, which leaves others to do."""
    deadline = time.monotonic() + 120
    while (done := len(list(out.glob("rows/part-*.parquet")))) < parts:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert done < 8


@pytest.mark.slow
def test_killing_a_worker_loses_and_duplicates_nothing(
    cluster: Path, audited: Audited, slow: Path, tmp_path: Path
) -> None:
    out, killed = tmp_path / "out", []

    def kill() -> None:
        some_written(out)
        killed.append(actors_of(os.getpid())[0])
        os.kill(killed[0], signal.SIGKILL)

    with ThreadPoolExecutor(1) as pool:
        killing = pool.submit(kill)
        account = audited(slow, out, model="breaking:x", runner=on_two)
        killing.result()
    assert killed
    assert whole(account.model_dump(), out)


@pytest.mark.slow
def test_killing_the_command_loses_and_duplicates_nothing(
    cluster: Path, slow: Path, toys: Path, tmp_path: Path
) -> None:
    from audit.commands import main as cli

    out = tmp_path / "out"
    arguments = [
        "bulk", str(slow), "--out", str(out), "--model", "breaking:x",
        "--shard", "10", "--batch", "5", "--ray", "--actors", "2", "--json",
    ]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "audit", *arguments], cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    some_written(out)
    process.kill()
    process.communicate()
    # Goes on in the Ray of this module, which saves the start of another one.
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert whole(told, out)
    assert 0 < told["earlier"] < 80


def actors_of(driver: int) -> list[int]:
    """The processes of Ray below a driver in which an actor is."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if title.startswith(b"ray::") and b"Map" in title and below(int(stat[1]), driver):
            found.append(int(folder.name))
    return found


def below(parent: int, ancestor: int) -> bool:
    """Whether a process is one of another's descendants."""
    while parent > 1:
        if parent == ancestor:
            return True
        try:
            parent = int(Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return False
    return False
