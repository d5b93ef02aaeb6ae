"""The command import: what it writes, prints and exits with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from audit.base.errors import SourceError
from audit.cases.loading import check_unique, load_cases
from audit.commands.main import app
from tests.source_files import csv, picture


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "a.png")
    csv(tmp_path / "t.csv", "nr,file,satz,urteil", "1,a.png,ein Hund,ja", "2,a.png,zwei,nein",
        "3,b.png,drei,ja", "4,a.png,vier,vielleicht")  # fmt: skip


NAMED = ("--columns", "id=nr,image=file", "--columns", "text=satz,label=urteil",
         "--labels", "ja=yes,nein=no")  # fmt: skip


def run(*options: str, source: str = "t.csv", out: str = "cases/t.yaml") -> tuple[int, str, str]:
    found = CliRunner().invoke(app, ["import", source, "--out", out, *options])
    return found.exit_code, found.stdout, found.stderr


def failure(*options: str, source: str = "t.csv") -> str:
    return str(CliRunner().invoke(app, ["import", source, "--out", "t.yaml", *options]).exception)


def test_a_table_with_names_of_its_own_becomes_cases_and_a_list_of_refused_rows() -> None:
    code, said, told = run(*NAMED)
    assert code == 0
    assert said.splitlines() == [
        "cases/t.yaml: 2 cases with 1 picture, of 4 rows",
        "expected labels: no 1, yes 1",
    ]
    refused = [
        "row 4: no picture 'b.png' in .",
        "row 5: the label 'vielleicht' is not known; choose from: ja, nein, no, yes",
    ]
    assert told.splitlines() == [
        "t.csv: CSV",
        "columns: image=file, text=satz, label=urteil, id=nr",
        *(f"refused: {each}" for each in refused),
        "2 rows refused, all listed in cases/t.refused.txt",
        "labels that are not known: 'vielleicht' 1; to take them: "
        "--labels 'vielleicht=…,ja=yes,nein=no'",
    ]
    assert Path("cases/t.refused.txt").read_text().splitlines() == refused
    assert [case.id for case in load_cases(Path("cases/t.yaml"))] == ["1", "2"]


def test_a_file_that_exists_is_kept_unless_it_is_to_be_replaced() -> None:
    Path("mine.yaml").write_text("mine")
    code, _, told = run(*NAMED, out="mine.yaml")
    assert (code, Path("mine.yaml").read_text()) == (2, "mine")
    assert "--force" in told
    assert run(*NAMED, "--force", out="mine.yaml")[0] == 0
    assert len(load_cases(Path("mine.yaml"))) == 2


def test_if_no_row_can_be_a_case_nothing_is_written_and_the_exit_code_is_2() -> None:
    code, _, told = run(*NAMED[:4])
    assert (code, Path("cases/t.yaml").exists()) == (2, False)
    assert "none of the rows can be a case" in told
    assert len(Path("cases/t.refused.txt").read_text().splitlines()) == 4


def test_a_list_of_refused_rows_is_removed_when_all_are_taken() -> None:
    run(*NAMED)
    assert run(*NAMED, "--limit", "2", "--force")[0] == 0
    assert not Path("cases/t.refused.txt").exists()


def test_many_refused_rows_are_all_in_the_file_and_some_on_the_screen() -> None:
    csv(Path("many.csv"), "image,text,label", "a.png,x,yes", *(["b.png,x,yes"] * 30))
    _, _, told = run(source="many.csv")
    assert told.count("refused: row") == 20
    assert "refused: … and 10 more" in told
    assert len(Path("cases/t.refused.txt").read_text().splitlines()) == 30


def test_the_json_says_all_of_it() -> None:
    code, said, _ = run(*NAMED, "--json")
    found = json.loads(said)
    assert (code, found["rows"], found["cases"], found["labels"]) == (0, 4, 2, {"yes": 1, "no": 1})
    assert [(each["number"], each["where"]) for each in found["refused"]] == [
        (4, "row 4"),
        (5, "row 5"),
    ]


def test_a_column_without_tags_and_a_tag_of_several_values_are_told() -> None:
    csv(Path("tags.csv"), "image,text,label,kind,none", "a.png,x,yes,C,", "a.png,y,no,C++,",
        "a.png,z,no,D,")  # fmt: skip
    told = run("--tags", "kind,none", source="tags.csv")[2].splitlines()
    assert (
        "audit: note: --tags none: no case has a tag of it: it is empty, or holds lists or "
        "mappings" in told
    )
    assert "audit: note: the tag kind_C stands for 'C', 'C++'" in told
    found = json.loads(run("--tags", "kind", "--force", "--json", source="tags.csv")[1])
    assert found["tags"] == {"kind_C": {"C": 1, "C++": 1}, "kind_D": {"D": 1}}


def test_a_picture_whose_name_is_not_unicode_costs_its_row() -> None:
    for name in ("a", "caf\udce9"):
        picture(Path("captioned") / f"{name}.png")
        (Path("captioned") / f"{name}.txt").write_text("a dog")
    code, _, told = run(source="captioned")
    assert code == 0
    assert "the picture's name is not Unicode: rename its file" in told
    assert len(load_cases(Path("cases/t.yaml"))) == 1


def test_values_of_columns_become_tags() -> None:
    csv(Path("tags.csv"), "image,text,label,kind,2nd", "a.png,x,yes,hair drier,1", "a.png,y,no,,2")
    assert run("--tags", "kind,2nd", source="tags.csv")[0] == 0
    first, second = load_cases(Path("cases/t.yaml"))
    assert (first.tags, second.tags) == (("kind_hair_drier", "_2nd_1"), ("_2nd_2",))
    code, _, told = run("--tags", "knid", "--force", source="tags.csv")
    assert code == 2
    assert "did you mean 'kind'" in " ".join(told.replace("│", " ").split())


def test_a_column_with_a_comma_in_its_name_is_told_as_it_must_be_written() -> None:
    csv(Path("t.csv"), 'bild,text,label,"size, cm"', "a.png,x,yes,3")
    named = ("--columns", "image=bild")
    assert 'there are: bild, text, label, "size, cm")' in failure()
    told = run(*named, "--tags", "size, cm")[2]
    assert 'choose from: "size, cm"' in " ".join(told.replace("│", " ").split())
    assert run(*named, "--tags", '"size, cm"')[0] == 0
    assert load_cases(Path("cases/t.yaml"))[0].tags == ("size_cm_3",)


def test_a_table_that_another_character_separates_is_told() -> None:
    """Excel writes semicolons in many countries, and a name may have a comma in it."""
    csv(Path("t.csv"), "Nr;bild;satz;Preis, netto", "1;a.png;x;3")
    assert "if another character separates the columns: --delimiter ';'" in failure()
    assert "--delimiter" not in failure("--delimiter", ";")


def test_a_json_file_with_nan_says_where_it_is() -> None:
    Path("coco.json").write_text('{"annotations": [{"id": 7, "bbox": [1, NaN, 3, 4]}]}')
    told = failure(source="coco.json")
    assert """computed with, near '{"annotations": [{"id": 7, "bbox": [1, NaN'""" in told


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "cases/t.txt"], "ends in .yaml"),
        (["--columns", "image"], "not of the form A=B"),
        (["--columns", "image=a,image=b"], "given twice"),
        (["--delimiter", "ab"], "not one plain character"),
        (["--limit", "0"], "greater than or equal to 1"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(options: list[str], message: str) -> None:
    code, _, told = run(*options)
    assert code == 2
    assert message in " ".join(told.replace("│", " ").split())


def test_labels_that_are_not_known_can_be_taken_by_pasting_an_option() -> None:
    csv(Path("l.csv"), "image,text,label", "a.png,x,Yes", "a.png,y,NO", "a.png,z,neutral",
        "a.png,z,maybe")  # fmt: skip
    _, _, told = run(source="l.csv")
    option = told.partition("to take them: --labels ")[2].strip()
    code, said, told = run("--labels", option, "--force", source="l.csv")
    assert (code, "refused" in told) == (0, False)
    assert "expected labels: maybe 2, no 1, yes 1" in said


def test_a_label_without_a_meaning_is_not_taken_for_one() -> None:
    code, _, told = run(*NAMED[:4], "--labels", "ja=yes,vielleicht=…")
    assert code == 2
    assert "what 'vielleicht' stands for" in " ".join(told.replace("│", " ").split())


def test_a_column_of_many_unknown_labels_is_hardly_the_column_of_labels() -> None:
    csv(Path("l.csv"), "image,text,label", *(f"a.png,x,l{n}" for n in range(11)))
    _, _, told = run(source="l.csv")
    assert "and 1 more; is this the column of labels?" in told


def test_a_folder_is_not_replaced_by_a_case_file() -> None:
    Path("dir.yaml").mkdir()
    code, _, told = run(*NAMED, "--force", out="dir.yaml")
    assert code == 2
    assert "dir.yaml is a folder" in " ".join(told.replace("│", " ").split())


def test_ids_that_other_case_files_have_are_numbered_and_told() -> None:
    Path("pytest.ini").write_text("[pytest]\naudit_cases = cases/*.yaml deep/**/*.yaml\n")
    assert run(*NAMED)[0] == 0
    assert run(*NAMED, out="deep/er/u.yaml")[0] == 0
    code, said, _ = run(*NAMED, "--labels", "vielleicht=maybe", out="cases/v.yaml")
    assert code == 0
    assert said.splitlines()[2:] == [
        "ids made legal or unique: 2",
        "  row 2: '1' is '1-3', since cases/t.yaml has '1'",
        "  row 3: '2' is '2-3', since cases/t.yaml has '2'",
    ]
    files = ["cases/t.yaml", "deep/er/u.yaml", "cases/v.yaml"]
    check_unique(case for file in files for case in load_cases(Path(file)))
    before = Path("cases/v.yaml").read_bytes()
    run(*NAMED, "--labels", "vielleicht=maybe", "--force", out="cases/v.yaml")
    assert Path("cases/v.yaml").read_bytes() == before


def test_a_case_file_that_cannot_be_read_is_told_since_its_ids_are_not_known() -> None:
    Path("cases").mkdir()
    Path("cases/broken.yaml").write_text("cases: [")
    code, _, told = run(*NAMED)
    assert code == 0
    assert "note: cases/broken.yaml cannot be read: which ids it has is not known" in told


def test_the_first_renamed_ids_are_printed_and_all_are_in_the_json() -> None:
    csv(Path("r.csv"), "id,image,text,label", *(f"a {n},a.png,x,yes" for n in range(7)))
    _, said, _ = run(source="r.csv")
    assert said.splitlines()[2:] == [
        "ids made legal or unique: 7",
        *(f"  row {n + 2}: 'a {n}' is 'a-{n}'" for n in range(5)),
        "  … and 2 more, all of them in --json",
    ]
    found = json.loads(run("--json", "--force", source="r.csv")[1])["renamed"]
    assert (len(found), found[6]) == (
        7, {"where": "row 8", "written": "a 6", "legal": "a-6", "id": "a-6"}
    )  # fmt: skip


def test_line_breaks_that_become_spaces_are_counted() -> None:
    csv(Path("b.csv"), "image,text,label", 'a.png,"two\nlines",yes', "a.png,one,yes")
    _, said, _ = run(source="b.csv")
    assert "line breaks or tabs in texts, now spaces: 1 (row 2)" in said.splitlines()


def test_more_rows_than_a_case_file_holds_are_refused_before_a_picture_is_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    csv(Path("many.csv"), "image,text,label", *(f"a.png,text {n},yes" for n in range(200)))
    monkeypatch.setattr("audit.sources.importing.MAX_NODES", 1000)  # 6 a case
    monkeypatch.setattr("audit.sources.importing.image_of", None)
    with pytest.raises(SourceError, match=r"165 cases fill a case file.*--limit.*`audit bulk`"):
        app(["import", "many.csv", "--out", "cases/t.yaml"], standalone_mode=False)
    assert not Path("cases").exists()
