"""Two bulk folders are judged as two runs would be, row by row, whatever their order and size."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from audit.base.errors import BulkError
from audit.base.images import identity, open_image
from audit.base.settings import Limits
from audit.commands import main as cli
from audit.gate.changes import Change
from audit.gate.suite import judge_suite
from audit.studies.bulk import pairing
from audit.studies.bulk.comparison import BulkComparison, Wanted, compare_bulk
from tests.bulk_folders import KEY, folder_of, row

MASS, ENTROPY = f"{KEY}.mass[birds]", f"{KEY}.entropy"
Rows = Sequence[dict[str, Any]]


def compared(
    tmp_path: Path, before: Rows, after: Rows, wanted: Wanted | None = None, **changed: Any
) -> BulkComparison:
    """Two folders with these rows, of other weights unless ``changed`` says otherwise."""
    number = len(list(tmp_path.iterdir()))
    here = tmp_path / str(number)
    sides = (
        folder_of(here / "before", before, shard=37),
        folder_of(here / "after", after, shard=50, **{"model": {"weights": "2"}, **changed}),
    )
    return compare_bulk(sides, Limits(), wanted or Wanted(), here / "work")


def drawn(number: int, seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of both sides: pictures with one to six rows, figures that are missing here and there,
    labels that flip, two kept columns."""
    rng = np.random.default_rng(seed)
    pictures = np.repeat(np.arange(number), rng.integers(1, 7, number))[:number]
    sides: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for n, picture in enumerate(pictures.tolist()):
        shared = {
            "picture": f"{picture}.png", "expected": "yes" if n % 5 else "no",
            "tags": [f"t{n % 3}", "odd"] if n % 2 else [f"t{n % 3}"],
            "kept.split": f"s{picture % 2}" if n % 7 else None,
        }  # fmt: skip
        for side, rows in enumerate(sides):
            mass = float(rng.uniform(0.2, 0.8)) - 0.01 * side
            figures = {MASS: mass if n % 4 else None, ENTROPY: float(rng.uniform())}
            rows.append(row(n, float(rng.uniform()), **shared, **figures))
    return sides


def by_the_gate(before: Rows, after: Rows) -> Any:
    """The verdict of the gate that holds every case, over the same rows."""
    changes = []
    for was, now in zip(before, after, strict=True):
        label = now["expected"]
        moved = {"probability": now[f"probability.{label}"] - was[f"probability.{label}"]}
        tolerances = {"probability": 0.05}
        for name, column in (("mass", MASS), ("entropy", ENTROPY)):
            if was[column] is not None:
                moved[name], tolerances[name] = now[column] - was[column], 0.02
        slices = [f"tag {tag}" for tag in now["tags"]]
        slices += [f"split {now['kept.split']}"] if now["kept.split"] else []
        changes.append(
            Change(
                now["id"], now["picture"], False, (was["label"], now["label"]),
                (was["label"] == label, now["label"] == label), moved, tolerances, label,
                tuple(s.removeprefix("tag ") for s in slices),
                frozenset({"probability", "mass", "entropy"}),
            )
        )  # fmt: skip
    return judge_suite(changes, Limits())


@pytest.mark.parametrize("rows_of_a_part", [20, 100_000])
@pytest.mark.parametrize("seed", range(3))
def test_the_verdict_is_that_of_the_gate_over_single_cases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, rows_of_a_part: int
) -> None:
    monkeypatch.setattr(pairing, "ROWS", rows_of_a_part)
    before, after = drawn(150, seed)
    ours, gate = compared(tmp_path, before, after).suite, by_the_gate(before, after)
    assert (ours.cases, ours.images, ours.verdict) == (gate.cases, gate.images, gate.verdict)
    assert (ours.labels.lost, ours.labels.gained) == (len(gate.lost), len(gate.gained))
    assert ours.labels.p == pytest.approx(gate.labels.p)
    mine = {shift.metric: shift for shift in ours.shifts}
    theirs = {shift.metric: shift for shift in gate.shifts}
    assert mine.keys() == theirs.keys()
    for metric, shift in theirs.items():
        one = mine[metric]
        assert (one.cases, one.images, one.verdict) == (shift.cases, shift.images, shift.verdict)
        assert one.change == pytest.approx(shift.change)
        assert (one.p, one.effect) == pytest.approx((shift.p, shift.effect))
        assert one.adjusted == pytest.approx(shift.adjusted)
    slices = {part.name: part for part in ours.slices}
    # The gate knows tags and labels alone, so here the kept column is given to it as tags.
    told = {part.name.replace("tag split", "split"): part for part in gate.slices}
    assert slices.keys() == told.keys()
    for name, part in told.items():
        one = slices[name]
        assert (one.cases, one.images, one.right) == (part.cases, part.images, part.right)
        assert (one.definite, one.tested) == (part.definite, part.tested)
        assert one.labels.p == pytest.approx(part.labels.p)
        assert one.effect == pytest.approx(part.effect)


def test_metrics_that_no_row_has_do_not_make_it_unsure(tmp_path: Path) -> None:
    """All figures but one have columns without a number."""
    rows = [row(n) for n in range(40)]
    found = compared(tmp_path, rows, rows)
    assert [shift.metric for shift in found.suite.shifts] == ["probability", "mass"]
    assert found.headline == "no regression"


def test_neither_order_nor_parts_make_a_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def brief(number: str) -> float:
        return round(float(number), 9)

    before, after = drawn(120, 7)
    wanted = Wanted(worst=10, sample=5)

    def told(rows: Rows) -> dict[str, Any]:
        found = compared(tmp_path, before, rows, wanted).to_dict()
        del found["before"], found["after"]
        # Of the rows whose label changed the first few are named.
        for key in ("lost", "gained", "flipped"):
            del found["suite"][key]
        rounded: dict[str, Any] = json.loads(
            json.dumps(found), parse_float=lambda x: round(float(x), 9)
        )
        return rounded

    plain = told(after)
    mixed = [after[n] for n in np.random.default_rng(1).permutation(len(after))]
    assert told(mixed) == plain
    monkeypatch.setattr(pairing, "ROWS", 10)
    assert told(mixed) == plain


def test_what_is_not_compared_is_counted_with_its_reason(tmp_path: Path) -> None:
    before = [row(n) for n in range(12)]
    after = [row(n) for n in range(2, 14)]
    after[0] = row(2, asked=99)
    after[1] = row(3, label=None, error="ImageError")
    before[5] = row(5, label=None, error="ImageError")
    found = compared(tmp_path, before, after)
    title = {side: str(tmp_path / "0" / side) for side in ("before", "after")}
    assert dict(found.left_out.counts) == {
        f"only in {title['before']}": 2, f"only in {title['after']}": 2, "asked otherwise": 1,
        f"no answer in {title['before']}": 1, f"no answer in {title['after']}": 1,
    }  # fmt: skip
    assert found.left_out.ids["asked otherwise"] == ["row-2"]
    assert found.suite.cases == 7


def test_rows_whose_picture_changed_between_the_two_are_not_compared(tmp_path: Path) -> None:
    before = [row(n) for n in range(8)]
    after = [row(n, **({"picture.digest": "f" * 64} if n < 2 else {})) for n in range(8)]
    found = compared(tmp_path, before, after)
    assert dict(found.left_out.counts) == {"the picture changed between the two": 2}
    assert found.suite.cases == 6


def test_rows_that_are_gone_from_their_files_are_missed(tmp_path: Path) -> None:
    one, other = (folder_of(tmp_path / name, [row(n) for n in range(6)], shard=3) for name in "ab")
    sorted((other / "rows").iterdir())[1].unlink()
    with pytest.raises(BulkError, match=r"b: 3 rows in its files, but account\.json tells of 6"):
        compare_bulk((one, other), Limits(), Wanted(), tmp_path / "work")


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("asked", pa.array([None] * 4, pa.int64()), "a row has no asked"),
        ("tags", pa.array(["birds"] * 4), "damaged, or not of a bulk audit"),
        ("probability.yes", pa.array([0.5, 7.0, None, 0.1]), "not a number from 0 to 1 in a row"),
        ("probability.yes", pa.array(["much"] * 4), "damaged, or not of a bulk audit"),
    ],
)
def test_rows_that_no_audit_writes_are_refused_with_their_file(
    tmp_path: Path, column: str, values: pa.Array, message: str
) -> None:
    one, other = (folder_of(tmp_path / name, [row(n) for n in range(4)]) for name in "ab")
    (path,) = (other / "rows").iterdir()
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.schema.get_field_index(column), column, values), path)
    with pytest.raises(BulkError, match=rf"{path.name}.*{message}"):
        compare_bulk((one, other), Limits(), Wanted(), tmp_path / "work")


def test_a_record_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    one = folder_of(tmp_path / "a", [row(0)])
    about = json.loads((one / "bulk.json").read_text())
    (one / "bulk.json").write_text(json.dumps(about | {"kept": ["split", "split"]}))
    with pytest.raises(BulkError, match=r"bulk\.json.*kept: a name occurs twice"):
        compare_bulk((one, one), Limits(), Wanted(), tmp_path / "work")


def test_an_id_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BulkError, match="the id 'row-1' is there twice"):
        compared(tmp_path, [row(0), row(1), row(1)], [row(0), row(1)])


def test_folders_without_a_common_row_are_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(BulkError, match="share no row that can be compared: 1 asked otherwise"):
        compared(tmp_path, [row(0)], [row(0, asked=1)])


def test_an_audit_that_did_not_end_is_not_compared(tmp_path: Path) -> None:
    one, other = (folder_of(tmp_path / name, [row(0)]) for name in "ab")
    (other / "account.json").unlink()
    with pytest.raises(BulkError, match="the audit did not end"):
        compare_bulk((one, other), Limits(), Wanted(), tmp_path / "work")


def test_the_worst_rows_are_lost_labels_then_the_largest_falls(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    before = [row(n, float(rng.uniform())) for n in range(200)]
    after = [row(n, float(rng.uniform())) for n in range(200)]
    falls = {
        now["id"]: 2 * (was["right"] - now["right"])
        + was["probability.yes"] - now["probability.yes"]
        for was, now in zip(before, after, strict=True)
    }  # fmt: skip
    found = compared(tmp_path, before, after, Wanted(worst=12, sample=0))
    expected = sorted(falls, key=lambda name: -falls[name])[:12]
    assert [shown.after["id"] for shown in found.worst] == expected
    assert found.sample == []
    shown = found.worst[0]
    assert shown.before["text"] == shown.after["text"] == f"bird {expected[0][4:]} sings"


def test_rows_that_did_not_get_worse_are_not_among_the_worst(tmp_path: Path) -> None:
    before, after = [row(n, 0.6) for n in range(10)], [row(n, 0.7) for n in range(10)]
    assert compared(tmp_path, before, after).worst == []


def test_the_sample_changes_with_its_seed_alone(tmp_path: Path) -> None:
    rows = [row(n) for n in range(300)]

    def sample(seed: int) -> list[str]:
        found = compared(tmp_path, rows, rows, Wanted(sample=10, seed=seed))
        return [shown.after["id"] for shown in found.sample]

    assert sample(0) == sample(0)
    assert sample(0) != sample(1)
    assert len(set(sample(0))) == 10


def test_columns_of_many_values_have_slices_only_if_asked_for(tmp_path: Path) -> None:
    rows = [row(n, **{"kept.split": f"s{n % 60}"}) for n in range(600)]
    found = compared(tmp_path, rows, rows)
    assert found.unsliced == ["split"]
    assert found.suite.slices == []
    asked = compared(tmp_path, rows, rows, Wanted(slices=("split",)))
    assert len(asked.suite.slices) == 60
    with pytest.raises(BulkError, match=r"--slice splt: .* did you mean 'split'"):
        compared(tmp_path, rows, rows, Wanted(slices=("splt",)))


def test_slices_with_the_same_rows_are_one(tmp_path: Path) -> None:
    rows = [
        row(n, tags=["red"] if n % 4 < 2 else ["blue"], **{"kept.split": "ab"[n % 4 // 2]})
        for n in range(40)
    ]
    found = compared(tmp_path, rows, rows)
    assert sorted(part.name for part in found.suite.slices) == [
        "tag blue, split b", "tag red, split a",
    ]  # fmt: skip


def test_lost_labels_of_one_slice_fail(tmp_path: Path) -> None:
    def rows(red: float) -> Rows:
        return [row(n, red if n < 40 else 0.9, tags=["red"] if n < 40 else []) for n in range(400)]

    found = compared(tmp_path, rows(0.51), rows(0.49))
    assert (found.headline, found.failed) == ("worse", True)
    assert found.flips == {("yes", "no"): 40}
    (red,) = [part for part in found.suite.slices if part.name == "tag red"]
    assert red.labels.worse
    assert red.right == (40, 0)


def test_the_same_weights_are_told_from_others_with_what_differs(tmp_path: Path) -> None:
    before = [row(n, 0.9) for n in range(100)]
    after = [row(n, 0.9 if n % 3 else 0.1) for n in range(100)]
    same = compared(tmp_path, before, after, model={"weights": "1"}, stack={"numpy": "2.1"})
    assert same.same
    assert same.headline == "moved by the stack"
    assert same.sentence.endswith("the weights are the same; what differs: numpy 2.0 → 2.1")
    assert compared(tmp_path, before, after).headline == "worse"


def test_figures_of_other_definitions_are_not_compared(tmp_path: Path) -> None:
    rows = [row(n) for n in range(20)]
    found = compared(tmp_path, rows, rows, registry=1)
    assert {shift.metric for shift in found.suite.shifts} == {"probability"}
    assert "the definition of a metric changed" in found.sentence


def test_numbers_that_are_none_count_as_missing(tmp_path: Path) -> None:
    before = [row(n) for n in range(20)]
    wrong = [float("nan"), float("inf"), -float("inf")]
    after = [row(n, **{MASS: wrong[n % 3] if n < 6 else 0.5}) for n in range(20)]
    found = compared(tmp_path, before, after)
    (mass,) = [shift for shift in found.suite.shifts if shift.metric == "mass"]
    assert mass.cases == 14
    json.dumps(found.to_dict(), allow_nan=False)


def command(*arguments: str | Path) -> Any:
    return CliRunner().invoke(cli.app, ["compare", *map(str, arguments)])


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    return two_folders(tmp_path)


def two_folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders; the second lost labels. One picture is still where it was, with its maps."""
    images = tmp_path / "data" / "images"
    images.mkdir(parents=True)
    Image.new("RGB", (64, 48), "red").save(images / "0.png")
    digest = identity(open_image(images / "0.png"))
    maps = [
        {"id": "row-0", "map": KEY, "why": "wrong", "rows": 2, "cols": 2,
         "view": [0.0, 0.0, 1.0, 1.0], "cells": [0.25] * 4}
    ]  # fmt: skip
    before = [row(n, 0.9, **{"picture.digest": digest}) for n in range(60)]
    after = [row(n, 0.1 if n < 20 else 0.9, **{"picture.digest": digest}) for n in range(60)]
    for n, yes in enumerate((0.01, 0.02)):  # the worst
        after[n] |= {"probability.yes": yes, "text": "<script>alert(1)</script>"}
    root = str(tmp_path / "data")
    return (
        folder_of(tmp_path / "a", before, maps=maps, root=root),
        folder_of(tmp_path / "b", after, maps=maps, root=root, model={"weights": "2"}),
    )


def test_the_command_writes_a_page_and_exits_with_the_verdict(
    two: tuple[Path, Path], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    done = command(*two, "--out", page, "--worst", "5", "--sample", "3")
    assert done.exit_code == 1
    assert done.stdout.startswith("worse: over 60 rows on 30 pictures: 20 labels lost, 0 gained")
    assert "  yes → no: 20 rows" in done.stdout
    text = page.read_text()
    assert text.count("<article>") == 8
    assert "http" not in text.replace("http-equiv", "")
    assert "<script" not in text
    assert "after − before" in text
    same = command(two[0], two[0], "--out", page)
    assert same.exit_code == 0
    assert same.stdout.startswith("no regression: over 60 rows")


def test_the_command_prints_json(two: tuple[Path, Path], tmp_path: Path) -> None:
    done = command(*two, "--json", "--out", tmp_path / "page.html")
    found = json.loads(done.stdout)
    assert (found["headline"], found["pairs"]) == ("worse", 60)
    assert found["flips"] == [{"before": "yes", "after": "no", "rows": 20}]
    assert len(found["worst"]) == 20


def test_a_picture_that_is_another_now_is_not_shown(two: tuple[Path, Path], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    command(*two, "--out", page, "--worst", "2", "--sample", "0")
    assert page.read_text().count("<img") == 3 + 1
    Image.new("RGB", (64, 48), "blue").save(tmp_path / "data" / "images" / "0.png")
    command(*two, "--out", page, "--worst", "2", "--sample", "0")
    assert page.read_text().count("<img") == 3  # the maps, over grey


def test_a_map_that_only_the_second_side_kept_is_shown_alone(
    two: tuple[Path, Path], tmp_path: Path
) -> None:
    (two[0] / "maps" / "part-00000000-0.parquet").unlink()
    page = tmp_path / "page.html"
    command(*two, "--out", page, "--worst", "1", "--sample", "0")
    assert page.read_text().count("<img") == 2
    assert "after − before" not in page.read_text()
    assert "some rows have a map on one side only" in page.read_text()


def test_a_bulk_folder_is_not_compared_with_something_else(
    two: tuple[Path, Path], tmp_path: Path
) -> None:
    done = command(two[0], tmp_path)
    assert "not a bulk folder: it has no bulk.json" in str(done.exception)
    assert "--slice is for two bulk folders" in str(command("x", "y", "--slice", "a").exception)
