"""Small sources of every kind, for tests that read them: tables, data sets, folders of pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from audit.sources.reading import open_source
from audit.sources.rows import Options, Refused, Row

SIZE = (40, 30)


def picture(path: Path, colour: str = "red", size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def csv(path: Path, *lines: str | bytes) -> Path:
    path.write_bytes(b"".join(e if isinstance(e, bytes) else f"{e}\n".encode() for e in lines))
    return path


def jsonl(path: Path, *values: object) -> Path:
    path.write_text("".join(f"{e if isinstance(e, str) else json.dumps(e)}\n" for e in values))
    return path


def coco(path: Path, boxes: Sequence[object], size: tuple[Any, Any] = SIZE) -> Path:
    """One picture, ``a.png``, with an apple and a dog for each of the boxes."""
    found = {
        "images": [{"id": 7, "file_name": "a.png", "width": size[0], "height": size[1]}],
        "categories": [{"id": 1, "name": "apple"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"id": n, "image_id": 7, "category_id": 1 + n % 2, "bbox": box}
            for n, box in enumerate(boxes)
        ],
    }
    path.write_text(json.dumps(found))
    return path


def entities(folder: Path, sentences: str, xml: str) -> Path:
    for name, text in (("Sentences/a.txt", sentences), ("Annotations/a.xml", xml)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def boxes_xml(*objects: tuple[str, tuple[int, int, int, int]], size: tuple[int, int] = SIZE) -> str:
    sides = ("xmin", "ymin", "xmax", "ymax")
    named = "".join(
        f"<object><name>{name}</name><bndbox>"
        + "".join(f"<{side}>{v}</{side}>" for side, v in zip(sides, box, strict=True))
        + "</bndbox></object>"
        for name, box in objects
    )
    size_xml = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    return f"<annotation><filename>a.jpg</filename>{size_xml}{named}</annotation>"


def read(path: Path, **options: Any) -> tuple[list[Row], dict[int, str]]:
    """The rows of a source, and by number the reasons for the rows that are refused."""
    rows: list[Row] = []
    refused: dict[int, str] = {}
    for each in open_source(path, Options(**options)).rows():
        if isinstance(each, Refused):
            refused[each.number] = each.reason
        else:
            rows.append(each)
    return rows, refused


def asked(rows: Sequence[Row]) -> list[tuple[str, str, str | None]]:
    return [(row.id, row.text, row.label) for row in rows]


def saved(folder: Path, columns: Mapping[str, Any], *, split: str = "", shards: int = 1) -> Path:
    """What ``save_to_disk`` writes, one file of data for each shard."""
    import pyarrow as pa
    from pyarrow import ipc

    inner = folder / split if split else folder
    inner.mkdir(parents=True)
    table = pa.table(dict(columns))
    per = -(-table.num_rows // shards)
    names = [f"data-{n:05d}-of-{shards:05d}.arrow" for n in range(shards)]
    for n, name in enumerate(names):
        with (inner / name).open("wb") as file, ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table.slice(n * per, per))
    (inner / "state.json").write_text(json.dumps({"_data_files": [{"filename": n} for n in names]}))
    (inner / "dataset_info.json").write_text("{}")
    if split:
        (folder / "dataset_dict.json").write_text(json.dumps({"splits": [split]}))
    return folder
