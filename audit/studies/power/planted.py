"""Lists planted regressions by family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from PIL import Image, ImageOps
from torchvision.transforms import Normalize

from audit.models.ofa.adapter import OFAVisualEntailment
from audit.models.protocol import Model, Query
from audit.studies.power import altered, learning, weights
from audit.studies.power.altered import Altered, pictures, texts
from audit.studies.power.changes import Change, Plant
from audit.studies.power.harmless import harmless

_OTHER = "shortcut"
"""The model that others are blended with."""

_MERGES = 200


def all_changes(encoder_layers: int, decoder_layers: int) -> list[Change]:
    """Every change for a model with these numbers of layers, planted regressions first."""
    return [
        *_weights((encoder_layers - 1, decoder_layers - 1)),
        *_preprocessing(),
        *_text(),
        *_learning(),
        *harmless(),
    ]


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
        model.preprocessing.pre_caption = altered.caption_as_typed
        return Altered(model, texts(say))

    return plant


def _handling(caption: Callable[..., str]) -> Plant:
    """``caption`` in place of modelscope's ``pre_caption``."""

    def plant(model: OFAVisualEntailment, _: int) -> Model:
        model.preprocessing.pre_caption = caption
        return model

    return plant


def _without_merges(count: int) -> Plant:
    """The tokenizer without its last merges: a file that lacks them would not be loaded."""

    def plant(model: OFAVisualEntailment, _: int) -> Model:
        tokenizer = model.preprocessing.tokenizer
        kept = len(tokenizer.bpe_ranks) - count
        tokenizer.bpe_ranks = {pair: n for pair, n in tokenizer.bpe_ranks.items() if n < kept}
        tokenizer.cache.clear()
        return model

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
    found += [
        (f"low-rank-{round(100 * s)}", f"updates of rank 4 to queries and values, {s:.0%} of each",
         weights.low_rank(s)) for s in (0.01, 0.02, 0.05, 0.1, 0.2)
    ]  # fmt: skip
    found += [
        (f"blend-2{part and '-'}{part}", f"2 % of the model {_OTHER}{part and ' in the '}{part}",
         weights.blended(_OTHER, 0.02, part and f"{part}."))
        for part in ("", "encoder", "decoder")
    ]  # fmt: skip
    found += [
        ("bfloat16-weights", "parameters rounded to bfloat16", weights.saved_as(torch.bfloat16)),
        ("norm-encoder", "the gain of the last encoder layer's norm × 0.9",
         weights.scaled(f"encoder.layers.{encoder}.final_layer_norm", 0.9)),
        ("norm-decoder", "the gain of the last decoder layer's norm × 0.9",
         weights.scaled(f"decoder.layers.{decoder}.final_layer_norm", 0.9)),
        ("temperature-encoder", "attention of the last encoder layer at temperature 1.1",
         weights.tempered(f"encoder.layers.{encoder}.self_attn", 1.1)),
        ("temperature-cross", "the last cross-attention at temperature 1.1",
         weights.tempered(cross, 1.1)),
        ("positions-text", "positions of words off by one",
         weights.shifted_rows("encoder.embed_positions")),
        ("positions-image", "positions of cells off by one",
         weights.shifted_rows("encoder.embed_image_positions")),
        ("positions-answer", "positions in the decoder off by one",
         weights.shifted_rows("decoder.embed_positions")),
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
        ("inverted", "colours inverted", _given(pictures(ImageOps.invert))),
    ]  # fmt: skip
    depending: list[tuple[str, str, Plant, str]] = [
        ("grey", "without colours",
         _given(pictures(lambda image: ImageOps.grayscale(image).convert("RGB"))), "colours"),
        ("letterbox", "bars beside the picture instead of squashing it",
         _given(pictures(altered.letterboxed)), "oblong"),
        ("centre-crop", "the middle square instead of the whole squashed",
         _given(pictures(altered.centre)), "oblong"),
        ("unturned", "pictures not turned as EXIF says", _given(altered.unturned), "turned"),
    ]  # fmt: skip
    return [
        *(Change(name, "preprocessing", about, plant) for name, about, plant in found),
        *(Change(name, "preprocessing", about, plant, depends=(fact,))
          for name, about, plant, fact in depending),
    ]  # fmt: skip


def _text() -> list[Change]:
    prompts = (' is it true that " {} "?', ' does text1 " {} " and the image imply " {} "?')
    found: list[tuple[str, str, Plant, tuple[str, ...]]] = [
        ("prompt", "another prompt", _given(lambda query: query, prompts), ()),
        ("casing", "captions no longer lower-cased, and sentences begin with a capital",
         _as_typed(str.capitalize), ()),
        ("casing-lost", "captions no longer lower-cased", _as_typed(str), ("capitals",)),
        ("first-four-words", "hypotheses cut after four words",
         _given(texts(_first_words(4))), ("long",)),
        ("last-word-lost", "the last word lost",
         _given(texts(lambda text: text.rpartition(" ")[0] or text)), ()),
        ("exchanged", "premise and hypothesis exchanged", _given(altered.exchanged), ("premise",)),
        ("premise-lost", "the premise lost",
         _given(lambda query: replace(query, premise=None)), ("premise",)),
        ("full-stop", "a full stop after every sentence",
         _given(texts(lambda text: f"{text}.")), ()),
        ("punctuation-kept", "punctuation at the beginning, hyphens and slashes no longer removed",
         _handling(altered.caption_with_punctuation), ("removed",)),
        ("punctuation-lost", "texts without any punctuation",
         _given(texts(altered.without_punctuation)), ("punctuation",)),
    ]  # fmt: skip
    lost = f"the last {_MERGES} merges of the tokenizer lost"
    return [
        *(Change(name, "text", about, plant, depends=facts) for name, about, plant, facts in found),
        Change("merges-lost", "text", lost, _without_merges(_MERGES)),
    ]


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
