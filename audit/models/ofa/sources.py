"""From what a user writes to a checkpoint folder on disk."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from audit.base.errors import ModelError
from audit.base.quiet import silenced
from audit.base.settings import EMBEDDED
from audit.models.ofa.standins import stand_ins

_ACCEPTED = (
    f"{' or '.join(EMBEDDED)}, a folder in ModelScope's format, or a ModelScope id such as "
    "iic/ofa_visual-entailment_snli-ve_large_en"
)
_LOGGERS = ("modelscope", "modelscope_hub")
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
        from audit.models.ofa.embedded import unpack  # noqa: PLC0415  torch is not needed for the rest

        return Checkpoint(unpack(source), source, source)
    folder = _folder(source)
    if folder is not None:
        return Checkpoint(folder, _slug(folder.name) or "root", source)
    return _from_hub(source, *_id_of(source))


def check_source(source: str) -> None:
    """See that ``source`` can be one, without asking ModelScope.

    Raises:
        ModelError: it is neither an embedded model nor a folder that describes one, nor has it the
            form of an id.
    """
    if source in EMBEDDED:
        return
    folder = _folder(source)
    if folder is None:
        _id_of(source)
    else:
        labels_of(folder)


def _folder(source: str) -> Path | None:
    """The folder that ``source`` names, with links resolved; None if there is no such folder.

    Raises:
        ModelError: it names a file, or nothing that could be looked for.
    """
    if not source.strip():
        raise ModelError(f"no model is named: give {_ACCEPTED}")
    try:
        path = Path(source).expanduser()
        if path.is_dir():
            return path.resolve()
        is_file = path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(f"{source}: cannot be looked for: {error}") from None
    if is_file:
        raise ModelError(f"{source}: is a file; a checkpoint is the folder that holds it")
    return None


def _id_of(source: str) -> tuple[str, str | None]:
    """ModelScope's id and the revision."""
    match = _ID.fullmatch(source)
    if match is None or source.startswith((".", "/", "~")) or os.sep != "/":
        raise ModelError(f"{source}: no such checkpoint folder (give {_ACCEPTED})")
    return match["id"], match["revision"]


def _from_hub(source: str, model_id: str, revision: str | None) -> Checkpoint:
    with stand_ins():
        from modelscope import snapshot_download  # noqa: PLC0415

    name = _slug(model_id)
    try:
        with silenced(*_LOGGERS):
            cached = snapshot_download(model_id, revision=revision, local_files_only=True)
        return Checkpoint(Path(cached), name, source, revision or _revision(Path(cached)))
    except Exception as error:  # modelscope raises several unrelated kinds for "not cached"
        not_cached = error
    try:
        with silenced(*_LOGGERS):  # the bars of a download stay
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


def labels_of(folder: Path) -> tuple[str, ...]:
    """The labels of a checkpoint folder, read from its answer file without loading the model.

    Raises:
        ModelError: the folder's descriptions cannot be read, or are not those of such a model.
    """
    from audit.models.ofa.description import described  # noqa: PLC0415  a suite may have no cases

    return described(folder).labels


def known_labels(source: str) -> tuple[str, ...] | None:
    """The labels of a model, read from its answer file without loading it; None if unknown yet."""
    if source in EMBEDDED:
        packed = resources.files("audit.reference").joinpath(source, "answer2label.json")
        return tuple(json.loads(packed.read_text(encoding="utf-8")))
    try:
        folder = _folder(source)
        return None if folder is None else labels_of(folder)
    except ModelError:
        return None  # loading the model says what is wrong with the folder
