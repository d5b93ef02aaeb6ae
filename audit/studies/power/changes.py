"""Lists all planted regressions by family, and all harmless changes that must pass the gate."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from PIL import Image, ImageOps
from safetensors.torch import save_file
from torchvision.transforms import Normalize

from audit.cases.loading import Case
from audit.models.ofa.adapter import OFAVisualEntailment
from audit.models.ofa.sources import Checkpoint
from audit.models.protocol import Model, Query
from audit.studies.power import altered, learning, weights
from audit.studies.power.altered import Altered, pictures, texts

Family = Literal["weights", "preprocessing", "text", "learning", "harmless"]

Plant = Callable[[OFAVisualEntailment, int], Model]
"""Takes a freshly loaded model and a seed, and returns the model to be audited."""


@dataclass(frozen=True)
class Setting:
    """How a change is audited. ``batch_size`` 0 means all cases at once."""

    dtype: str = "float32"
    threads: int | None = None
    batch_size: int = 8
    order: Callable[[Sequence[Case]], list[Case]] = list
    workers: int = 0
    rewrite: Callable[[Checkpoint, Path], Checkpoint] | None = None


@dataclass(frozen=True)
class Change:
    """One planted regression, or one harmless change.

    Attributes:
        id: also the name of its file of results.
        about: a description for the table.
    """

    id: str
    family: Family
    about: str
    plant: Plant
    setting: Setting = field(default_factory=Setting)


def _spoiled(spoil: weights.Spoil) -> Plant:
    def plant(model: OFAVisualEntailment, seed: int) -> Model:
        with torch.no_grad():
            spoil(model.torch_model, seed)
        return model

    return plant


def _given(change: Callable[[Query], Query], prompts: tuple[str, str] | None = None) -> Plant:
    return lambda model, _: Altered(model, change, prompts)


def _taught(teach: learning.Teach, steps: int) -> Plant:
    def plant(model: OFAVisualEntailment, seed: int) -> Model:
        learning.fine_tune(model, teach, steps, seed)
        return model

    return plant


def _normalised(mean: Sequence[float], std: Sequence[float]) -> Plant:
    def plant(model: OFAVisualEntailment, _: int) -> Model:
        model.preprocessing.patch_resize_transform.transforms[-1] = Normalize(mean, std)
        return model

    return plant


def _as_typed(say: Callable[[str], str]) -> Plant:
    """Captions are no longer made lower-case, and ``say`` changes how texts are typed."""

    def plant(model: OFAVisualEntailment, _: int) -> Model:
        model.preprocessing.pre_caption = lambda caption, _words=None: caption.strip(" ")
        return Altered(model, texts(say))

    return plant


def _first_words(count: int) -> Callable[[str], str]:
    return lambda text: " ".join(text.split()[:count])


def _weights(layers: tuple[int, int]) -> list[Change]:
    """``layers`` are the numbers of the last encoder and decoder layer, from 0."""
    encoder, decoder = layers
    cross, inside = f"decoder.layers.{decoder}.cross_attn", "encoder.layers.0.self_attn"
    shares = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
    found: list[tuple[str, str, weights.Spoil]] = [
        (f"noise-{round(100 * s)}", f"noise of {s:.0%} of each tensor's deviation",
         weights.noise(s)) for s in shares
    ]  # fmt: skip
    found += [
        (f"noise-10-{part.split('.')[1] if '.' in part else part}", f"noise of 10 % in {part}",
         weights.noise(0.1, f"{part}."))
        for part in ("decoder", "encoder.layers", "encoder.embed_images")
    ]  # fmt: skip
    found += [
        ("prune-cross-one", "one head of the last cross-attention pruned",
         weights.pruned(cross, 0)),
        ("prune-cross-all", "all heads of the last cross-attention pruned", weights.pruned(cross)),
        ("prune-inside-one", "one head of the first encoder layer pruned",
         weights.pruned(inside, 1)),
        ("prune-inside-all", "all heads of the first encoder layer pruned",
         weights.pruned(inside)),
        ("swap-cross", "queries of two heads swapped, last cross-attention",
         weights.swapped(cross, 0, 1)),
        ("swap-inside", "queries of two heads swapped, first encoder layer",
         weights.swapped(inside, 0, 1)),
        ("drop-encoder-last", "the last encoder layer dropped",
         weights.dropped(f"encoder.layers.{encoder}")),
        ("drop-encoder-first", "the first encoder layer dropped",
         weights.dropped("encoder.layers.0")),
        ("drop-decoder-last", "the last decoder layer dropped",
         weights.dropped(f"decoder.layers.{decoder}")),
        ("duplicate-encoder", "the first encoder layer in place of the second",
         weights.duplicated("encoder.layers.0", "encoder.layers.1")),
        ("duplicate-decoder", "the first decoder layer in place of the second",
         weights.duplicated("decoder.layers.0", "decoder.layers.1")),
        ("int8-tensor", "matrices in int8, one scale each", weights.rounded(8, by_row=False)),
        ("int8-row", "matrices in int8, a scale a row", weights.rounded(8, by_row=True)),
        ("int4-tensor", "matrices in int4, one scale each", weights.rounded(4, by_row=False)),
        ("int4-row", "matrices in int4, a scale a row", weights.rounded(4, by_row=True)),
        ("embeddings-shifted", "word embeddings one row off", weights.shifted_embeddings()),
        ("embeddings-stale", "a fifth of the word embeddings untrained",
         weights.stale_embeddings(0.2)),
        ("half-decoder", "the last decoder layer not loaded",
         weights.half_loaded(f"decoder.layers.{decoder}.")),
        ("half-encoder", "the last encoder layer not loaded",
         weights.half_loaded(f"encoder.layers.{encoder}.")),
    ]  # fmt: skip
    return [Change(name, "weights", about, _spoiled(spoil)) for name, about, spoil in found]


def _preprocessing() -> list[Change]:
    resampling = Image.Resampling
    found: list[tuple[str, str, Plant]] = [
        ("imagenet-mean-std", "mean and deviation of ImageNet",
         _normalised((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
        ("unnormalised", "pixels not normalised", _normalised((0, 0, 0), (1, 1, 1))),
        ("bgr", "channels in the order of OpenCV", _given(pictures(altered.other_channels))),
        ("mirrored", "the picture mirrored", _given(pictures(ImageOps.mirror))),
        ("upside-down", "the picture upside down", _given(pictures(ImageOps.flip))),
        ("cropped", "the middle 7/8 cropped instead of the whole squashed",
         _given(pictures(altered.cropped(0.875)))),
        ("nearest", "scaled by the nearest pixel",
         _given(pictures(altered.coarse(192, resampling.NEAREST)))),
        ("bilinear", "scaled bilinearly",
         _given(pictures(altered.coarse(192, resampling.BILINEAR)))),
        ("low-resolution", "64 pixels wide and high before scaling",
         _given(pictures(altered.coarse(64, resampling.BICUBIC)))),
        ("jpeg-10", "JPEG of quality 10", _given(pictures(altered.reencoded("JPEG", quality=10)))),
        ("jpeg-50", "JPEG of quality 50", _given(pictures(altered.reencoded("JPEG", quality=50)))),
        ("grey", "without colours",
         _given(pictures(lambda image: ImageOps.grayscale(image).convert("RGB")))),
        ("inverted", "colours inverted", _given(pictures(ImageOps.invert))),
    ]  # fmt: skip
    return [Change(name, "preprocessing", about, plant) for name, about, plant in found]


def _text() -> list[Change]:
    prompts = (' is it true that " {} "?', ' does text1 " {} " and the image imply " {} "?')
    found: list[tuple[str, str, Plant]] = [
        ("prompt", "another prompt", _given(lambda query: query, prompts)),
        ("casing", "captions no longer lower-cased, and sentences begin with a capital",
         _as_typed(str.capitalize)),
        ("casing-unused", "captions no longer lower-cased, and all are lower-case",
         _as_typed(str)),
        ("first-four-words", "hypotheses cut after four words", _given(texts(_first_words(4)))),
        ("last-word-lost", "the last word lost",
         _given(texts(lambda text: text.rpartition(" ")[0] or text))),
        ("exchanged", "premise and hypothesis exchanged", _given(altered.exchanged)),
        ("premise-lost", "the premise lost",
         _given(lambda query: replace(query, premise=None))),
        ("full-stop", "a full stop after every sentence", _given(texts(lambda text: f"{text}."))),
    ]  # fmt: skip
    return [Change(name, "text", about, plant) for name, about, plant in found]


def _learning() -> list[Change]:
    found: list[tuple[str, str, Plant]] = [
        (f"shuffled-{n}", f"fine-tuned on shuffled labels, {n} steps",
         _taught(learning.shuffled_labels, n)) for n in (3, 30)
    ]  # fmt: skip
    found += [
        (f"corner-{n}", f"fine-tuned where a corner's colour tells, {n} steps",
         _taught(learning.marked_corner, n)) for n in (3, 30)
    ]  # fmt: skip
    found.append(
        ("maybe", "fine-tuned on maybe alone, 3 steps", _taught(learning.always("maybe"), 3))
    )
    return [Change(name, "learning", about, plant) for name, about, plant in found]


def _as_is(model: OFAVisualEntailment, _: int) -> Model:
    return model


def _shuffled(seed: int) -> Callable[[Sequence[Case]], list[Case]]:
    return lambda cases: random.Random(seed).sample(list(cases), len(cases))


def _copied(checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    """A copy of the checkpoint, with weights loaded and saved again."""
    target = folder / checkpoint.folder.name
    shutil.copytree(checkpoint.folder, target)
    for path in target.glob("*.bin"):
        torch.save(torch.load(path, weights_only=True), path)
    return replace(checkpoint, folder=target)


def _as_safetensors(checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    """A copy of the checkpoint, with weights in ``model.safetensors``."""
    copy = _copied(checkpoint, folder)
    for path in copy.folder.glob("*.bin"):
        stored = torch.load(path, weights_only=True)
        kept = {name: value.clone().contiguous() for name, value in stored.items()}
        save_file(kept, copy.folder / "model.safetensors", metadata={"format": "pt"})
        path.unlink()
    return copy


def _opaque(image: Image.Image) -> Image.Image:
    return image.convert("RGBA").convert("RGB")


def _harmless() -> list[Change]:
    batches = [
        Change(f"batch-{n}", "harmless", f"batches of {n}", _as_is, Setting(batch_size=n))
        for n in (1, 2, 5, 16)
    ]
    threads = [
        Change(f"threads-{n}", "harmless", f"{n} thread(s)", _as_is, Setting(threads=n))
        for n in (1, 2, 3)
    ]
    orders = [
        Change("reversed", "harmless", "cases in reverse order", _as_is,
               Setting(order=lambda cases: list(cases)[::-1])),
        *(Change(f"order-{n}", "harmless", f"cases in random order, seed {n}", _as_is,
                 Setting(order=_shuffled(n))) for n in (1, 2)),
    ]  # fmt: skip
    formats: list[tuple[str, str, altered.Draw]] = [
        ("png", "pictures as PNG without compression", altered.reencoded("PNG", compress_level=0)),
        ("bmp", "pictures as BMP", altered.reencoded("BMP")),
        ("tiff", "pictures as TIFF", altered.reencoded("TIFF")),
        ("webp", "pictures as lossless WebP", altered.reencoded("WEBP", lossless=True)),
        ("opaque", "pictures with an opaque alpha channel", _opaque),
    ]
    return [
        Change("again", "harmless", "the same once more", _as_is),
        Change("all-at-once", "harmless", "all cases in one batch", _as_is, Setting(batch_size=0)),
        *batches,
        *threads,
        *orders,
        *(Change(n, "harmless", about, _given(pictures(draw))) for n, about, draw in formats),
        Change("saved-again", "harmless", "weights saved again", _as_is, Setting(rewrite=_copied)),
        Change("safetensors", "harmless", "weights as safetensors", _as_is,
               Setting(rewrite=_as_safetensors)),
        *(Change(f"bfloat16-{n}", "harmless", f"bfloat16, batches of {n}", _as_is,
                 Setting(dtype="bfloat16", batch_size=n)) for n in (8, 2)),
        Change("bfloat16-reversed", "harmless", "bfloat16, reverse order, one thread", _as_is,
               Setting("bfloat16", 1, 5, lambda cases: list(cases)[::-1])),
        Change("xdist", "harmless", "pytest -n 2", _as_is, Setting(workers=2)),
    ]  # fmt: skip


def all_changes(encoder_layers: int, decoder_layers: int) -> list[Change]:
    """Every change for a model with these numbers of layers, planted regressions first."""
    return [
        *_weights((encoder_layers - 1, decoder_layers - 1)),
        *_preprocessing(),
        *_text(),
        *_learning(),
        *_harmless(),
    ]
