"""Pictures are turned as people see them, and as modelscope's pipeline turns files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from audit import load_model
from audit.base.images import open_image
from audit.models.ofa.standins import stand_ins
from audit.models.protocol import Query
from tests.checkpoints import make_checkpoint
from tests.models.test_models import pipeline_of

XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
    'syntax-ns#"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
    'tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


def noise() -> Image.Image:
    """Columns 24, rows 16, each corner of its own."""
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (16, 24, 3), dtype=np.uint8))


def held(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("turned") / "model", seed=3)


@pytest.fixture(scope="module")
def asked(checkpoint: Path) -> tuple[Any, Any]:
    return load_model(str(checkpoint), device="cpu"), pipeline_of(checkpoint)


@pytest.mark.parametrize("profile", ["not hexadecimal", b"junk".hex(), "ü", ""])
def test_a_profile_that_is_no_exif_says_nothing_of_how_a_picture_is_held(
    tmp_path: Path, profile: str
) -> None:
    about = PngInfo()
    about.add_text("Raw profile type exif", f"\nexif\n      12\n{profile}\n")
    Image.new("RGB", (3, 2), "red").save(tmp_path / "a.png", pnginfo=about)
    assert open_image(tmp_path / "a.png").size == (3, 2)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("exif", [b"junk", b"Exif\0\0junk", b"Exif\0\0"])
def test_what_is_no_exif_says_nothing_of_how_a_picture_is_held(
    tmp_path: Path, kind: str, exif: bytes
) -> None:
    Image.new("RGB", (3, 2), "red").save(tmp_path / "a", kind, exif=exif)
    assert open_image(tmp_path / "a").size == (3, 2)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_is_answered_as_by_the_pipeline_given_its_path(
    tmp_path: Path, asked: tuple[Any, Any], orientation: int
) -> None:
    model, pipeline = asked
    path = tmp_path / "photo.jpg"
    noise().resize((300, 200)).save(path, exif=held(orientation), quality=95)
    label, score = pipeline({"image": str(path), "text": "two birds are on the branch"})
    (trace,) = model.trace([Query(path, "two birds are on the branch")])
    assert trace.label == label
    assert trace.probabilities[label] == pytest.approx(score, abs=1e-5)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_each_format_is_turned_to_the_pixels_that_modelscope_loads(
    tmp_path: Path, kind: str, orientation: int
) -> None:
    with stand_ins():
        from modelscope.preprocessors.image import load_image
    path = tmp_path / "photo"
    noise().save(path, kind, exif=held(orientation))
    found = open_image(path)
    assert found.size == ((24, 16) if orientation < 5 else (16, 24))
    np.testing.assert_array_equal(np.asarray(found), np.asarray(load_image(str(path))))


def test_a_picture_with_orientation_6_is_turned_clockwise(tmp_path: Path) -> None:
    image = Image.new("RGB", (2, 1), "white")
    image.putpixel((0, 0), (0, 0, 0))  # left in the file, so on top when turned
    image.save(tmp_path / "a.png", exif=held(6))
    found = open_image(tmp_path / "a.png")
    assert found.size == (1, 2)
    assert [found.getpixel((0, y)) for y in range(2)] == [(0, 0, 0), (255, 255, 255)]


def test_an_orientation_that_only_xmp_notes_counts(tmp_path: Path) -> None:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", XMP)
    noise().save(tmp_path / "a.png", pnginfo=info)
    assert open_image(tmp_path / "a.png").size == (16, 24)


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_an_orientation_that_there_is_not_turns_nothing(tmp_path: Path, orientation: int) -> None:
    noise().save(tmp_path / "a.png", exif=held(orientation))
    np.testing.assert_array_equal(np.asarray(open_image(tmp_path / "a.png")), np.asarray(noise()))


def test_what_was_turned_is_not_turned_again_where_it_is_stored(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.jpg", exif=held(6), quality=100)
    turned = open_image(tmp_path / "a.jpg")
    buffer = io.BytesIO()
    turned.save(buffer, "PNG")
    (tmp_path / "b.png").write_bytes(buffer.getvalue())
    np.testing.assert_array_equal(np.asarray(open_image(tmp_path / "b.png")), np.asarray(turned))
