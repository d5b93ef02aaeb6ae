"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest

from audit.base import files


def test_a_write_that_fails_midway_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"old": 1})

    def fail(_handle: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        files.write_json(path, {"new": 2})
    assert path.read_text() == '{\n "old": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_refuses_numbers_that_are_none(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.to_json({"x": [value]})


def test_digests_tell_where_parts_end() -> None:
    assert files.digest("ab", "c") != files.digest("a", "bc")
    assert files.digest("ab") == files.digest(b"ab")


def test_a_full_disk_is_told_with_the_name_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    full = OSError(errno.ENOSPC, "No space left on device")
    named = r"No space left on device: '.*page\.html'"
    with pytest.raises(OSError, match=named), files.opened_atomically(path):
        raise full
    with pytest.raises(FileNotFoundError, match="other"), files.opened_atomically(path):
        (tmp_path / "other").open()
    assert list(tmp_path.iterdir()) == []


def test_of_files_that_are_written_together_none_is_if_one_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "b").mkdir()
    new = {tmp_path / name: b"new" for name in ("a", "c", "b/d")}
    files.write_together(new)
    assert all(path.read_text() == "new" for path in new)
    with pytest.raises(OSError, match="mine"):
        files.write_together({tmp_path / "a": b"newer", Path("/proc/mine"): b""})
    assert (tmp_path / "a").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_an_error_of_writing_names_the_file_and_no_temporary_one(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=re.escape("'/proc/mine.yaml'")):
        files.write_atomically(Path("/proc/mine.yaml"), b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match=r"folder'$"):
        files.write_atomically(tmp_path / "folder", b"")
    assert not [*tmp_path.glob(".*")]
