"""The embedded models: unpacked once into a cache, as folders in ModelScope's format.

Git holds the parameters alone, as float16 safetensors. A checkpoint folder also carries integer
position tables, several times their size, that follow from the configuration; they are made again
here by building the model.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

from audit.files import digest

_PACKAGE = "audit.reference"
_COPIED = ("config.json", "configuration.json", "vocab.json", "merges.txt", "answer2label.json")
_PARAMETERS = "parameters.safetensors"


def unpack(name: str) -> Path:
    """The checkpoint folder of an embedded model; made at first use, named by its parts' digest.

    Two processes may unpack at once: each works in a folder of its own and renames it into place.
    """
    packed = resources.files(_PACKAGE).joinpath(name)
    parts = {part: packed.joinpath(part).read_bytes() for part in (*_COPIED, _PARAMETERS)}
    target = _cache() / f"{name}-{digest(*parts.values())[:16]}"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=target.parent, prefix=".unpacking-"))
    try:
        for part in _COPIED:
            (work / part).write_bytes(parts[part])
        _save_weights(json.loads(parts["config.json"]), parts[_PARAMETERS], work)
        try:
            work.rename(target)
        except OSError:
            if not target.exists():  # another process was first: its folder is as good
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def _cache() -> Path:
    root = os.environ.get("AUDIT_CACHE") or os.environ.get("XDG_CACHE_HOME")
    return Path(root) / "ofa-audit" if root else Path.home() / ".cache" / "ofa-audit"


def _save_weights(config: dict[str, Any], parameters: bytes, folder: Path) -> None:
    import torch  # noqa: PLC0415
    from safetensors.torch import load  # noqa: PLC0415

    from audit.models.ofa import OFAConfig, OFAModel, quiet  # noqa: PLC0415

    with quiet():
        model = OFAModel(OFAConfig.from_dict(config))
    stored = {name: value.float() for name, value in load(parameters).items()}
    missing, unexpected = model.load_state_dict(stored, strict=False)
    tables = {name for name, value in model.state_dict().items() if not value.is_floating_point()}
    tied = {"decoder.embed_tokens.weight", "decoder.output_projection.weight"}
    if unexpected or set(missing) - tables - tied:
        raise RuntimeError(f"the embedded parameters do not fit the model: {unexpected} {missing}")
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
