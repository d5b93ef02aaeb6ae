"""Find where a chat model lies on disk: in a folder, or in Hugging Face's cache under its id."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.base.errors import ModelError, in_a_sentence
from audit.models.hf.families import Family, family_of
from audit.models.hf.matchers import Matcher, matcher_of

SCHEME = "hf:"
_ID = re.compile(r"(?P<id>[\w-][\w.-]*/[\w-][\w.-]*)(?:@(?P<revision>[\w./-]+))?")
_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
"""What is downloaded: no code, since none of a checkpoint's is ever run."""

_PICKLED = "pytorch_model*.bin"
"""What is downloaded besides, if there are no safetensors."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder as ``save_pretrained`` writes it, and where it came from."""

    folder: Path
    name: str
    source: str
    revision: str = ""

    @property
    def config(self) -> dict[str, Any]:
        """What ``config.json`` says.

        Raises:
            ModelError: there is none, or it cannot be read.
        """
        path = self.folder / "config.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{path}: cannot be read, so this is no model of transformers: "
                f"{in_a_sentence(error)}"
            ) from None
        if not isinstance(found, dict):
            raise ModelError(f"{path}: holds no keys and values")
        return found

    @property
    def family(self) -> Family:
        """The family that ``config.json`` names.

        Raises:
            ModelError: it is not one that is known.
        """
        return family_of(self.config.get("model_type"), self.folder / "config.json")

    @property
    def matcher(self) -> Matcher | None:
        """The matcher that ``config.json`` names; None if it names a model of another kind.

        Raises:
            ModelError: it is of a matcher's family, but without the head that matches.
        """
        return matcher_of(self.config, self.folder / "config.json")


def local(source: str) -> Checkpoint | None:
    """The checkpoint of a source that is a folder; None if there is no such folder.

    Raises:
        ModelError: it names a file, or cannot be looked up.
    """
    written = source.removeprefix(SCHEME)
    if not written.strip():
        raise ModelError(f"{source}: names no model; write hf:FOLDER or hf:ORG/NAME[@REVISION]")
    try:
        path = Path(written).expanduser()
        if path.is_dir():
            folder = path.resolve()
            return Checkpoint(folder, _slug(folder.name) or "root", source)
        is_file = path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(f"{source}: cannot be looked up: {error}") from None
    if is_file:
        raise ModelError(f"{source}: is a file; a checkpoint is the folder that holds it")
    return None


def is_id(source: str) -> bool:
    """Whether a source has the form of an id on Hugging Face."""
    return _ID.fullmatch(source.removeprefix(SCHEME)) is not None


def found(source: str) -> Checkpoint:
    """The checkpoint of a source; an id is downloaded, with a bar, if it is not in the cache.

    Raises:
        ModelError: it is neither a folder, nor cached, nor reachable.
    """
    folder = local(source)
    if folder is not None:
        return folder
    match = _ID.fullmatch(source.removeprefix(SCHEME))
    if match is None:
        raise ModelError(f"{source}: no such folder, and not an id such as hf:ORG/NAME@REVISION")
    from huggingface_hub import snapshot_download  # noqa: PLC0415  slow, and folders need none
    from huggingface_hub.errors import LocalEntryNotFoundError  # noqa: PLC0415

    def fetched(offline: bool) -> Path:
        path = Path()
        for wanted in ([*_FILES], [*_FILES, _PICKLED]):
            path = Path(
                snapshot_download(
                    match["id"], revision=match["revision"], allow_patterns=wanted,
                    local_files_only=offline,
                )
            )  # fmt: skip
            if any(path.glob("*.safetensors")):
                break
        return path

    try:
        path = fetched(offline=True)
    except Exception as not_cached:  # several unrelated kinds mean "not cached"
        try:
            path = fetched(offline=False)
        except Exception as error:
            cache = "not in Hugging Face's cache"
            if not isinstance(not_cached, LocalEntryNotFoundError):
                cache += f" ({in_a_sentence(not_cached)})"
            raise ModelError(
                f"{source}: there is no folder {source.removeprefix(SCHEME)}; as an id it is "
                f"{cache}, and it could not be downloaded: {_reason(error)}. On a machine with a "
                f"network, fetch it with\n    hf download {match['id']}"
                f"{' --revision ' + match['revision'] if match['revision'] else ''}\n"
                "and copy the printed folder here, or point HF_HOME at the cache that has it."
            ) from None
    # A cache folder is named after its commit: .../snapshots/COMMIT.
    commit = path.name if path.parent.name == "snapshots" else ""
    return Checkpoint(path, _slug(match["id"]), source, match["revision"] or commit)


_REASONS = {
    "OfflineModeIsEnabled": "HF_HUB_OFFLINE forbids it",
    "GatedRepoError": "its owner wants its terms accepted first, on huggingface.co; then log in "
    "with hf auth login",
    "RepositoryNotFoundError": "Hugging Face has no such model, or it is private and you are not "
    "logged in (hf auth login)",
    "RevisionNotFoundError": "it has no such revision",
    "LocalEntryNotFoundError": "Hugging Face cannot be reached",
}
"""What the errors of huggingface_hub mean, which go on for lines."""


def _reason(error: BaseException) -> str:
    """Why something could not be downloaded; the error that others came from says it best."""
    chain: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in chain:
        chain.append(at)
        at = at.__cause__ or at.__context__
    known = [_REASONS[type(each).__name__] for each in chain if type(each).__name__ in _REASONS]
    return min(known, key=[*_REASONS.values()].index) if known else in_a_sentence(error).rstrip(".")


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "--", name)
