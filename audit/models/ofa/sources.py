"""Find where a checkpoint lies on disk: in a folder, or in ModelScope's cache under its id."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from audit.base.errors import ModelError
from audit.base.quiet import silenced
from audit.models.ofa.standins import stand_ins

_LOGGERS = ("modelscope", "modelscope_hub")
_ID = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint folder in ModelScope's format, and where it came from."""

    folder: Path
    name: str
    source: str
    revision: str = ""


class HubId(NamedTuple):
    """A model on ModelScope, and its revision; None means the newest."""

    id: str
    revision: str | None


def folder_of(source: str) -> Path | None:
    """The folder that ``source`` names, with links resolved; None if there is no such folder.

    Raises:
        ModelError: it names a file, or cannot be looked up.
    """
    try:
        path = Path(source).expanduser()
        if path.is_dir():
            return path.resolve()
        is_file = path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(f"{source}: cannot be looked up: {error}") from None
    if is_file:
        raise ModelError(f"{source}: is a file; a checkpoint is the folder that holds it")
    return None


def id_of(source: str) -> HubId | None:
    """What ``source`` means on ModelScope; None if it does not have the form of an id."""
    match = _ID.fullmatch(source)
    if match is None or source.startswith((".", "/", "~")) or os.sep != "/":
        return None
    return HubId(match["id"], match["revision"])


def in_folder(source: str, folder: Path) -> Checkpoint:
    """The checkpoint in a folder of this machine, named after the folder."""
    return Checkpoint(folder, _slug(folder.name) or "root", source)


def from_hub(source: str, wanted: HubId) -> Checkpoint:
    """The checkpoint of a ModelScope id; downloaded, with a bar, if it is not in the cache.

    Raises:
        ModelError: it is neither cached nor reachable.
    """
    with stand_ins():
        from modelscope import snapshot_download  # noqa: PLC0415

    name, (model_id, revision) = _slug(wanted.id), wanted
    try:
        with silenced(*_LOGGERS):
            cached = snapshot_download(model_id, revision=revision, local_files_only=True)
        return Checkpoint(Path(cached), name, source, revision or _revision(Path(cached)))
    except Exception as error:  # modelscope raises several unrelated kinds for "not cached"
        not_cached = error
    try:
        with silenced(*_LOGGERS):  # the progress bars of a download are still shown
            fetched = snapshot_download(model_id, revision=revision)
    except Exception as error:
        at = f", revision='{revision}'" if revision else ""
        raise ModelError(
            f"{source}: not in ModelScope's cache ({_one_line(not_cached)}), and it could not be "
            f"downloaded ({_one_line(error)}). On a machine with a network, fetch it with\n"
            f'    python -c "from modelscope import snapshot_download as get; '
            f"print(get('{model_id}'{at}))\"\n"
            "and copy the printed folder here, or point MODELSCOPE_CACHE at the cache that has it."
        ) from None
    return Checkpoint(Path(fetched), name, source, revision or _revision(Path(fetched)))


def _revision(folder: Path) -> str:
    """The revision that a cache folder is named after: .../snapshots/REVISION."""
    return folder.name if folder.parent.name == "snapshots" else ""


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "--", name)


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:400]}" if lines else type(error).__name__
