"""Check a picture's bytes before a decoder sees them.

Decoders are lenient where an audit must be strict: they skip checksums, make up missing data, and
do as much work as a file asks for.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from hashlib import sha512
from typing import NamedTuple

from audit.base.errors import ImageError

MAX_SCANS = 100
"""Scans of a JPEG; cameras and editors write up to about a dozen."""

MAX_SCANNED = 1_000_000_000
"""Pixels times scans of a JPEG: a scan goes over the whole picture even if it holds few data."""

MAX_PARTS = 200_000
"""Chunks of a PNG or segments of a JPEG; the largest PNG has 50,000 chunks of the usual size."""

MAX_TAGGED = 32_000_000
"""Bytes that the tags of a TIFF or of EXIF may hold; many tags can share the same bytes."""

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_TIFFS = (b"II*\0", b"MM\0*", b"II+\0")
_ODD_TIFFS = (b"MM\0+", b"II\0*", b"MM*\0")
"""Big-endian BigTIFF, which Pillow reads as another kind of TIFF, and wrong headers."""

_CUT_OFF = "the picture is damaged: the file is cut off"

_FILLER = bytes(byte for byte in sha512(b"after a scan").digest() if byte != 0xFF)
"""Different bytes: a run of one value could decode to the same as the zeros libjpeg makes up."""

_TAG_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8,
              13: 4, 16: 8, 17: 8, 18: 8}  # fmt: skip
"""Bytes of a value, by the type of its tag."""

_TILE_WIDTH, _TILE_LENGTH = 322, 323

_COMPRESSION = 259
_STRIPS = ((273, 279), (324, 325))
"""The tags that say where each strip begins and how long it is, then the same for tiles."""

_DEFLATED = {8, 32946}
_CHECKED = {1, 5, 32773} | _DEFLATED
"""No compression, LZW, PackBits, deflate: with these, missing data are noticed."""

_NAMES = {2: "CCITT", 3: "CCITT", 4: "CCITT", 6: "JPEG", 7: "JPEG", 34925: "LZMA",
          50000: "Zstandard", 50001: "WebP"}  # fmt: skip

_BLOCK = 1 << 16  # bytes; they unpack to 64 MB at most

_LEADING_ON = {330, 34665, 34853, 40965}
"""Tags that lead to further directories, which are not needed to show the picture."""


def checked(data: bytes, max_pixels: int) -> bytes:
    """The bytes to give to a decoder: ``data``, or only the first picture of a TIFF with several.

    Args:
        max_pixels: most pixels of a tile.

    Raises:
        ImageError: the file is damaged or cut off (where its format can show that), it asks for
            far too much work, or it is a TIFF of a kind that does not show damage.
    """
    if data.startswith(_PNG):
        _check_png(data)
    elif is_jpeg(data):
        _check_jpeg(data)
    elif data.startswith(_TIFFS):
        return _first_directory(data, max_pixels)
    elif data.startswith(_ODD_TIFFS):
        raise ImageError("a TIFF with an ambiguous or wrong header; save it as PNG")
    return data


def is_jpeg(data: bytes) -> bool:
    """Whether these are the bytes of a JPEG."""
    return data.startswith(_JPEG)


# PNG


def _check_png(data: bytes) -> None:
    """Check that every chunk is whole, up to the last; Pillow skips the checksums of pixels."""
    at, chunks, profiles = len(_PNG), 0, 0
    view = memoryview(data)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            break
        name = kind.decode("latin-1")
        if zlib.crc32(view[at + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise ImageError(f"the picture is damaged: the checksum of its chunk {name!r} is wrong")
        if kind == b"IEND":
            return
        chunks += 1
        profiles += kind == b"iCCP"
        if chunks > MAX_PARTS or profiles > 1:
            raise ImageError(f"the picture is damaged: it has too many chunks {name!r}")
        at = end + 4
    raise ImageError(_CUT_OFF)


# JPEG


class _Segment(NamedTuple):
    """A segment of a JPEG; the data of a scan follow its segment, up to the next one."""

    start: int
    kind: int
    end: int


_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
"""The start of a segment: not a stuffed zero, a restart marker or a filler before another 0xFF."""

_RESTART = re.compile(rb"\xff[\xd0-\xd7]")

_SCAN, _END, _EXIF, _MULTI = 0xDA, 0xD9, 0xE1, 0xE2
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = {0xC2, 0xC6}
_ARITHMETIC = {0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}


def _segments(data: bytes) -> Iterator[_Segment]:
    """The segments of a JPEG, up to the end of its first picture."""
    at = 2
    for _ in range(MAX_PARTS):
        found = _MARKER.search(data, at)
        if not found:
            raise ImageError(_CUT_OFF)
        start, kind = found.start(), data[found.start() + 1]
        at = start + 2 if kind == _END else start + 2 + int.from_bytes(data[start + 2 : start + 4])
        yield _Segment(start, kind, at)
        if kind == _END:
            return
    raise ImageError("the picture is damaged: it has too many segments")


def _check_jpeg(data: bytes) -> None:
    """Refuse more scans or restarts than the size explains, unfinished scans, and huge tags."""
    scans = scanned = blocks = restarts = 0
    exif, before = b"", None
    missing: set[tuple[int, int]] = set()
    for segment in _segments(data):
        body = data[segment.start + 4 : segment.end]
        if before is not None:
            restarts += sum(
                data.count(bytes((0xFF, 0xD0 + i)), before.end, segment.start) for i in range(8)
            )
        if segment.kind in _ARITHMETIC:
            raise ImageError("a JPEG with arithmetic coding, which browsers do not show either")
        if segment.kind in _FRAMES:
            rows, columns = struct.unpack(">HH", body[1:5].ljust(4, b"\0"))
            scanned = max(scanned, rows * columns)
            blocks = max(blocks, -(-rows // 8) * -(-columns // 8))
            depth = range(64) if segment.kind in _PROGRESSIVE else range(1)
            missing |= {(component, k) for component in body[6::3] for k in depth}
        elif segment.kind == _SCAN:
            missing -= _finished(body)
        elif segment.kind == _EXIF and body.startswith(b"Exif\0\0"):
            exif += body[6:]
        elif segment.kind == _MULTI and body.startswith(b"MPF\0"):
            check_tags(body[4:])
        scans += segment.kind == _SCAN
        if scans > MAX_SCANS or scans * scanned > MAX_SCANNED or restarts > scans * 4 * blocks:
            raise ImageError("a JPEG that is decoded over and over: too many scans or restarts")
        before = segment if segment.kind == _SCAN else None
    if missing:
        raise ImageError("the picture is damaged: it ends before its last scan")
    check_tags(exif)


def _finished(body: bytes) -> set[tuple[int, int]]:
    """The (component, coefficient) pairs whose last bit is in this scan."""
    count = body[0] if body else 0
    components = body[1 : 1 + 2 * count : 2]
    first, last, bits = body[1 + 2 * count :][:3].ljust(3, b"\xff")
    whole = bits & 0x0F == 0
    return {(c, k) for c in components for k in range(first, min(last, 63) + 1) if whole}


def filled_up(data: bytes) -> bytes:
    """The JPEG with meaningless bytes added after each scan and each restart interval.

    If the data are complete, a decoder skips these bytes. If the data end early, the decoder makes
    up the rest, and it makes up something else when there are bytes to read: then the picture
    differs from the one without these bytes.
    """
    parts, at, before = [], 0, None
    for segment in _segments(data):
        if before is not None:
            parts.append(data[at : before.end])
            coded = data[before.end : segment.start]
            parts.append(_RESTART.sub(lambda mark: _FILLER + mark[0], coded) + _FILLER)
            at = segment.start
        before = segment if segment.kind == _SCAN else None
    return b"".join([*parts, data[at:]])


# TIFF, and the tags of EXIF, which are written the same way


class _Tag(NamedTuple):
    place: int
    number: int
    kind: int
    values: int


class _Directory(NamedTuple):
    """The first directory of tags; ``ends`` is the offset that holds the place of the next one."""

    order: str
    big: bool
    tags: list[_Tag]
    ends: int


def _directory(data: bytes) -> _Directory | None:
    """The first directory of tags; None if it is cut off, which the callers report or ignore."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    wide, number, form, size = ("Q", "Q", "HHQ", 20) if big else ("L", "H", "HHL", 12)
    try:
        (at,) = struct.unpack_from(order + wide, data, 8 if big else 4)
        (count,) = struct.unpack_from(order + number, data, at)
        first = at + struct.calcsize(order + number)
        places = range(first, first + min(count, MAX_PARTS) * size, size)
        tags = [_Tag(place, *struct.unpack_from(order + form, data, place)) for place in places]
    except (struct.error, OverflowError):
        return None
    return _Directory(order, big, tags, first + count * size)


def check_tags(data: bytes) -> None:
    """Refuse tags of TIFF or EXIF that ask for too much memory.

    Raises:
        ImageError: the tags hold more than ``MAX_TAGGED`` bytes.
    """
    found = _directory(data)
    held = 0
    for tag in found.tags if found else ():
        # No reader goes beyond the end of the file.
        held += min(tag.values * _TAG_BYTES.get(tag.kind, 0), len(data))
        if held > MAX_TAGGED:
            raise ImageError("the picture is damaged: its tags hold too much data")


def _first_directory(data: bytes, max_pixels: int) -> bytes:
    """The TIFF cut to its first picture, because Pillow would count all pictures that follow.

    Raises:
        ImageError: the tags or a tile are far too large; or the file is damaged, or compressed in a
            way that does not show damage.
    """
    check_tags(data)
    found = _directory(data)
    if found is None:
        raise ImageError(_CUT_OFF)
    alone, tile = bytearray(data), {_TILE_WIDTH: 1, _TILE_LENGTH: 1}
    for tag in found.tags:
        if tag.number in _LEADING_ON:
            struct.pack_into(found.order + "H", alone, tag.place, 0xFFFF)
        elif tag.number in tile:
            form = {3: "H", 4: "L", 16: "Q"}.get(tag.kind, "L")
            where = tag.place + (12 if found.big else 8)
            (tile[tag.number],) = struct.unpack_from(found.order + form, data, where)
    if tile[_TILE_WIDTH] * tile[_TILE_LENGTH] > max_pixels:
        raise ImageError(f"a tile of more pixels than the limit of {max_pixels:,}")
    _check_strips(data, found, 16 * max_pixels)
    following = found.order + ("Q" if found.big else "L")
    if found.ends + struct.calcsize(following) <= len(alone):
        struct.pack_into(following, alone, found.ends, 0)
    return bytes(alone)


def _check_strips(data: bytes, found: _Directory, most: int) -> None:
    """Refuse damaged strips, and compressions that libtiff decodes even when the data are wrong.

    Args:
        most: most bytes that all strips together may unpack to.
    """
    numbers = {_COMPRESSION, *(number for pair in _STRIPS for number in pair)}
    tags = [tag for tag in found.tags if tag.number in numbers]
    held = {tag.number: _values(data, found, tag) for tag in tags}
    compressions = held.get(_COMPRESSION, (1,))
    if len(held) < len(tags) or len(compressions) != 1:
        raise ImageError("the picture is damaged: its tags contradict each other")
    (compression,) = compressions
    if compression not in _CHECKED:
        name = _NAMES.get(compression, f"number {compression}")
        raise ImageError(
            f"a TIFF with the compression {name}, which does not show whether the picture is whole;"
            " save it as PNG, or as TIFF with the compression deflate, LZW or none"
        )
    if compression not in _DEFLATED:
        return
    for starts, lengths in _STRIPS:
        where, count = held.get(starts, ()), held.get(lengths, ())
        # Equal entries may point to the same strip; different strips do not overlap.
        strips = set(zip(where, count, strict=False))
        if len(where) != len(count) or sum(length for _, length in strips) > len(data):
            raise ImageError("the picture is damaged: its strips are not where its tags say")
        for start, length in strips:
            most -= _unpacked(memoryview(data)[start : start + length], most)


def _values(data: bytes, found: _Directory, tag: _Tag) -> tuple[int, ...]:
    """The integers in a tag."""
    form = {1: "B", 3: "H", 4: "L", 16: "Q"}.get(tag.kind)
    if form is None or tag.values > MAX_PARTS:
        raise ImageError(f"the picture is damaged: its tag {tag.number} cannot be read")
    form, at = f"{found.order}{tag.values}{form}", tag.place + (12 if found.big else 8)
    try:
        if struct.calcsize(form) > (8 if found.big else 4):
            (at,) = struct.unpack_from(found.order + ("Q" if found.big else "L"), data, at)
        return struct.unpack_from(form, data, at)
    except (struct.error, OverflowError):
        raise ImageError(_CUT_OFF) from None


def _unpacked(strip: memoryview, most: int) -> int:
    """How many bytes a deflated strip unpacks to; the checksum at its end must be right."""
    inflate, size = zlib.decompressobj(), 0
    try:
        for at in range(0, len(strip), _BLOCK):
            size += len(inflate.decompress(strip[at : at + _BLOCK]))
            if size > most:
                raise ImageError("a TIFF that unpacks to more than any picture has")
            if inflate.eof:
                return size
    except zlib.error:
        raise ImageError("the picture is damaged: the data of a strip are wrong") from None
    raise ImageError(_CUT_OFF)
