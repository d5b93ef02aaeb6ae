"""The identity of a picture is what a model is handed, and nothing else of its file."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, PngImagePlugin

from audit.base.images import identity, open_image
from tests.picture_files import picture


def exif(**tags: Any) -> Image.Exif:
    found = Image.Exif()
    for tag, value in tags.items():
        found[int(tag.removeprefix("tag"))] = value
    return found


def text() -> PngImagePlugin.PngInfo:
    found = PngImagePlugin.PngInfo()
    found.add_text("Author", "somebody")
    return found


OPAQUE = {"convert": "RGBA"}

COPIES: dict[str, dict[str, Any]] = {
    "PNG without compression": {"format": "PNG", "compress_level": 0},
    "PNG optimised": {"format": "PNG", "optimize": True},
    "PNG with a text": {"format": "PNG", "pnginfo": text()},
    "PNG with EXIF": {"format": "PNG", "exif": exif(tag270="two birds")},
    "PNG with a resolution": {"format": "PNG", "dpi": (300, 300)},
    "PNG with opaque alpha": {"format": "PNG", **OPAQUE},
    "BMP": {"format": "BMP"},
    "TIFF": {"format": "TIFF"},
    "TIFF in deflate": {"format": "TIFF", "compression": "tiff_adobe_deflate"},
    "TIFF in LZW with opaque alpha": {"format": "TIFF", "compression": "tiff_lzw", **OPAQUE},
    "WebP": {"format": "WEBP", "lossless": True},
    "WebP with opaque alpha": {"format": "WEBP", "lossless": True, **OPAQUE},
}


def saved(image: Image.Image, path: Path, *, convert: str = "RGB", **options: Any) -> str:
    """The identity of the picture after it was saved as the options say."""
    image.convert(convert).save(path, **options)
    return identity(open_image(path))


@pytest.mark.parametrize("kind", COPIES)
def test_a_lossless_copy_is_the_same_picture(tmp_path: Path, kind: str) -> None:
    assert saved(picture(), tmp_path / "copy", **COPIES[kind]) == identity(picture())


def test_a_grey_file_and_its_copy_in_rgb_are_one_picture(tmp_path: Path) -> None:
    grey = picture().convert("L")
    stored = [
        saved(grey, tmp_path / mode, convert=mode, format="PNG") for mode in ("L", "LA", "RGB")
    ]
    assert len(set(stored)) == 1
    wide = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    wide.save(tmp_path / "wide.png")
    assert identity(open_image(tmp_path / "wide.png")) == stored[0]


def test_a_picture_turned_by_exif_is_the_one_that_was_turned_by_hand(tmp_path: Path) -> None:
    held = picture().transpose(Image.Transpose.ROTATE_90)
    turned = saved(held, tmp_path / "turned", format="PNG", exif=exif(tag274=6))
    assert turned == identity(picture())
    assert saved(held, tmp_path / "plain", format="PNG") != identity(picture())


def test_a_lossy_copy_is_another_picture(tmp_path: Path) -> None:
    assert saved(picture(), tmp_path / "copy", format="JPEG", quality=95) != identity(picture())


def test_the_identity_is_that_of_the_size_and_of_all_pixels() -> None:
    large = np.random.default_rng(0).integers(0, 256, (900, 1300, 3), dtype=np.uint8)
    whole = hashlib.sha256(b"RGB 1300 900\n" + large.tobytes()).hexdigest()
    assert identity(Image.fromarray(large)) == whole


@given(st.data(), st.integers(1, 6), st.integers(1, 6))
def test_one_value_more_or_less_is_another_picture_and_so_are_other_sides(
    data: st.DataObject, width: int, height: int
) -> None:
    pixels = data.draw(arrays(np.uint8, (height, width, 3)))
    other = pixels.copy()
    at = tuple(data.draw(st.integers(0, side - 1)) for side in pixels.shape)
    other[at] ^= 1
    assert identity(Image.fromarray(other)) != identity(Image.fromarray(pixels))
    if width != height:
        reshaped = Image.fromarray(pixels.reshape(width, height, 3))
        assert identity(reshaped) != identity(Image.fromarray(pixels))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    assert identity(Image.open(buffer).convert("RGB")) == identity(Image.fromarray(pixels))
