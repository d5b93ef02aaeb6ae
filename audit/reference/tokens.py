"""The tokenizer of the embedded models: byte-level BPE on their sentences, in OFA's file format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tokenizers import ByteLevelBPETokenizer

from audit.models.ofa.text import ONE_TEXT, TWO_TEXTS
from audit.models.ofa.upstream import OFATokenizer, OfaVisualEntailmentPreprocessor
from audit.reference.hypotheses import hypothesis, with_premise
from audit.reference.questions import question
from audit.reference.recipe import Recipe
from audit.reference.scenes import Animal, Scene, draw_spec
from audit.reference.statements import LABELS

MOST_TOKENS = 80
"""The model's ``max_src_length``: words of a text, and tokens of a prompt, that it reads."""


def as_read(text: str) -> str:
    """A text as modelscope's preprocessor leaves it: in lower case, some punctuation removed."""
    read: str = OfaVisualEntailmentPreprocessor.pre_caption(text, MOST_TOKENS)
    return read


def sentences(seed: int, count: int) -> list[str]:
    """A corpus of prompts, questions and answers about scenes, which are not drawn for it."""
    rng = np.random.default_rng([seed, 1])
    corpus = []
    for i in range(count):
        spec = draw_spec(rng)
        animals = tuple(Animal(g.kind, g.colour, (0, 0, 1, 1)) for g in spec.groups)
        undrawn = Scene(Image.new("RGB", (1, 1)), spec, animals, (0, 0, 1, 1))
        stated = hypothesis(undrawn, LABELS[i % 3], rng, freely=True)
        asked = question(undrawn, rng)
        premised = with_premise(undrawn, rng, freely=True)
        corpus += [
            ONE_TEXT.format(as_read(stated.text)),
            f" {stated.label}",
            f" {asked.text}",
            f" {asked.answer}",
        ]
        corpus.append(TWO_TEXTS.format(as_read(premised.premise or ""), as_read(premised.text)))
    return corpus


def train_tokenizer(recipe: Recipe, folder: Path) -> Any:
    """Write ``vocab.json`` and ``merges.txt`` into ``folder`` and return modelscope's tokenizer."""
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(
        sentences(recipe.seed, 6000),
        vocab_size=recipe.bpe_pieces,
        min_frequency=2,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        show_progress=False,
    )
    bpe.save_model(str(folder))
    return load_tokenizer(folder)


def load_tokenizer(folder: Path) -> Any:
    """modelscope's tokenizer, with image codes and location bins added as its models do."""
    tokenizer = OFATokenizer.from_pretrained(str(folder))
    tokenizer.add_tokens([f"<code_{i}>" for i in range(8192)])
    tokenizer.add_tokens([f"<bin_{i}>" for i in range(1000)])
    return tokenizer
