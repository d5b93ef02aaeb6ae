"""Parquet, saved data sets, COCO, Flickr30k Entities and folders of pictures as sources."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from audit.base.errors import ImageError, SourceError
from audit.sources.pictures import opened
from audit.sources.reading import open_source
from audit.sources.rows import Options
from tests.source_files import asked, boxes_xml, coco, csv, entities, jsonl, picture, read, saved


def png(colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(buffer, "PNG")
    return buffer.getvalue()


COLUMNS = {"image": ["a.png", "a.png"], "text": ["x", "y"], "label": ["yes", "no"]}


def features(**names: list[str]) -> dict[bytes, bytes]:
    """What Hugging Face's ``datasets`` writes into a schema about columns of classes."""
    said = {name: {"names": each, "_type": "ClassLabel"} for name, each in names.items()}
    return {b"huggingface": json.dumps({"info": {"features": said}}).encode()}


def test_parquet_keeps_columns_of_every_plain_kind_to_slice_by(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    more = {"year": [2020, 2021], "share": [0.5, float("nan")], "seen": [True, None]}
    parquet.write_table(pa.table({**COLUMNS, **more}), tmp_path / "t.parquet")
    rows, refused = read(tmp_path / "t.parquet")
    assert refused == {}
    assert [row.others for row in rows] == [
        {"year": 2020, "share": 0.5, "seen": True},
        {"year": 2021},
    ]


def test_a_file_of_parquet_that_is_cut_off_is_an_error(tmp_path: Path) -> None:
    parquet.write_table(pa.table(COLUMNS), tmp_path / "whole.parquet")
    data = (tmp_path / "whole.parquet").read_bytes()
    for length in (0, 3, len(data) // 2, len(data) - 1):
        (tmp_path / "cut.parquet").write_bytes(data[:length])
        with pytest.raises(SourceError, match=r"cut\.parquet: cannot be read"):
            open_source(tmp_path / "cut.parquet", Options())


def test_a_text_that_is_not_utf_8_costs_its_row_and_not_the_file(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    texts = pa.array([b"caf\xe9", b"fine"]).view(pa.string())
    parquet.write_table(pa.table({**COLUMNS, "text": texts}), tmp_path / "t.parquet")
    rows, refused = read(tmp_path / "t.parquet")
    assert [row.text for row in rows] == ["fine"]
    assert refused == {1: "the text is not UTF-8"}


def test_a_folder_of_parquet_with_several_splits_asks_for_one(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    for name in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"):
        (tmp_path / "data").mkdir(exist_ok=True)
        parquet.write_table(pa.table(COLUMNS), tmp_path / "data" / f"{name}.parquet")
    with pytest.raises(SourceError, match="name a split of it: --split test or train"):
        open_source(tmp_path, Options())
    with pytest.raises(SourceError, match=r"has no split 'tset'; did you mean 'test'"):
        open_source(tmp_path, Options(split="tset"))
    rows, _ = read(tmp_path, split="train")
    assert [row.number for row in rows] == [1, 2, 3, 4]
    assert "the split is train" in open_source(tmp_path, Options(split="train")).notes


@pytest.mark.parametrize(
    "names",
    [
        ["default/train/0000.parquet", "default/test/0000.parquet"],
        ["train/data-00000-of-00001.parquet", "test/data-00000-of-00001.parquet"],
        ["train-00000-of-00001-0f3a.parquet", "test-00000-of-00001-0f3a.parquet"],
        ["train_0.parquet", "test_0.parquet"],
    ],
)
def test_splits_are_not_mixed_wherever_their_names_stand(tmp_path: Path, names: list[str]) -> None:
    picture(tmp_path / "a.png")
    for text, name in zip("xy", names, strict=True):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(
            pa.table({"image": ["a.png"], "text": [text], "label": ["yes"]}), tmp_path / name
        )
    with pytest.raises(SourceError, match="name a split of it: --split test or train"):
        open_source(tmp_path, Options())
    rows, _ = read(tmp_path, split="test")
    assert [row.text for row in rows] == ["y"]


def test_files_that_are_missing_or_of_two_data_sets_are_told(tmp_path: Path) -> None:
    for name in ("en/train-00000-of-00003.parquet", "de/train-00000-of-00001.parquet"):
        (tmp_path / name).parent.mkdir()
        parquet.write_table(pa.table(COLUMNS), tmp_path / name)
    with pytest.raises(SourceError, match=r"several folders have the split train \(de, en\)"):
        open_source(tmp_path, Options())
    missing = "of 3 files, train-00001-of-00003 and 1 more are missing"
    with pytest.raises(SourceError, match=f"not complete: {missing}"):
        open_source(tmp_path / "en", Options())
    parquet.write_table(pa.table(COLUMNS), tmp_path / "de" / "train-00000-of-00002.parquet")
    with pytest.raises(SourceError, match="of two data sets"):
        open_source(tmp_path / "de", Options())


def test_a_folder_whose_files_have_other_classes_is_an_error(tmp_path: Path) -> None:
    for name, classes in (("a", ["no", "yes"]), ("b", ["yes", "no"])):
        table = pa.table({**COLUMNS, "label": [0, 1]})
        parquet.write_table(
            table.replace_schema_metadata(features(label=classes)), tmp_path / f"{name}.parquet"
        )
    with pytest.raises(SourceError, match="names of its classes are not those of a"):
        open_source(tmp_path, Options())


def test_numbers_of_classes_are_their_names_in_every_column(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    table = pa.table({**COLUMNS, "kind": [1, -1], "says": [0, 1]})
    named = features(kind=["cats", "dogs"], says=["a cat sleeps", "a dog barks"])
    parquet.write_table(table.replace_schema_metadata(named), tmp_path / "t.parquet")
    rows, _ = read(tmp_path / "t.parquet", columns={"text": "says"})
    assert [row.text for row in rows] == ["a cat sleeps", "a dog barks"]
    assert [row.others.get("kind") for row in rows] == ["dogs", None]


def test_dates_times_and_decimals_are_kept_as_texts(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    more = {
        "day": [date(2026, 11, 26), None],
        "at": [datetime(2026, 11, 26, 8, 30, tzinfo=UTC), None],
        "price": [Decimal("1.50"), None],
    }
    parquet.write_table(pa.table({**COLUMNS, **more}), tmp_path / "t.parquet")
    rows, _ = read(tmp_path / "t.parquet")
    kept = {"day": "2026-11-26", "at": "2026-11-26 08:30:00+00:00", "price": "1.50"}
    assert [row.others for row in rows] == [kept, {}]


def test_a_saved_data_set_gives_pictures_and_the_names_of_its_classes(tmp_path: Path) -> None:
    pictures = [{"bytes": png(), "path": "x.png"}, {"bytes": png("blue"), "path": None}]
    schema = pa.schema(
        {
            "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
            "text": pa.string(),
            "label": pa.int64(),
        },
        features(label=["entailment", "neutral"]),
    )
    table = pa.table({"image": pictures, "text": ["a", "b"], "label": [0, 1]}, schema=schema)
    path = tmp_path / "set"
    columns = dict(zip(table.column_names, table.columns, strict=True))
    saved(path, columns, split="train", shards=2)
    for name in ("data-00000-of-00002.arrow", "data-00001-of-00002.arrow"):
        start = int(name[9])
        with (path / "train" / name).open("wb") as file, pa.ipc.new_stream(file, schema) as stream:
            stream.write_table(table.slice(start, 1))
    rows, refused = read(path)
    assert refused == {}
    assert [row.label for row in rows] == ["yes", "maybe"]
    assert [opened(row).getpixel((0, 0)) for row in rows] == [(255, 0, 0), (0, 0, 255)]
    assert rows[0].id.startswith("x-")
    assert rows[1].id.startswith("row-")


def test_what_datasets_itself_saves_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = datasets.Dataset.from_dict(
        {"image": [{"bytes": png(), "path": None}], "text": ["x"], "label": [1]},
        features=datasets.Features(
            image=datasets.Image(),
            text=datasets.Value("string"),
            label=datasets.ClassLabel(names=["no", "yes"]),
        ),
    )
    made.save_to_disk(tmp_path / "one")
    datasets.DatasetDict(train=made, test=made).save_to_disk(tmp_path / "two")
    made.to_parquet(tmp_path / "t.parquet")
    for path, split in (("one", ""), ("two", "test"), ("t.parquet", "")):
        rows, refused = read(tmp_path / path, split=split)
        assert [(row.text, row.label) for row in rows] == [("x", "yes")], path
        assert refused == {}


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("state.json", "{}", "names no files of data"),
        ("state.json", '{"_data_files": [{"filename": "../../x.arrow"}]}', "names no files"),
        ("state.json", "[" * 10_000, "nested too deeply"),
        ("state.json", '{"_data_files": [{"filename": "gone.arrow"}]}', "cannot be read"),
        ("dataset_dict.json", '{"splits": ["../.."]}', "lies elsewhere"),
        ("dataset_dict.json", '{"splits": []}', "names no splits"),
        ("data-00000-of-00001.arrow", "ARROW", "cannot be read"),
    ],
)
def test_a_saved_data_set_that_was_tampered_with_is_an_error(
    tmp_path: Path, file: str, content: str, message: str
) -> None:
    path = saved(tmp_path / "set", COLUMNS)
    (path / file).write_text(content)
    with pytest.raises(SourceError, match=message):
        list(open_source(path, Options()).rows())


def test_coco_gives_a_row_for_each_category_of_a_picture_with_its_boxes(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    boxes = [[1.2, 2.7, 10.4, 20.1], [0, 0, 40, 30], [20.0, 10.0, 20.6, 20.4]]
    rows, refused = read(coco(tmp_path / "instances.json", boxes))
    assert refused == {}
    assert asked(rows) == [
        ("a-apple", "there is an apple in the picture", "yes"),
        ("a-dog", "there is a dog in the picture", "yes"),
    ]
    assert [row.regions for row in rows] == [
        {"apple": [[1, 3, 12, 23], [20, 10, 40, 30]]},
        {"dog": [[0, 0, 40, 30]]},
    ]
    assert [row.others for row in rows] == [{"category": "apple"}, {"category": "dog"}]
    assert all(opened(row).size == (40, 30) for row in rows)
    (first, _), _ = read(tmp_path / "instances.json", template="{category}!", label="true")
    assert (first.text, first.label) == ("apple!", "true")


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([1, 2, 3], "a bbox is [x, y, width, height], not '[1, 2, 3]'"),
        ([1, 2, "3", 4], "a bbox is four numbers, not \"[1, 2, '3', 4]\""),
        ([30, 2, 30, 4], "the bbox [30, 2, 30, 4] lies outside the picture of 40 x 30 pixels"),
        ([-5, 2, 30, 4], "the bbox [-5, 2, 30, 4] lies outside the picture of 40 x 30 pixels"),
        ([1, 2, 0.2, 4], "the bbox [1, 2, 0.2, 4] is thinner than a pixel"),
        ([9, 9, -3, 4], "the bbox [9, 9, -3, 4] is thinner than a pixel"),
        (None, "a bbox is [x, y, width, height], not 'None'"),
    ],
)
def test_a_box_of_coco_that_is_none_costs_its_row(tmp_path: Path, box: Any, reason: str) -> None:
    picture(tmp_path / "a.png")
    rows, refused = read(coco(tmp_path / "instances.json", [[1, 1, 5, 5], box]))
    assert [row.id for row in rows] == ["a-apple"]
    assert refused == {2: reason}


@pytest.mark.parametrize("part", ["images", "categories"])
def test_ids_of_coco_that_occur_twice_are_an_error(tmp_path: Path, part: str) -> None:
    path = coco(tmp_path / "c.json", [[1, 1, 5, 5]])
    said = json.loads(path.read_text())
    said[part].append({**said[part][0], "name": "pear", "file_name": "b.png"})
    path.write_text(json.dumps(said))
    with pytest.raises(SourceError, match=rf"{part}\[\d\] has the id \d, which an earlier one has"):
        open_source(path, Options())


def test_a_whole_number_of_400_digits_in_a_box_costs_its_row(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    _, refused = read(coco(tmp_path / "c.json", [[1, 1, 5, 10**400]]))
    assert "a side that is not a number of pixels" in refused[1]
    boxes = {"image": "a.png", "text": "x", "label": "yes", "regions": {"b": [1, 1, 5, 10**400]}}
    _, refused = read(jsonl(tmp_path / "t.jsonl", boxes, {**boxes, "regions": {}}))
    assert "a side that is not a number of pixels" in refused[1]


def test_numbers_of_coco_that_are_not_finite_or_annotations_of_nothing_are_refused(
    tmp_path: Path,
) -> None:
    path = coco(tmp_path / "nan.json", [[float("nan"), 0, 1, 1]])
    with pytest.raises(SourceError, match="NaN is not a number"):
        open_source(path, Options())
    path = coco(tmp_path / "stray.json", [[1, 1, 5, 5]])
    said = json.loads(path.read_text())
    said["annotations"] += [{"image_id": 8, "category_id": 1}, {"image_id": [], "x": 1}, 3]
    path.write_text(json.dumps(said))
    picture(tmp_path / "a.png")
    refused = [each for each in open_source(path, Options()).rows() if hasattr(each, "reason")]
    assert [each.where for each in refused] == [f"annotations[{n}]" for n in (1, 2, 3)]


def test_a_picture_that_has_another_size_than_its_annotations_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", size=(30, 40))
    (row,), _ = read(coco(tmp_path / "instances.json", [[1, 1, 5, 5]]))
    with pytest.raises(ImageError, match="the source says 40 x 30 pixels, the picture has 30 x 40"):
        opened(row)


SENTENCE = "[/EN#1/people Two men] with [/EN#2/animals/other a dog] and [/EN#3/people Two men] ."


def test_flickr30k_entities_gives_sentences_with_the_boxes_of_their_phrases(
    tmp_path: Path,
) -> None:
    xml = boxes_xml(("1", (1, 2, 3, 4)), ("1", (5, 6, 7, 8)), ("3", (9, 9, 20, 20)))
    folder = entities(tmp_path / "e", f"{SENTENCE}\n\nNothing is marked .\n", xml)
    picture(tmp_path / "pictures" / "a.jpg")
    rows, refused = read(folder, images=tmp_path / "pictures")
    assert refused == {}
    assert asked(rows) == [
        ("a-1", "Two men with a dog and Two men .", "yes"),
        ("a-3", "Nothing is marked .", "yes"),
    ]
    assert rows[0].regions == {
        "Two men": [[1, 2, 3, 4], [5, 6, 7, 8]],
        "Two men 2": [[9, 9, 20, 20]],
    }
    assert rows[0].where == "a.txt, line 1"


BOMB = """<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;">]>
<annotation><size><width>&y;</width></size></annotation>"""
OUTSIDE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>'


@pytest.mark.parametrize(
    ("xml", "reason"),
    [
        (BOMB, "cannot be read: it has a document type, which audit does not read"),
        (OUTSIDE, "cannot be read: it has a document type, which audit does not read"),
        ("<annotation>", "cannot be read: no element found: line 1, column 12"),
        ("<annotation/>", "cannot be read: a.xml: size/width is '', not a whole number"),
        ("<a>" * 200_000, "cannot be read: no element found: line 1, column 600000"),
        (
            boxes_xml(("1", (1, 2, 3, 4))).replace("<xmin>1<", "<xmin>nan<"),
            "cannot be read: a.xml: bndbox/xmin is 'nan', not a whole number",
        ),
        (
            " " * 2_000_001,
            "cannot be read: it has 2,000,001 bytes, more than the limit of 2,000,000",
        ),
    ],
)
def test_xml_that_cannot_be_trusted_costs_its_picture(
    tmp_path: Path, xml: str, reason: str
) -> None:
    folder = entities(tmp_path / "e", SENTENCE, xml)
    picture(folder / "a.jpg")
    assert read(folder) == ([], {1: reason})


def test_a_mark_that_is_not_complete_costs_its_sentence(tmp_path: Path) -> None:
    folder = entities(tmp_path / "e", "[/EN#1/people Two men\n", boxes_xml())
    picture(folder / "a.jpg")
    assert read(folder) == ([], {1: "a mark [/EN#…] is not complete"})


def test_a_folder_of_pictures_has_its_texts_in_metadata_or_beside_them(tmp_path: Path) -> None:
    for name in ("csv", "jsonl", "txt"):
        picture(tmp_path / name / "deep" / "a.png")
    csv(tmp_path / "csv" / "metadata.csv", "file_name,text", "deep/a.png,two birds")
    jsonl(tmp_path / "jsonl" / "metadata.jsonl", {"file_name": "deep/a.png", "text": "two birds"})
    (tmp_path / "txt" / "deep" / "a.txt").write_text("two birds\n")
    picture(tmp_path / "txt" / "b.png")
    for name in ("csv", "jsonl"):
        rows, refused = read(tmp_path / name, label="yes")
        assert [(row.text, row.label, refused) for row in rows] == [("two birds", "yes", {})]
        with pytest.raises(SourceError, match="which column has the label"):
            open_source(tmp_path / name, Options())
    rows, refused = read(tmp_path / "txt")
    assert asked(rows) == [("deep-a.png", "two birds", "yes")]
    assert refused == {1: "no b.txt beside it"}


def test_a_folder_that_is_no_source_says_what_would_be_one(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no pictures in it.*save_to_disk"):
        open_source(tmp_path, Options())
    picture(tmp_path / "a.png")
    with pytest.raises(SourceError, match=r"no NAME\.txt beside any"):
        open_source(tmp_path, Options())
