"""Unpack the embedded OFA models, as folders in ModelScope's format.

A checkpoint folder also has integer position tables, which are several times as large as the
parameters and follow from the configuration; they are made here by building the model.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from audit.base.extras import require
from audit.models.kit.unpacking import PACKAGE, PARAMETERS, unpacked

_COPIED = ("config.json", "configuration.json", "vocab.json", "merges.txt", "answer2label.json")
_WEIGHTS = "pytorch_model.bin"


def unpack(name: str) -> Path:
    """The checkpoint folder of an embedded model; see :func:`audit.models.kit.unpacking.unpacked`.

    Raises:
        MissingExtra: it must be made, and the packages for that are not installed.
        ModelError: the cache cannot be written.
    """

    def made(parts: Mapping[str, bytes]) -> bytes:
        require("ofa", name)
        return _weights(parts)

    return unpacked(name, _COPIED, _WEIGHTS, made)


def labels_of(name: str) -> tuple[str, ...]:
    """The labels of an embedded model, in its own order, without unpacking it."""
    packed = resources.files(PACKAGE).joinpath(name, "answer2label.json")
    return tuple(json.loads(packed.read_text(encoding="utf-8")))


def _weights(parts: Mapping[str, bytes]) -> bytes:
    """The content of a weight file with every tensor of the model."""
    import torch  # noqa: PLC0415
    from safetensors.torch import load  # noqa: PLC0415

    from audit.models.kit.quiet import quiet  # noqa: PLC0415
    from audit.models.ofa.upstream import OFAConfig, OFAModel  # noqa: PLC0415

    with quiet():
        model = OFAModel(OFAConfig.from_dict(json.loads(parts["config.json"])))
    stored = {name: value.float() for name, value in load(parts[PARAMETERS]).items()}
    missing, unexpected = model.load_state_dict(stored, strict=False)
    tables = {name for name, value in model.state_dict().items() if not value.is_floating_point()}
    tied = {"decoder.embed_tokens.weight", "decoder.output_projection.weight"}
    if unexpected or set(missing) - tables - tied:
        raise RuntimeError(f"the embedded parameters do not fit the model: {unexpected} {missing}")
    written = io.BytesIO()  # torch crashes the process if it writes to a full disk
    torch.save(model.state_dict(), written)
    return written.getvalue()
