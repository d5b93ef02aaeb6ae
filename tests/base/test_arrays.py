"""The one reader of maps: everything is checked before anything is allocated."""

from __future__ import annotations

import io
import resource
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from audit.base.arrays import read_arrays, refuse_map, write_arrays
from audit.base.errors import RunError


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def archive(path: Path, *members: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members:
            file.writestr(name, data)
    return path


def header(shape: str, descr: str = "'<f4'", pad: int = 0) -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}{' ' * pad}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def test_maps_come_back_by_rows_and_by_columns(tmp_path: Path) -> None:
    by_row = np.arange(6, dtype=np.float32).reshape(2, 3)
    stored = {"cross_attention layers=last:2": by_row, "f": np.asfortranarray(by_row)}
    write_arrays(tmp_path / "a.npz", stored)
    found = read_arrays(tmp_path / "a.npz", RunError)
    assert found.keys() == stored.keys()
    for p in found.values():
        assert p.dtype == np.float64
        np.testing.assert_array_equal(p, [[0, 1, 2], [3, 4, 5]])
    one = read_arrays(tmp_path / "a.npz", RunError, wanted=lambda name: name == "f")
    assert one.keys() == {"f"}


GOOD = np.full((2, 2), 0.25, np.float32)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("m.npy", npy(np.array([[object()]], dtype=object)))], "holds object"),
        ([("m.npy", npy(np.ones((2, 2), np.int64)))], "a map holds decimal numbers"),
        ([("m.npy", npy(np.ones(4)))], r"has the shape \(4,\)"),
        ([("m.npy", npy(np.ones((0, 2))))], r"has the shape \(0, 2\)"),
        ([("m.npy", npy(np.array([[0.5, -0.5]])))], "below 0, infinite or NaN"),
        ([("m.npy", npy(np.array([[np.nan, 1.0]])))], "below 0, infinite or NaN"),
        ([("m.npy", npy(np.array([[np.inf, 1.0]])))], "below 0, infinite or NaN"),
        ([("m.npy", header("(100000, 100000)"))], r"has the shape \(100000, 100000\)"),
        ([("m.npy", header("(2, 2)"))], "not as long as its header says"),
        ([("m.npy", header("(-2, -2)") + bytes(16))], r"has the shape \(-2, -2\)"),
        ([("m.npy", header("(2, 2)", pad=60_000) + bytes(16))], "damaged"),
        ([("m.npy", header("(" * 3000))], "damaged"),
        ([("m.npy", b"")], "damaged"),
        ([("m.npy", npy(GOOD)[:-3])], "not as long as its header says"),
        ([("m.npy", npy(GOOD)), ("m.npy", npy(GOOD))], "two arrays have the same name"),
        ([("readme.txt", b"hello")], "'readme.txt', which is not an array"),
        ([("m\x1b[2J.npy", npy(GOOD))], "which is not an array"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_what_is_no_map_is_one_error(
    tmp_path: Path, members: list[tuple[str, bytes]], said: str
) -> None:
    path = archive(tmp_path / "a.npz", *members)
    with pytest.raises(RunError, match=said):
        read_arrays(path, RunError)


@pytest.mark.slow
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.npz", ("m.npy", header("(2, 2)") + bytes(900 << 20)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RunError, match="unpacks to more than the limit"):
        read_arrays(path, RunError)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_an_archive_cut_anywhere_or_with_any_byte_changed_is_one_error_or_the_same_maps(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.npz"
    write_arrays(path, {"m": GOOD})
    whole = path.read_bytes()
    damaged = [whole[:n] for n in range(len(whole))]
    damaged += [whole[:n] + bytes([whole[n] ^ 0x55]) + whole[n + 1 :] for n in range(len(whole))]
    refused = 0
    for data in damaged:
        path.write_bytes(data)
        try:
            for p in read_arrays(path, RunError).values():
                np.testing.assert_array_equal(p, GOOD)
        except RunError:
            refused += 1
    assert refused > len(damaged) * 0.8


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.npz", ("m.npy", npy(GOOD)))
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(RunError, match="is encrypted"):
        read_arrays(path, RunError)


def test_a_map_has_the_shape_of_its_grid_and_the_sum_one() -> None:
    p = GOOD.astype(np.float64)
    assert refuse_map("m", p, (2, 2)) == ""
    assert refuse_map("m", p, (4, 1)) == "'m' is 2 x 2, but the grid is 4 x 1"
    assert refuse_map("m", p * 2, None) == "'m' sums to 2, but a map sums to 1"
