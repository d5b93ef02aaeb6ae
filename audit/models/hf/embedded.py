"""The embedded chat model: where its folder is, and how it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from audit.base.extras import lacking, require
from audit.models.hf import METHODS
from audit.models.hf.sources import Checkpoint
from audit.models.kit.unpacking import PACKAGE, PARAMETERS, unpacked
from audit.models.protocol import Known, Model

ASKING = "asking.yaml"

COPIED = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    ASKING,
)
"""The files of its folder, except the weights."""

_WEIGHTS = "model.safetensors"


class EmbeddedChat:
    """Loads a chat model that comes with audit; see :mod:`audit.models.protocol`."""

    about = "a small Qwen2.5-VL that knows the same drawn scenes; comes with audit"
    options: Mapping[str, Sequence[str]] = {}

    def __init__(self, name: str) -> None:
        self.accepted = name

    def accepts(self, source: str) -> bool:
        """Whether it is exactly the model's name."""
        return source == self.accepted

    def known(self, source: str, *, fetch: bool = False) -> Known:
        """The methods, and the labels of the asking file in the package."""
        del source
        from audit.models.kit.asking import read_asking  # noqa: PLC0415

        with resources.as_file(resources.files(PACKAGE) / self.accepted / ASKING) as path:
            labels = read_asking(path).labels
        folder = self._checkpoint().folder if fetch else None
        return Known(labels, METHODS, folder, lacking=lacking("hf"))

    def load(
        self, source: str, *, device: str, dtype: str, threads: int | None, **options: Any
    ) -> Model:
        """Load the model from its folder in the cache, unpacked at first use."""
        require("hf", source)
        from audit.models.hf.adapter import ChatModel  # noqa: PLC0415  torch is slow
        from audit.models.kit.asking import read_asking  # noqa: PLC0415

        del options
        found = self._checkpoint()
        asking = read_asking(found.folder / ASKING)
        return ChatModel(found, device=device, dtype=dtype, threads=threads, asking=asking)

    def _checkpoint(self) -> Checkpoint:
        def made(parts: Mapping[str, bytes]) -> bytes:
            require("hf", self.accepted)
            return _weights(parts)

        folder = unpacked(self.accepted, COPIED, _WEIGHTS, made)
        return Checkpoint(folder, self.accepted, self.accepted)


def _weights(parts: Mapping[str, bytes]) -> bytes:
    """The content of a weight file in float32."""
    from safetensors.torch import load, save  # noqa: PLC0415

    stored = {name: value.float() for name, value in load(parts[PARAMETERS]).items()}
    content: bytes = save(stored, metadata={"format": "pt"})
    return content


REFERENCE_CHAT = EmbeddedChat("reference-chat")
