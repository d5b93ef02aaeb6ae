"""What a bulk audit promises of every row: an answer or an error, and an account of all."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from audit.base.errors import BulkError, ModelError, Unfinished
from audit.base.images import identity, open_image
from audit.bulk.format import BulkFolder
from audit.bulk.questions import rank
from audit.maps.spec import MapSpec
from audit.models.protocol import Query
from audit.runs.evidence import gather
from audit.runs.figures import measure_maps
from tests.bulk.conftest import Audited, ids, table_of
from tests.bulk_rows import rows_of, write_source
from tests.toy_model import ToyModel


def test_every_row_of_the_source_is_there_once(audited: Audited, tmp_path: Path) -> None:
    account = audited(write_source(tmp_path, rows_of(25)))
    assert ids(tmp_path / "out") == [f"row-{n}" for n in range(25)]
    assert (account.read, account.written, account.failed, account.refused) == (25, 25, 0, 0)
    assert (account.right, account.judged) == (25, 25)


def test_a_row_has_what_a_session_would_measure(audited: Audited, tmp_path: Path) -> None:
    rows = rows_of(3)
    audited(write_source(tmp_path, rows))
    row = table_of(tmp_path / "out")[1]
    picture = tmp_path / rows[1]["image"]
    (seen,) = gather(ToyModel(), [Query(picture, rows[1]["text"])], [[MapSpec()]], 1)
    _, figures, _ = measure_maps([MapSpec()], {}, seen)
    assert {k: row[f"answer_attention.{k}"] for k in figures["answer_attention"]} == pytest.approx(
        figures["answer_attention"]
    )
    assert row["picture.digest"] == identity(open_image(picture))
    assert (row["label"], row["right"], row["probability.no"]) == ("no", True, 0.9)
    assert (row["picture"], row["kept.colour"]) == ("images/1.png", "blue")


def test_an_error_is_a_row_and_costs_no_other(audited: Audited, tmp_path: Path) -> None:
    rows = rows_of(12)
    rows[5]["image"] = "images/cut.png"
    rows[7]["text"] = "crash"
    rows[8]["label"] = "perhaps"
    source = write_source(tmp_path, rows)
    (tmp_path / "images" / "cut.png").write_bytes(b"\x89PNG\r\n")
    same = {label: label for label in (*ToyModel.labels, "perhaps")}
    account = audited(source, model="breaking:x", labels=same)
    found = {row["id"]: row for row in table_of(tmp_path / "out")}
    assert len(found) == 12
    assert account.errors == {"ImageError": 1, "LabelError": 1, "RuntimeError": 1}
    assert found["row-7"]["error"] == "RuntimeError"
    assert "bad" in found["row-7"]["message"]
    assert found["row-5"]["label"] is None
    assert sum(row["right"] is True for row in found.values()) == 9


def test_the_account_adds_up_and_lists_what_was_refused(audited: Audited, tmp_path: Path) -> None:
    rows = rows_of(12)
    rows[3]["text"] = ""
    rows[4]["image"] = "images/none.png"
    rows[6]["text"] = "crash"
    account = audited(write_source(tmp_path, rows), model="breaking:x")
    assert account.read == 12 == account.written + account.failed + account.refused
    assert (account.failed, account.refused) == (1, 2)
    lines = (tmp_path / "out" / "refused.jsonl").read_text().splitlines()
    assert [json.loads(line)["where"] for line in lines] == ["row 5", "row 6"]
    assert BulkFolder(tmp_path / "out").account() == account


def test_ids_that_occur_twice_are_refused_before_a_model_is_loaded(
    audited: Audited, tmp_path: Path
) -> None:
    rows = rows_of(30)
    rows[25]["id"] = "row-3"
    with pytest.raises(BulkError, match="row 27: the id 'row-3' is also that of row 5"):
        audited(write_source(tmp_path, rows), model="no-such-model:x")


def test_rows_without_ids_keep_the_ids_that_are_made_if_they_move(
    audited: Audited, tmp_path: Path
) -> None:
    rows = [{k: v for k, v in row.items() if k != "id"} for row in rows_of(12)]
    audited(write_source(tmp_path, rows), tmp_path / "one")
    audited(write_source(tmp_path, rows[::-1]), tmp_path / "other")
    first, second = (
        {row["id"]: (row["picture"], row["text"]) for row in table_of(tmp_path / name)}
        for name in ("one", "other")
    )
    assert first == second


def test_no_number_is_nan_and_nothing_missing_is_a_text(audited: Audited, tmp_path: Path) -> None:
    rows = rows_of(6)
    rows[2]["text"] = "crash"
    audited(write_source(tmp_path, rows), model="breaking:x")
    for row in table_of(tmp_path / "out"):
        assert all(math.isfinite(v) for v in row.values() if isinstance(v, float))
        assert all(v != "" for v in row.values())


def test_a_row_without_a_label_is_answered_and_not_judged(audited: Audited, tmp_path: Path) -> None:
    rows = [{k: v for k, v in row.items() if k != "label"} for row in rows_of(6)]
    account = audited(write_source(tmp_path, rows))
    assert (account.written, account.judged) == (6, 0)
    assert {row["right"] for row in table_of(tmp_path / "out")} == {None}


def test_maps_are_kept_of_wrong_answers_and_of_a_sample_alone(
    audited: Audited, tmp_path: Path
) -> None:
    rows = rows_of(40)
    rows[11]["label"] = "yes"  # the toy says maybe
    audited(write_source(tmp_path, rows), sample=8, seed=3)
    kept = {row["id"]: row for row in table_of(tmp_path / "out", "maps")}
    assert kept["row-11"]["why"] == "wrong"
    drawn = {f"row-{n}" for n in range(40) if rank(3, f"row-{n}") < 8 / 40}
    assert kept.keys() == drawn | {"row-11"}
    assert sum(kept["row-11"]["cells"]) == pytest.approx(1, abs=1e-6)


def test_the_sample_does_not_depend_on_the_order_of_the_rows(
    audited: Audited, tmp_path: Path
) -> None:
    audited(write_source(tmp_path, rows_of(40)), tmp_path / "one", sample=8)
    audited(write_source(tmp_path, rows_of(40)[::-1]), tmp_path / "other", sample=8)
    first, second = (
        {row["id"] for row in table_of(tmp_path / name, "maps")} for name in ("one", "other")
    )
    assert first == second != set()


def test_the_noise_of_batches_is_stated(audited: Audited, tmp_path: Path) -> None:
    audited(write_source(tmp_path, rows_of(12)))
    floor = BulkFolder(tmp_path / "out").batches()
    assert floor is not None
    assert (floor.rows, floor.flipped, floor.moved["probability"]) == (12, 0, 0.0)


@pytest.mark.parametrize("place", [25, 29])  # also the last one of a shard
def test_a_model_that_breaks_ends_the_work_and_blames_no_row(
    audited: Audited, tmp_path: Path, place: int
) -> None:
    rows = rows_of(40)
    rows[place]["text"] = "cuda"
    with pytest.raises(Unfinished, match="not even what it answered before: RuntimeError: CUDA"):
        audited(write_source(tmp_path, rows), model="breaking:x")
    assert ids(tmp_path / "out") == [f"row-{n}" for n in range(20)]
    assert {row["error"] for row in table_of(tmp_path / "out")} == {None}
    with pytest.raises(BulkError, match="did not end"):
        BulkFolder(tmp_path / "out").account()


def test_a_model_that_answers_nothing_ends_the_work(audited: Audited, tmp_path: Path) -> None:
    rows = [{**row, "text": "crash"} for row in rows_of(20)]
    with pytest.raises(Unfinished, match="failed at all of the first 8 rows"):
        audited(write_source(tmp_path, rows), model="breaking:x")
    assert table_of(tmp_path / "out") == []


def test_labels_of_which_the_model_has_none_are_told_before_it_is_asked(
    audited: Audited, tmp_path: Path
) -> None:
    rows = [{**row, "label": "1"} for row in rows_of(6)]
    with pytest.raises(ModelError, match="expects 1, but the model answers with no, yes, maybe"):
        audited(write_source(tmp_path, rows), labels={"1": "1"})


def holding_pictures(path: Path, number: int) -> None:
    """A source of rows that holds their picture in itself."""
    buffer = io.BytesIO()
    Image.new("RGB", (12, 8), (5, 6, 7)).save(buffer, "PNG")
    rows = [
        {"id": f"r{n}", "image": {"bytes": buffer.getvalue(), "path": None}, "text": "a bird"}
        for n in range(number)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)


def test_pictures_in_the_source_are_files_when_they_travel(
    audited: Audited, tmp_path: Path
) -> None:
    path = tmp_path / "rows.parquet"
    holding_pictures(path, 3)
    audited(path)
    found = table_of(tmp_path / "out")
    assert {row["label"] for row in found} == {"yes"}
    (picture,) = {row["picture"] for row in found}
    assert identity(open_image(tmp_path / "out" / picture)) == found[0]["picture.digest"]


def test_a_moved_folder_goes_on_though_the_source_holds_its_pictures(
    audited: Audited, tmp_path: Path
) -> None:
    path = tmp_path / "rows.parquet"
    holding_pictures(path, 3)
    audited(path)
    (tmp_path / "out").rename(tmp_path / "moved")
    assert audited(path, tmp_path / "moved").earlier == 3
    holding_pictures(path, 5)
    account = audited(path, tmp_path / "moved")
    assert (account.earlier, account.written, account.failed) == (3, 5, 0)


def test_rows_with_ever_other_keys_do_not_become_thousands_of_columns(
    audited: Audited, tmp_path: Path
) -> None:
    write_source(tmp_path, rows_of(1))
    source = tmp_path / "rows.jsonl"
    rows = [
        {**row, **{f"key-{n}-{m}": "x" for m in range(300)}} for n, row in enumerate(rows_of(6))
    ]
    source.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    with pytest.raises(BulkError, match=r"line 4: .* more than 1,000 other columns.*--keep"):
        audited(source)


def test_half_a_character_in_a_row_costs_no_other_row(audited: Audited, tmp_path: Path) -> None:
    write_source(tmp_path, rows_of(1))
    broken = [
        {"id": "\ud800"}, {"colour": "\udc00"}, {"\ud800": "x"}, {"image": "images/\ud800.png"}
    ]  # fmt: skip
    rows = [row | more for row, more in zip(rows_of(5), [*broken, {}], strict=True)]
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    account = audited(source)
    assert (account.written, account.failed, account.refused) == (4, 0, 1)
    kept = [row["kept.colour"] for row in table_of(tmp_path / "out")]
    assert kept == ["red", "\\udc00", "red", "red"]
    assert audited(source).earlier == 4


def test_with_many_names_of_regions_all_of_a_row_are_one(audited: Audited, tmp_path: Path) -> None:
    rows = [
        {**row, "regions": json.dumps({f"thing {n}": [0.25, 0.25, 0.5, 0.5]})}
        for n, row in enumerate(rows_of(70))
    ]
    audited(write_source(tmp_path, rows))
    record = BulkFolder(tmp_path / "out").record()
    assert (record.joined, record.regions) == (True, ["regions"])
    assert all(row["answer_attention.mass[regions]"] > 0 for row in table_of(tmp_path / "out"))
