"""What reading maps of a chat model costs: time and memory beside the same pass without maps.

    python -m benchmarks.chat [--docs] [--turns 5] [--width 896] [--layers 24] [--side 1092]

A Qwen2.5-VL of about 0.5 B parameters with random weights is asked about a picture of 1092 × 1092
pixels, 1,521 tokens. Each turn runs all ways one after another and compares them with its own pass
without maps, because the machine's speed drifts by more than maps cost; which of the first two
begins alternates. The table has medians of the turns. Memory is the peak of a pass above what was
in use before it, the least of all turns, since what else runs only adds to it: on a GPU of what
torch allocates, on a CPU of the resident set. Eager attention that keeps its weights is measured
too, and its row is compared. Measure on a machine that does nothing else.

``--docs`` writes the table into docs/speed.md. No turn begins after five minutes, but two at least
are run. It exits with 1 if answer_attention takes more than 1.05 times the pass without
maps, or 32 MB more.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from audit.base.files import write_atomically
from audit.maps.trace import ANSWER, EACH_WORD, NOTHING_MORE, Need, ReadingKey
from audit.models.hf.adapter import ChatModel
from audit.models.hf.sources import found
from audit.models.kit.rows import watched
from audit.models.protocol import Query
from audit.report.markdown import table
from benchmarks.measuring import peak_megabytes, reset_peak, resident_megabytes, seconds
from tests import tiny_chat

PAGE = Path(__file__).parent.parent / "docs" / "speed.md"
BEGIN, END = "<!-- chat, by benchmarks/chat.py -->", "<!-- end of chat -->"

WITHOUT, MAP, EAGER = "no map", "`answer_attention`", "eager, `output_attentions`"
MOST_TIME, MOST_MEMORY = 1.05, 32.0

LATEST, FEWEST = 300.0, 2  # seconds after which no turn begins, but for so many

NEEDS: dict[str, Need] = {
    WITHOUT: NOTHING_MORE,
    MAP: frozenset({ANSWER}),
    "and `word_attention`": frozenset({ANSWER, EACH_WORD}),
    "and `relevance`": frozenset({ANSWER, EACH_WORD, ReadingKey("relevance")}),
}


def large(width: int, layers: int) -> tiny_chat.Made:
    """A Qwen2.5-VL with the sizes of Qwen2.5-0.5B, and a picture's part of two layers."""
    _, processor = tiny_chat.qwen2_5_vl()
    ids = processor.tokenizer.convert_tokens_to_ids
    half = width // 28  # of a head's size
    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": width, "intermediate_size": 4864, "num_hidden_layers": layers,
            "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151_936,
            "max_position_embeddings": 32_768, "tie_word_embeddings": True,
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


class Cost(NamedTuple):
    """Of one way in one turn: seconds, times the pass without maps, peak MB."""

    seconds: float
    ratio: float
    megabytes: float


def measured(run: Callable[[], Any], cuda: bool) -> tuple[float, float]:
    """Seconds of one call, and MB at its peak above what was in use before."""
    if not cuda:
        reset_peak()
        before = resident_megabytes()
        took = seconds(run)
        return took, peak_megabytes() - before
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    took = seconds(lambda: (run(), torch.cuda.synchronize()))
    return took, (torch.cuda.max_memory_allocated() - before) / 2**20


def eagerly(model: ChatModel, query: Query) -> torch.Tensor:
    """Attention of the prompt's last token, by plain transformers: (layers, tokens)."""
    network, device = model.torch_model, model.fingerprint.device
    inputs = {name: value.to(device) for name, value in model.prompt(query).inputs.items()}
    network.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            seen = network(**inputs, output_attentions=True, logits_to_keep=1).attentions
    finally:
        network.set_attn_implementation("sdpa")
        watched(network, "text_config")
    return torch.stack([weights[0, :, -1].mean(0) for weights in seen]).cpu()


def costs(model: ChatModel, query: Query, turns: int) -> dict[str, list[Cost]]:
    """Every way in every turn; a turn before the first warms up."""
    cuda = model.fingerprint.device.startswith("cuda")
    ways: dict[str, Callable[[], Any]] = {
        name: lambda need=need: model.trace([query], need) for name, need in NEEDS.items()
    }
    ways[EAGER] = lambda: eagerly(model, query)
    found: dict[str, list[Cost]] = {name: [] for name in ways}
    for run in ways.values():
        run()
    started = time.perf_counter()
    for turn in range(turns):
        if turn >= FEWEST and time.perf_counter() - started > LATEST:
            break
        others = [name for name in ways if name not in (WITHOUT, MAP)]
        first = [MAP, WITHOUT] if turn % 2 else [WITHOUT, MAP]
        took = {name: measured(ways[name], cuda) for name in (*first, *others)}
        for name, (passed, peak) in took.items():
            found[name].append(Cost(passed, passed / took[WITHOUT][0], peak))
        print(f"turn {turn + 1} of {turns}", file=sys.stderr)
    return found


def row_off(model: ChatModel, query: Query) -> float:
    """The largest difference between the answer's row and eager attention's."""
    cells = model.trace([query], frozenset({ANSWER}))[0].readings[ANSWER].cells
    rows = eagerly(model, query)[:, model.prompt(query).cells]
    return float(np.abs(cells.reshape(rows.shape) - rows.numpy()).max())


def main() -> int:
    """Measure, print a table, perhaps write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--docs", action="store_true", help="write the table into docs/speed.md")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--width", type=int, default=896, help="a multiple of 224")
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--side", type=int, default=1092, help="of the picture, in pixels")
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    tiny_chat.MAKERS = {"large": lambda: large(given.width, given.layers)}
    with tempfile.TemporaryDirectory() as folder:
        tiny_chat.save("large", Path(folder))
        model = ChatModel(found(f"hf:{folder}"), device=given.device)
    noise = np.random.default_rng(0).integers(0, 255, (given.side, given.side, 3), dtype=np.uint8)
    query = Query(Image.fromarray(noise), "there are two birds on a branch")
    by_way = costs(model, query, given.turns)
    least = {name: min(cost.megabytes for cost in found) for name, found in by_way.items()}
    ratios = {n: statistics.median(cost.ratio for cost in found) for n, found in by_way.items()}
    rows = [
        [
            name, f"{statistics.median(cost.seconds for cost in by_way[name]):.2f}",
            f"{ratios[name]:.3f}", f"{least[name]:.0f}", f"{least[name] - least[WITHOUT]:+.1f}",
        ]
        for name in by_way
    ]  # fmt: skip
    size = sum(parameter.numel() for parameter in model.torch_model.parameters())
    tokens, turns = model.prompt(query).length, len(by_way[WITHOUT])
    cuda = model.fingerprint.device.startswith("cuda")
    where = torch.cuda.get_device_name() if cuda else f"{torch.get_num_threads()} threads of a CPU"
    told = (
        f"{size / 1e9:.2f} B parameters, {given.layers} layers, {tokens} tokens in the "
        f"prompt, float32, {where}, {turns} turns. The row of `answer_attention` is "
        f"within {row_off(model, query):.1e} of eager attention's."
    )
    head = ["", "seconds", "times the pass without maps", "peak MB", "MB more"]
    text = f"{table(head, rows)}\n\n{told}"
    print(text)
    if given.docs:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        write_atomically(PAGE, f"{before}{BEGIN}\n{text}\n{END}{after}".encode())
    over = ratios[MAP] > MOST_TIME or least[MAP] - least[WITHOUT] > MOST_MEMORY
    if over:
        print(f"more than {MOST_TIME} times or {MOST_MEMORY:g} MB", file=sys.stderr)
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
