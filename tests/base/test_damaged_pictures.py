"""Files that are damaged, cut off, or ask for too much: a picture, or one clear error."""

from __future__ import annotations

import io
import os
import random
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from audit.base import encoded, images
from audit.base.errors import ImageError
from audit.base.images import open_image
from tests.picture_files import FILES, mutated, picture, resealed


def opened(path: Path, data: bytes) -> Image.Image:
    path.write_bytes(data)
    return open_image(path)


def refused(path: Path, data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        opened(path, data)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def told(path: Path, data: bytes) -> str:
    """Why the file is refused; empty if it is not."""
    try:
        assert opened(path, data).mode == "RGB"
    except ImageError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_anywhere_is_refused_or_has_every_pixel(tmp_path: Path, name: str) -> None:
    data, path = FILES[name], tmp_path / "a"
    whole = opened(path, data)
    # Every length near both ends, where formats keep what they need, and every 7th between.
    for length in {*range(60), *range(60, len(data) - 60, 7), *range(len(data) - 60, len(data))}:
        try:
            found = opened(path, data[:length])
        except ImageError:
            continue
        np.testing.assert_array_equal(np.asarray(found), np.asarray(whole), f"{length} bytes")


@pytest.mark.parametrize("name", FILES)
def test_what_follows_a_whole_picture_is_of_no_account(tmp_path: Path, name: str) -> None:
    whole = opened(tmp_path / "a", FILES[name])
    more = opened(tmp_path / "a", FILES[name] + b"\xff\xda more \xff\xd9" * 50)
    np.testing.assert_array_equal(np.asarray(more), np.asarray(whole))


@pytest.mark.parametrize("name", FILES)
def test_a_mutated_file_gives_a_picture_or_one_clear_error_soon(tmp_path: Path, name: str) -> None:
    rng, path = random.Random(name), tmp_path / "a"
    for _ in range(60):
        started = time.process_time()
        why = told(path, mutated(FILES[name], rng))
        assert not why or why.startswith(f"{path}: ")
        assert "\n" not in why
        assert time.process_time() - started < 5


def test_a_png_with_one_row_of_eight_is_refused(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 2, 8, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0\x07\x09")), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + k + d + b"\0\0\0\0" for k, d in chunks)
    why = refused(tmp_path / "a.png", resealed(b"\x89PNG\r\n\x1a\n" + body))
    assert why.endswith("the picture is damaged: it ends before its last pixel")


@pytest.mark.parametrize("name", ["jpeg", "jpeg progressive", "jpeg restarts", "jpeg cmyk"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_jpeg_whose_end_comes_early_is_refused(tmp_path: Path, name: str, share: float) -> None:
    data = FILES[name]
    start = data.index(b"\xff\xda") + 14
    cut = data[: start + int(share * (len(data) - start))].rstrip(b"\xff") + b"\xff\xd9"
    why = refused(tmp_path / "a.jpg", cut)
    assert any(each in why for each in ("before its last pixel", "before its last scan", "cut off"))


def test_a_progressive_jpeg_without_its_finer_scans_is_refused(tmp_path: Path) -> None:
    data = FILES["jpeg progressive"]
    for last in (data.index(b"\xff\xc4", data.index(b"\xff\xda")), data.rindex(b"\xff\xda")):
        why = refused(tmp_path / "a.jpg", data[:last] + b"\xff\xd9")
        assert why.endswith("the picture is damaged: it ends before its last scan")


def test_a_png_whose_pixels_fail_their_checksum_is_refused(tmp_path: Path) -> None:
    data = bytearray(FILES["png"])
    data[data.index(b"IDAT") + 40] ^= 1
    assert "checksum of its chunk 'IDAT' is wrong" in refused(tmp_path / "a.png", bytes(data))


@pytest.mark.parametrize(
    "kind", [b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"pHYs", b"sRGB", b"acTL", b"fcTL"]
)
@pytest.mark.parametrize("after", ["IHDR", "IDAT"])
def test_a_chunk_that_is_too_short_is_no_traceback(tmp_path: Path, kind: bytes, after: str) -> None:
    data = FILES["png alpha"]
    # Right behind the header, or behind the pixels, where Pillow reads it when it has decoded them.
    start = data.index(b"IHDR") + 21 if after == "IHDR" else data.index(b"IEND") - 4
    short = struct.pack(">I", 1) + kind + b"\0" + b"\0\0\0\0"
    why = told(tmp_path / "a.png", resealed(data[:start] + short + data[start:]))
    assert not why or "damaged" in why


def test_an_empty_file_is_no_picture(tmp_path: Path) -> None:
    assert "not a picture" in refused(tmp_path / "a.png", b"")


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize("name", ["png", "jpeg", "gif", "bmp", "webp", "tiff raw"])
def test_modelscopes_leave_to_fill_up_files_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lenient: bool, name: str
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
    refused(tmp_path / "a", FILES[name][:-30])
    assert lenient == ImageFile.LOAD_TRUNCATED_IMAGES


def _with_scans(copies: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    buffer = io.BytesIO()
    Image.new("RGB", (600, 600), "red").save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * copies + b"\xff\xd9"


def test_a_jpeg_that_is_decoded_over_and_over_is_refused_at_once(tmp_path: Path) -> None:
    assert opened(tmp_path / "a.jpg", _with_scans(20)).size == (600, 600)
    started = time.process_time()
    assert "too many scans" in refused(tmp_path / "a.jpg", _with_scans(20_000))
    assert time.process_time() - started < 1


def test_scans_are_counted_against_the_pixels_that_each_goes_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoded, "MAX_SCANNED", 600 * 600 * 20)
    assert "too many scans" in refused(tmp_path / "a.jpg", _with_scans(15))  # and its own ten


def test_a_thumbnail_and_what_follows_are_no_scans_of_the_picture(tmp_path: Path) -> None:
    body = b"thumb" + b"\xff\xda\0\x08" * 500
    segment = b"\xff\xe3" + struct.pack(">H", 2 + len(body)) + body
    data = FILES["jpeg"]
    found = opened(tmp_path / "a.jpg", data[:2] + segment + data[2:] + b"\xff\xda\0\x08" * 500)
    assert found.size == (24, 17)  # turned by its EXIF


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (8000, 8000), (2**31 - 1, 1)])
def test_a_header_that_promises_too_many_pixels_is_refused_before_decoding(
    tmp_path: Path, width: int, height: int
) -> None:
    data = bytearray(FILES["png"])
    struct.pack_into(">II", data, 16, width, height)
    why = refused(tmp_path / "a.png", resealed(bytes(data)))
    assert "more than the limit of 50,000,000" in why


def test_a_tiff_of_ten_thousand_pages_opens_as_fast_as_its_first(tmp_path: Path) -> None:
    page = FILES["tiff raw"]
    count = struct.unpack_from("<H", page, 8)[0]
    directory = page[8 : 8 + 2 + 12 * count]
    pages, at = bytearray(page), 8
    for _ in range(10_000):
        struct.pack_into("<L", pages, at + 2 + 12 * count, len(pages))
        at = len(pages)
        pages += directory + b"\0\0\0\0"
    started = time.process_time()
    found = opened(tmp_path / "a.tif", bytes(pages))
    assert time.process_time() - started < 0.5
    np.testing.assert_array_equal(np.asarray(found), np.asarray(opened(tmp_path / "b.tif", page)))


def _tags(count: int, size: int) -> bytes:
    """EXIF data whose tags all share the same bytes."""
    entries = b"".join(struct.pack("<HHLL", 0xC000 + i, 7, size, 0) for i in range(count))
    return b"II*\0" + struct.pack("<LH", 8, count) + entries + b"\0" * (4 + size)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_tags_that_share_their_bytes_to_fill_the_memory_are_refused(
    tmp_path: Path, kind: str
) -> None:
    bomb = _tags(4000, 1_000_000)  # 4 GB, were they read
    if kind == "TIFF":
        data = bomb
    else:
        buffer = io.BytesIO()
        picture().save(buffer, kind, exif=b"Exif\0\0" + bomb)
        data = buffer.getvalue()
    assert "its tags hold too much data" in refused(tmp_path / "a", data)


def test_a_tile_larger_than_any_picture_is_refused(tmp_path: Path) -> None:
    tags = {256: 4, 257: 4, 258: 8, 259: 8, 262: 1, 277: 1, 322: 32_000, 323: 32_000,
            324: 200, 325: 20}  # fmt: skip
    entries = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in tags.items())
    data = b"II*\0" + struct.pack("<LH", 8, len(tags)) + entries + b"\0" * 200
    assert "a tile of more pixels than the limit" in refused(tmp_path / "a.tif", data)


def _noise(mode: str, compression: str) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "TIFF", compression=compression)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("compression", "mode", "named"),
    [
        ("jpeg", "RGB", "JPEG"),
        ("tiff_ccitt", "1", "CCITT"),
        ("group3", "1", "CCITT"),
        ("group4", "1", "CCITT"),
        ("zstd", "RGB", "Zstandard"),
        ("lzma", "RGB", "LZMA"),
    ],
)
def test_a_tiff_whose_compression_hides_damage_is_refused(
    tmp_path: Path, compression: str, mode: str, named: str
) -> None:
    why = refused(tmp_path / "a.tif", _noise(mode, compression))
    assert f"a TIFF with the compression {named}, which does not show whether" in why
    assert why.endswith("save it as PNG, or as TIFF with the compression deflate, LZW or none")


def _with_tag(data: bytes, number: int, value: int, to: int) -> bytes:
    """A little-endian TIFF of which the first directory holds another value of a tag."""
    for kind, form in ((3, "<HHLHxx"), (4, "<HHLL")):
        entry = struct.pack(form, number, kind, 1, value)
        if entry in data:
            return data.replace(entry, struct.pack(form, number, kind, 1, to))
    raise AssertionError(f"no tag {number} of {value}")


@pytest.mark.parametrize("number", [0, 6, 50001, 60000])
def test_a_tiff_of_an_unknown_or_old_compression_is_refused_before_it_is_decoded(
    tmp_path: Path, number: int
) -> None:
    why = refused(tmp_path / "a.tif", _with_tag(_noise("RGB", "packbits"), 259, 32773, number))
    assert "which does not show whether the picture is whole" in why


def test_a_deflated_strip_with_any_byte_changed_is_refused(tmp_path: Path) -> None:
    data = _noise("L", "tiff_adobe_deflate")
    start = data.index(zlib.compress(b"")[:1])
    unpacked = zlib.decompressobj()
    assert len(unpacked.decompress(data[start:])) == 64 * 48
    end = len(data) - len(unpacked.unused_data)
    for at in (*range(start, end, 7), *range(end - 4, end)):
        changed = bytearray(data)
        changed[at] ^= 0x10
        assert "damaged" in refused(tmp_path / "a.tif", bytes(changed)), f"byte {at}"


def _deflated(strip: bytes, length: int | None = None, copies: int = 1) -> bytes:
    """A TIFF of 8 by ``8 * copies`` grey pixels, each strip the same bytes."""
    count = len(strip) if length is None else length
    tags = [(256, 8), (257, 8 * copies), (258, 8), (259, 8), (262, 1), (277, 1), (278, 8)]
    end = 8 + 2 + 12 * (len(tags) + 2) + 4
    starts = struct.pack(f"<{copies}L", *[end + 8 * copies] * copies)
    lengths = struct.pack(f"<{copies}L", *[count] * copies)
    entries = [struct.pack("<HHLL", tag, 4, 1, value) for tag, value in tags]
    places = (end, end + 4 * copies) if copies > 1 else (end + 8, count)
    entries[6:6] = [struct.pack("<HHLL", 273, 4, copies, places[0])]
    entries += [struct.pack("<HHLL", 279, 4, copies, places[1])]
    body = struct.pack("<LH", 8, len(entries)) + b"".join(sorted(entries, key=_number)) + bytes(4)
    return b"II*\0" + body + starts + lengths + strip


def _number(entry: bytes) -> int:
    return int.from_bytes(entry[:2], "little")


def test_strips_of_a_deflated_tiff_are_whole_where_their_tags_say(tmp_path: Path) -> None:
    strip, path = zlib.compress(bytes(range(64))), tmp_path / "a.tif"
    assert np.asarray(opened(path, _deflated(strip)))[7, 7].tolist() == [63] * 3
    assert opened(path, _deflated(strip, copies=3)).size == (8, 24)  # alike, so one is enough
    wrong = bytearray(strip)
    wrong[-1] ^= 1  # of the checksum
    assert "the data of a strip are wrong" in refused(path, _deflated(bytes(wrong)))
    assert "the file is cut off" in refused(path, _deflated(strip, len(strip) - 4))
    assert "its strips are not where" in refused(path, _deflated(strip, 10_000))


def test_a_deflated_tiff_that_unpacks_to_more_than_any_picture_is_refused_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 10_000)
    bomb = _deflated(zlib.compress(bytes(1_000_000)))
    assert "unpacks to more than any picture has" in refused(tmp_path / "a.tif", bomb)


@pytest.mark.parametrize("header", [b"MM*\0", b"II\0*", b"MM\0+"])
def test_a_tiff_that_pillow_reads_in_another_way_than_it_says_is_refused(
    tmp_path: Path, header: bytes
) -> None:
    buffer = io.BytesIO()
    picture().save(buffer, "TIFF", big_tiff=header == b"MM\0+")
    why = refused(tmp_path / "a.tif", header + buffer.getvalue()[4:])
    assert why.endswith("a TIFF with an ambiguous or wrong header; save it as PNG")


def test_a_pipe_a_folder_and_a_name_that_is_none_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    for name, why in [
        ("pipe.png", "it is not a file"), ("folder.png", "it is a folder"),
        ("x" * 300 + ".png", "File name too long"), ("a\0.png", "embedded null byte"),
        ("none.png", "no such picture"),
    ]:  # fmt: skip
        with pytest.raises(ImageError, match=why):
            open_image(tmp_path / name)


def test_a_file_of_more_bytes_than_any_picture_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(images.MAX_BYTES + 1)
    with pytest.raises(ImageError, match="500,000,001 bytes, more than the limit of 500,000,000"):
        open_image(tmp_path / "a.png")


def test_metadata_that_cannot_be_read_is_no_warning(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    buffer = io.BytesIO()
    picture().save(buffer, "JPEG", exif=b"Exif\0\0" + _tags(3, 500)[:60])
    opened(tmp_path / "a.jpg", buffer.getvalue())
    assert not recwarn.list
