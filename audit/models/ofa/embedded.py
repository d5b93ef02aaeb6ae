"""Unpack the embedded models once into a cache, as folders in ModelScope's format.

Git holds only the parameters, as float16 safetensors. A checkpoint folder also has integer position
tables, which are several times as large and follow from the configuration; they are made here by
building the model.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

from audit.base.errors import ModelError
from audit.base.extras import require
from audit.base.files import digest

_PACKAGE = "audit.reference"
_COPIED = ("config.json", "configuration.json", "vocab.json", "merges.txt", "answer2label.json")
_PARAMETERS = "parameters.safetensors"
_WEIGHTS = "pytorch_model.bin"


def unpack(name: str) -> Path:
    """The checkpoint folder of an embedded model; made at first use, named by its parts' digest.

    Two processes may unpack at once: each works in its own folder and then renames it into place.

    Raises:
        MissingExtra: it must be made, and the packages for that are not installed.
        ModelError: the cache cannot be written.
    """
    packed = resources.files(_PACKAGE).joinpath(name)
    parts = {part: packed.joinpath(part).read_bytes() for part in (*_COPIED, _PARAMETERS)}
    cache = _cache()
    target = cache / f"{name}-{digest(*parts.values())[:16]}"
    try:
        if not _whole(target):
            require("ofa", name)
            _unpack(parts, target)
    except OSError as error:
        raise ModelError(
            f"{name}: cannot be unpacked into {cache}: {error.strerror or error}; point "
            "AUDIT_CACHE at a folder that can be written and has 50 MB to spare"
        ) from None
    return target


def labels_of(name: str) -> tuple[str, ...]:
    """The labels of an embedded model, in its own order, without unpacking it."""
    packed = resources.files(_PACKAGE).joinpath(name, "answer2label.json")
    return tuple(json.loads(packed.read_text(encoding="utf-8")))


def _whole(target: Path) -> bool:
    """Whether it has every file: cache cleaners remove files that were not read for a long time."""
    return all((target / part).is_file() for part in (*_COPIED, _WEIGHTS))


def _unpack(parts: dict[str, bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=target.parent, prefix=".unpacking-"))
    try:
        made = work / "made"
        made.mkdir()
        for part in _COPIED:
            (made / part).write_bytes(parts[part])
        weights = _weights(json.loads(parts["config.json"]), parts[_PARAMETERS])
        (made / _WEIGHTS).write_bytes(weights)
        if target.exists() and not _whole(target):
            target.rename(work / "incomplete")
        try:
            made.rename(target)
        except OSError:
            if not _whole(target):  # else another process was first: its folder is as good
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _cache() -> Path:
    root = os.environ.get("AUDIT_CACHE") or os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(root) if root else Path.home() / ".cache") / "ofa-audit"
    except RuntimeError:
        raise ModelError(
            "there is no home folder to unpack the embedded models in: point AUDIT_CACHE at a "
            "folder that can be written"
        ) from None


def _weights(config: dict[str, Any], parameters: bytes) -> bytes:
    """The content of a weight file with every tensor of the model."""
    import torch  # noqa: PLC0415
    from safetensors.torch import load  # noqa: PLC0415

    from audit.models.kit.quiet import quiet  # noqa: PLC0415
    from audit.models.ofa.upstream import OFAConfig, OFAModel  # noqa: PLC0415

    with quiet():
        model = OFAModel(OFAConfig.from_dict(config))
    stored = {name: value.float() for name, value in load(parameters).items()}
    missing, unexpected = model.load_state_dict(stored, strict=False)
    tables = {name for name, value in model.state_dict().items() if not value.is_floating_point()}
    tied = {"decoder.embed_tokens.weight", "decoder.output_projection.weight"}
    if unexpected or set(missing) - tables - tied:
        raise RuntimeError(f"the embedded parameters do not fit the model: {unexpected} {missing}")
    written = io.BytesIO()  # torch crashes the process if it writes to a full disk
    torch.save(model.state_dict(), written)
    return written.getvalue()
