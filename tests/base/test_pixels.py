"""Pixels of every kind come out as viewers show them, or are refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audit.base.errors import ImageError
from audit.base.images import open_image, picture_of


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, depth: int, colours: int, row: bytes, *more: bytes) -> bytes:
    """A PNG of one row; ``colours`` 0 is grey, 2 RGB."""
    header = struct.pack(">IIBBBBB", width, 1, depth, colours, 0, 0, 0)
    body = [chunk(b"IHDR", header), *more, chunk(b"IDAT", zlib.compress(b"\0" + row))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body) + chunk(b"IEND", b"")


def pixels(path: Path) -> list[tuple[int, ...]]:
    return [tuple(pixel) for row in np.asarray(open_image(path)).tolist() for pixel in row]


def tiff(path: Path, values: list[int], bits: int, white_is_zero: bool) -> None:
    """One row of uncompressed grey, little-endian."""
    if bits == 12:
        a, b = values
        data = bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255])
    else:
        data = struct.pack(f"<{len(values)}H", *values)
    tags = {256: len(values), 257: 1, 258: bits, 259: 1, 262: 0 if white_is_zero else 1,
            277: 1, 278: 1, 279: len(data)}  # fmt: skip
    start = 8 + 2 + 12 * (len(tags) + 1) + 4
    entries = sorted({**tags, 273: start}.items())
    packed = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in entries)
    head = b"II*\0" + struct.pack("<LH", 8, len(entries)) + packed + struct.pack("<L", 0)
    path.write_bytes(head + data)


def test_sixteen_bit_grey_is_scaled_by_its_range(tmp_path: Path) -> None:
    row = struct.pack(">4H", 0, 257, 32_896, 65_535)  # 0, 1, 128 and 255 times 257
    (tmp_path / "a.png").write_bytes(png(4, 16, 0, row))
    assert [pixel[0] for pixel in pixels(tmp_path / "a.png")] == [0, 1, 128, 255]


@pytest.mark.parametrize(
    ("bits", "white_is_zero", "values", "greys"),
    [
        (16, False, [0, 65_535], [0, 255]),
        (16, True, [0, 65_535], [255, 0]),
        (12, False, [0, 4095], [0, 255]),
    ],
)
def test_grey_of_a_tiff_is_scaled_by_its_own_range_and_direction(
    tmp_path: Path, bits: int, white_is_zero: bool, values: list[int], greys: list[int]
) -> None:
    tiff(tmp_path / "a.tif", values, bits, white_is_zero)
    assert [pixel[0] for pixel in pixels(tmp_path / "a.tif")] == greys


@pytest.mark.parametrize("mode", ["I", "F", "LAB"])
def test_pixels_without_an_agreed_meaning_are_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (5, 4)).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match=rf"a.tif: viewers do not agree .* mode {mode}; save"):
        open_image(tmp_path / "a.tif")


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_colours_under_full_transparency_decide_nothing(
    tmp_path: Path, kind: str, mode: str
) -> None:
    if mode == "PA" or (kind == "WEBP" and mode == "LA"):
        image = Image.new("RGBA", (3, 2), (255, 0, 0, 0))
        image = image.quantize(2) if kind == "PNG" else image
    else:
        image = Image.new("RGBA", (3, 2), (255, 0, 0, 0)).convert(mode)
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    image.save(tmp_path / "a", kind, **options)
    assert set(pixels(tmp_path / "a")) == {(255, 255, 255)}


def test_a_half_transparent_colour_is_mixed_with_white(tmp_path: Path) -> None:
    Image.new("RGBA", (1, 1), (255, 0, 0, 51)).save(tmp_path / "a.png")  # 51 is a fifth
    assert pixels(tmp_path / "a.png") == [(255, 204, 204)]


def test_an_opaque_alpha_channel_changes_nothing(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    Image.fromarray(noise).convert("RGBA").save(tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(open_image(tmp_path / "a.png")), noise)


def test_a_transparent_colour_of_a_gif_is_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.gif", transparency=0)
    assert pixels(tmp_path / "a.gif") == [(255, 255, 255), (0, 0, 255)]


@pytest.mark.parametrize(
    ("depth", "row", "key", "greys"),
    [
        (1, bytes([0b01000000]), 0, [255, 255]),
        (2, bytes([0b01100000]), 1, [255, 170]),
        (4, bytes([0x3C]), 3, [255, 204]),
        (8, bytes([10, 20]), 10, [255, 20]),
        (16, struct.pack(">2H", 1000, 32_896), 1000, [255, 128]),
    ],
)
def test_the_transparent_grey_of_a_png_is_white_at_every_depth(
    tmp_path: Path, depth: int, row: bytes, key: int, greys: list[int]
) -> None:
    (tmp_path / "a.png").write_bytes(png(2, depth, 0, row, chunk(b"tRNS", struct.pack(">H", key))))
    assert [pixel[0] for pixel in pixels(tmp_path / "a.png")] == greys


def test_a_transparent_colour_that_eight_bits_cannot_tell_is_refused(tmp_path: Path) -> None:
    row = struct.pack(">6H", 1000, 1000, 1000, 1001, 1001, 1001)
    key = chunk(b"tRNS", struct.pack(">3H", 1000, 1000, 1000))
    (tmp_path / "a.png").write_bytes(png(2, 16, 2, row, key))
    with pytest.raises(ImageError, match="16 bits a channel with a transparent colour"):
        open_image(tmp_path / "a.png")


def test_cmyk_becomes_the_rgb_that_ink_on_white_gives(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (255, 0, 0, 0)).save(tmp_path / "a.tif")  # cyan alone
    assert set(pixels(tmp_path / "a.tif")) == {(0, 255, 255)}


def test_a_picture_in_memory_gets_the_same_pixels_as_one_in_a_file(tmp_path: Path) -> None:
    image = Image.new("RGBA", (1, 1), (255, 0, 0, 0))
    assert picture_of(image).getpixel((0, 0)) == (255, 255, 255)
    with pytest.raises(ImageError, match="mode F"):
        picture_of(Image.new("F", (1, 1)))
