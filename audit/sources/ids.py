"""Make ids of rows legal and unique, always the same way."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from hashlib import sha256
from pathlib import PurePath

import numpy as np

from audit.base.files import digest
from audit.base.names import LONGEST_CASE, slug

_MARK = 8
"""Hexadecimal digits of a digest in an id."""


def legal(written: str) -> str:
    """``written`` as the id of a case; empty if no letter or digit of it can be kept.

    Letters lose their accents, anything else that is not allowed becomes a hyphen. An id that is
    too long, or of which letters are lost, ends with a digest, so that two of them differ.

    >>> legal("4705552913.jpg#2r1n"), legal("../../x"), legal("café 1")
    ('4705552913.jpg-2r1n', 'x', 'cafe-1')
    >>> legal("鸟 1"), legal("鸟")
    ('1-702d01a4', '')
    """
    plain = unicodedata.normalize("NFKD", written)
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    lost = any(c.isalnum() and not c.isascii() for c in plain)
    kept = re.sub(r"[^A-Za-z0-9._-]+", "-", plain)
    kept = re.sub(r"^[^A-Za-z0-9]+", "", kept).rstrip("-")
    if not kept:
        return ""
    if lost or len(kept) > LONGEST_CASE - _ROOM:
        return (
            f"{kept[: LONGEST_CASE - _ROOM - _MARK - 1]}-{digest(written_bytes(written))[:_MARK]}"
        )
    return kept


_ROOM = 10
"""Characters that are left for the number that makes an id unique."""


def written_bytes(text: str) -> bytes:
    """A text in UTF-8, also one with half a character in it."""
    return text.encode("utf-8", "surrogatepass")


def made(picture: str | bytes, name: str, text: str) -> str:
    """An id for a row that has none: by its picture and its text, so it stays if rows move.

    Args:
        picture: the picture's name, or its content.
        name: what the picture is called.

    >>> made("birds/two.jpg", "birds/two.jpg", "there are two birds")
    'two-de75fa0f'
    """
    data = written_bytes(picture) if isinstance(picture, str) else picture
    stem = legal(PurePath(name).stem)[:60] or "row"
    return f"{stem}-{digest(data, written_bytes(text))[:_MARK]}"


class Unique:
    """Gives ids that occur again a number, in the order in which they come.

    Args:
        taken: ids that others have.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._seen = _Seen()
        self._again: Counter[int] = Counter()
        for each in taken:
            self._seen.add(_key(each))

    def take(self, wanted: str) -> str:
        """``wanted``, with a number if an earlier id has the same letters and digits.

        >>> unique = Unique()
        >>> [unique.take(each) for each in ("bird", "Bird", "bird-2", "bird")]
        ['bird', 'Bird-2', 'bird-2-2', 'bird-3']
        """
        key, found = _key(wanted), wanted
        while _key(found) in self._seen:
            self._again[key] += 1
            found = f"{wanted}-{self._again[key] + 1}"
        self._seen.add(_key(found))
        return found


class _Seen:
    """A set of 64-bit numbers that only grows: about ten bytes for each of millions.

    A Python set needs 82 bytes for each. So the latest numbers alone are in one, until they are
    some share of all and are sorted into an array.
    """

    def __init__(self) -> None:
        self._latest: set[int] = set()
        self._sorted = np.zeros(0, np.uint64)

    def __contains__(self, number: int) -> bool:
        if number in self._latest:
            return True
        place = int(np.searchsorted(self._sorted, np.uint64(number)))
        return place < len(self._sorted) and int(self._sorted[place]) == number

    def add(self, number: int) -> None:
        """Add a number that is not there."""
        self._latest.add(number)
        if len(self._latest) >= max(_FEW, len(self._sorted) // _SHARE):
            latest = np.fromiter(self._latest, np.uint64, len(self._latest))
            self._sorted = np.concatenate([self._sorted, latest])
            self._sorted.sort()
            self._latest.clear()


_FEW = 65_536
_SHARE = 32
"""Of the numbers in a :class:`_Seen`, this share is in a set at most, but always some."""


def _key(name: str) -> int:
    return int.from_bytes(sha256(slug(name).encode()).digest()[:8])
