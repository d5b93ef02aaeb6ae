"""Where the parts of a chat model of transformers are: vision tower, projector, decoder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from torch import nn

from audit.base.errors import ModelError
from audit.models.kit.spoiling import Attention

_VISION = ("model.visual", "model.vision_tower", "model.vision_model")
_PROJECTORS = ("model.visual.merger", "model.multi_modal_projector", "model.connector")
_DECODERS = ("model.language_model", "model.text_model")
_LAYERS = ("blocks", "layers", "layer")
_QUERIES = ("q_proj", "qkv")
_OUTPUTS = ("o_proj", "out_proj", "proj", "projection_layer")


@dataclass(frozen=True)
class Parts:
    """Paths of modules.

    Attributes:
        vision, projector, decoder: the three parts.
        seeing, saying: the list of the vision tower's layers, and that of the decoder's.
        words: the embedding of the vocabulary.
        depths: how many layers each list has.
    """

    vision: str
    projector: str
    decoder: str
    seeing: str
    saying: str
    words: str
    depths: tuple[int, int]

    @property
    def stages(self) -> tuple[tuple[str, str], ...]:
        """From the answer down; see :class:`audit.models.kit.altering.Layered`.

        An embedding that input and output share counts as input: if it were randomised first, the
        model would be left without words.
        """

        def layers(title: str, path: str, count: int) -> list[tuple[str, str]]:
            return [
                (f"{title} layer {n + 1}", rf"{re.escape(path)}\.{n}\.")
                for n in reversed(range(count))
            ]

        return (
            ("answers", rf"lm_head\.|{re.escape(self.decoder)}\.norm\."),
            *layers("decoder", self.saying, self.depths[1]),
            ("projector", rf"{re.escape(self.projector)}\."),
            *layers("vision", self.seeing, self.depths[0]),
            ("embeddings", ""),
        )


def parts_of(network: Any) -> Parts:
    """The parts of a network.

    Raises:
        ModelError: one of them is not where transformers has it.
    """
    modules = dict(network.named_modules())
    vision, projector, decoder = (
        _first(modules, names) for names in (_VISION, _PROJECTORS, _DECODERS)
    )
    embedding = network.get_input_embeddings()
    words = next(name for name, module in modules.items() if module is embedding)
    seeing, saying = (_layers(modules, path) for path in (vision, decoder))
    depths = (len(modules[seeing]), len(modules[saying]))
    return Parts(vision, projector, decoder, seeing, saying, words, depths)


def _first(modules: dict[str, nn.Module], names: tuple[str, ...]) -> str:
    found = next((name for name in names if name in modules), None)
    if found is None:
        raise ModelError(f"the network has none of {', '.join(names)}, so its parts are not known")
    return found


def _layers(modules: dict[str, nn.Module], path: str) -> str:
    for name, module in modules.items():
        inside = name.startswith(f"{path}.") and name.rpartition(".")[2] in _LAYERS
        if inside and isinstance(module, nn.ModuleList):
            return name
    raise ModelError(f"the network has no list of layers in {path}, so its parts are not known")


def attention_in(network: Any, layer: str) -> Attention | None:
    """The attention module of a layer; None if its weights are not of a known form."""
    for name, module in network.get_submodule(layer).named_modules():
        children = {
            key: child for key, child in module.named_children() if hasattr(child, "weight")
        }
        queries = next((key for key in _QUERIES if key in children), None)
        output = next((key for key in _OUTPUTS if key in children), None)
        if queries is None or output is None:
            continue
        rows = children[queries].weight.shape[0] // (3 if queries == "qkv" else 1)
        size = getattr(module, "head_dim", None)
        heads = rows // size if size else getattr(module, "num_heads", None)
        if not heads or rows % heads:
            return None
        normalised = any("Norm" in type(child).__name__ for child in module.children())
        path = f"{layer}.{name}"
        return Attention(f"{path}.{queries}", f"{path}.{output}", heads, rows // heads, normalised)
    return None


def last_norm(network: Any, layer: str) -> str | None:
    """The last norm of a layer; None if there is none."""
    names = [
        f"{layer}.{name}"
        for name, module in network.get_submodule(layer).named_modules()
        if "Norm" in type(module).__name__ and "attn" not in name and "attention." not in name
    ]
    return names[-1] if names else None
