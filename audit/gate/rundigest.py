"""The digest of a run: one SHA-256 for everything in its folder that was measured.

It is the SHA-256 of a manifest, which has a line for each file, in the form of ``sha256sum``
(digest, two spaces, path) and in the order of the paths' bytes. So it can be checked by hand::

    cd RUN && find run.json results.json images outcomes proposals -type f |
      LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum

Pages drawn from the run, such as the gallery, are no part of it: they can be drawn again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from audit.base.errors import RunError
from audit.base.files import digest_file, fit_for_a_name, shown_path

FILES = ("run.json", "results.json")
FOLDERS = ("images", "outcomes", "proposals")


def digests_of(folder: Path) -> dict[str, str]:
    """The SHA-256 of each measured file of a run, by its path inside the folder, in order.

    Raises:
        RunError: the folder is not a whole run, or holds links or names that no run has.
    """
    paths = [folder / name for name in FILES]
    for name in FOLDERS:
        if (folder / name).is_symlink():
            raise RunError(f"{shown_path(folder / name)}: is a symbolic link, not a folder")
        paths += sorted(path for path in (folder / name).rglob("*") if not path.is_dir())
    found = {}
    for path in paths:
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not fit_for_a_name(name):
            raise RunError(f"{shown_path(path)}: is a link, or has a name that no run gives")
        if not path.is_file():
            raise RunError(f"{shown_path(folder)}: not a run, or not whole: there is no {name}")
        found[name] = digest_file(path)
    return dict(sorted(found.items(), key=lambda each: each[0].encode()))


def manifest(digests: Mapping[str, str]) -> str:
    """The digests as ``sha256sum`` writes them, in their order.

    >>> manifest({"run.json": "00"})
    '00  run.json\\n'
    """
    return "".join(f"{digest}  {name}\n" for name, digest in digests.items())


def whole_digest(digests: Mapping[str, str]) -> str:
    """The digest of a run from those of its files, in hexadecimal."""
    return hashlib.sha256(manifest(digests).encode()).hexdigest()
