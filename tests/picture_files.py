"""Small picture files of every format that is read, for tests that damage them."""

from __future__ import annotations

import io
import random
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture() -> Image.Image:
    """Noise and two flat stripes, 17 wide and 24 high."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 17, 3), dtype=np.uint8)
    pixels[5:10] = 200
    pixels[10:15, :, 0] = 30
    return Image.fromarray(pixels)


def files() -> dict[str, bytes]:
    """Undamaged files, by a name that says what they are."""
    rgb = picture()
    palette, turned = rgb.convert("P"), rgb.rotate(180)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "two birds"
    found = {
        "png": _saved(rgb, "PNG", exif=exif),
        "png palette": _saved(palette, "PNG", transparency=3),
        "png alpha": _saved(rgb.convert("RGBA"), "PNG"),
        "png bits": _saved(rgb.convert("1"), "PNG"),
        "png 16": _saved(
            Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 257), "PNG"
        ),
        "png moving": _saved(rgb, "PNG", save_all=True, append_images=[turned]),
        "jpeg": _saved(rgb, "JPEG", exif=exif),
        "jpeg progressive": _saved(rgb, "JPEG", progressive=True),
        "jpeg restarts": _saved(rgb, "JPEG", restart_marker_blocks=1),
        "jpeg cmyk": _saved(rgb.convert("CMYK"), "JPEG"),
        "gif": _saved(palette, "GIF"),
        "gif interlaced": _saved(palette, "GIF", interlace=1, transparency=3),
        "gif moving": _saved(palette, "GIF", save_all=True, append_images=[turned.convert("P")]),
        "bmp": _saved(rgb, "BMP"),
        "bmp palette": _saved(palette, "BMP"),
        "webp": _saved(rgb, "WEBP", exif=exif),
        "webp lossless": _saved(rgb.convert("RGBA"), "WEBP", lossless=True),
        "webp moving": _saved(rgb, "WEBP", save_all=True, append_images=[turned]),
        "tiff pages": _saved(rgb, "TIFF", save_all=True, append_images=[turned] * 3),
        "tiff bits": _saved(rgb.convert("1"), "TIFF", compression="tiff_lzw"),
    }
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        found[f"tiff {compression}"] = _saved(rgb, "TIFF", compression=compression, exif=exif)
    return found


FILES = files()


def mutated(data: bytes, rng: random.Random) -> bytes:
    """A file with a few bytes changed, added, taken away, or written twice."""
    found = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        # Half of the changes hit the head, where sizes and types are.
        at = rng.randrange(len(found) if rng.random() < 0.5 else min(len(found), 120))
        match rng.randrange(5):
            case 0:
                found[at] = rng.randrange(256)
            case 1:
                found[at:at] = rng.randbytes(rng.randrange(1, 9))
            case 2:
                del found[at : at + rng.randrange(1, 30)]
            case 3:
                found[at : at + 4] = rng.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"])
            case 4:
                start = rng.randrange(len(found))
                found[at : at + 8] = found[start : start + 8]
        if not found:
            return b"x"
    return resealed(bytes(found)) if rng.random() < 0.5 else bytes(found)


def resealed(data: bytes) -> bytes:
    """A PNG with correct checksums, so that readers reach its other damage; other files as is."""
    found, at = bytearray(data), 8
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    while at + 12 <= len(found):
        (length,) = struct.unpack_from(">I", found, at)
        end = at + 8 + length
        if end + 4 > len(found):
            break
        struct.pack_into(">I", found, end, zlib.crc32(found[at + 4 : end]))
        at = end + 4
    return bytes(found)
