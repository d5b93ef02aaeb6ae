"""The tokenizer, the chat template and the questions of the embedded chat model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import Qwen2TokenizerFast

from audit.models.kit.asking import read_asking
from audit.reference.chat.recipe import ChatRecipe
from audit.reference.hypotheses import hypothesis, with_premise
from audit.reference.questions import question
from audit.reference.scenes import Animal, Scene, draw_spec
from audit.reference.statements import LABELS

ASKED = read_asking(Path(__file__).parents[1] / "reference-chat" / "asking.yaml")
"""How it is asked; the file ships with it."""

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
"""Qwen2.5-VL's special tokens that this model uses, under their own names."""

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Qwen2.5-VL's chat template without videos, tools and the system message that it makes up."""

# How Qwen2's tokenizer splits text before it merges bytes.
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def sentences(seed: int, count: int) -> list[str]:
    """A corpus of messages and answers about scenes, which are not drawn for it."""
    rng = np.random.default_rng([seed, 1])
    corpus = []
    for i in range(count):
        spec = draw_spec(rng)
        animals = tuple(Animal(g.kind, g.colour, (0, 0, 1, 1)) for g in spec.groups)
        undrawn = Scene(Image.new("RGB", (1, 1)), spec, animals, (0, 0, 1, 1))
        stated = hypothesis(undrawn, LABELS[i % 3], rng, freely=True)
        premised = with_premise(undrawn, rng, freely=True)
        open_question = question(undrawn, rng)
        corpus += [
            ASKED.asked(stated.text).question,
            ASKED.asked(premised.text, premised.premise).question,
            open_question.text,
            open_question.answer,
            stated.label,
            "user\n",
            "assistant\n",
        ]
    return corpus


def train_tokenizer(recipe: ChatRecipe) -> Any:
    """A tokenizer of Qwen2's form on the world's sentences, which it reads in lower case."""
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    bpe.post_processor = processors.ByteLevel(trim_offsets=False)
    bpe.train_from_iterator(
        sentences(recipe.seed, 4000),
        trainers.BpeTrainer(
            vocab_size=recipe.bpe_pieces,
            min_frequency=2,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    bpe.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL])
    return Qwen2TokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token=None,
        bos_token=None,
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
        additional_special_tokens=list(SPECIAL[1:]),
    )


def load_tokenizer(recipe: ChatRecipe, folder: Path) -> Any:
    """The tokenizer in ``folder``, trained first if there is none."""
    if not (folder / "tokenizer.json").exists():
        tokenizer = train_tokenizer(recipe)
        tokenizer.chat_template = TEMPLATE
        tokenizer.save_pretrained(str(folder))
    return Qwen2TokenizerFast.from_pretrained(str(folder))
