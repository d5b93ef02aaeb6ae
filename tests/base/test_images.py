"""Pictures are opened within limits, and the process is left as it was."""

from __future__ import annotations

import io
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from audit.base import images
from audit.base.errors import ImageError


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_pictures_of_every_mode_come_back_as_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new(mode, (5, 4)).save(path)
    found = images.open_image(path)
    assert (found.mode, found.size) == ("RGB", (5, 4))


def test_pictures_that_cannot_be_used_say_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ImageError, match="no such picture"):
        images.open_image(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(ImageError, match="not a picture, or damaged"):
        images.open_image(tmp_path / "text.png")
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, format="PNG")
    (tmp_path / "cut.png").write_bytes(buffer.getvalue()[:3000])
    for lenient in (False, True):  # modelscope makes Pillow lenient for the whole process
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
        with pytest.raises(ImageError, match="damaged"):
            images.open_image(tmp_path / "cut.png")
        assert lenient == ImageFile.LOAD_TRUNCATED_IMAGES
    (tmp_path / "whole.png").write_bytes(buffer.getvalue())
    monkeypatch.setattr(images, "MAX_PIXELS", 100)
    with pytest.raises(ImageError, match="60 x 60 pixels, more than the limit of 100"):
        images.open_image(tmp_path / "whole.png")


def test_threads_that_open_pictures_leave_the_process_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(images.open_image, [tmp_path / "a.png"] * 400))
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True
    assert warnings.filters == before


def test_one_picture_is_decoded_while_another_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (3, 2)).save(tmp_path / "a.png")
    both = threading.Barrier(2, timeout=20)
    original = images._decoded

    def met(data: bytes) -> Image.Image:
        both.wait()  # breaks if the second thread waits for the first
        assert ImageFile.LOAD_TRUNCATED_IMAGES is False
        return original(data)

    monkeypatch.setattr(images, "_decoded", met)
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(images.open_image, [tmp_path / "a.png"] * 2))
    assert [image.size for image in found] == [(3, 2)] * 2


def test_a_picture_in_memory_with_a_transparent_colour_is_laid_on_white() -> None:
    image = Image.new("RGB", (4, 4), "red")
    image.info["transparency"] = (255, 0, 0)
    assert images.picture_of(image).getpixel((0, 0)) == (255, 255, 255)
    assert not images.picture_of(image).info
