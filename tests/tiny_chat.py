"""Tiny chat models with random weights, saved as users have them: weights, tokenizer, processor.

Each family is transformers' own code with its own processor; only the sizes are small. Pictures are
true to their processors: cropped, squashed or cut into tiles as those of real models are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
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


def tokenizer(
    marks: Sequence[str],
    kind: type[Any] = PreTrainedTokenizerFast,
    extra: Mapping[str, str] | None = None,
    **named: str,
) -> Any:
    """A byte-level BPE tokenizer, as Qwen's and SmolVLM's are, with some words of its own.

    Args:
        marks: special tokens, besides those in ``named`` and ``extra``.
        extra: special tokens by the names that a family gives them, such as ``boi_token``.
        named: by the names that transformers gives them, such as ``bos_token``.
    """
    marks = [*marks, *(extra or {}).values()]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made = Tokenizer(models.BPE(unk_token=named.get("unk_token")))
    if "Gemma" in kind.__name__:  # it writes spaces as ▁, and has no byte-level form
        alphabet = [*map(chr, range(33, 127)), "▁", "\n"]
        made.normalizer = normalizers.Replace(" ", "▁")
        made.decoder = decoders.Replace("▁", " ")
    else:
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
    special = list(dict.fromkeys([*named.values(), *marks]))
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=special, show_progress=False,
        initial_alphabet=alphabet,
    )  # fmt: skip
    made.train_from_iterator(WORDS, trainer)
    more = {"extra_special_tokens": dict(extra)} if extra else {}
    return kind(tokenizer_object=made, additional_special_tokens=list(marks), **named, **more)


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
        SmolVLMImageProcessor(**sizes),
        words,
        SmolVLMVideoProcessor(**sizes),
        image_seq_len=16,
        chat_template=chat("<image>"),
    )
    return SmolVLMForConditionalGeneration(config), processor


def qwen3_vl() -> Made:
    from transformers import (
        Qwen2VLImageProcessor,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    marks = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
             "<|video_pad|>"]  # fmt: skip
    words = tokenizer(marks, _qwen_tokenizer(), eos_token="<|im_end|>", pad_token="<|endoftext|>")
    ids = words.convert_tokens_to_ids
    config = Qwen3VLConfig(
        text_config={
            **TEXT, "vocab_size": len(words), "head_dim": 8,
            "rope_scaling": {
                "rope_type": "default", "mrope_section": [2, 1, 1], "mrope_interleaved": True,
            },
        },
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 4,
            "patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2,
            "out_hidden_size": 32, "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1], "initializer_range": 0.2,
        },
        image_token_id=ids("<|image_pad|>"), video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"), vision_end_token_id=ids("<|vision_end|>"),
    )  # fmt: skip
    pixels = {"min_pixels": 64 * 64, "max_pixels": 128 * 128}
    processor = Qwen3VLProcessor(
        Qwen2VLImageProcessor(**pixels, patch_size=16), words, Qwen3VLVideoProcessor(),
        chat_template=chat("<|vision_start|><|image_pad|><|vision_end|>"),
    )  # fmt: skip
    return Qwen3VLForConditionalGeneration(config), processor


def llava_onevision() -> Made:
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionForConditionalGeneration,
        LlavaOnevisionImageProcessor,
        LlavaOnevisionProcessor,
        LlavaOnevisionVideoProcessor,
        Qwen2Config,
        SiglipVisionConfig,
    )

    words = tokenizer(["<|im_start|>", "<|im_end|>", "<image>", "<video>"],
                      eos_token="<|im_end|>", pad_token="<|endoftext|>")  # fmt: skip
    points = [[56 * rows, 56 * cols] for rows in (1, 2) for cols in (1, 2)]
    config = LlavaOnevisionConfig(
        text_config=Qwen2Config(**TEXT, vocab_size=len(words)),
        vision_config=SiglipVisionConfig(**VISION, image_size=56, patch_size=14,
                                         vision_use_head=False),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        video_token_index=words.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=points, vision_feature_select_strategy="full",
        vision_feature_layer=-1, vision_aspect_ratio="anyres_max_9",
    )  # fmt: skip
    processor = LlavaOnevisionProcessor(
        LlavaOnevisionImageProcessor(
            size={"height": 56, "width": 56}, image_grid_pinpoints=points
        ),
        words, LlavaOnevisionVideoProcessor(), num_image_tokens=16,
        vision_feature_select_strategy="full", chat_template=chat("<image>\n"),
    )  # fmt: skip
    return LlavaOnevisionForConditionalGeneration(config), processor


def internvl() -> Made:
    from transformers import (
        GotOcr2ImageProcessor,
        InternVLConfig,
        InternVLForConditionalGeneration,
        InternVLProcessor,
        InternVLVideoProcessor,
        InternVLVisionConfig,
        Qwen2Config,
    )

    extra = {
        "start_image_token": "<img>", "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>", "video_token": "<video>",
    }  # fmt: skip
    words = tokenizer(["<|im_start|>", "<|im_end|>"], extra=extra, eos_token="<|im_end|>",
                      pad_token="<|endoftext|>")  # fmt: skip
    config = InternVLConfig(
        text_config=Qwen2Config(**TEXT, vocab_size=len(words)),
        vision_config=InternVLVisionConfig(**VISION, image_size=[56, 56], patch_size=[7, 7]),
        image_token_id=words.convert_tokens_to_ids("<IMG_CONTEXT>"), image_seq_length=16,
    )  # fmt: skip
    processor = InternVLProcessor(
        GotOcr2ImageProcessor(size={"height": 56, "width": 56}, max_patches=4),
        words,
        InternVLVideoProcessor(),
        image_seq_length=16,
        chat_template=chat("<IMG_CONTEXT>\n"),
    )
    return InternVLForConditionalGeneration(config), processor


def paligemma() -> Made:
    import transformers
    from transformers import (
        GemmaConfig,
        PaliGemmaConfig,
        PaliGemmaForConditionalGeneration,
        PaliGemmaProcessor,
        SiglipImageProcessor,
        SiglipVisionConfig,
    )

    kind = getattr(transformers, "GemmaTokenizerFast", None) or transformers.GemmaTokenizer
    words = tokenizer(["<image>"], kind, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>",
                      unk_token="<unk>")  # fmt: skip
    steps = SiglipImageProcessor(size={"height": 56, "width": 56})
    steps.image_seq_length = 16
    processor = PaliGemmaProcessor(steps, words)  # adds its marks to the tokenizer
    config = PaliGemmaConfig(
        text_config=GemmaConfig(**TEXT, head_dim=8, vocab_size=len(words)),
        vision_config=SiglipVisionConfig(**VISION, image_size=56, patch_size=14,
                                         projection_dim=32, vision_use_head=False),
        image_token_index=words.convert_tokens_to_ids("<image>"), projection_dim=32,
        hidden_size=32,
    )  # fmt: skip
    return PaliGemmaForConditionalGeneration(config), processor


def gemma3() -> Made:
    from transformers import (
        Gemma3Config,
        Gemma3ForConditionalGeneration,
        Gemma3ImageProcessor,
        Gemma3Processor,
        Gemma3TextConfig,
        SiglipVisionConfig,
    )

    extra = {
        "image_token": "<image_soft_token>", "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
    }  # fmt: skip
    words = tokenizer(["<|im_start|>", "<|im_end|>"], extra=extra, pad_token="<pad>",
                      bos_token="<bos>", eos_token="<eos>")  # fmt: skip
    config = Gemma3Config(
        text_config=Gemma3TextConfig(
            **TEXT, head_dim=8, vocab_size=len(words), sliding_window=24,
            layer_types=["sliding_attention", "full_attention"],
        ),
        vision_config=SiglipVisionConfig(**VISION, image_size=56, patch_size=7,
                                         vision_use_head=False),
        mm_tokens_per_image=16, image_token_index=words.convert_tokens_to_ids("<image_soft_token>"),
        boi_token_index=words.convert_tokens_to_ids("<start_of_image>"),
        eoi_token_index=words.convert_tokens_to_ids("<end_of_image>"),
    )  # fmt: skip
    processor = Gemma3Processor(
        Gemma3ImageProcessor(size={"height": 56, "width": 56}),
        words,
        image_seq_length=16,
        chat_template="{{ bos_token }}" + chat("<start_of_image>"),
    )
    return Gemma3ForConditionalGeneration(config), processor


MAKERS: Mapping[str, Callable[[], Made]] = {
    made.__name__: made
    for made in (
        qwen2_5_vl,
        qwen3_vl,
        llava,
        llava_onevision,
        internvl,
        smolvlm,
        paligemma,
        gemma3,
    )
}
"""By ``model_type``."""


def save(family: str, folder: Path, seed: int = 0) -> Path:
    """Make a tiny model of a family and save it as ``save_pretrained`` does."""
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network, processor = MAKERS[family]()
        for name, value in network.named_parameters():
            if "bias" in name or not value.any():  # what is zero would hide a mistake
                torch.nn.init.normal_(value, std=0.1)
        network.save_pretrained(folder)
        processor.save_pretrained(folder)
    return folder
