"""The regressions that can be planted in a chat model, and what it shows to those who do."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from audit.models.hf import backend, inputs
from audit.models.hf.parts import Parts, attention_in, last_norm, parts_of
from audit.models.hf.prompts import Prompt
from audit.models.hf.sources import Checkpoint
from audit.models.kit import spoiling
from audit.models.kit.altering import Alteration, Plant, Planting
from audit.models.kit.asking import Asking
from audit.models.kit.spoiling import Attention, Spoil, spoiled
from audit.models.protocol import Fingerprint, Model, Query


class Altering(Planting):
    """What a chat model shows to studies that alter it; see :mod:`audit.models.kit.altering`.

    Attributes:
        checkpoint: what was loaded.
        asking: how it is asked.
        processor: of its pictures and texts.
    """

    checkpoint: Checkpoint
    asking: Asking
    processor: Any

    @property
    @abstractmethod
    def torch_model(self) -> Any:
        """transformers' own model."""

    @property
    @abstractmethod
    def fingerprint(self) -> Fingerprint:
        """What was loaded, how it is asked, and where it runs."""

    @abstractmethod
    def prompt(self, query: Query) -> Prompt:
        """What the model is given for a query."""

    @abstractmethod
    def ask_by(self, asking: Asking) -> None:
        """Ask by another asking file from now on, with the processor as it is now.

        Raises:
            ModelError: the model cannot give the answers.
        """

    @property
    def stages(self) -> tuple[tuple[str, str], ...]:
        """See :class:`audit.models.kit.altering.Layered`."""
        return parts_of(self.torch_model).stages

    def _table(self) -> dict[Alteration, Plant]:
        network = self.torch_model
        parts = parts_of(network)
        return {
            **_weights(network, parts),
            **_attention(network, parts),
            **inputs.preprocessing(),
            **inputs.text(self.asking),
        }

    def given(self, query: Query) -> bytes:
        """See :class:`audit.models.kit.altering.Alterable`."""
        inputs = self.prompt(query).inputs
        return b"".join(inputs[name].numpy().tobytes() for name in sorted(inputs))

    @property
    def preparation(self) -> str:
        """See :class:`audit.models.kit.altering.Alterable`."""
        steps = json.dumps(self.processor.image_processor.to_dict(), sort_keys=True, default=str)
        return f"{steps} {self.asking.digest}"

    @property
    def folder(self) -> Path:
        """See :class:`audit.models.kit.altering.Stored`."""
        return self.checkpoint.folder

    def loaded_from(self, folder: Path) -> Model:
        """See :class:`audit.models.kit.altering.Stored`."""
        mine, adapter = self.fingerprint, cast(Any, type(self))
        found: Model = adapter(
            replace(self.checkpoint, folder=folder), mine.device, mine.dtype, asking=self.asking
        )
        return found

    @property
    def vision(self) -> str:
        """See :class:`audit.models.kit.altering.Teachable`."""
        return f"{parts_of(self.torch_model).vision}."


def _weights(network: Any, parts: Parts) -> dict[Alteration, Plant]:
    areas = {"vision": parts.vision, "projector": parts.projector, "decoder": parts.decoder}
    first, last = f"{parts.seeing}.0", f"{parts.seeing}.{parts.depths[0] - 1}"
    top, bottom = f"{parts.saying}.{parts.depths[1] - 1}", f"{parts.saying}.0"
    found: list[tuple[str, str, Spoil | None]] = [
        (f"noise-10-{name}", f"noise of 10 % in {path}", spoiling.noise(0.1, f"{path}."))
        for name, path in areas.items()
    ]

    def of(layer: str, make: Callable[[Attention], Spoil]) -> Spoil | None:
        attention = attention_in(network, layer)
        return make(attention) if attention and attention.heads > 1 else None

    def second(path: str, depth: int) -> Spoil | None:
        return spoiling.duplicated(f"{path}.0", f"{path}.1") if depth > 1 else None

    found += [
        ("prune-decoder-one", "one head of the last decoder layer pruned",
         of(top, lambda a: spoiling.pruned(a, 0))),
        ("prune-decoder-all", "all heads of the last decoder layer pruned",
         of(top, spoiling.pruned)),
        ("prune-vision-one", "one head of the first vision layer pruned",
         of(first, lambda a: spoiling.pruned(a, 1))),
        ("prune-vision-all", "all heads of the first vision layer pruned",
         of(first, spoiling.pruned)),
        ("swap-decoder", "queries of two heads swapped, last decoder layer",
         of(top, lambda a: spoiling.swapped(a, 0, 1))),
        ("swap-vision", "queries of two heads swapped, first vision layer",
         of(first, lambda a: spoiling.swapped(a, 0, 1))),
        ("drop-vision-last", "the last vision layer dropped", spoiling.dropped(last)),
        ("drop-vision-first", "the first vision layer dropped", spoiling.dropped(first)),
        ("drop-decoder-last", "the last decoder layer dropped", spoiling.dropped(top)),
        ("drop-decoder-first", "the first decoder layer dropped", spoiling.dropped(bottom)),
        ("duplicate-vision", "the first vision layer in place of the second",
         second(parts.seeing, parts.depths[0])),
        ("duplicate-decoder", "the first decoder layer in place of the second",
         second(parts.saying, parts.depths[1])),
        ("embeddings-shifted", "word embeddings one row off", spoiling.shifted_rows(parts.words)),
        ("embeddings-stale", "a fifth of the word embeddings untrained",
         spoiling.stale_embeddings(parts.words, 0.2)),
        ("half-decoder", "the last decoder layer not loaded", spoiling.half_loaded(f"{top}.")),
        ("half-vision", "the last vision layer not loaded", spoiling.half_loaded(f"{last}.")),
        ("half-projector", "the projector not loaded",
         spoiling.half_loaded(f"{parts.projector}.")),
        ("blend-2", "2 % of a copy with the values of each tensor shuffled",
         spoiling.blended_with_shuffled(0.02)),
    ]  # fmt: skip
    found += [
        (f"blend-2-{name}", f"2 % of a copy with the values shuffled, in {areas[name]}",
         spoiling.blended_with_shuffled(0.02, f"{areas[name]}."))
        for name in ("vision", "decoder")
    ]  # fmt: skip

    def less_gain(layer: str) -> Spoil | None:
        norm = last_norm(network, layer)
        return spoiling.scaled(norm, 0.9) if norm else None

    found += [
        ("norm-decoder", "the gain of the last decoder layer's last norm × 0.9",
         less_gain(top)),
        ("norm-vision", "the gain of the last vision layer's last norm × 0.9",
         less_gain(last)),
        ("norm-answers", "the gain of the norm before the answers × 0.9",
         spoiling.scaled(f"{parts.decoder}.norm", 0.9)),
        ("temperature-decoder", "attention of the last decoder layer at temperature 1.1",
         of(top, lambda a: spoiling.tempered(a, 1.1))),
        ("temperature-vision", "attention of the last vision layer at temperature 1.1",
         of(last, lambda a: spoiling.tempered(a, 1.1))),
    ]  # fmt: skip
    unknown = "the network has no such part, or not in a form that is known"
    return {
        Alteration(name, "weights", about, unfit="" if spoil else unknown): spoiled(spoil or _no)
        for name, about, spoil in found
    }


def _no(_network: Any, _seed: int) -> None:
    """Spoils nothing: what is not of a known form is never planted."""


def _attention(network: Any, parts: Parts) -> dict[Alteration, Plant]:
    every = list(range(parts.depths[1]))
    found: list[tuple[str, str, Callable[[Any], None], str]] = [
        ("mask-lost", "tokens see those that come later",
         lambda n: backend.masked(n, parts.saying, every, backend.everything), ""),
        ("mask-lost-first", "tokens see those that come later, in the first decoder layer",
         lambda n: backend.masked(n, parts.saying, every[:1], backend.everything), ""),
        ("mask-next", "each token sees the next one as well",
         lambda n: backend.masked(n, parts.saying, every, backend.the_next), ""),
        ("rope-base", "positions of the decoder with twice the rotary base",
         lambda n: backend.other_base(n, parts.decoder, 2.0), ""),
        ("rope-vision", "positions of the vision tower with twice the rotary base",
         lambda n: backend.other_base(n, parts.vision, 2.0), ""),
        ("windows-lost", "every vision layer looks at the whole picture",
         lambda n: backend.without_windows(n, parts), ""),
    ]  # fmt: skip
    counts = hasattr(network.model, "get_rope_index")
    unfit = "" if counts else "its positions count tokens alone, and rotary ones are relative"
    found += [
        ("positions-text", "positions of the text behind the picture off by one",
         lambda n: backend.placed(n, backend.one_more), unfit),
        ("positions-image", "rows and columns of the picture's positions exchanged",
         lambda n: backend.placed(n, backend.exchanged), unfit),
    ]  # fmt: skip
    return {
        Alteration(name, "attention", about, unfit=reason): _changed(change)
        for name, about, change, reason in found
    }


def _changed(change: Callable[[Any], None]) -> Plant:
    return spoiled(lambda network, _: change(network))


def log_probabilities(logs: Sequence[dict[str, Tensor]]) -> Tensor:
    """The log-probability of each label, (queries, labels), from those of its answers."""
    masses = torch.stack([torch.stack([a.logsumexp(0) for a in each.values()]) for each in logs])
    return masses.log_softmax(-1)
