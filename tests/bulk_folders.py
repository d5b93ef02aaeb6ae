"""Bulk folders with made-up rows, as a bulk audit leaves them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from audit.base.files import write_json
from audit.bulk.format import FORMAT, MAP_SCHEMA, MAPS, ROWS, BulkRecord, figure_columns, row_schema
from audit.metrics.registry import REGISTRY_VERSION

KEY = "answer_attention"
LABELS = ["no", "yes", "maybe"]


def record(**changed: Any) -> BulkRecord:
    return BulkRecord.model_validate(
        {
            "format": FORMAT, "model": {"name": "toy", "weights": "1", "digest": "1" * 64},
            "stack": {"numpy": "2.0"}, "labels": LABELS, "maps": [KEY], "regions": ["birds"],
            "kept": ["split"], "batch": 8, "shard": 1000, "registry": REGISTRY_VERSION,
            "source": "rows.csv", **changed,
        }
    )  # fmt: skip


def row(number: int, probability: float = 0.75, **changed: Any) -> dict[str, Any]:
    """A row that expects yes, two to a picture."""
    told = {
        "id": f"row-{number}", "position": number, "asked": number,
        "picture": f"images/{number // 2}.png", "picture.digest": f"{number // 2:064x}",
        "text": f"bird {number} sings", "expected": "yes",
        "probability.yes": probability, "probability.no": 1 - probability, "probability.maybe": 0.0,
        "label": "yes" if probability > 0.5 else "no", f"{KEY}.mass[birds]": 0.5,
        "tags": ["birds"], "kept.split": "val", "seconds": 0.01, **changed,
    }  # fmt: skip
    answered, expected = told["label"], told["expected"]
    return {"right": answered == expected if answered and expected else None, **told}


def folder_of(
    folder: Path, rows: Sequence[Mapping[str, Any]], *, maps: Iterable[Mapping[str, Any]] = (),
    shard: int = 1000, **changed: Any,
) -> Path:  # fmt: skip
    """A finished folder of rows, in files of ``shard`` rows."""
    about = record(**changed)
    schema = row_schema(about)
    tables = (
        pa.Table.from_pylist(list(rows[start : start + shard]), schema)
        for start in range(0, len(rows), shard)
    )
    return written(folder, about, tables, maps)


def written(
    folder: Path, about: BulkRecord, tables: Iterable[pa.Table],
    maps: Iterable[Mapping[str, Any]] = (),
) -> Path:  # fmt: skip
    """A finished folder of tables, a file each."""
    (folder / ROWS).mkdir(parents=True)
    write_json(folder / "bulk.json", about.model_dump())
    answered, failed = 0, 0
    for number, table in enumerate(tables):
        path = folder / ROWS / f"part-{number:08}-{number:016x}.parquet"
        parquet.write_table(table, path, compression="zstd")
        lost = table["label"].null_count
        answered, failed = answered + table.num_rows - lost, failed + lost
    if maps:
        (folder / MAPS).mkdir()
        table = pa.Table.from_pylist(list(maps), MAP_SCHEMA)
        parquet.write_table(table, folder / MAPS / "part-00000000-0.parquet")
    account = {"read": answered + failed, "written": answered, "failed": failed, "refused": 0}
    write_json(folder / "account.json", {"format": FORMAT, **account})
    return folder


FIGURES = list(figure_columns([KEY], ["birds"]))
"""The columns of figures of such a folder."""
