"""From what a user writes to a checkpoint folder on disk."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from audit.errors import ModelError
from audit.models.standins import stand_ins

EMBEDDED = ("reference", "shortcut")
"""Models that come with the package: one that is right, one that is so for a wrong reason."""

_ID = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint folder in ModelScope's format, and where it came from."""

    folder: Path
    name: str
    source: str
    revision: str = ""


def resolve(source: str) -> Checkpoint:
    """Find the folder that ``source`` means: an embedded model, a folder, or a ModelScope id.

    Raises:
        ModelError: it is none of these, or an id that is neither cached nor reachable.
    """
    if source in EMBEDDED:
        from audit.models.embedded import unpack  # noqa: PLC0415  torch is not needed for the rest

        return Checkpoint(unpack(source), source, source)
    folder = Path(source).expanduser()
    if folder.is_dir():
        return Checkpoint(folder.resolve(), _slug(folder.resolve().name), source)
    return _from_hub(source, *_id_of(source))


def check_source(source: str) -> None:
    """See that ``source`` can be one, without asking ModelScope.

    Raises:
        ModelError: it is neither an embedded model nor a folder, nor has it the form of an id.
    """
    if source not in EMBEDDED and not Path(source).expanduser().is_dir():
        _id_of(source)


def _id_of(source: str) -> tuple[str, str | None]:
    """ModelScope's id and the revision."""
    match = _ID.fullmatch(source)
    if match is None or source.startswith((".", "/", "~")) or os.sep != "/":
        raise ModelError(
            f"{source}: no such checkpoint folder (give {' or '.join(EMBEDDED)}, a folder in "
            "ModelScope's format, or a ModelScope id such as "
            "iic/ofa_visual-entailment_snli-ve_large_en)"
        )
    return match["id"], match["revision"]


def _from_hub(source: str, model_id: str, revision: str | None) -> Checkpoint:
    with stand_ins():
        from modelscope import snapshot_download  # noqa: PLC0415

    name = _slug(model_id)
    try:
        cached = snapshot_download(model_id, revision=revision, local_files_only=True)
        return Checkpoint(Path(cached), name, source, revision or _revision(Path(cached)))
    except Exception as error:  # modelscope raises several unrelated kinds for "not cached"
        not_cached = error
    try:
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


def known_labels(source: str) -> tuple[str, ...] | None:
    """The labels of a model, read from its answer file without loading it; None if unknown yet."""
    if source in EMBEDDED:
        packed = resources.files("audit.reference").joinpath(source, "answer2label.json")
        answers = json.loads(packed.read_text())
        return tuple(answers)
    folder = Path(source).expanduser()
    try:
        configuration = json.loads((folder / "configuration.json").read_text(encoding="utf-8"))
        answers = json.loads(
            (folder / configuration["model"]["answer2label"]).read_text(encoding="utf-8")
        )
        return tuple(answers)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # loading the model says what is wrong with the folder
