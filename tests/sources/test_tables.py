"""CSV, TSV, JSON Lines and JSON as sources: what is read, and which rows are refused, and why."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from audit.base.errors import SourceError
from audit.sources import ids
from audit.sources.reading import open_source
from audit.sources.rows import Options
from tests.source_files import asked, csv, jsonl, picture, read


@pytest.fixture(autouse=True)
def _pictures(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")


def test_a_csv_becomes_rows(tmp_path: Path) -> None:
    path = csv(tmp_path / "t.csv", "id,image,text,label,who", "one,a.png,a dog,yes,ann",
               'two,b.png,"two\nlines, quoted",no,bob')  # fmt: skip
    rows, refused = read(path)
    assert asked(rows) == [("one", "a dog", "yes"), ("two", "two lines, quoted", "no")]
    assert [row.picture for row in rows] == [tmp_path / "a.png", tmp_path / "b.png"]
    assert [row.others for row in rows] == [{"who": "ann"}, {"who": "bob"}]
    assert [row.where for row in rows] == ["row 2", "row 3"]
    assert refused == {}


def test_a_tsv_with_a_byte_order_mark_and_dos_line_ends_is_read(tmp_path: Path) -> None:
    path = csv(tmp_path / "t.tsv", b"\xef\xbb\xbfimage\ttext\tlabel\r\na.png\ta, dog\tyes\r\n")
    rows, refused = read(path)
    assert [(row.text, row.label) for row in rows] == [("a, dog", "yes")]
    assert refused == {}


def test_each_broken_row_is_refused_with_its_number_and_reason(tmp_path: Path) -> None:
    path = csv(
        tmp_path / "t.csv",
        "image,text,label",
        "a.png,fine,yes",
        "gone.png,fine,yes",
        "A.PNG,fine,yes",
        "a.png,,yes",
        "a.png,fine,Yes",
        "a.png,fine,perhaps",
        "a.png,fine,",
        "../a.png,fine,yes",
        "/etc/passwd,fine,yes",
        "https://example.org/a.png,fine,yes",
        "a.png,too few",
        "a.png,fine,yes,too many",
        "",
        b"a.png,caf\xe9,yes\n",
        b"a.png,a\x00b,yes\n",
        b"a\x00.png,fine,yes\n",
        f"a.png,{'long ' * 2000},yes",
        ",fine,yes",
        ".,fine,yes",
        "b.png,also fine,no",
    )
    rows, refused = read(path)
    assert [(row.number, row.text) for row in rows] == [(2, "fine"), (21, "also fine")]
    assert {number: reason.split(str(tmp_path))[0] for number, reason in refused.items()} == {
        3: "no picture 'gone.png' in ",
        4: "no picture 'A.PNG' in ",
        5: "the text is empty",
        6: "the label 'Yes' is not known; did you mean 'yes'?",
        7: "the label 'perhaps' is not known; choose from: contradiction, entailment, maybe, "
        "neutral, no, yes",
        8: "the label is empty",
        9: "the picture '../a.png' lies outside ",
        10: "the picture '/etc/passwd' lies outside ",
        11: "'https://example.org/a.png' is an address; audit takes only pictures on disk",
        12: "it has 2 columns, but the first row 3",
        13: "it has 4 columns, but the first row 3",
        14: "the row is empty",
        15: "not UTF-8: unexpected end of data at byte 3 of b'caf\\xe9'",
        16: "the text has a control character (U+0000)",
        17: "no picture 'a\\x00.png' in ",
        18: "the text has 10,000 characters, more than the limit of 5,000",
        19: "it names no picture",
        20: "'.' is not a picture, but a folder",
    }
    assert refused[4].endswith("; there is 'a.png'")


def test_a_formula_is_a_text_like_any_other(tmp_path: Path) -> None:
    path = csv(tmp_path / "t.csv", "image,text,label", 'a.png,"=HYPERLINK(""x"")",yes')
    assert read(path)[0][0].text == '=HYPERLINK("x")'


def test_ids_are_made_legal_and_unique_in_the_order_of_the_rows(tmp_path: Path) -> None:
    written = ["../../x", "X", "a b", "a-b", "café", "鸟", "=1+1", "y" * 300, "y" * 301]
    lines = [f'"{each}",a.png,text {n},yes' for n, each in enumerate(written)]
    rows, _ = read(csv(tmp_path / "t.csv", "id,image,text,label", *lines))
    found = [row.id for row in rows]
    assert found[:5] == ["x", "X-2", "a-b", "a-b-2", "cafe"]
    assert found[5].startswith("a-")
    assert found[6] == "1-1"
    assert len({*found}) == 9
    assert max(map(len, found)) <= 100
    assert [row.written_id for row in rows] == written
    again, _ = read(csv(tmp_path / "t.csv", "id,image,text,label", *lines))
    assert [row.id for row in again] == found


def test_ids_stay_unique_among_more_than_are_kept_in_a_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "_FEW", 4)
    unique, names = ids.Unique(["r3"]), [f"r{n % 150}" for n in range(300)]
    found = [unique.take(name) for name in names]
    assert len({*found}) == 300
    assert found[:5] == ["r0", "r1", "r2", "r3-2", "r4"]
    assert found[150:154] == ["r0-2", "r1-2", "r2-2", "r3-3"]


def test_a_row_without_an_id_is_named_by_its_picture_and_text_wherever_it_stands(
    tmp_path: Path,
) -> None:
    lines = ["a.png,one,yes", "b.png,two,no"]
    first, _ = read(csv(tmp_path / "t.csv", "image,text,label", *lines))
    second, _ = read(csv(tmp_path / "u.csv", "image,text,label", *reversed(lines)))
    assert [row.id for row in first] == [row.id for row in reversed(second)]
    assert first[0].id.startswith("a-")


@pytest.mark.parametrize(
    ("header", "options", "message"),
    [
        (
            "a,text,label",
            {},
            r"which column has the picture.* --columns image=COLUMN .*a, text, la",
        ),
        ("image,b,label", {}, r"which column has the sentence .*--columns text=COLUMN"),
        ("image,text,c", {}, r"which column has the label .*columns label=COLUMN .* --label yes"),
        ("image,picture,text,label", {}, r"image and picture may both be the image: name one"),
        ("image,text,label", {"columns": {"text": "txet"}}, r"no column 'txet'; did you mean 'te"),
        ("image,text,label", {"columns": {"txt": "text"}}, r"'txt' is not a role; did you mean"),
        ("image;text;label", {}, r"--delimiter ';'"),
        ("image,text,text", {}, r"two columns are called 'text'"),
        ("", {}, r"must name the columns"),
        ("image,text,label", {"boxes": "yxyx"}, r"--boxes is xyxy or xywh"),
        ("image,text,label", {"images": Path("nowhere")}, r"--images: nowhere is not a folder"),
        ("image,text,label", {"split": "train"}, r"has no splits"),
    ],
)
def test_what_is_not_known_is_asked_for_and_not_guessed(
    tmp_path: Path, header: str, options: dict[str, object], message: str
) -> None:
    path = csv(tmp_path / "t.csv", header, "a.png,fine,yes")
    with pytest.raises(SourceError, match=message):
        open_source(path, Options(**options))  # type: ignore[arg-type]


def test_columns_and_a_folder_of_pictures_can_be_named(tmp_path: Path) -> None:
    picture(tmp_path / "deep" / "c.png")
    path = csv(tmp_path / "t.csv", "n;p;s;g", "1;c.png;a dog;true")
    rows, _ = read(
        path, delimiter=";", images=tmp_path / "deep", labels={"true": "yes"},
        columns={"image": "p", "text": "s", "label": "g", "id": "n"},
    )  # fmt: skip
    assert asked(rows) == [("1", "a dog", "yes")]
    assert rows[0].picture == tmp_path / "deep" / "c.png"


def test_rows_whose_line_breaks_become_spaces_are_known(tmp_path: Path) -> None:
    path = csv(tmp_path / "t.csv", "image,text,label,premise", 'a.png,"two\nlines",yes,',
               'a.png,"one line\n",yes,', 'a.png,x,yes,"a\tb"')  # fmt: skip
    assert [(row.text, row.joined) for row in read(path)[0]] == [
        ("two lines", True),
        ("one line", False),
        ("x", True),
    ]


def test_limit_takes_the_first_rows_and_a_sample_lies_in_a_larger_one(tmp_path: Path) -> None:
    path = csv(tmp_path / "t.csv", "id,image,text,label", *(f"r{n},a.png,t,yes" for n in range(99)))
    assert [row.id for row in read(path, limit=3)[0]] == ["r0", "r1", "r2"]
    small, large, other = (
        [row.id for row in read(path, sample=count, seed=seed)[0]]
        for count, seed in ((5, 1), (20, 1), (5, 2))
    )
    assert (len(small), len(large)) == (5, 20)
    assert set(small) < set(large)
    assert small != other
    assert large == sorted(large, key=lambda each: int(each[1:]))


def test_snli_ve_is_known_by_its_names(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "47055.jpg")
    row = {"Flickr30K_ID": "47055", "captionID": "47055.jpg#2", "gold_label": "entailment",
           "pairID": "47055.jpg#2r1e", "sentence1": "Two men.", "sentence2": "People."}  # fmt: skip
    path = jsonl(
        tmp_path / "ve.jsonl",
        row,
        {**row, "gold_label": "-"},
        {**row, "gold_label": "contradiction"},
        {**row, "gold_label": "neutral"},
    )
    rows, refused = read(path, images=tmp_path / "images")
    assert asked(rows) == [
        ("47055.jpg-2r1e", "People.", "yes"),
        ("47055.jpg-2r1e-2", "People.", "no"),
        ("47055.jpg-2r1e-3", "People.", "maybe"),
    ]
    assert rows[0].premise is None
    assert rows[0].others == {"captionID": "47055.jpg#2", "sentence1": "Two men."}
    assert refused == {2: "the label is '-': its annotators did not agree"}


def test_broken_lines_of_json_are_refused_one_by_one(tmp_path: Path) -> None:
    fine = '{"image": "a.png", "text": "x", "label": "yes"}'
    path = jsonl(
        tmp_path / "t.jsonl",
        fine,
        "{",
        "[" * 10_000,
        "[1]",
        '{"image": "a.png", "text": "x", "label": "yes", "label": "no"}',
        '{"image": "a.png", "text": NaN, "label": "yes"}',
        '{"image": "a.png", "text": "\\ud800", "label": "yes"}',
        '{"image": ["a.png"], "text": "x", "label": "yes"}',
        '{"image": "a.png", "text": {"a": 1}, "label": "yes"}',
        '{"image": "a.png", "label": "yes"}',
        "",
        fine,
    )
    rows, refused = read(path)
    assert [row.number for row in rows] == [1, 12]
    assert {number: reason[:50] for number, reason in refused.items()} == {
        2: "not JSON: Expecting property name enclosed in doub",
        3: "not JSON: nested too deeply",
        4: "a JSON object is needed, but this is a list",
        5: "not JSON: the key 'label' occurs twice",
        6: "not JSON: NaN is not a number that can be computed",
        7: "the text has half a character (the lone surrogate ",
        8: "the picture is list, not a path or its content",
        9: "the text is a mapping, not a text",
        10: "the text is empty",
    }


def test_json_is_a_list_or_lines(tmp_path: Path) -> None:
    fine = '{"image": "a.png", "text": "x", "label": true}'
    labels = {"true": "yes"}
    (tmp_path / "list.json").write_text(f"[{fine}, 3]")
    (tmp_path / "lines.json").write_text(f"{fine}\n{fine}\n")
    rows, refused = read(tmp_path / "list.json", labels=labels)
    assert (len(rows), refused) == (1, {2: "a JSON object is needed, but this is a number"})
    assert len(read(tmp_path / "lines.json", labels=labels)[0]) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"\xff\xfei\x00m\x00", "UTF-16"),
        ("t.csv", b"", "must name the columns|cannot be read"),
        ("t.jsonl", b"{\n[1]\n", "no line of it is a JSON object; line 1: not JSON"),
        ("t.json", b"[[[", "not JSON"),
        ("t.json", b"\xff", "not UTF-8"),
        ("t.json", b"[1, 2]", "a list of JSON objects is needed"),
        ("t.xlsx", b"PK", r"save it as CSV"),
        ("t.docx", b"PK", r"not a kind of source.*JSON Lines"),
    ],
)
def test_a_file_that_is_no_source_is_told_from_its_rows(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=message):
        open_source(tmp_path / name, Options())
    with pytest.raises(SourceError, match="no such file"):
        open_source(tmp_path / "gone.csv", Options())


def test_regions_are_read_from_a_column(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "t.jsonl",
        *(
            {"image": "a.png", "text": "x", "label": "yes", "regions": each}
            for each in (
                {"dog": [1, 2, 3, 4], "cat": [[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]]},
                '{"dog": [1, 2, 3, 4]}',
                None,
                "[1, 2, 3, 4]",
                {"dog": [1, 2, 3]},
                {"dog": [1, 2, "3", 4]},
                {"a\nb": [1, 2, 3, 4]},
                '{"dog": [1, 2, 3, NaN]}',
            )
        ),
    )
    rows, refused = read(path)
    assert [row.regions for row in rows] == [
        {"dog": [[1, 2, 3, 4]], "cat": [[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]]},
        {"dog": [[1, 2, 3, 4]]},
        {},
    ]
    assert {number: reason[:45] for number, reason in refused.items()} == {
        4: 'regions are written {"NAME": [left, top, righ',
        5: "a box of 'dog' is four numbers, not '[1, 2, 3",
        6: "a box of 'dog' is four numbers, not \"[1, 2, '",
        7: "a region's name has letters, digits, spaces a",
        8: "the regions are not JSON: NaN is not a number",
    }


@pytest.mark.parametrize("header", [b"im\xe4ge,text,label\n", b"\xff\xff,b\n"])
def test_a_first_row_that_is_not_utf_8_is_told(tmp_path: Path, header: bytes) -> None:
    with pytest.raises(SourceError, match="its first row is not UTF-8"):
        open_source(csv(tmp_path / "t.csv", header, "a.png,x,yes"), Options())


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.json", "t.parquet"])
def test_a_pipe_or_a_folder_is_no_file_to_read(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(SourceError, match=r"a pipe|is not a file"):
        open_source(tmp_path / name, Options())


def test_a_line_that_does_not_end_is_no_json_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fine = '{"image": "a.png", "text": "x", "label": "yes"}\n'
    long = tmp_path / "long.jsonl"
    long.write_text(f"{fine}{' ' * 10_000_001}\n{fine}")
    rows, refused = read(long)
    assert ([row.number for row in rows], list(refused)) == ([1, 3], [2])
    monkeypatch.setattr("audit.sources.texttables._NO_LINE", 20_000_000)
    endless = tmp_path / "endless.jsonl"
    with endless.open("wb") as file:
        file.truncate(100_000_000)
    with pytest.raises(SourceError, match="line 1 has no end"):
        open_source(endless, Options())


def test_a_row_that_is_not_utf_8_and_has_too_few_cells_costs_only_itself(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    path = csv(tmp_path / "t.csv", "image,text,label", "a.png,x,yes", b"a.png,V\xf6gel\n",
               b"a.png,V\xf6gel,yes\n", "a.png,Vögel,yes")  # fmt: skip
    rows, refused = read(path)
    assert [row.text for row in rows] == ["x", "Vögel"]
    assert refused[3] == "it has 2 columns, but the first row 3"
    assert refused[4].startswith("not UTF-8")


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    rows, refused = read(csv(tmp_path / "t.csv", "\ufeffimage,text,label", "a.png,x,yes"))
    assert ([row.text for row in rows], refused) == (["x"], {})


def test_a_path_of_windows_is_told_with_slashes(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    picture(tmp_path / "b" / "a.png")
    lines = (
        "image,text,label",
        "b\\a.png,x,yes",
        "C:\\b\\a.png,y,yes",
        f"b\\{'x' * 300}.png,z,yes",
    )
    rows, refused = read(csv(tmp_path / "t.csv", *lines))
    assert rows == []
    assert refused[2].endswith("; write 'b/a.png'")
    for row in (3, 4):  # the last is longer than a file's name can be
        assert refused[row].endswith("its path has backslashes: write / and begin in that folder")


def test_a_broken_line_of_json_is_told_with_the_character_in_it(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    path = tmp_path / "t.jsonl"
    path.write_text('{"image": "a.png", "text": "x", "label": "yes"}\n{"text": "x" 1}\n')
    _, refused = read(path)
    assert refused == {2: "not JSON: Expecting ',' delimiter at character 14"}


def test_a_name_whose_accents_are_written_in_another_way_is_told(tmp_path: Path) -> None:
    picture(tmp_path / "Vo\u0308gel.png")
    lines = ("image,text,label", "V\u00f6gel.png,x,yes")
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    rows, refused = read(path)
    assert rows or "accents are written in another way (Unicode NFD)" in refused[2]
