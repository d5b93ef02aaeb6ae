"""An animation that a notebook plays by itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from audit.base.files import write_atomically
from audit.report.pictures import bytes_uri


@dataclass(frozen=True)
class Animation:
    """Maps of one picture, one after the other.

    Attributes:
        data: the file's content.
        format: ``GIF`` or ``WEBP``.
        about: what it shows, in words.
    """

    data: bytes = field(repr=False)
    format: str
    about: str

    def save(self, path: str | Path) -> Path:
        """Write the file, and return its path.

        Raises:
            OSError: it cannot be written.
        """
        write_atomically(Path(path), self.data)
        return Path(path)

    def _repr_html_(self) -> str:
        source = bytes_uri(self.data, f"image/{self.format.lower()}")
        return f'<img src="{source}" alt="{escape(self.about)}">'
