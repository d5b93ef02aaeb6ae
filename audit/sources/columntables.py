"""Read Parquet and Hugging Face's data sets on disk with pyarrow, a few rows at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit.base.errors import SourceError, nearest, printable
from audit.base.extras import require
from audit.base.files import counted, inside, read_bytes
from audit.base.strictjson import loads
from audit.sources.rows import Record, Refused
from audit.sources.table import Table, regular

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 32
"""Rows that are read at once: with pictures in them, a row may have megabytes."""

_MOST_SAID = 50_000_000
"""Bytes of a data set's description."""

_SHARD = re.compile(r"(.+?)-(\d{5})-of-(\d{5})(?:-[^-]+)?")
"""A file of several: its split, its number and how many they are; older ones end with a digest."""

_SPLIT = re.compile(
    r"(?:.*[-_. 0-9])?(?:train|training|validation|valid|val|dev|test|testing|eval|evaluation)"
    r"(?:[-_. 0-9].*)?",
    re.IGNORECASE,
)
"""Names of files and folders that are a split's, as ``datasets`` knows them."""

_Batches = Callable[[Path], Iterator["pa.RecordBatch"]]


def parquet_table(path: Path, split: str) -> Table:
    """A Parquet file, or a folder of them as the Hugging Face hub has them.

    Raises:
        SourceError: a file cannot be read, their columns differ, or several splits are there and
            none of them is named.
    """
    require("data", "Parquet")
    files, notes = [path], []
    if path.is_dir():
        every = sorted(each for each in path.rglob("*.parquet") if each.is_file())
        by_split: dict[str, list[Path]] = {}
        for each in every:
            by_split.setdefault(_split_of(each.relative_to(path)), []).append(each)
        sharded = any(_SHARD.fullmatch(each.stem) for each in every)
        if split or sharded or any(map(_SPLIT.fullmatch, by_split)):
            name = _chosen(path, split, by_split)
            files, notes = by_split[name], [f"the split is {name}"]
            _refuse_several(path, name, files)
        else:
            files = every
        _refuse_incomplete(files)
    elif split:
        raise SourceError(f"{path}: it is one file and has no splits")
    return _table("Parquet", path, files, _parquet_batches, notes)


def _split_of(file: Path) -> str:
    """The split that a file is of: by its own name or that of a folder, else its own name."""
    shard = _SHARD.fullmatch(file.stem)
    own = shard[1] if shard else re.sub(r"[-_. ]?\d+$", "", file.stem) or file.stem
    named = (each for each in (own, *file.parts[-2::-1]) if _SPLIT.fullmatch(each))
    return next(named, own if shard else file.stem)


def _refuse_several(path: Path, split: str, files: Sequence[Path]) -> None:
    """Refuse one split in several folders: they are data sets of their own.

    Raises:
        SourceError: so it is.
    """
    folders = sorted({each.parent.relative_to(path).as_posix() for each in files})
    if len(folders) > 1:
        more = " and more" if len(folders) > _TOLD else ""
        told = ", ".join(folders[:_TOLD]) + more
        raise SourceError(f"{path}: several folders have the split {split} ({told}): name one")


_TOLD = 5


def _refuse_incomplete(files: Sequence[Path]) -> None:
    """Refuse files that say of how many they are one if they are not so many.

    Raises:
        SourceError: some are missing, or there are files of two data sets.
    """
    found: dict[tuple[Path, str], dict[int, set[int]]] = {}
    for each in files:
        if shard := _SHARD.fullmatch(each.stem):
            known = found.setdefault((each.parent, shard[1]), {})
            known.setdefault(int(shard[3]), set()).add(int(shard[2]))
    for (folder, name), sizes in found.items():
        if len(sizes) > 1:
            told = " and ".join(f"{name}-…-of-{size:05d}" for size in sorted(sizes))
            raise SourceError(f"{folder}: {told} are of two data sets: keep one of them")
        ((size, there),) = sizes.items()
        missing = [number for number in range(size) if number not in there]
        if missing:
            more = f" and {len(missing) - 1:,} more are" if len(missing) > 1 else " is"
            raise SourceError(
                f"{folder}: the data set is not complete: of {counted(size, 'file')}, "
                f"{name}-{missing[0]:05d}-of-{size:05d}{more} missing"
            )


def saved_table(path: Path, split: str) -> Table:
    """A folder that ``save_to_disk`` of Hugging Face's ``datasets`` has made.

    Raises:
        SourceError: it cannot be read, is not complete, or has several splits and none is named.
    """
    require("data", "a saved data set")
    notes, folder = [], path
    if (path / "dataset_dict.json").is_file():
        splits = _said(path / "dataset_dict.json").get("splits")
        if not (isinstance(splits, list) and splits and all(isinstance(s, str) for s in splits)):
            raise SourceError(f"{path / 'dataset_dict.json'}: it names no splits")
        name = _chosen(path, split, splits)
        found = inside(path, name)
        if found is None or found == path.resolve():
            raise SourceError(f"{path / 'dataset_dict.json'}: the split {name!r} lies elsewhere")
        folder, notes = path / name, [f"the split is {name}"]
    elif split:
        raise SourceError(f"{path}: this data set has no splits")
    state = _said(folder / "state.json")
    listed = state.get("_data_files")
    files = listed if isinstance(listed, list) else []
    names = [str(each["filename"]) for each in files if _names_a_file(each, folder)]
    if not names or len(names) < len(files):
        raise SourceError(f"{folder / 'state.json'}: it names no files of data beside it")
    if state.get("_indices_data_files"):
        raise SourceError(f"{folder}: its rows are chosen by indices: call flatten_indices() first")
    return _table("data set", path, [folder / n for n in names], _stream_batches, notes)


def _names_a_file(entry: object, folder: Path) -> bool:
    """Whether an entry of a list of files names one in this folder."""
    name = entry.get("filename") if isinstance(entry, Mapping) else None
    return isinstance(name, str) and inside(folder, name) is not None


def _chosen(path: Path, asked: str, splits: Sequence[str] | Mapping[str, Any]) -> str:
    """The split that is asked for, or the only one."""
    known = list(splits)
    if asked and asked not in known:
        raise SourceError(f"{path}: it has no split {asked!r}; {nearest(asked, known)}")
    if not asked and len(known) > 1:
        raise SourceError(f"{path}: name a split of it: --split {' or '.join(sorted(known))}")
    return asked or known[0]


def _said(path: Path) -> Mapping[str, Any]:
    """A description in JSON that lies in a data set.

    Raises:
        SourceError: it is not there, or not an object of JSON.
    """
    try:
        found = loads(read_bytes(path, _MOST_SAID).decode())
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise SourceError(f"{path}: not JSON: {printable(str(error))}") from None
    if not isinstance(found, Mapping):
        raise SourceError(f"{path}: a JSON object is needed")
    return found


def _table(
    kind: str, path: Path, files: Sequence[Path], batches: _Batches, notes: Sequence[str]
) -> Table:
    schemas = [_schema_of(file, batches) for file in files]
    columns, classes = schemas[0]
    for file, (names, of) in zip(files, schemas, strict=True):
        if names != columns:
            raise SourceError(f"{file}: its columns are not those of {files[0].name}")
        if of != classes:
            raise SourceError(f"{file}: the names of its classes are not those of {files[0].name}")
    if len(set(columns)) < len(columns):
        raise SourceError(f"{files[0]}: two columns have the same name")

    def records() -> Iterator[Record | Refused]:
        number = 0
        for file in files:
            with _arrow_errors(file):
                for batch in batches(file):
                    cells = [_listed(column) for column in batch.columns]
                    for values in zip(*cells, strict=True):
                        number += 1
                        yield Record(number, dict(zip(columns, values, strict=True)))

    folder = path if path.is_dir() else path.parent
    return Table(kind, path, columns, records, folder, classes=classes, notes=notes)


def _listed(column: Any) -> list[Any]:
    """The values of a column; a text that is not UTF-8 comes as bytes, a date or time as text.

    Raises:
        ArrowInvalid: its offsets lead nowhere; reading on could end the process.
    """
    from pyarrow import binary, large_binary, types  # noqa: PLC0415

    text = types.is_string(column.type) or types.is_large_string(column.type)
    if text:  # else one wrong byte would make all rows invalid
        column = column.cast(binary() if types.is_string(column.type) else large_binary())
    column.validate(full=True)
    values = list(column.to_pylist())
    if types.is_temporal(column.type) or types.is_decimal(column.type):
        return [None if each is None else str(each) for each in values]
    return [_text_if_any(each) for each in values] if text else values


def _text_if_any(data: bytes | None) -> str | bytes | None:
    try:
        return None if data is None else data.decode()
    except UnicodeDecodeError:
        return data


def _schema_of(file: Path, batches: _Batches) -> tuple[list[str], dict[str, list[str]]]:
    """The names of a file's columns, and of the classes in them."""
    from pyarrow import ipc, parquet  # noqa: PLC0415

    with _arrow_errors(file), regular(file) as stream:
        if batches is _parquet_batches:
            with parquet.ParquetFile(stream) as opened:
                schema = opened.schema_arrow
        else:
            with ipc.open_stream(stream) as opened:
                schema = opened.schema
        return list(schema.names), _classes(schema.metadata or {})


def _parquet_batches(file: Path) -> Iterator[pa.RecordBatch]:
    from pyarrow import parquet  # noqa: PLC0415

    with regular(file) as stream, parquet.ParquetFile(stream) as opened:
        yield from opened.iter_batches(_ROWS)


def _stream_batches(file: Path) -> Iterator[pa.RecordBatch]:
    from pyarrow import ipc  # noqa: PLC0415

    with regular(file) as stream, ipc.open_stream(stream) as opened:
        for batch in opened:
            for start in range(0, batch.num_rows, _ROWS):
                yield batch.slice(start, _ROWS)


@contextmanager
def _arrow_errors(file: Path) -> Iterator[None]:
    try:
        yield
    except SourceError:
        raise
    except Exception as error:  # pyarrow raises all kinds of exceptions for a damaged file
        about = printable(str(error)[:300]) or type(error).__name__
        raise SourceError(f"{file}: cannot be read: {about}") from None


def _classes(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """The names of classes by column, which ``datasets`` writes beside numbers of classes."""
    try:
        said = loads(metadata.get(b"huggingface", b"{}").decode())
        features = said["info"]["features"]
        return {
            name: [str(n) for n in each["names"]]
            for name, each in features.items()
            if isinstance(each, Mapping) and each.get("_type") == "ClassLabel"
        }
    except (ValueError, KeyError, TypeError, AttributeError):  # not written by it
        return {}
