"""Runs as tables: every outcome is a row, nothing is lost, and no cell is a formula."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from typer.testing import CliRunner

from audit.base.errors import RunError
from audit.commands import main as cli
from audit.data.columns import FIXED, IDENTITY, figure_column, figure_of
from audit.data.tables import table_of
from audit.data.writing import FORMATS, without_formulas, write_batches, write_table
from audit.gate.outcomes import Outcome, State
from audit.gate.runfolder import Run
from audit.metrics.keys import FigureKey
from tests.bulk_folders import folder_of
from tests.bulk_folders import row as bulk_row
from tests.outcomes import outcome
from tests.projects import audited, made

FIGURE = "m.mass[birds]"


def run_of(folder: Path, *outcomes: Outcome) -> Run:
    run = Run(folder)
    run.start({"id": "abc", "model": {"name": "toy", "digest": "1"}, "started": "2026-01-02"})
    for each in outcomes:
        run.add(each, {})
    return run


def exported(run: Run, name: str) -> Path:
    path = run.folder.parent / name
    done = CliRunner().invoke(cli.app, ["export", str(run.folder), "--to", str(path)])
    assert done.exit_code == 0, done.output
    assert f"{table_of(run).num_rows} row" in done.stdout
    return path


def test_a_row_has_the_question_the_answer_the_figures_and_the_verdict(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", outcome("one", State.DRIFTED))
    (row,) = table_of(run).to_pylist()
    assert {**row, "undefined": json.loads(row["undefined"])} == {
        "id": "one", "picture": "a.png", "picture.digest": "d" * 64, "picture.source": "d" * 64,
        "text": "two <b>birds</b>", "premise": None, "expected": "yes", "label": "yes",
        "right": True, "state": "drifted", "failed": True, "sentence": "so", "error": None,
        "tags": ["t"], "variant_of": None, "critical": False, "xfail": None, "file": "cases/a.yaml",
        "line": 1, "default_map": "m", "seconds": 0.0, "unsaid": None,
        "undefined": {"m.lift[birds]": "the region is empty"},
        "probability.yes": 0.75, "probability.no": 0.25, FIGURE: 0.5, "m.lift[birds]": None,
        "run.id": "abc", "run.started": "2026-01-02", "model.name": "toy", "model.source": None,
        "model.revision": None, "model.digest": "1", "model.weights": None,
        "model.configuration": None, "model.asking": None, "model.device": None,
        "model.dtype": None, "model.engine": None,
    }  # fmt: skip


def test_rows_are_in_the_order_of_the_case_files(tmp_path: Path) -> None:
    run = run_of(
        tmp_path / "run", outcome("late", State.ERROR, 9), outcome("early", State.PASSED, 2)
    )
    assert table_of(run)["id"].to_pylist() == ["early", "late"]


def test_an_error_is_a_row_with_its_reason_and_without_numbers(tmp_path: Path) -> None:
    lost = replace(
        outcome("two", State.ERROR, 2), label="", probabilities={}, metrics={}, sentence="no file"
    )
    table = table_of(run_of(tmp_path / "run", outcome("one", State.PASSED), lost))
    row = table.to_pylist()[1]
    assert (row["label"], row["right"], row["error"]) == (None, None, "no file")
    assert (row["probability.yes"], row[FIGURE]) == (None, None)
    assert row["undefined"] is None


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_has_every_row_and_column_and_no_nan(ending: str, tmp_path: Path) -> None:
    audited(made(tmp_path), tmp_path / "run", tmp_path / "baselines")
    run = Run(tmp_path / "run")
    path, table = exported(run, f"table{ending}"), table_of(run)
    names = set(table.column_names)
    assert {*FIXED, *IDENTITY} < names
    assert "nan" not in path.read_bytes().lower().decode("latin1").split(",")
    if ending == ".jsonl":
        assert [json.loads(line) for line in path.read_text().splitlines()] == table.to_pylist()
    elif ending == ".parquet":
        assert parquet.read_table(path).equals(table)
        about = json.loads(parquet.read_schema(path).metadata[b"audit"])
        assert (about["format"], about["id"]) == (1, run.about()["id"])
    else:
        rows = list(csv.DictReader(path.open(newline="", encoding="utf-8")))
        assert set(rows[0]) == names
        for row, exact in zip(rows, table.to_pylist(), strict=True):
            assert {name: as_cell(value) for name, value in exact.items()} == row


def as_cell(value: Any) -> str:
    """What a cell of CSV holds for a value, by hand."""
    if value is None:
        return ""
    if isinstance(value, bool | list):
        return json.dumps(value)
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


@pytest.mark.parametrize("ending", FORMATS)
def test_pandas_and_duckdb_read_the_same_figures(ending: str, tmp_path: Path) -> None:
    audited(made(tmp_path), tmp_path / "run", tmp_path / "baselines")
    run = Run(tmp_path / "run")
    path = exported(run, f"table{ending}")
    reader = {".parquet": pd.read_parquet, ".csv": pd.read_csv}.get(
        ending, lambda p: pd.read_json(p, lines=True, precise_float=True)
    )
    figure = "answer_attention.mass[birds]"
    (exact,) = [row[figure] for row in table_of(run).to_pylist() if row["id"] == "birds"]
    by_pandas = reader(path).set_index("id")[figure]
    assert by_pandas["birds"] == exact
    assert math.isnan(by_pandas["hungry"])  # it has no such region
    found = duckdb.sql(f"select id, \"{figure}\" from '{path}' order by id").fetchall()
    assert found == [("birds", exact), ("hungry", None)]


@pytest.mark.parametrize("ending", FORMATS)
def test_a_bulk_folder_is_one_table_too(ending: str, tmp_path: Path) -> None:
    rows = [bulk_row(n, **{"kept.split": "=1+1"}) for n in range(25)]
    folder = folder_of(tmp_path / "bulk", rows, shard=10)
    path = tmp_path / f"table{ending}"
    done = CliRunner().invoke(cli.app, ["export", str(folder), "--to", str(path)])
    assert done.stdout.startswith("25 rows with ")
    query = f'select id, "kept.split", "probability.yes" from \'{path}\' order by position'
    found = duckdb.sql(query).fetchall()
    split = "'=1+1" if ending == ".csv" else "=1+1"
    assert found == [(f"row-{n}", split, 0.75) for n in range(25)]


def test_a_table_that_cannot_be_written_whole_is_not_there(tmp_path: Path) -> None:
    def broken() -> Any:
        yield pa.record_batch({"id": ["one"]})
        raise OSError("the disk is full")

    for ending in FORMATS:
        with pytest.raises(OSError, match="the disk is full"):
            write_batches(pa.schema([("id", pa.string())]), broken(), tmp_path / f"t{ending}")
    assert list(tmp_path.iterdir()) == []


HOSTILE = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1+1", "'=1", "''@x"]


def test_no_text_in_csv_is_a_formula_and_every_text_comes_back(tmp_path: Path) -> None:
    texts = [*HOSTILE, "two birds", "'tis", "a = b", ""]
    run = run_of(
        tmp_path / "run",
        *(
            replace(outcome(f"c{n:02}", State.PASSED, n), text=text, tags=["=x"])
            for n, text in enumerate(texts)
        ),
    )
    path = exported(run, "table.csv")
    rows = list(csv.DictReader(path.open(newline="", encoding="utf-8")))
    for row, text in zip(rows, texts, strict=True):
        assert row["text"][:1] not in tuple("=+-@\t\r\n＝")
        assert row["text"] == (f"'{text}" if text in HOSTILE else text)
        assert json.loads(row["tags"]) == ["=x"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_a_text_is_told_from_its_cell_by_one_apostrophe(texts: list[str]) -> None:
    for text, cell in zip(texts, without_formulas(pa.array(texts)).to_pylist(), strict=True):
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"))
        bare = cell.lstrip("'")
        armed = cell != bare and bare.startswith(tuple("=+-@\t\r\n＝＋－＠"))
        assert (cell[1:] if armed else cell) == text


def test_a_negative_figure_stays_a_number_in_csv(tmp_path: Path) -> None:
    one = replace(outcome("one", State.PASSED), metrics={"m": {"lift[birds]": -0.5}})
    frame = pd.read_csv(exported(run_of(tmp_path / "run", one), "table.csv"))
    assert frame["m.lift[birds]"].tolist() == [-0.5]


def test_a_column_that_a_label_or_a_map_names_is_no_formula_either(tmp_path: Path) -> None:
    one = replace(outcome("one", State.PASSED), metrics={"=cmd": {"mass[birds]": 0.5}})
    path = exported(run_of(tmp_path / "run", one), "table.csv")
    assert '"\'=cmd.mass[birds]"' in path.read_text().splitlines()[0]


def test_two_figures_with_one_column_are_refused(tmp_path: Path) -> None:
    one = replace(outcome("one", State.PASSED), metrics={"a.b": {"c": 1.0}, "a": {"b.c": 2.0}})
    with pytest.raises(RunError, match=r"one: two figures would have the column 'a\.b\.c'"):
        table_of(run_of(tmp_path / "run", one))


def test_a_figure_named_as_another_column_is_refused(tmp_path: Path) -> None:
    one = replace(outcome("one", State.PASSED), metrics={"model": {"name": 1.0}})
    with pytest.raises(RunError, match=r"a figure is named 'model\.name', as another column is"):
        table_of(run_of(tmp_path / "run", one))


def test_another_ending_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        cli.app, ["export", str(tmp_path), "--to", str(tmp_path / "table.csw")]
    )
    assert str(done.exception).endswith(
        "table.csw: the ending says the format; did you mean '.csv'?"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_table_replaces_the_one_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("before")
    write_table(pa.table({"id": ["one"]}), path)
    assert path.read_text() == '"id"\n"one"\n'
    assert [each.name for each in tmp_path.iterdir()] == ["table.csv"]


MAPS = ["rollout", "answer_attention layers=last:2", "occlusion temperature=0.5"]
NAMES = st.text(st.characters(exclude_categories=["C"], exclude_characters="[]"), min_size=1)


@given(st.sampled_from(MAPS), NAMES, st.integers(0, 3))
def test_map_and_figure_are_read_back_from_a_column(key: str, region: str, near: int) -> None:
    figure = FigureKey.of("pointing", region, {"tolerance": near})
    assert figure_of(figure_column(key, str(figure))) == (key, figure)


@pytest.mark.parametrize("column", [*FIXED, *IDENTITY, "probability.yes", "probability.no.more"])
def test_other_columns_are_no_figures(column: str) -> None:
    assert figure_of(column) is None
