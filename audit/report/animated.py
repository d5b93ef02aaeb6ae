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
        """Write the file, and return its path. Folders that are missing are made.

        Raises:
            OSError: it cannot be written.
            ValueError: the file's name ends as another format's does.
        """
        ending = Path(path).suffix
        if ending and ending.casefold() != f".{self.format.lower()}":
            other = ".gif" if self.format == "WEBP" else ".webp"
            instead = (
                f"; ask for it with animate(..., format={other[1:].upper()!r})"
                if ending.casefold() == other
                else ""
            )
            raise ValueError(
                f"{path}: the animation is a {self.format}, whose file's name ends in "
                f".{self.format.lower()}{instead}"
            )
        write_atomically(Path(path), self.data)
        return Path(path)

    def _repr_html_(self) -> str:
        source = bytes_uri(self.data, f"image/{self.format.lower()}")
        return f'<img src="{source}" alt="{escape(self.about)}">'
