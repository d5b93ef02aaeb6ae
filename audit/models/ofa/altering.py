"""The regressions that can be planted in an OFA: in its layers, its captions, its prompts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from audit.base.images import picture_of
from audit.maps.trace import NOTHING_MORE, Need, Trace
from audit.models.kit import spoiling
from audit.models.kit.altering import Alteration, Altered, Plant, Planting, texts
from audit.models.kit.spoiling import Attention, Spoil, spoiled
from audit.models.ofa.embedded import unpack
from audit.models.ofa.sources import Checkpoint
from audit.models.protocol import Fingerprint, Model, Query

OTHER = "shortcut"
"""The embedded model that others are blended with."""

_MERGES = 200


class Altering(Planting):
    """What an OFA shows to studies that alter it; see :mod:`audit.models.kit.altering`.

    Attributes:
        checkpoint: what was loaded.
    """

    checkpoint: Checkpoint
    vision = "encoder.embed_images."

    @property
    @abstractmethod
    def torch_model(self) -> Any:
        """modelscope's ``OFAModel``."""

    @property
    @abstractmethod
    def preprocessing(self) -> Any:
        """modelscope's preprocessor of the task."""

    @property
    @abstractmethod
    def fingerprint(self) -> Fingerprint:
        """What was loaded and where it runs."""

    @property
    def stages(self) -> tuple[tuple[str, str], ...]:
        """See :class:`audit.models.kit.altering.Layered`."""
        return stages_of(self.torch_model)

    def _table(self) -> dict[Alteration, Plant]:
        def other() -> Mapping[str, Tensor]:
            found = self._of(Checkpoint(unpack(OTHER), OTHER, OTHER))
            tensors: Mapping[str, Tensor] = found.torch_model.state_dict()
            return tensors

        return {**_weights(self.torch_model, other), **_preprocessing(), **_text()}

    def given(self, query: Query) -> bytes:
        """See :class:`audit.models.kit.altering.Alterable`."""
        data = {"image": picture_of(query.image), "text": query.text}
        if query.premise is not None:
            data["text2"] = query.premise
        sample = self.preprocessing(data)
        return b"".join(sample[name].numpy().tobytes() for name in ("source", "patch_image"))

    @property
    def preparation(self) -> str:
        """See :class:`audit.models.kit.altering.Alterable`."""
        return repr(self.preprocessing.patch_resize_transform.transforms[1:])

    @property
    def folder(self) -> Path:
        """See :class:`audit.models.kit.altering.Stored`."""
        return self.checkpoint.folder

    def loaded_from(self, folder: Path) -> Any:
        """See :class:`audit.models.kit.altering.Stored`."""
        return self._of(replace(self.checkpoint, folder=folder))

    def _of(self, checkpoint: Checkpoint) -> Any:
        """Another checkpoint, loaded as this one was."""
        mine, adapter = self.fingerprint, cast(Any, type(self))
        return adapter(checkpoint, mine.device, mine.dtype, engine=mine.engine)


def stages_of(network: Any) -> tuple[tuple[str, str], ...]:
    """An ``OFAModel`` from the answer down; see :class:`audit.models.kit.altering.Layered`.

    The embedding that input and output share counts as input: if it were randomised first, the
    model would be left without words.
    """

    def layers(part: str) -> list[tuple[str, str]]:
        return [
            (f"{part} layer {n + 1}", rf"{part}\.(layers|\w+_table_list)\.{n}\.")
            for n in reversed(range(len(getattr(network, part).layers)))
        ]

    return (
        ("decoder output", r"decoder\.(layer_norm|output_projection)"),
        *layers("decoder"),
        ("decoder positions", r"decoder\."),
        ("encoder output", r"encoder\.layer_norm"),
        *layers("encoder"),
        ("embeddings and ResNet", ""),
    )


def attention_of(network: Any, path: str) -> Attention:
    """One of modelscope's attention modules, by its path."""
    module = network.get_submodule(path)
    return Attention(f"{path}.q_proj", f"{path}.out_proj", module.num_heads, module.head_dim)


def _weights(network: Any, other: Callable[[], Mapping[str, Tensor]]) -> dict[Alteration, Plant]:
    encoder, decoder = (len(getattr(network, part).layers) - 1 for part in ("encoder", "decoder"))
    cross = attention_of(network, f"decoder.layers.{decoder}.cross_attn")
    inside = attention_of(network, "encoder.layers.0.self_attn")
    last = attention_of(network, f"encoder.layers.{encoder}.self_attn")
    found: list[tuple[str, str, Spoil]] = [
        (f"noise-10-{part.split('.')[1] if '.' in part else part}", f"noise of 10 % in {part}",
         spoiling.noise(0.1, f"{part}."))
        for part in ("decoder", "encoder.layers", "encoder.embed_images")
    ]  # fmt: skip
    found += [
        ("prune-cross-one", "one head of the last cross-attention pruned",
         spoiling.pruned(cross, 0)),
        ("prune-cross-all", "all heads of the last cross-attention pruned",
         spoiling.pruned(cross)),
        ("prune-inside-one", "one head of the first encoder layer pruned",
         spoiling.pruned(inside, 1)),
        ("prune-inside-all", "all heads of the first encoder layer pruned",
         spoiling.pruned(inside)),
        ("swap-cross", "queries of two heads swapped, last cross-attention",
         spoiling.swapped(cross, 0, 1)),
        ("swap-inside", "queries of two heads swapped, first encoder layer",
         spoiling.swapped(inside, 0, 1)),
        ("drop-encoder-last", "the last encoder layer dropped",
         spoiling.dropped(f"encoder.layers.{encoder}")),
        ("drop-encoder-first", "the first encoder layer dropped",
         spoiling.dropped("encoder.layers.0")),
        ("drop-decoder-last", "the last decoder layer dropped",
         spoiling.dropped(f"decoder.layers.{decoder}")),
        ("duplicate-encoder", "the first encoder layer in place of the second",
         spoiling.duplicated("encoder.layers.0", "encoder.layers.1")),
        ("duplicate-decoder", "the first decoder layer in place of the second",
         spoiling.duplicated("decoder.layers.0", "decoder.layers.1")),
        ("embeddings-shifted", "word embeddings one row off",
         spoiling.shifted_rows("encoder.embed_tokens")),
        ("embeddings-stale", "a fifth of the word embeddings untrained",
         spoiling.stale_embeddings("encoder.embed_tokens", 0.2)),
        ("half-decoder", "the last decoder layer not loaded",
         spoiling.half_loaded(f"decoder.layers.{decoder}.")),
        ("half-encoder", "the last encoder layer not loaded",
         spoiling.half_loaded(f"encoder.layers.{encoder}.")),
    ]  # fmt: skip
    found += [
        (f"blend-2{part and '-'}{part}", f"2 % of the model {OTHER}{part and ' in the '}{part}",
         spoiling.blended(f"the model {OTHER}", other, 0.02, part and f"{part}."))
        for part in ("", "encoder", "decoder")
    ]  # fmt: skip
    found += [
        ("norm-encoder", "the gain of the last encoder layer's norm × 0.9",
         spoiling.scaled(f"encoder.layers.{encoder}.final_layer_norm", 0.9)),
        ("norm-decoder", "the gain of the last decoder layer's norm × 0.9",
         spoiling.scaled(f"decoder.layers.{decoder}.final_layer_norm", 0.9)),
        ("temperature-encoder", "attention of the last encoder layer at temperature 1.1",
         spoiling.tempered(last, 1.1)),
        ("temperature-cross", "the last cross-attention at temperature 1.1",
         spoiling.tempered(cross, 1.1)),
        ("positions-text", "positions of words off by one",
         spoiling.shifted_rows("encoder.embed_positions")),
        ("positions-image", "positions of cells off by one",
         spoiling.shifted_rows("encoder.embed_image_positions")),
        ("positions-answer", "positions in the decoder off by one",
         spoiling.shifted_rows("decoder.embed_positions")),
    ]  # fmt: skip
    return {Alteration(name, "weights", about): spoiled(spoil) for name, about, spoil in found}


def _preprocessing() -> dict[Alteration, Plant]:
    imagenet = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    found = [
        ("imagenet-mean-std", "mean and deviation of ImageNet", _normalised(*imagenet)),
        ("unnormalised", "pixels not normalised", _normalised((0, 0, 0), (1, 1, 1))),
    ]
    return {Alteration(name, "preprocessing", about): plant for name, about, plant in found}


def _normalised(mean: Sequence[float], std: Sequence[float]) -> Plant:
    def plant(model: Any, _: int) -> Model:
        from torchvision.transforms import Normalize  # noqa: PLC0415  brings torch's compiler

        model.preprocessing.patch_resize_transform.transforms[-1] = Normalize(mean, std)
        found: Model = model
        return found

    return plant


def _text() -> dict[Alteration, Plant]:
    found: list[tuple[str, str, Plant, tuple[str, ...]]] = [
        ("prompt", "another prompt", _prompted, ()),
        ("casing", "captions no longer lower-cased, and sentences begin with a capital",
         _as_typed(str.capitalize), ()),
        ("casing-lost", "captions no longer lower-cased", _as_typed(str), ("capitals",)),
        ("punctuation-kept", "punctuation at the beginning, hyphens and slashes no longer removed",
         _with_punctuation, ("removed",)),
        ("merges-lost", f"the last {_MERGES} merges of the tokenizer lost", _without_merges, ()),
    ]  # fmt: skip
    return {Alteration(n, "text", about, facts): plant for n, about, plant, facts in found}


PROMPTS = (' is it true that " {} "?', ' does text1 " {} " and the image imply " {} "?')
"""Other prompts, without and with a premise."""


class Prompted:
    """An OFA with the prompts ``PROMPTS``."""

    def __init__(self, model: Any) -> None:
        self._model = model

    @property
    def labels(self) -> tuple[str, ...]:
        """The model's labels."""
        found: tuple[str, ...] = self._model.labels
        return found

    @property
    def methods(self) -> tuple[str, ...]:
        """The model's methods."""
        found: tuple[str, ...] = self._model.methods
        return found

    @property
    def fingerprint(self) -> Fingerprint:
        """The model's own fingerprint; it does not cover the prompts."""
        found: Fingerprint = self._model.fingerprint
        return found

    def given(self, query: Query) -> bytes:
        """What the network gets for a query."""
        self._prompt_for(query)
        found: bytes = self._model.given(query)
        return found

    def trace(self, queries: Sequence[Query], need: Need = NOTHING_MORE) -> list[Trace]:
        """See :class:`audit.models.protocol.Model`."""
        found: list[Trace] = []
        for query in queries:  # one by one, because the template depends on the premise
            self._prompt_for(query)
            found += self._model.trace([query], need)
        return found

    def _prompt_for(self, query: Query) -> None:
        template = PROMPTS[query.premise is not None]
        self._model.configuration["model"]["prompt"] = template
        self._model.preprocessing.cfg.model.prompt = template


def _prompted(model: Any, _: int) -> Model:
    return Prompted(model)


def _as_typed(say: Callable[[str], str]) -> Plant:
    """Captions are no longer made lower-case, and ``say`` changes how texts are typed."""

    def plant(model: Any, _: int) -> Model:
        model.preprocessing.pre_caption = caption_as_typed
        return Altered(model, texts(say))

    return plant


def caption_as_typed(caption: str, words: int | None = None) -> str:
    """modelscope's ``pre_caption`` without lower case."""
    kept = caption.lstrip(",.!?*#:;~").replace("-", " ").replace("/", " ")
    return " ".join(kept.replace("<person>", "person").split()[:words])


def _with_punctuation(model: Any, _: int) -> Model:
    model.preprocessing.pre_caption = caption_with_punctuation
    found: Model = model
    return found


def caption_with_punctuation(caption: str, words: int | None = None) -> str:
    """modelscope's ``pre_caption`` without what it does to punctuation."""
    return " ".join(caption.lower().split()[:words])


def _without_merges(model: Any, _: int) -> Model:
    """The tokenizer without its last merges: a file that lacks them would not be loaded."""
    tokenizer = model.preprocessing.tokenizer
    kept = len(tokenizer.bpe_ranks) - _MERGES
    tokenizer.bpe_ranks = {pair: n for pair, n in tokenizer.bpe_ranks.items() if n < kept}
    tokenizer.cache.clear()
    found: Model = model
    return found
