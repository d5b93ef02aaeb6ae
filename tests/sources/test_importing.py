"""What is written for a source's rows is a case file that loads, with the same rows in it."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from audit.base.errors import SourceError
from audit.base.geometry import parse_box
from audit.base.yamlfile import read as read_yaml
from audit.cases.loading import load_cases
from audit.cases.writing import NewCase
from audit.sources import importing
from audit.sources.importing import Imported, import_cases
from audit.sources.reading import open_source
from audit.sources.rows import Options, Row
from tests.source_files import coco, csv, jsonl, picture


def imported(source: Path, out: Path, *, copy: bool = False, **options: Any) -> Imported:
    rows = open_source(source, Options(**options)).rows()
    return import_cases(rows, out, about="from a test", copy=copy)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder with one picture, for many examples."""
    made = Path(tempfile.mkdtemp())
    picture(made / "a.png")
    yield made
    shutil.rmtree(made)


ANY = st.text(st.characters(), max_size=40) | st.sampled_from(
    ["yes", "null", "1:30", "~", "- a", "#", "a: b", "\ufeff", "\x85", "'", '"', "a\\", "{x",
     "=1+1", "\U0001f426 bird", "\u202ebird", "../../x", "?", "<<", "x" * 300]
)  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.fixed_dictionaries({"id": ANY, "text": ANY, "premise": ANY | st.none(),
                               "regions": st.dictionaries(ANY, st.just([0.0, 0.25, 0.5, 1.0]),
                                                          max_size=2)}),
        min_size=1, max_size=6,
    )
)  # fmt: skip
def test_whatever_the_rows_hold_what_is_written_loads_and_says_the_same(
    folder: Path, rows: list[dict[str, Any]]
) -> None:
    source, out = folder / "t.jsonl", folder / "cases" / "t.yaml"
    jsonl(source, *({**row, "image": "a.png", "label": "yes"} for row in rows))
    out.unlink(missing_ok=True)
    done = imported(source, out)
    assert done.cases + len(done.refused) == done.rows == len(rows)
    accepted = [each for each in open_source(source, Options()).rows() if isinstance(each, Row)]
    if not done.cases:
        assert not out.exists()
        return
    cases = load_cases(out)
    assert [(case.id, case.text, case.premise) for case in cases] == [
        (row.id, row.text, row.premise) for row in accepted
    ]
    assert [case.regions for case in cases] == [
        {name: tuple(parse_box(box, 40, 30) for box in of) for name, of in row.regions.items()}
        for row in accepted
    ]


def test_pictures_that_cannot_be_opened_are_refused_once_they_are_asked_for(
    tmp_path: Path,
) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    bomb = io.BytesIO()
    Image.new("1", (8_000, 8_000)).save(bomb, "PNG")
    (tmp_path / "bomb.png").write_bytes(bomb.getvalue())
    names = ("a.png", "text.png", "cut.png", "bomb.png", "text.png")
    lines = [f"{name},a dog {n},yes" for n, name in enumerate(names)]
    done = imported(csv(tmp_path / "t.csv", "image,text,label", *lines), tmp_path / "t.yaml")
    assert (done.rows, done.cases, done.pictures) == (5, 1, 1)
    assert [each.where for each in done.refused] == ["row 3", "row 4", "row 5", "row 6"]
    reasons = [each.reason.partition(".png: ")[2] for each in done.refused]
    assert reasons[0].startswith("not a picture")
    assert reasons[0] == reasons[3]
    assert "damaged" in reasons[1]
    assert "8000 x 8000 pixels, more than the limit" in reasons[2]


def test_boxes_are_checked_against_the_picture_and_cost_only_their_row(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    boxes = (
        [1, 2, 39, 30],
        [1, 2, 41, 30],
        [1, 1, 1, 2],
        [0.5, 0.5, 0.1, 1.0],
        [1.5, 2.5, 9.5, 9.5],
    )
    path = jsonl(
        tmp_path / "t.jsonl",
        *({"image": "a.png", "text": "x", "label": "yes", "regions": {"dog": b}} for b in boxes),
    )
    done = imported(path, tmp_path / "t.yaml")
    assert done.cases == 1
    assert {each.number: each.reason.partition("] ")[2] for each in done.refused} == {
        2: "lies outside the image of 40 x 30 pixels",
        3: "is empty: right must exceed left, bottom top; x, y, width, height? write [1, 1, 2, 3]",
        4: "is empty: right must exceed left, bottom top",
        5: "lies outside the image: fractions are between 0.0 and 1.0; decimal pixels? round "
        "them: [2, 2, 10, 10]",
    }
    assert imported(path, tmp_path / "u.yaml", boxes="xyxy").cases == 2


def test_coco_is_imported_with_boxes_inside_its_picture(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    path = coco(tmp_path / "instances.json", [[-0.4, 2.0, 40.9, 28.4]])
    imported(path, tmp_path / "c.yaml")
    (case,) = load_cases(tmp_path / "c.yaml")
    assert (case.id, case.expect.label) == ("a-apple", "yes")
    assert case.regions == {"apple": (parse_box([0, 2, 40, 30], 40, 30),)}


def test_pictures_are_found_from_where_the_case_file_is(tmp_path: Path) -> None:
    picture(tmp_path / "data" / "a.png")
    path = csv(tmp_path / "data" / "t.csv", "image,text,label", "a.png,a dog,yes")
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "cases").symlink_to(tmp_path / "elsewhere" / "deep")
    for out in (tmp_path / "data" / "t.yaml", tmp_path / "cases" / "t.yaml"):
        imported(path, out)
        (case,) = load_cases(out)
        assert case.image.resolve() == tmp_path / "data" / "a.png"


def test_copied_pictures_have_safe_names_and_equal_ones_are_there_once(tmp_path: Path) -> None:
    first = picture(tmp_path / "in" / "two birds; rm -rf ~.png")
    (tmp_path / "in" / "again.png").write_bytes(first.read_bytes())
    picture(tmp_path / "in" / "鸟.jpg", "blue")
    names = (first.name, "again.png", "鸟.jpg", first.name)
    path = csv(tmp_path / "in" / "t.csv", "image,text,label", *(f'"{n}",x,yes' for n in names))
    done = imported(path, tmp_path / "out" / "t.yaml", copy=True)
    shutil.rmtree(tmp_path / "in")
    cases = load_cases(tmp_path / "out" / "t.yaml")
    found = sorted(each.name for each in (tmp_path / "out" / "images" / "t").iterdir())
    assert (done.cases, done.pictures, len(cases), len(found)) == (4, 2, 4, 2)
    assert found[0].startswith("picture-")
    assert found[0].endswith(".jpg")
    assert found[1].startswith("two-birds-rm--rf-")
    assert found[1].endswith(".png")


def test_pictures_inside_the_source_must_be_copied(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    data = picture(tmp_path / "a.png").read_bytes()
    columns = {"image": [data, b"no picture"], "text": ["x", "y"], "label": ["yes", "no"]}
    parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(SourceError, match="--copy"):
        imported(tmp_path / "t.parquet", tmp_path / "t.yaml")
    assert not (tmp_path / "t.yaml").exists()
    done = imported(tmp_path / "t.parquet", tmp_path / "t.yaml", copy=True)
    assert len(load_cases(tmp_path / "t.yaml")) == 1
    assert done.refused[0].reason.startswith("the picture: not a picture")


def test_more_cases_than_a_file_may_hold_are_refused_before_one_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path / "a.png")
    rows = (f"a.png,text {n},yes" for n in range(200))
    path = csv(tmp_path / "t.csv", "image,text,label", *rows)
    monkeypatch.setattr(importing, "MAX_NODES", 1000)  # 6 a case
    with pytest.raises(SourceError, match="fill a case file; choose some of the rows"):
        imported(path, tmp_path / "t.yaml")
    assert not (tmp_path / "t.yaml").exists()


def test_the_values_of_a_file_are_counted_as_its_reader_counts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path / "a.png")
    regions = {"dog": [[1, 2, 3, 4], [2, 2, 3, 4]], "cat": [1, 2, 3, 4]}
    row = {"image": "a.png", "text": "x", "label": "yes", "kind": "k"}
    path = jsonl(tmp_path / "t.jsonl", row, {**row, "premise": "p", "regions": regions})
    counts: list[int] = []
    count = importing._nodes

    def counted(case: NewCase) -> int:
        counts.append(count(case))
        return counts[-1]

    monkeypatch.setattr(importing, "_nodes", counted)
    rows = open_source(path, Options()).rows()
    import_cases(rows, tmp_path / "t.yaml", about="from a test", tags=["kind"])
    assert 2 + sum(counts) == len(read_yaml(tmp_path / "t.yaml").values)  # the file and its list
