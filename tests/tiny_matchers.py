"""Tiny matchers with random weights, saved as users have them: weights, tokenizer, processor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from audit.models.hf.matchers import MATCHERS
from audit.models.hf.matching import MatchingModel
from audit.models.hf.sources import found
from audit.models.kit.matching import Matching
from audit.models.kit.quiet import quiet
from tests.tiny_chat import VISION, Made, tokenizer

SIZES = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "initializer_range": 0.3,
}  # fmt: skip


def bert_tokenizer() -> Any:
    """A tokenizer of BERT's kind with one token for each ASCII character."""
    letters = [chr(code) for code in range(33, 127)]
    marks = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    names = {t: i for i, t in enumerate([*marks, *letters, *(f"##{x}" for x in letters)])}
    made = Tokenizer(models.WordPiece(names, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )  # fmt: skip
    kind = getattr(transformers, "BertTokenizerFast", None) or transformers.BertTokenizer
    return kind(
        tokenizer_object=made, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        unk_token="[UNK]", mask_token="[MASK]",
    )  # fmt: skip


def blip() -> Made:
    from transformers import (
        BlipConfig,
        BlipForImageTextRetrieval,
        BlipImageProcessor,
        BlipProcessor,
    )

    words = bert_tokenizer()
    text = SIZES | {
        "encoder_hidden_size": 32, "vocab_size": len(words), "max_position_embeddings": 96,
        "pad_token_id": 0, "bos_token_id": 1, "sep_token_id": 2,
    }  # fmt: skip
    config = BlipConfig(
        text_config=text, vision_config=SIZES | {"image_size": 32, "patch_size": 8},
        image_text_hidden_size=16, initializer_range=0.3,
    )  # fmt: skip
    steps = BlipImageProcessor(size={"height": 32, "width": 32})
    return BlipForImageTextRetrieval(config), BlipProcessor(steps, words)


def blip_2() -> Made:
    from transformers import (
        Blip2Config,
        Blip2ForImageTextRetrieval,
        Blip2Processor,
        BlipImageProcessor,
    )

    words = bert_tokenizer()
    processor = Blip2Processor(
        BlipImageProcessor(size={"height": 32, "width": 32}), words, num_query_tokens=3
    )  # adds its mark of a picture to the tokenizer
    config = Blip2Config(
        vision_config=SIZES | {"image_size": 32, "patch_size": 8},
        qformer_config=SIZES | {
            "num_hidden_layers": 4, "vocab_size": len(words), "encoder_hidden_size": 32,
            "max_position_embeddings": 96, "pad_token_id": 0, "cross_attention_frequency": 2,
            "use_qformer_text_input": True,
        },
        text_config={"model_type": "opt", "vocab_size": len(words), "hidden_size": 32,
                     "num_hidden_layers": 1, "num_attention_heads": 4, "ffn_dim": 48,
                     "word_embed_proj_dim": 32},
        num_query_tokens=3, image_text_hidden_size=16,
        image_token_index=words.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    config.initializer_range = 0.3
    return Blip2ForImageTextRetrieval(config), processor


def vilt() -> Made:
    from transformers import (
        ViltConfig,
        ViltForImageAndTextRetrieval,
        ViltImageProcessor,
        ViltProcessor,
    )

    words = bert_tokenizer()
    config = ViltConfig(
        **SIZES, vocab_size=len(words), image_size=32, patch_size=8, max_position_embeddings=96,
    )  # fmt: skip
    steps = ViltImageProcessor(size={"shortest_edge": 32}, size_divisor=8)
    return ViltForImageAndTextRetrieval(config), ViltProcessor(steps, words)


def _siglip_tokenizer() -> Any:
    words = tokenizer([], eos_token="</s>", pad_token="<pad>", unk_token="<unk>")
    words.model_input_names = words.init_kwargs["model_input_names"] = ["input_ids"]
    return words


def _siglip_texts(words: Any) -> dict[str, Any]:
    return {
        **VISION, "vocab_size": len(words), "max_position_embeddings": 96, "projection_size": 32,
        "pad_token_id": words.pad_token_id, "eos_token_id": words.eos_token_id,
        "bos_token_id": None,
    }  # fmt: skip


def siglip() -> Made:
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel, SiglipProcessor

    words = _siglip_tokenizer()
    config = SiglipConfig(
        text_config=_siglip_texts(words),
        vision_config={**VISION, "image_size": 32, "patch_size": 8},
    )
    steps = SiglipImageProcessor(size={"height": 32, "width": 32})
    return SiglipModel(config), SiglipProcessor(steps, words)


def siglip2() -> Made:
    from transformers import Siglip2Config, Siglip2ImageProcessor, Siglip2Model, Siglip2Processor

    words = _siglip_tokenizer()
    config = Siglip2Config(
        text_config=_siglip_texts(words),
        vision_config={**VISION, "num_patches": 16, "patch_size": 8},
    )
    steps = Siglip2ImageProcessor(patch_size=8, max_num_patches=20)
    return Siglip2Model(config), Siglip2Processor(steps, words)


def florence2() -> Made:
    from transformers import (
        BartConfig,
        CLIPImageProcessor,
        Florence2Config,
        Florence2ForConditionalGeneration,
        Florence2Processor,
    )

    kind = getattr(transformers, "BartTokenizerFast", None) or transformers.BartTokenizer
    words = tokenizer(
        [], kind, extra={"image_token": "<image>"}, bos_token="<s>", pad_token="<pad>",
        eos_token="</s>", unk_token="<unk>", cls_token="<s>", sep_token="</s>",
        mask_token="<mask>",
    )  # fmt: skip
    ids = words.convert_tokens_to_ids
    words.backend_tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", ids("</s>")), ("<s>", ids("<s>")), trim_offsets=False, add_prefix_space=False
    )
    config = Florence2Config(
        text_config=BartConfig(
            vocab_size=len(words), d_model=32, encoder_layers=2, decoder_layers=2,
            encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48,
            decoder_ffn_dim=48, max_position_embeddings=256, init_std=0.3,
            bos_token_id=ids("<s>"), pad_token_id=ids("<pad>"), eos_token_id=ids("</s>"),
            decoder_start_token_id=ids("</s>"), forced_eos_token_id=ids("</s>"),
        ).to_dict(),
        vision_config={
            "depths": (1, 1), "patch_size": (7, 3), "patch_stride": (4, 2),
            "patch_padding": (3, 1), "patch_prenorm": (False, True), "embed_dim": (16, 32),
            "num_heads": (2, 4), "num_groups": (2, 4), "window_size": 4, "projection_dim": 32,
            "max_temporal_embeddings": 4, "max_position_embeddings": 8, "initializer_range": 0.3,
        },
        image_token_id=ids("<image>"),
    )  # fmt: skip
    steps = CLIPImageProcessor(size={"height": 32, "width": 32}, do_center_crop=False)
    steps.image_seq_length = 17
    return Florence2ForConditionalGeneration(config), Florence2Processor(steps, words)


MAKERS: Mapping[str, Callable[[], Made]] = {
    "blip": blip, "blip-2": blip_2, "vilt": vilt, "siglip": siglip, "siglip2": siglip2,
    "florence2": florence2,
}  # fmt: skip
"""By ``model_type``."""


def save(family: str, folder: Path, seed: int = 0) -> Path:
    """Make a tiny matcher of a family and save it as ``save_pretrained`` does."""
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network, processor = MAKERS[family]()
        for name, value in network.named_parameters():
            if "bias" in name or "logit" in name or not value.any():
                torch.nn.init.normal_(value, std=0.3)  # what is zero would hide a mistake
            elif value.ndim > 1 and value.std() < 0.1:
                torch.nn.init.normal_(value, std=0.3)
        network.save_pretrained(folder)
        processor.save_pretrained(folder)
    return folder


THRESHOLD = 0.45


def load(family: str, folder: Path, dtype: str = "float32") -> MatchingModel:
    """The adapter of a checkpoint, with a threshold if its family needs one."""
    matching = Matching(threshold=THRESHOLD) if MATCHERS[family].scores == 1 else None
    return MatchingModel(found(f"hf:{folder}"), device="cpu", dtype=dtype, matching=matching)
