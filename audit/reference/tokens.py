"""The tokenizer of the embedded models: byte-level BPE on their sentences, in OFA's file format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tokenizers import ByteLevelBPETokenizer

from audit.models.ofa.text import ONE_TEXT, TWO_TEXTS
from audit.models.ofa.upstream import OFATokenizer
from audit.reference.hypotheses import LABELS, hypothesis, question, with_premise
from audit.reference.recipe import Recipe
from audit.reference.scenes import Animal, Scene, draw_spec


def sentences(seed: int, count: int) -> list[str]:
    """A corpus of prompts, questions and answers about scenes, which are not drawn for it."""
    rng = np.random.default_rng([seed, 1])
    corpus = []
    for i in range(count):
        spec = draw_spec(rng)
        animals = tuple(Animal(g.kind, g.colour, (0, 0, 1, 1)) for g in spec.groups)
        undrawn = Scene(Image.new("RGB", (1, 1)), spec, animals, (0, 0, 1, 1))
        stated = hypothesis(undrawn, LABELS[i % 3], rng)
        asked = question(undrawn, rng)
        premised = with_premise(undrawn, rng)
        corpus += [
            ONE_TEXT.format(stated.text),
            f" {stated.label}",
            f" {asked.text}",
            f" {asked.answer}",
        ]
        corpus.append(TWO_TEXTS.format(premised.premise, premised.text))
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
