"""Find out what a source is, and read folders of pictures with captions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from audit.base.errors import SourceError, printable
from audit.base.files import read_bytes
from audit.base.texts import LONGEST
from audit.sources.annotated import coco_table, entities_table
from audit.sources.columntables import parquet_table, saved_table
from audit.sources.pictures import ENDINGS
from audit.sources.rows import Options, Record, Refused
from audit.sources.table import Table
from audit.sources.texttables import csv_table, json_value, jsonl_table, list_table

KINDS = (
    "CSV (.csv), TSV (.tsv), JSON Lines (.jsonl, .ndjson, .json), a JSON list or COCO's instances "
    "(.json), Parquet (.parquet); or a folder: one that save_to_disk made, of Parquet files, of "
    "pictures with metadata.csv, .jsonl or .parquet, of pictures with NAME.txt beside NAME.jpg, or "
    "Flickr30k Entities (Sentences and Annotations)"
)


def table_of(path: Path, options: Options) -> Table:
    """The source at ``path`` as a table.

    Raises:
        SourceError: there is nothing, it cannot be read, or it is of no known kind.
    """
    if not path.exists():
        raise SourceError(f"{path}: there is no such file or folder")
    table = _folder(path, options) if path.is_dir() else _file(path, options)
    if options.encoding and not table.encoded:
        raise SourceError(f"{path}: --encoding is for CSV and TSV")
    return table


def _file(path: Path, options: Options) -> Table:
    ending = path.suffix.lower()
    if options.split and ending not in (".parquet", ".pq"):
        raise SourceError(f"{path}: it is one file and has no splits")
    if ending in (".csv", ".tsv", ".tab"):
        delimiter = options.delimiter or ("," if ending == ".csv" else "\t")
        return csv_table(path, delimiter, options.encoding)
    if ending in (".jsonl", ".ndjson"):
        return jsonl_table(path)
    if ending in (".parquet", ".pq"):
        return parquet_table(path, options.split)
    if ending == ".json":
        value = json_value(path)
        if isinstance(value, dict) and "annotations" in value:
            return coco_table(path, value, options.template)
        if isinstance(value, list):
            return list_table(path, value)
        return jsonl_table(path)
    hint = "save it as CSV (UTF-8)" if ending in (".xlsx", ".xls", ".ods") else f"known: {KINDS}"
    raise SourceError(f"{path}: not a kind of source that audit reads; {hint}")


def _folder(path: Path, options: Options) -> Table:
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return saved_table(path, options.split)
    if (path / "Sentences").is_dir():
        return entities_table(path)
    for name in ("metadata.csv", "metadata.jsonl", "metadata.parquet"):
        if (path / name).is_file():
            table = _file(path / name, replace(options, split=""))
            return replace(table, kind=f"folder of pictures with {name}", folder=path)
    if next(path.rglob("*.parquet"), None) is not None:
        return parquet_table(path, options.split)
    return _captions(path)


def _captions(path: Path) -> Table:
    """Pictures, each with its text in a file of the same name."""

    def files() -> Iterator[Path]:
        for folder, below, names in os.walk(path):
            below.sort()
            yield from (Path(folder, n) for n in sorted(names) if n.lower().endswith(ENDINGS))

    first = next(files(), None)
    if first is None or not any(each.with_suffix(".txt").is_file() for each in files()):
        what = "no pictures in it" if first is None else "no NAME.txt beside any NAME.jpg in it"
        raise SourceError(f"{path}: not a kind of folder that audit reads ({what}); known: {KINDS}")

    def records() -> Iterator[Record | Refused]:
        for number, picture in enumerate(files(), 1):
            name = picture.relative_to(path).as_posix()
            try:
                text = read_bytes(picture.with_suffix(".txt"), 4 * LONGEST + 3).decode("utf-8-sig")
            except FileNotFoundError:
                yield Refused(number, name, f"no {picture.stem}.txt beside it")
            except OSError as error:
                yield Refused(number, name, f"its text cannot be read: {error.strerror}")
            except UnicodeDecodeError as error:
                reason = f"its text is not UTF-8: {error.reason} at byte {error.start}"
                yield Refused(number, name, reason)
            else:
                values = {"image": name, "text": text, "id": name}
                yield Record(number, values, printable(name))

    roles = {"image": "image", "text": "text", "id": "id"}
    return Table(
        "folder of pictures with captions", path, list(roles), records, path, roles=roles,
        true=True, notes=["a row is a picture"],
    )  # fmt: skip
