"""Turn the pixels of a file into what people see: upright, in 8-bit RGB, on white."""

from __future__ import annotations

from functools import lru_cache

from PIL import ExifTags, Image, ImageFile
from PIL.TiffImagePlugin import PREFIXES

from audit.base.encoded import check_tags
from audit.base.errors import ImageError

GROUND = (255, 255, 255)
"""What shows through a transparent picture: white, as on a page."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How to turn a picture with an EXIF orientation; with 1 or any other value it is upright."""

_SIXTEEN = ("I;16", "I;16B", "I;16L", "I;16N")

_SCALED = {"L;2": 85, "L;4": 17}
"""The factor by which Pillow multiplies grey of fewer than 8 bits."""

_AGREED = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr",
           *_SIXTEEN)  # fmt: skip
"""Kinds of pixels (Pillow's modes) that viewers agree about."""


def orientation(image: Image.Image) -> int:
    """The orientation from EXIF, or else from XMP: 1 to 8, and 1 if neither gives one.

    Invalid EXIF data are ignored: the pixels are fine without them.

    Raises:
        ImageError: the EXIF data are far too large.
    """
    exif = image.info.get("exif", b"")
    profile = image.info.get("Raw profile type exif")  # as ImageMagick writes it into a PNG
    if profile:
        try:
            exif = bytes.fromhex("".join(profile.split("\n")[3:]))
        except ValueError:
            exif = b"not hexadecimal"
    exif = exif.removeprefix(b"Exif\0\0")
    if not exif.startswith(tuple(PREFIXES)):  # Pillow would stumble over it
        for name in ("exif", "Raw profile type exif"):
            image.info.pop(name, None)
    check_tags(exif)
    found = image.getexif().get(ExifTags.Base.Orientation)
    return found if found in _TURNS else 1


def turned(image: Image.Image, held: int) -> Image.Image:
    """The picture as people see it, given its EXIF orientation ``held``.

    Pillow's own ``exif_transpose`` also rewrites all other tags, and fails if one of them is odd.
    """
    return image.transpose(_TURNS[held]) if held in _TURNS else image


def scale_key(image: ImageFile.ImageFile) -> None:
    """Scale the transparent grey of a PNG as Pillow will scale its pixels.

    Call this before the picture is decoded. Pillow scales pixels of 2 and 4 bits to 8, but leaves
    the value that stands for transparency as it is in the file.

    Raises:
        ImageError: the transparent colour has 16 bits a channel, and Pillow keeps only 8.
    """
    key = image.info.get("transparency")
    if image.format != "PNG" or not image.tile or key is None:
        return
    stored = image.tile[0].args
    if stored == "RGB;16B":
        raise ImageError(
            "a PNG of 16 bits a channel with a transparent colour, which 8 bits cannot represent; "
            "save it with an alpha channel"
        )
    if stored in _SCALED:
        image.info["transparency"] = key * _SCALED[stored]


def as_rgb(image: Image.Image, *, full: int = 65_535, inverted: bool = False) -> Image.Image:
    """A copy of the picture in 8-bit RGB, with its pixels and nothing else.

    Transparent parts are laid on white. 16-bit grey is scaled by its range. CMYK becomes RGB
    without a colour profile, as in every program that applies none.

    Args:
        full: the value of white in a picture of 16-bit grey.
        inverted: whether 0 is white in a picture of 16-bit grey.

    Raises:
        ImageError: viewers do not agree how to show its pixels.
    """
    if image.mode not in _AGREED:
        raise ImageError(
            f"viewers do not agree how to show pixels of Pillow's mode {image.mode}; "
            "save the picture as RGB or grey, in 8 or 16 bits a channel"
        )
    if image.mode in _SIXTEEN:
        image = _eight(image, full, inverted)
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        found = Image.new("RGB", image.size, GROUND)
        found.paste(seen, mask=seen.getchannel("A"))
        return found
    found = image.convert("RGB")
    found.info.clear()
    return found


def _eight(image: Image.Image, full: int, inverted: bool) -> Image.Image:
    """16-bit grey in 8 bits, with an alpha channel if one value is transparent."""
    wide = image.convert("I")
    found = wide.point(_scale(full, inverted), "L")
    key = image.info.get("transparency")
    if isinstance(key, int):
        opaque = [0 if value == key else 255 for value in range(65_536)]
        found = Image.merge("LA", (found, wide.point(opaque, "L")))
    return found


@lru_cache(4)
def _scale(full: int, inverted: bool) -> list[int]:
    scaled = [min(255, (value * 255 + full // 2) // full) for value in range(65_536)]
    return [255 - value for value in scaled] if inverted else scaled
