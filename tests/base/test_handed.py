"""Pictures are taken as programs and notebooks have them, or refused with what to do instead."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from audit.base.errors import ImageError
from audit.base.handed import picture_from
from audit.base.images import MAX_PIXELS, open_image, picture_of

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def as_bytes(format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, format, **options)
    return buffer.getvalue()


def test_a_path_its_bytes_an_array_and_pillows_picture_are_the_same_picture(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(as_bytes())
    for given in (path, str(path), as_bytes(), PIXELS, Image.fromarray(PIXELS), Image.open(path)):
        found = picture_from(given)
        assert (found.mode, found.size) == ("RGB", (9, 6))
        assert (np.asarray(found) == PIXELS).all()


def test_a_path_that_is_misspelt_gets_the_nearest_and_another_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "two-birds.png").write_bytes(as_bytes())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImageError, match=r"two-brids\.png: no such picture; .*mean 'two-b"):
        picture_from("two-brids.png")
    with pytest.raises(ImageError, match=f"no such picture in the folder {tmp_path}$"):
        picture_from("images/x.png")


def test_a_path_from_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x.png").write_bytes(as_bytes())
    assert picture_from("~/x.png").size == (9, 6)


def test_bytes_are_turned_as_exif_says_like_the_file_of_them(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = as_bytes("JPEG", exif=exif)
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    assert picture_from(data).size == (6, 9)
    assert picture_from(data).tobytes() == open_image(path).tobytes()


def test_an_array_is_copied_so_that_later_changes_do_not_change_the_picture() -> None:
    pixels = PIXELS.copy()
    found = picture_from(pixels)
    pixels[:] = 0
    assert (np.asarray(found) == PIXELS).all()
    turned = PIXELS.transpose(1, 0, 2)[::-1]  # not contiguous
    assert (np.asarray(picture_from(turned)) == turned).all()


def test_a_transparent_picture_of_pillow_is_laid_on_white() -> None:
    assert picture_from(Image.new("RGBA", (2, 2))).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (PIXELS / 255, r"float64, 6 x 9 x 3; .*uint8, height x width x 3; if its values are 0 to"),
        (PIXELS.astype(np.int64), r"an array of int64, .*uint8, .*; .*array\.astype\('uint8'\)"),
        (PIXELS.astype(np.uint16), r"0 to 65535: \(array // 257\)\.astype"),
        (PIXELS.transpose(2, 0, 1), r"move the channels to the end: array\.transpose\(1, 2, 0\)"),
        (PIXELS[..., 0], r"for a grey one give PIL\.Image\.fromarray"),
        (np.dstack([PIXELS, PIXELS[..., :1]]), "for one with transparency"),
        (PIXELS[None], r"1 x 6 x 9 x 3; an array must be .*one picture at a time: array\[0\]"),
        (PIXELS[..., :1], r"fromarray\(array\[\.\.\., 0\]\)"),
        (np.array(3, np.uint8), "without a shape"),
        (PIXELS[:0], "empty: 9 x 0 pixels"),
        (np.broadcast_to(np.uint8(0), (10_000, 6_000, 3)), f"than the limit of {MAX_PIXELS:,}"),
        (b"GIF89a and no more", "^the picture: "),
        (b"", "^the picture: not a picture, or damaged"),
        ("https://example.org/x.png", "pictures are not fetched; download it"),
        ("no-such.png", "^no-such.png: no such picture"),
        ([1, 2], "not an object of the type list; ask about one picture at a time"),
        ("", "^the path of the picture is empty"),
        (io.BytesIO(b""), r"of the type BytesIO; .*: file\.read\(\)"),
        (bytearray(b""), r"of the type bytearray; give bytes\("),
        (torch.zeros(3, 6, 9), r"of the type Tensor; .*tensor\.permute\(1, 2, 0\)"),
        (None, "not an object of the type NoneType"),
        (Image.new("F", (2, 2)), "viewers do not agree"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_refused_with_what_to_do(given: object, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        picture_from(given)  # type: ignore[arg-type]


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("take", [picture_from, picture_of])
def test_a_picture_of_pillow_whose_file_is_cut_off_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    take: Callable[[Image.Image], Image.Image],
    kind: str,
    lenient: bool,
) -> None:
    """Also where a package has told Pillow to fill up what is missing with grey."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
    path = tmp_path / "x"
    noise = np.random.default_rng(0).integers(0, 256, (99, 99, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, kind)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ImageError, match="the picture cannot be decoded: OSError"):
        take(Image.open(path))
    assert ImageFile.LOAD_TRUNCATED_IMAGES is lenient


def test_loading_ofa_leaves_pillow_as_strict_as_it_was() -> None:
    program = (
        "import audit.models.ofa.upstream; from PIL import ImageFile; "
        "print(ImageFile.LOAD_TRUNCATED_IMAGES)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[-1] == "False"
