"""A bulk audit that is called again: what is there stays, the rest is asked, nothing is mixed."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from audit.base.errors import BulkError, Unfinished
from audit.bulk.format import BulkFolder
from audit.bulk.plan import Plan
from audit.bulk.worker import Told, Worker
from tests.bulk.conftest import Audited, ids, table_of
from tests.bulk_rows import rows_of, write_source


class Stopped(Exception):
    """Somebody pressed Ctrl-C."""


def stopping_after(rows: int) -> Callable[[Plan], Told]:
    """Interrupts the work after so many rows."""

    def started(_: Plan) -> Told:
        done = 0

        def tell(more: int, _: int) -> None:
            nonlocal done
            done += more
            if done >= rows:
                raise Stopped

        return tell

    return started


def answered(out: Path) -> dict[str, object]:
    """All that does not depend on time, by id."""
    return {row["id"]: {k: v for k, v in row.items() if k != "seconds"} for row in table_of(out)}


@pytest.mark.parametrize("rows", [1, 12, 20, 39])
def test_after_an_interruption_the_result_is_that_of_a_whole_run(
    audited: Audited, tmp_path: Path, rows: int
) -> None:
    source, out = write_source(tmp_path, rows_of(40)), tmp_path / "out"
    audited(source, tmp_path / "whole", sample=10)
    with pytest.raises(Stopped):
        audited(source, out, started=stopping_after(rows), sample=10)
    with pytest.raises(BulkError, match="did not end"):
        BulkFolder(out).account()
    account = audited(source, out, sample=10)
    assert answered(out) == answered(tmp_path / "whole")
    assert [each.name for each in BulkFolder(out).files("maps")] == [
        each.name for each in BulkFolder(tmp_path / "whole").files("maps")
    ]
    assert (account.read, account.written) == (40, 40)
    assert account.earlier == (rows - 1) // 10 * 10


def test_what_is_there_is_not_asked_again(
    audited: Audited, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, log = write_source(tmp_path, rows_of(40)), tmp_path / "log"
    audited(source)
    monkeypatch.setenv("TOY_LOG", str(log))
    account = audited(source)
    assert not log.exists()
    assert (account.earlier, account.written) == (40, 40)


def test_rows_that_come_later_are_asked_alone(
    audited: Audited, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audited(write_source(tmp_path, rows_of(25)))
    log = tmp_path / "log"
    monkeypatch.setenv("TOY_LOG", str(log))
    account = audited(write_source(tmp_path, rows_of(33)))
    assert sum(map(int, log.read_text().split())) == 8
    assert ids(tmp_path / "out") == [f"row-{n}" for n in range(33)]
    assert (account.earlier, account.written) == (25, 33)


def test_a_row_that_can_be_asked_only_now_is_asked_now(audited: Audited, tmp_path: Path) -> None:
    rows = rows_of(15)
    rows[4]["image"] = "images/late.png"
    source = write_source(tmp_path, rows)
    assert audited(source).refused == 1
    shutil.copy(tmp_path / "images" / "0.png", tmp_path / "images" / "late.png")
    account = audited(source)
    assert (account.refused, account.earlier, account.written) == (0, 14, 15)
    assert ids(tmp_path / "out") == [f"row-{n}" for n in range(15)]


def source_with_a_damaged_picture(folder: Path) -> tuple[Path, Path]:
    """Rows of three shards; two rows of the first and all of the second need the damaged one."""
    rows = rows_of(30)
    for number in (2, 5, *range(10, 20)):
        rows[number]["image"] = "images/cut.png"
    source, cut = write_source(folder, rows), folder / "images" / "cut.png"
    cut.write_bytes((folder / "images" / "0.png").read_bytes()[:40])
    return source, cut


def test_rows_that_failed_are_asked_again_if_they_are_to_be_and_no_others(
    audited: Audited, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, cut = source_with_a_damaged_picture(tmp_path)
    assert audited(source).failed == 12
    before = answered(tmp_path / "out")
    shutil.copy(tmp_path / "images" / "0.png", cut)
    assert audited(source).failed == 12
    log = tmp_path / "log"
    monkeypatch.setenv("TOY_LOG", str(log))
    account = audited(source, retry=True)
    assert (account.written, account.failed, account.earlier) == (30, 0, 18)
    after = answered(tmp_path / "out")
    assert sorted(after) == sorted(before)
    good = [name for name, row in before.items() if row["error"] is None]
    assert [after[name] for name in good] == [before[name] for name in good]
    asked = sum(map(int, log.read_text().split()))
    log.unlink()
    audited(source, retry=True)
    assert (asked >= 12, log.exists()) == (True, False)


def test_rows_that_fail_again_and_an_interruption_cost_nothing(
    audited: Audited, tmp_path: Path
) -> None:
    source, cut = source_with_a_damaged_picture(tmp_path)
    audited(source)
    assert audited(source, retry=True).failed == 12
    shutil.copy(tmp_path / "images" / "0.png", cut)
    with pytest.raises(Stopped):
        audited(source, started=stopping_after(1), retry=True)
    account = audited(source)
    assert (account.written, account.failed) == (30, 0)
    assert ids(tmp_path / "out") == [f"row-{n}" for n in range(30)]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"batch": 5}, "batch size 4 → 5"),
        ({"maps": ("uniform",)}, "maps answer_attention → uniform"),
        ({"seed": 1}, "seed 0 → 1"),
        ({"shard": 11}, "rows of a shard 10 → 11"),
        ({"labels_only": True}, "maps answer_attention → none"),
    ],
)
def test_rows_of_another_audit_are_refused_with_what_differs(
    audited: Audited, tmp_path: Path, changed: dict[str, object], told: str
) -> None:
    source = write_source(tmp_path, rows_of(12))
    audited(source)
    with pytest.raises(BulkError, match=told):
        audited(source, **changed)
    assert BulkFolder(tmp_path / "out").account().written == 12
    assert ids(tmp_path / "out") == [f"row-{n}" for n in range(12)]


def test_rows_of_other_weights_are_refused_even_if_none_is_left_to_ask(
    audited: Audited, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_source(tmp_path, rows_of(12))
    audited(source)
    monkeypatch.setenv("TOY_CELL", "6")
    with pytest.raises(BulkError, match=r"two are not mixed: weights w+… → [0-9a-f]{12}…"):
        audited(source)


def test_a_row_that_is_asked_otherwise_now_is_refused(audited: Audited, tmp_path: Path) -> None:
    rows = rows_of(12)
    audited(write_source(tmp_path, rows))
    rows[7]["text"] = "a cat purrs"
    with pytest.raises(BulkError, match="'row-7' was asked otherwise before"):
        audited(write_source(tmp_path, rows))


def test_rows_of_another_source_are_refused(audited: Audited, tmp_path: Path) -> None:
    audited(write_source(tmp_path, rows_of(12)))
    with pytest.raises(BulkError, match=r"holds 3 rows that the source does not have \(row-9"):
        audited(write_source(tmp_path, rows_of(9)))


def test_a_damaged_file_is_named(audited: Audited, tmp_path: Path) -> None:
    source = write_source(tmp_path, rows_of(12))
    audited(source)
    path = BulkFolder(tmp_path / "out").files()[1]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BulkError, match=f"{path.name}: damaged"):
        audited(source)
    for other in (pa.table({"id": [1, 2]}), pa.table({"id": [None], "asked": [5]})):
        pq.write_table(other, path)
        with pytest.raises(BulkError, match=f"{path.name}: damaged"):
            audited(source)
    path.unlink()
    assert audited(source).written == 12


def test_a_folder_with_other_files_is_not_written_to(audited: Audited, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    with pytest.raises(BulkError, match=r"other files \(thesis.tex\)"):
        audited(write_source(tmp_path, rows_of(3)))


def test_a_full_disk_is_told_with_its_file_and_what_comes_later_continues(
    audited: Audited, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, left, real = write_source(tmp_path, rows_of(24)), [4], os.fsync

    def full(handle: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unfinished, match=r"part-\w+-\w+\.parquet: nothing more can be written"):
        audited(source)
    monkeypatch.setattr(os, "fsync", real)
    assert audited(source).written == 24


def test_two_processes_do_not_plan_in_one_folder(audited: Audited, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with (
        FileLock(tmp_path / "out" / ".lock"),
        pytest.raises(BulkError, match="another process is at work there"),
    ):
        audited(write_source(tmp_path, rows_of(3)))


def test_a_shard_that_a_dying_process_still_wrote_is_not_written_twice(
    audited: Audited, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = write_source(tmp_path, rows_of(30)), tmp_path / "out"
    audited(source, tmp_path / "whole")
    late = {path.name: path for path in BulkFolder(tmp_path / "whole").files()}
    whole_part = Worker.part

    def part(worker: Worker, name: str, tell: Told | None = None) -> tuple[int, int]:
        """Before the second shard is asked, another process writes it."""
        if name.startswith("part-00000001"):
            (out / "rows" / f"{name}.parquet").write_bytes(late[f"{name}.parquet"].read_bytes())
        return whole_part(worker, name, tell)

    monkeypatch.setattr(Worker, "part", part)
    assert audited(source).written == 30
    assert ids(out) == [f"row-{n}" for n in range(30)]


def test_rows_that_vanish_while_it_runs_are_missed_at_the_end(
    audited: Audited, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    def started(_: Plan) -> Told:
        def tell(*_: int) -> None:
            for path in BulkFolder(out).files()[1:2]:
                path.unlink()

        return tell

    with pytest.raises(Unfinished, match="30 rows could be asked, but 20 are written"):
        audited(write_source(tmp_path, rows_of(30)), started=started)


def test_chosen_heads_are_refused_with_what_to_name_instead(
    audited: Audited, tmp_path: Path
) -> None:
    source = write_source(tmp_path, rows_of(4))
    with pytest.raises(BulkError, match=r"bulk audits have none: .*heads=L4H2,L5H0'"):
        audited(source, maps=("answer_attention heads=chosen",))
