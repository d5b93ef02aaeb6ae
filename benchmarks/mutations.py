"""Changes files at random, from a seed, as a disk, an editor, a merge or a stranger might."""

from __future__ import annotations

import copy
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, -(10**30), 0.5, -0.0, 1e308, 1e-320,
    float("nan"), float("inf"), float("-inf"), "", " ", "\n", "\t", "\x00", "\x1b[31m", "\ud800",
    "yes", "no", "maybe", "nan", "0,97", "1e9", "../../../x", "/etc/hostname", "C:\\x", "~", ".",
    "a" * 300, "é" * 200, "鸟", "\u202eabc", "::error::x", "<script>alert(1)</script>", "{0}",
    "{text}", "%s", "${HOME}", [], {}, [[]], [None], {"": None}, {"undefined": 5}, [0, 0, 1, 1],
    [0.1, 0.2, 0.3, 0.4], ["a", "b"], {"a": {"b": {"c": []}}}, list(range(2000)),
)  # fmt: skip
"""Values that are wrong in nearly every place, but right in some."""

SNIPPETS = (
    b"!!bool maybe", b"!!float x", b"!!python/object/apply:os.getcwd []", b"!!binary x", b"&a",
    b"*a", b"<<: *a", b"<<: {a: 1}", b"---\n", b"...\n", b"\t", b"? x", b": ", b"- ", b"{", b"}",
    b"[", b"]", b"'", b'"', b"|\n", b">\n", b"#", b"%YAML 9.9\n", b"\xff\xfe", b"\xef\xbb\xbf",
    b"\x00", b"\xed\xa0\x80", b"2001-01-01", b"1:30:00", b"0o17", b"0x1F", b".inf", b".nan", b"~",
    b"9" * 500, b"<<<<<<< ours\n", b"=======\n", b">>>>>>> theirs\n", b"\r\n", b"\\ud800",
)  # fmt: skip
"""Syntax that random changes of bytes rarely produce."""


def bytes_changed(data: bytes, rng: Random) -> bytes:
    """``data`` after one to four changes: flipped bits; spans cut, doubled or overwritten."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        size = len(found)
        at, end = sorted((rng.randrange(size + 1), rng.randrange(size + 1)))
        end = min(end, at + rng.choice((1, 2, 4, 8, 64, 4096)))
        match rng.randrange(8):
            case 0:
                if size:
                    found[min(at, size - 1)] ^= 1 << rng.randrange(8)
            case 1:
                del found[at:]
            case 2:
                del found[at:end]
            case 3:
                found[at:at] = found[at:end]
            case 4:
                found[at:end] = bytes([rng.choice((0, 255, 127, 128))]) * (end - at)
            case 5:
                found[at:end] = rng.randbytes(end - at)
            case 6:
                found[at:at] = rng.choice(SNIPPETS)
            case _:
                found[at : at + 4] = rng.choice(
                    (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff")
                )
    return bytes(found)


def _places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [here, *(place for key, child in inside for place in _places(child, (*here, key)))]


def _junk(rng: Random) -> Any:
    """A copy of a value, because the next change may be made inside it."""
    return copy.deepcopy(rng.choice(JUNK))


def tree_changed(value: Any, rng: Random) -> Any:
    """A copy of plain data with values or keys that are lost, wrong, added or moved."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = [place for place in _places(value) if place]
        if not places:
            return _junk(rng)
        *way, key = rng.choice(places)
        parent = value
        for step in way:
            parent = parent[step]
        match rng.randrange(6):
            case 0:
                del parent[key]
            case 1 if isinstance(parent, dict):
                parent[f"{key}x" if rng.random() < 0.5 else str(rng.choice(JUNK))] = parent.pop(key)
            case 2 if isinstance(parent, dict):
                parent[rng.choice(("x", "map", "id", "format", "$ref"))] = _junk(rng)
            case 3:
                parent[key] = [parent[key]]
            case 4:
                other = value
                for step in rng.choice(places):
                    other = (
                        other[step]
                        if isinstance(other, (dict, list)) and _has(other, step)
                        else other
                    )
                parent[key] = json.loads(json.dumps(other))
            case _:
                parent[key] = _junk(rng)
    return value


def _has(value: Any, key: Any) -> bool:
    if isinstance(value, dict):
        return key in value
    return isinstance(key, int) and key < len(value)


def json_changed(data: bytes, rng: Random) -> bytes:
    """A JSON file with changes in its tree or its bytes, deep nesting, or a duplicate key."""
    kind = rng.random()
    if kind < 0.4:
        return bytes_changed(data, rng)
    if kind < 0.44:
        depth = rng.choice((200, 100_000))
        return b'{"format":' + b"[" * depth + b"]" * depth + b"}"
    if kind < 0.48:
        return data.replace(b"{", b'{"format": 1, "format": 2, ', 1)
    return json.dumps(tree_changed(json.loads(data), rng), ensure_ascii=rng.random() < 0.9).encode(
        errors="surrogatepass"
    )


def arrays_changed(data: bytes, rng: Random) -> bytes:
    """An ``.npz`` with wrong arrays, headers or archive."""
    kind = rng.randrange(4)
    if kind == 0:
        return bytes_changed(data, rng)
    with np.load(io.BytesIO(data)) as stored:
        arrays = {name: stored[name] for name in stored.files}
    name = rng.choice(sorted(arrays))
    if kind == 1:
        return _saved({**arrays, name: _wrong_array(arrays[name], rng)})
    if kind == 2:
        arrays[rng.choice(("x", "../x", "strip:layers:x:y", "strip:", "", "baseline:" + name))] = (
            arrays.pop(name)
        )
        return _saved(arrays)
    return _huge(data, name, rng)


def _wrong_array(array: Any, rng: Random) -> Any:
    wrong: tuple[Callable[[], Any], ...] = (
        lambda: array * np.nan, lambda: array * np.inf, lambda: -array, lambda: array * 0,
        lambda: array.T[..., None], lambda: array[:0], lambda: array * 1j,
        lambda: array.astype(str), lambda: array.astype(object),
        lambda: array.astype("datetime64[s]"), lambda: np.zeros((0, 3)),
        lambda: np.float32(1), lambda: np.zeros((3000, 3000), np.float32),
        lambda: np.asfortranarray(array), lambda: np.zeros(3, [("a", "f4"), ("b", "O")]),
    )  # fmt: skip
    return rng.choice(wrong)()


def _saved(arrays: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=True)
            archive.writestr(f"{name}.npy", member.getvalue())
    return buffer.getvalue()


def _huge(data: bytes, name: str, rng: Random) -> bytes:
    """An archive with a member that claims gigabytes in its header or unpacks to many zeros."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as old,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for member in old.namelist():
            content = old.read(member)
            if member == f"{name}.npy":
                side = rng.choice((10**5, 10**9))
                header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({side}, {side}), }}"
                header = header.ljust(117) + "\n"
                content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
                content += bytes(rng.choice((16, 20_000_000)))
            new.writestr(member, content)
    return buffer.getvalue()


def file_replaced(path: Path, rng: Random) -> None:
    """Replace the file by nothing, a folder, a pipe, a link, or zeros."""
    path.unlink()
    match rng.randrange(7):
        case 0:
            pass
        case 1:
            path.mkdir()
        case 2:
            os.mkfifo(path)
        case 3:
            path.symlink_to("/dev/zero")
        case 4:
            path.symlink_to(path.name)
        case 5:
            path.write_bytes(b"")
        case _:
            with path.open("wb") as file:
                file.truncate(3_000_000_000)


def folder_changed(folder: Path, rng: Random, files: list[Path]) -> Path:
    """Change one of ``files`` in a way that fits its type."""
    path = rng.choice(files)
    kind = rng.random()
    changed = {".json": json_changed, ".npz": arrays_changed}.get(path.suffix, bytes_changed)
    if kind < 0.12:
        file_replaced(path, rng)
    elif kind < 0.17:
        other = rng.choice(files)
        if other != path:
            shutil.copyfile(other, path)
    else:
        data = path.read_bytes()
        try:
            path.write_bytes(changed(data, rng))
        except Exception:  # changed before, so it no longer is what its name says
            path.write_bytes(bytes_changed(data, rng))
    return path.relative_to(folder)
