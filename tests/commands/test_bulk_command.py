"""audit bulk, as a user calls it: what it prints, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from audit.base.console import Meter
from audit.commands import main as cli
from tests.bulk_rows import install_toys, rows_of, write_source


@pytest.fixture(autouse=True)
def _toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(install_toys(tmp_path / "packages")))


def audit(*options: object) -> Result:
    return CliRunner().invoke(cli.app, ["bulk", *map(str, options)])


def test_it_prints_the_account_and_the_noise_of_batches(tmp_path: Path) -> None:
    rows = rows_of(12)
    rows[4]["label"] = "yes"  # the toy says no
    done = audit(write_source(tmp_path, rows), "--out", tmp_path / "out", "--model", "toy:x")
    assert done.exit_code == 0, done.output
    first, second, third = done.stdout.splitlines()
    assert first == "12 rows read = 12 answered + 0 failed + 0 refused; 11 of 12 labels as expected"
    assert second.startswith("noise of batches: of 12 rows asked in batches and one by one, 0")
    assert third == f"results: {tmp_path / 'out'}"
    assert "columns: image=image, text=text, label=label, id=id" in done.stderr
    assert "asked: 12 of 12 rows" in done.stderr


@pytest.mark.parametrize(("allowed", "code"), [("0", 3), ("0.1", 3), ("0.2", 0)])
def test_the_exit_code_is_by_the_share_of_rows_without_an_answer(
    tmp_path: Path, allowed: str, code: int
) -> None:
    rows = rows_of(10)
    rows[3]["text"], rows[4]["text"] = "crash", ""
    source = write_source(tmp_path, rows)
    done = audit(
        source,
        "--out",
        tmp_path / "out",
        "--model",
        "breaking:x",
        "--max-failed",
        allowed,
        "--json",
    )
    told = json.loads(done.stdout)
    assert (done.exit_code, told["failed"], told["refused"]) == (code, 1, 1)
    assert told["failed_share"] == 0.2
    assert told["passed"] == (code == 0)
    why = f"audit: 2 of 10 rows have no answer, a larger share than --max-failed {allowed} allows"
    assert (why in done.stderr) == (code == 3)


def test_it_says_where_the_refused_rows_are(tmp_path: Path) -> None:
    rows = rows_of(3)
    rows[1]["text"] = ""
    done = audit(write_source(tmp_path, rows), "--out", tmp_path / "out", "--model", "toy:x")
    assert f"refused rows: {tmp_path / 'out' / 'refused.jsonl'}" in done.stdout


def test_a_model_that_breaks_ends_it_with_a_code_of_its_own(tmp_path: Path) -> None:
    rows = rows_of(10)
    rows[9]["text"] = "cuda"
    done = audit(write_source(tmp_path, rows), "--out", tmp_path / "out", "--model", "breaking:x")
    assert done.exit_code == 1
    assert "the model answers no more" in done.stderr


def test_case_files_are_a_source(tmp_path: Path) -> None:
    write_source(tmp_path, rows_of(1))
    (tmp_path / "cases.yaml").write_text(
        "cases:\n"
        "  - id: bird\n    image: images/0.png\n    text: a bird\n    tags: [small]\n"
        "    regions: {left: [[0.0, 0.0, 0.5, 1.0]]}\n"
        "    expect: {label: yes}\n    variants: [{mirror: true}]\n"
    )
    done = audit(
        tmp_path / "cases.yaml", "--out", tmp_path / "out", "--model", "toy:x", "--max-failed", "1"
    )
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("2 rows read = 1 answered + 0 failed + 1 refused; 1 of 1 label")
    (refused,) = (tmp_path / "out" / "refused.jsonl").read_text().splitlines()
    assert "bird[mirror]: a variant" in json.loads(refused)["reason"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--labels-only", "--map", "rollout"], "exclude each other"),
        (["--actors", "2"], "--actors goes with --ray"),
        (["--keep", "color"], "did you mean 'colour'?"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(
    tmp_path: Path, options: list[str], told: str
) -> None:
    done = audit(write_source(tmp_path, rows_of(3)), "--out", tmp_path / "out", *options)
    assert done.exit_code != 0
    assert told in f"{done.output}{done.exception}"
    assert not (tmp_path / "out").exists()


def test_only_the_columns_that_are_wanted_are_kept(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    rows = [{**row, "size": 3} for row in rows_of(3)]
    audit(
        write_source(tmp_path, rows),
        "--out",
        tmp_path / "out",
        "--model",
        "toy:x",
        "--keep",
        "size",
    )
    (path,) = (tmp_path / "out" / "rows").glob("*.parquet")
    names = pq.read_schema(path).names
    assert [name for name in names if name.startswith("kept.")] == ["kept.size"]


def test_progress_says_rate_failures_and_what_is_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("audit.base.console.time.monotonic", lambda: now[0])
    meter = Meter(100, "asked")
    now[0] = 31.0
    meter(31, 2)
    now[0] = 40.0
    meter(9, 0)
    meter.end()
    first, last = capsys.readouterr().err.splitlines()
    assert first == "asked: 31 of 100 rows, 1.0 a second, 2 failed, 1:09 left"
    assert last == "asked: 40 of 100 rows, 1.0 a second, 2 failed, 1:00 left"


def test_loading_the_model_does_not_count_as_time_that_rows_take(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("audit.base.console.time.monotonic", lambda: now[0])
    meter = Meter(100, "asked")
    for now[0], rows in ((20.0, 8), (21.0, 8), (22.0, 8)):
        meter(rows, 0)
    meter.end()
    assert (
        capsys.readouterr().err == "asked: 24 of 100 rows, 8.0 a second, none failed, 0:10 left\n"
    )


def test_after_ctrl_c_it_says_that_it_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("audit.bulk.running.run", pressed)
    done = audit(write_source(tmp_path, rows_of(4)), "--out", tmp_path / "out", "--model", "toy:x")
    assert done.exit_code == 130
    assert done.stderr.endswith("audit: interrupted: called again in the same way, it continues\n")
