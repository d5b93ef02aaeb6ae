"""Lists planted regressions by family: general ones, and those of the model's adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from PIL import Image, ImageOps

from audit.models.kit import spoiling
from audit.models.kit.altering import Alteration, Altered, Plant, texts
from audit.models.kit.spoiling import Spoil, spoiled
from audit.models.protocol import Model, Query
from audit.studies.power import altered, learning
from audit.studies.power.altered import pictures
from audit.studies.power.changes import Change, Family
from audit.studies.power.harmless import harmless


def all_changes(own: Iterable[Alteration]) -> list[Change]:
    """Every change, planted regressions first.

    Args:
        own: what the model's adapter can plant.
    """
    own = list(own)
    return [
        *_with_own("weights", _weights(), own),
        *_with_own("attention", [], own),
        *_with_own("preprocessing", _preprocessing(), own),
        *_with_own("text", _text(), own),
        *_learning(),
        *harmless(),
    ]


def _with_own(family: Family, general: Sequence[Change], own: Sequence[Alteration]) -> list[Change]:
    found = {change.id: change for change in general}
    for each in own:
        if each.family == family:
            plant = partial(_by_adapter, each.id)
            found[each.id] = Change(
                each.id, family, each.about, plant, depends=each.depends, unfit=each.unfit
            )
    return list(found.values())


def _by_adapter(name: str, model: Any, seed: int) -> Model:
    found: Model = model.altered(name, seed)
    return found


def _given(change: Callable[[Query], Query]) -> Plant:
    return lambda model, _: Altered(model, change)


def _scaled(resampling: Image.Resampling) -> Plant:
    return lambda model, _: Altered(model, pictures(altered.scaled(model, resampling)))


def _taught(teach: learning.Teach, steps: int) -> Plant:
    def plant(model: Model, seed: int) -> Model:
        learning.fine_tune(model, teach, steps, seed)
        return model

    return plant


def _first_words(count: int) -> Callable[[str], str]:
    return lambda text: " ".join(text.split()[:count])


def _weights() -> list[Change]:
    shares = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
    found: list[tuple[str, str, Spoil]] = [
        (f"noise-{round(100 * s)}", f"noise of {s:.0%} of each tensor's deviation",
         spoiling.noise(s)) for s in shares
    ]  # fmt: skip
    found += [
        ("int8-tensor", "matrices in int8, one scale each", spoiling.rounded(8, by_row=False)),
        ("int8-row", "matrices in int8, a scale a row", spoiling.rounded(8, by_row=True)),
        ("int4-tensor", "matrices in int4, one scale each", spoiling.rounded(4, by_row=False)),
        ("int4-row", "matrices in int4, a scale a row", spoiling.rounded(4, by_row=True)),
        ("bfloat16-weights", "parameters rounded to bfloat16", spoiling.saved_as(torch.bfloat16)),
    ]  # fmt: skip
    found += [
        (f"low-rank-{round(100 * s)}", f"updates of rank 4 to queries and values, {s:.0%} of each",
         spoiling.low_rank(s)) for s in (0.01, 0.02, 0.05, 0.1, 0.2)
    ]  # fmt: skip
    return [Change(name, "weights", about, spoiled(spoil)) for name, about, spoil in found]


def _preprocessing() -> list[Change]:
    resampling = Image.Resampling
    found: list[tuple[str, str, Plant]] = [
        ("bgr", "channels in the order of OpenCV", _given(pictures(altered.other_channels))),
        ("mirrored", "the picture mirrored", _given(pictures(ImageOps.mirror))),
        ("upside-down", "the picture upside down", _given(pictures(ImageOps.flip))),
        ("cropped", "the middle 7/8 cropped instead of the whole squashed",
         _given(pictures(altered.cropped(0.875)))),
        ("nearest", "scaled by the nearest pixel", _scaled(resampling.NEAREST)),
        ("bilinear", "scaled bilinearly", _scaled(resampling.BILINEAR)),
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
    found: list[tuple[str, str, Plant, tuple[str, ...]]] = [
        ("first-four-words", "hypotheses cut after four words",
         _given(texts(_first_words(4))), ("long",)),
        ("last-word-lost", "the last word lost",
         _given(texts(lambda text: text.rpartition(" ")[0] or text)), ()),
        ("exchanged", "premise and hypothesis exchanged", _given(altered.exchanged), ("premise",)),
        ("premise-lost", "the premise lost",
         _given(lambda query: replace(query, premise=None)), ("premise",)),
        ("full-stop", "a full stop after every sentence",
         _given(texts(lambda text: f"{text}.")), ()),
        ("punctuation-lost", "texts without any punctuation",
         _given(texts(altered.without_punctuation)), ("punctuation",)),
    ]  # fmt: skip
    return [
        Change(name, "text", about, plant, depends=facts) for name, about, plant, facts in found
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
