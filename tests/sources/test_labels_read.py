"""Which label a row expects: by a column, by what the written ones stand for, or one for all."""

from __future__ import annotations

from pathlib import Path

import pytest

from audit.base.errors import SourceError
from audit.sources.reading import open_source
from audit.sources.rows import Options
from tests.source_files import csv, jsonl, picture, read


@pytest.fixture(autouse=True)
def _pictures(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")


def test_labels_that_are_mapped_are_the_only_ones_taken(tmp_path: Path) -> None:
    path = csv(tmp_path / "t.csv", "image,text,label", "a.png,x,1", "a.png,y,0", "a.png,z,neutral")
    rows, refused = read(path, labels={"1": "yes", "0": "no"})
    assert [row.label for row in rows] == ["yes", "no"]
    assert refused == {4: "the label 'neutral' is not known; choose from: 0, 1, no, yes"}


def test_one_label_for_all_rows_replaces_a_column(tmp_path: Path) -> None:
    path = csv(tmp_path / "t.csv", "image,text,label", "a.png,fine,whatever")
    assert read(path, label="no")[0][0].label == "no"
    unlabelled = csv(tmp_path / "u.csv", "image,text", "a.png,fine")
    assert read(unlabelled, label_needed=False)[0][0].label is None


def test_a_column_of_labels_that_is_not_read_is_told(tmp_path: Path) -> None:
    path = csv(tmp_path / "t.csv", "image,text,Label", "a.png,fine,whatever")
    assert open_source(path, Options(label="no")).notes[-1] == (
        "every text is expected to be 'no'; 'Label' is not read"
    )
    unlabelled = csv(tmp_path / "u.csv", "image,text", "a.png,fine")
    assert open_source(unlabelled, Options(label="no")).notes[-1] == (
        "every text is expected to be 'no'"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": {"label": "urteil"}}, "--label no and --columns label=urteil exclude"),
        ({"labels": {"ja": "yes"}}, "--label and --labels exclude each other"),
    ],
)
def test_one_label_and_a_column_of_labels_contradict_each_other(
    tmp_path: Path, options: dict[str, dict[str, str]], message: str
) -> None:
    path = csv(tmp_path / "t.csv", "image,text,urteil", "a.png,fine,ja")
    with pytest.raises(SourceError, match=message):
        open_source(path, Options(label="no", **options))  # type: ignore[arg-type]


def test_whole_numbers_with_a_point_are_the_labels_that_are_named_without_it(
    tmp_path: Path,
) -> None:
    path = csv(tmp_path / "t.csv", "image,text,label", "a.png,x,1.0", "a.png,y,0.0", "a.png,z,",
               "a.png,u,0.5", "a.png,v,2.0", "a.png,w,10")  # fmt: skip
    rows, refused = read(path, labels={"1": "yes", "0": "no"})
    assert [row.label for row in rows] == ["yes", "no"]
    assert refused == {
        4: "the label is empty",
        5: "the label '0.5' is not known; choose from: 0, 1, no, yes",
        6: "the label '2.0' is not known; choose from: 0, 1, no, yes",
        7: "the label '10' is not known; choose from: 0, 1, no, yes",
    }
    again = jsonl(tmp_path / "t.jsonl", *(
        {"image": "a.png", "text": "x", "label": each} for each in (1.0, 0.0, 0)
    ))  # fmt: skip
    rows, refused = read(again, labels={"1.0": "yes"})
    assert [row.label for row in rows] == ["yes"]
    assert refused[2] == "the label '0.0' is not known; choose from: 1.0, yes"


def test_spaces_around_a_label_make_no_difference(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    lines = ("image,text,label", "a.png,x,entailment ", "a.png,y,\xa0no", "a.png,z,  ")
    rows, refused = read(csv(tmp_path / "t.csv", *lines))
    assert ([row.label for row in rows], refused) == (["yes", "no"], {4: "the label is empty"})
