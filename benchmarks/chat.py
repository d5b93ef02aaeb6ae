"""What reading maps of a chat model costs: time and memory beside the same pass without maps.

    python -m benchmarks.chat [--width 896] [--layers 24] [--side 1092] [--passes 3] [--eager]

A Qwen2.5-VL of about 0.5 B parameters with random weights, asked about a picture of its true size.
Time is the smallest of several passes, taken in turn. Memory on a GPU is the peak of what torch
allocates within a pass, above what was allocated before it; on a CPU it is the largest size that
the process had so far, in the order of the table.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from audit.maps.trace import ANSWER, NOTHING_MORE
from audit.models.hf.adapter import ChatModel
from audit.models.hf.sources import found
from audit.models.protocol import Query
from tests import tiny_chat


def large(width: int, layers: int) -> Callable[[], tiny_chat.Made]:
    """A Qwen2.5-VL with the sizes of Qwen2.5-0.5B, and a picture's part of two layers."""

    def made() -> tiny_chat.Made:
        _, processor = tiny_chat.qwen2_5_vl()
        ids = processor.tokenizer.convert_tokens_to_ids
        half = width // 28  # of a head's size
        config = Qwen2_5_VLConfig(
            text_config={
                "hidden_size": width, "intermediate_size": 4864, "num_hidden_layers": layers,
                "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151_936,
                "max_position_embeddings": 32_768,
                "rope_scaling": {
                    "type": "mrope", "mrope_section": [half // 4, half * 3 // 8, half * 3 // 8],
                },
            },
            vision_config={
                "depth": 2, "hidden_size": 64, "intermediate_size": 96, "num_heads": 4,
                "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2,
                "out_hidden_size": width, "fullatt_block_indexes": [1], "window_size": 112,
            },
            image_token_id=ids("<|image_pad|>"), video_token_id=ids("<|video_pad|>"),
            vision_start_token_id=ids("<|vision_start|>"),
            vision_end_token_id=ids("<|vision_end|>"),
        )  # fmt: skip
        processor.image_processor.size = {"shortest_edge": 3136, "longest_edge": 12_845_056}
        processor.image_processor.max_pixels = 12_845_056
        return Qwen2_5_VLForConditionalGeneration(config), processor

    return made


def measured(run: Callable[[], Any], cuda: bool) -> tuple[float, float]:
    """Seconds of one call, and MB of memory at its peak."""
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        return seconds, (torch.cuda.max_memory_allocated() - before) / 2**20
    start = time.perf_counter()
    run()
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=896)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--side", type=int, default=1092)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--eager", action="store_true", help="also eager attention's figures")
    given = parser.parse_args()
    tiny_chat.MAKERS = {"large": large(given.width, given.layers)}
    with tempfile.TemporaryDirectory() as folder:
        tiny_chat.save("large", Path(folder))
        model = ChatModel(found(f"hf:{folder}"), device=given.device)
    noise = np.random.default_rng(0).integers(0, 255, (given.side, given.side, 3), dtype=np.uint8)
    query = Query(Image.fromarray(noise), "there are two birds on a branch")
    size = sum(p.numel() for p in model.torch_model.parameters())
    print(f"{size / 1e9:.2f} B parameters, {model.prompt(query).length} tokens in the prompt")
    cuda = model.fingerprint.device.startswith("cuda")
    ways: dict[str, Callable[[], Any]] = {
        "no map": lambda: model.trace([query], NOTHING_MORE),
        "answer_attention": lambda: model.trace([query], frozenset({ANSWER})),
    }
    if given.eager:
        inputs = {k: v.to(model.fingerprint.device) for k, v in model.prompt(query).inputs.items()}

        def eager() -> None:
            network = model.torch_model
            network.set_attn_implementation("eager")
            with torch.no_grad():
                network(**inputs, output_attentions=True, logits_to_keep=1)

        ways["eager, output_attentions"] = eager
    best: dict[str, tuple[float, float]] = {}
    for _ in range(given.passes):
        for name, run in ways.items():
            if name.startswith("eager") and name in best:
                continue
            seconds, memory = measured(run, cuda)
            fastest, least = best.get(name, (seconds, memory))
            best[name] = min(seconds, fastest), min(memory, least)
    for name, (seconds, memory) in best.items():
        print(f"{name:28s} {seconds:7.3f} s  peak {memory:8.1f} MB")


if __name__ == "__main__":
    main()
