"""Tables that are not in UTF-8: told once, and read with the encoding that is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.base.errors import SourceError
from audit.sources.reading import open_source
from audit.sources.rows import Options
from tests.source_files import csv, jsonl, picture, read


@pytest.fixture(autouse=True)
def _picture(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")


BIRDS = "a.png,zwei Vögel,yes\n".encode("cp1252")


def test_a_file_in_another_encoding_is_one_error_that_says_how_to_read_it(tmp_path: Path) -> None:
    path = csv(tmp_path / "t.csv", "image,text,label", "a.png,plain,yes", *([BIRDS] * 30))
    with pytest.raises(
        SourceError, match=r"not UTF-8: 30 rows of the first 32.* --encoding cp1252 \(reads 'zwei V"
    ):
        open_source(path, Options())
    rows, refused = read(path, encoding="cp1252")
    assert ({row.text for row in rows}, refused) == ({"plain", "zwei Vögel"}, {})


def test_a_table_in_gb18030_with_names_of_columns_in_it_is_read(tmp_path: Path) -> None:
    path = csv(tmp_path / "t.csv", "图,text,label\na.png,两只鸟,yes\n".encode("gb18030"))
    with pytest.raises(SourceError, match=r"first row is not UTF-8.*encoding gb18030 \(reads '图"):
        open_source(path, Options())
    rows, _ = read(path, encoding="gb18030", columns={"image": "图"})
    assert [row.text for row in rows] == ["两只鸟"]


def test_some_rows_in_another_encoding_cost_only_themselves(tmp_path: Path) -> None:
    utf = "a.png,zwei Vögel,yes"
    path = csv(tmp_path / "t.csv", "image,text,label", utf, *([BIRDS] * 30))
    assert (len(read(path)[0]), len(read(path)[1])) == (1, 30)
    few = csv(tmp_path / "u.csv", "image,text,label", "a.png,plain,yes", *([BIRDS] * 2))
    assert (len(read(few)[0]), len(read(few)[1])) == (1, 2)


@pytest.mark.parametrize("encoding", ["utf-16", "windows", "rot13", "\0"])
def test_what_is_no_encoding_of_tables_is_refused(tmp_path: Path, encoding: str) -> None:
    path = csv(tmp_path / "t.csv", "image,text,label", "a.png,x,yes")
    with pytest.raises(SourceError, match=r"is no encoding of tables, such as cp1252"):
        open_source(path, Options(encoding=encoding))


def test_an_encoding_is_for_tables_of_text_alone(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "t.jsonl", {"image": "a.png", "text": "x", "label": "yes"})
    with pytest.raises(SourceError, match="--encoding is for CSV and TSV"):
        open_source(path, Options(encoding="cp1252"))
