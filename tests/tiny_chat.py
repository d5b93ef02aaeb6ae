"""Tiny chat models with random weights, saved as users have them: weights, tokenizer, processor.

Each family is transformers' own code with its own processor; only the sizes are small. Pictures are
true to their processors: cropped, squashed or cut into tiles as those of real models are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from audit.models.kit.quiet import quiet

TEXT = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 640, "initializer_range": 0.2,
}  # fmt: skip
VISION = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "initializer_range": 0.2,
}  # fmt: skip
WORDS = [
    "Yes", "yes", "No", "no", "Is this statement true of the picture Answer yes or no",
    "there are two birds on a branch and a red square is lower than the white stripe",
    "It is known that many coloured patches",
] * 3  # fmt: skip


def tokenizer(marks: Sequence[str], kind: type[Any] = PreTrainedTokenizerFast, **named: str) -> Any:
    """A byte-level BPE tokenizer, as Qwen's and SmolVLM's are, with some words of its own.

    Args:
        marks: special tokens, besides those in ``named``.
        named: by the names that transformers gives them, such as ``bos_token``.
    """
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    special = list(dict.fromkeys([*named.values(), *marks]))
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=special, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    made.train_from_iterator(WORDS, trainer)
    return kind(tokenizer_object=made, additional_special_tokens=list(marks), **named)


CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['content'] is string %}"
    "{{ m['content'] }}{% else %}{% for c in m['content'] %}{% if c['type'] == 'image' %}IMAGE"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""The form that most families share; IMAGE is what stands for a picture."""


def chat(image: str) -> str:
    """A chat template with a family's mark for a picture."""
    return CHAT.replace("IMAGE", image)


Made = tuple[Any, Any]
"""A network and its processor."""


def qwen2_5_vl() -> Made:
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    marks = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
             "<|video_pad|>"]  # fmt: skip
    words = tokenizer(marks, _qwen_tokenizer(), eos_token="<|im_end|>", pad_token="<|endoftext|>")
    ids = words.convert_tokens_to_ids
    config = Qwen2_5_VLConfig(
        text_config={
            **TEXT, "vocab_size": len(words),
            "rope_scaling": {"type": "mrope", "mrope_section": [2, 1, 1]},
        },
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 4,
            "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2,
            "out_hidden_size": 32, "fullatt_block_indexes": [1], "window_size": 56,
            "initializer_range": 0.2,
        },
        image_token_id=ids("<|image_pad|>"), video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"), vision_end_token_id=ids("<|vision_end|>"),
    )  # fmt: skip
    pixels = {"min_pixels": 56 * 56, "max_pixels": 112 * 112}
    processor = Qwen2_5_VLProcessor(
        Qwen2VLImageProcessor(**pixels), words, Qwen2VLVideoProcessor(),
        chat_template=chat("<|vision_start|><|image_pad|><|vision_end|>"),
    )  # fmt: skip
    return Qwen2_5_VLForConditionalGeneration(config), processor


def _qwen_tokenizer() -> type[Any]:
    import transformers

    return getattr(transformers, "Qwen2TokenizerFast", None) or transformers.Qwen2Tokenizer


def llava() -> Made:
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    words = tokenizer(["<image>"], bos_token="<s>", eos_token="</s>", unk_token="<unk>",
                      pad_token="<pad>")  # fmt: skip
    config = LlavaConfig(
        text_config=LlamaConfig(**TEXT, vocab_size=len(words)),
        vision_config=CLIPVisionConfig(**{**VISION, "num_hidden_layers": 3}, image_size=56,
                                       patch_size=14, initializer_factor=4.0),
        image_token_index=words.convert_tokens_to_ids("<image>"), image_seq_length=16,
    )  # fmt: skip
    processor = LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}),
        words, patch_size=14, vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=(
            "{{ bos_token }}{% for m in messages %}{{ m['role'].upper() }}: "
            "{% for c in m['content'] %}{% if c['type'] == 'image' %}<image>\n"
            "{% else %}{{ c['text'] }} {% endif %}{% endfor %}{% endfor %}"
            "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
        ),
    )  # fmt: skip
    return LlavaForConditionalGeneration(config), processor


def smolvlm() -> Made:
    from transformers import (
        LlamaConfig,
        SmolVLMConfig,
        SmolVLMForConditionalGeneration,
        SmolVLMImageProcessor,
        SmolVLMProcessor,
        SmolVLMVideoProcessor,
    )
    from transformers.models.smolvlm.configuration_smolvlm import SmolVLMVisionConfig

    tiles = [f"<row_{r}_col_{c}>" for r in range(1, 5) for c in range(1, 5)]
    marks = ["<|im_start|>", "<|im_end|>", "<image>", "<fake_token_around_image>", "<global-img>",
             "<end_of_utterance>", *tiles]  # fmt: skip
    words = tokenizer(marks, eos_token="<|im_end|>", pad_token="<pad>")
    config = SmolVLMConfig(
        text_config=LlamaConfig(**TEXT, vocab_size=len(words), pad_token_id=0),
        vision_config=SmolVLMVisionConfig(**VISION, image_size=56, patch_size=7),
        image_token_id=words.convert_tokens_to_ids("<image>"), scale_factor=2, pad_token_id=0,
    )  # fmt: skip
    sizes = {"size": {"longest_edge": 112}, "max_image_size": {"longest_edge": 56}}
    processor = SmolVLMProcessor(
        SmolVLMImageProcessor(**sizes), words, SmolVLMVideoProcessor(**sizes), image_seq_len=16,
        chat_template=chat("<image>"),
    )
    return SmolVLMForConditionalGeneration(config), processor


MAKERS: Mapping[str, Callable[[], Made]] = {
    made.__name__: made for made in (qwen2_5_vl, llava, smolvlm)
}
"""By ``model_type``."""


def save(family: str, folder: Path, seed: int = 0) -> Path:
    """Make a tiny model of a family and save it as ``save_pretrained`` does."""
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network, processor = MAKERS[family]()
        for name, value in network.named_parameters():
            if "bias" in name:  # else all are zero, and a forgotten bias would not show
                torch.nn.init.normal_(value, std=0.1)
        network.save_pretrained(folder)
        processor.save_pretrained(folder)
    return folder
