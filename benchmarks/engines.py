"""Measures how fast OFA-large is audited, against modelscope's pipeline and the machine's rate.

Run ``python benchmarks/engines.py`` on a machine that does nothing else; ``--device cuda`` on one
with a GPU. It makes a checkpoint of OFA-large's sizes with random weights in a temporary folder
(2 GB; ``--checkpoint`` keeps it) and asks 16 questions about 4 pictures of

- modelscope's pipeline, one by one, as its users call it, without attention;
- modelscope's model with ``output_attentions=True`` and everything kept, the naive way to maps;
- audit's engines, in batches, without maps and with all maps that need no gradient.

All are timed in one process, in turns. Each is compared with the pipeline in the same turn, and the
table shows the median of these ratios. The machine's rate is that of one matrix product of the
encoder's largest shape, measured before and after each run.

Memory is measured for one batch of each, in a new process: the peak of the resident set minus what
was resident before (Linux, glibc; on CUDA the allocator's own count). In these processes every
large block is returned as soon as it is free. That costs time, but otherwise the blocks that the
allocator keeps would hide how much is in use.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import peak_megabytes, reset_peak, resident_megabytes, seconds
from ofa_large import large_checkpoint
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from audit import load_model
from audit.maps.reading import need_of, read_map
from audit.maps.spec import MapSpec
from audit.maps.trace import EACH_WORD, NOTHING_MORE, Need, Trace
from audit.models.ofa import METHODS
from audit.models.ofa.standins import stand_ins
from audit.models.protocol import Query
from audit.reference.scenes import scene

TEXTS = (
    "there are two birds on a branch",
    "a cat is sleeping on the sofa",
    "there are animals in a forest",
    "the rabbit is three years old and waiting for a carrot",
    "two dogs are running on a meadow",
    "a red bird sits on the left of a blue one",
    "a child moves",
    "a fish swims in the water under a boat",
)
ASKED = 4
"""How many of these texts are used: those with the clearest answers. With random weights answers
often tie, and which of two tied answers wins says nothing about the precision."""

MAPS = (
    "answer_attention",
    "answer_attention layers=last:4 heads=max",
    "word_attention word=a",
    "rollout",
)
NEED = need_of([MapSpec.parse(text) for text in MAPS], METHODS) | {EACH_WORD}
Shape = tuple[int, ...]
Ask = Callable[[Sequence[Query]], list[Any]]
PIPELINE = "modelscope's pipeline, no attention"


@dataclass
class Way:
    """One way of asking.

    Attributes:
        dtype: the precision in which the machine's rate is measured for comparison.
        most: the most queries to ask when it is timed; None means all.
    """

    ask: Ask
    dtype: torch.dtype
    most: int | None = None


@dataclass
class Measured:
    """Figures of one way of asking, one for each turn.

    Attributes:
        seconds: for each case.
        ratio: of the pipeline's seconds to these.
        share: of the machine's rate.
    """

    seconds: list[float] = field(default_factory=list)
    ratio: list[float] = field(default_factory=list)
    share: list[float] = field(default_factory=list)


def rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of a product (930, 1024) by (1024, 4096), the best of eight."""
    a = torch.randn(930, 1024, device=device, dtype=dtype)
    w = torch.randn(4096, 1024, device=device, dtype=dtype)

    def product() -> None:
        torch.nn.functional.linear(a, w)
        finish(device)

    return 2 * 930 * 1024 * 4096 / min(seconds(product) for _ in range(8))


def finish(device: torch.device) -> None:
    """Wait until a GPU is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def operations(run: Callable[[], Any]) -> int:
    """Floating-point operations of the matrix products and convolutions of one run."""
    # torch counts the operations of fused attention only on CUDA.
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with FlopCounterMode(display=False, custom_mapping={fused: in_fused_attention}) as counter:
        run()
    return counter.get_total_flops()


def in_fused_attention(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    """Operations of attention on (batch, heads, tokens, width): scores, and scores times values."""
    batch, heads, tokens, width = query
    return 2 * batch * heads * tokens * key[2] * (width + value[3])


def timed(run: Callable[[], Any], device: torch.device) -> float:
    """Seconds that a run takes, including the GPU's work."""
    return seconds(lambda: (run(), finish(device)))


def megabytes(run: Callable[[], Any], device: torch.device) -> float:
    """Peak MB minus what was in use before; the least of three, as other work adds to it."""
    found = []
    for _ in range(3):
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            run()
            found.append((torch.cuda.max_memory_allocated() - before) / 2**20)
        else:
            reset_peak()
            before = resident_megabytes()
            run()
            found.append(peak_megabytes() - before)
    return min(found)


def farthest(some: Sequence[Trace], others: Sequence[Trace]) -> float:
    """The largest difference between two probabilities."""
    return max(
        abs(a.probabilities[label] - b.probabilities[label])
        for a, b in zip(some, others, strict=True)
        for label in a.probabilities
    )


def lead(trace: Trace) -> float:
    """By how much the most probable answer leads the second."""
    second, best = sorted(trace.probabilities.values())[-2:]
    return best - second


def decided(traces: Sequence[Trace]) -> list[str]:
    """The texts that are used, given a trace of each in TEXTS."""
    ranked = sorted(zip(TEXTS, traces, strict=True), key=lambda pair: -lead(pair[1]))
    chosen = {text for text, _ in ranked[:ASKED]}
    return [text for text in TEXTS if text in chosen]


class Models:
    """The compared models, each loaded at first use, and the questions."""

    def __init__(self, folder: Path, scratch: Path, where: str, batch: int) -> None:
        self.folder, self.where, self.batch = str(folder), where, batch
        self.pictures = [scratch / f"{number}.png" for number in range(4)]
        for number, path in enumerate(self.pictures):
            scene(1, number).image.save(path)

    @cached_property
    def pipeline(self) -> Any:
        """modelscope's pipeline."""
        with stand_ins():
            from modelscope.pipelines import pipeline  # noqa: PLC0415

            device = "gpu" if self.where != "cpu" else "cpu"
            return pipeline("visual-entailment", model=self.folder, device=device)

    @cached_property
    def reference(self) -> Any:
        """The engine that runs modelscope's own passes."""
        return load_model(self.folder, self.where, engine="reference")

    @cached_property
    def fast(self) -> Any:
        """The fast engine."""
        return load_model(self.folder, self.where)

    @cached_property
    def rough(self) -> Any:
        """The fast engine in bfloat16."""
        return load_model(self.folder, self.where, "bfloat16")

    @cached_property
    def texts(self) -> list[str]:
        """The texts that are used to compare and time answers."""
        return decided(self.fast.trace([Query(self.pictures[0], text) for text in TEXTS]))

    def queries(self, texts: Sequence[str]) -> list[Query]:
        """All texts about each picture."""
        return [Query(picture, text) for picture in self.pictures for text in texts]

    def asking(self, name: str, need: Need) -> Ask:
        """A function that asks in batches; no call profits from pictures seen before."""

        def ask(some: Sequence[Query]) -> list[Trace]:
            model = getattr(self, name)
            if model._engine is not None:
                model._engine._pictures.forget()
            return [
                trace
                for start in range(0, len(some), self.batch)
                for trace in model.trace(some[start : start + self.batch], need)
            ]

        return ask

    def ways(self) -> dict[str, Way]:
        """The rows of the table by name."""

        def one_by_one(some: Sequence[Query]) -> list[Any]:
            return [self.pipeline({"image": str(q.image), "text": q.text}) for q in some]

        def whole(some: Sequence[Query]) -> list[Any]:
            return [kept_whole(self.reference, query) for query in some]

        return {
            PIPELINE: Way(one_by_one, torch.float32),
            "naive: all attention kept, 1 case": Way(whole, torch.float32, 1),
            "reference engine, maps": Way(self.asking("reference", NEED), torch.float32),
            "fast engine, no maps": Way(self.asking("fast", NOTHING_MORE), torch.float32),
            "fast engine, maps": Way(self.asking("fast", NEED), torch.float32),
            "fast, bfloat16, no maps": Way(self.asking("rough", NOTHING_MORE), torch.bfloat16),
            "fast, bfloat16, maps": Way(self.asking("rough", NEED), torch.bfloat16),
        }


def main() -> None:
    """Make the checkpoint, measure, print one table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--checkpoint", type=Path, help="folder to keep it in, or to take it from")
    parser.add_argument("--memory-of", metavar="ROW", help="print only the peak MB of this row")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.checkpoint or Path(temporary)
        if not (folder / "pytorch_model.bin").exists():
            folder.mkdir(parents=True, exist_ok=True)
            large_checkpoint(folder)
        models = Models(folder, Path(temporary), given.device, given.batch)
        device = torch.device(given.device)
        if given.memory_of:
            way = models.ways()[given.memory_of]
            some = models.queries(TEXTS[: given.batch])[: way.most or given.batch]
            print(megabytes(partial(way.ask, some), device))
        else:
            peaks = {name: memory(name, folder, given) for name in models.ways()}
            compare(models, device, given.rounds, peaks)
            answers(models)


def memory(row: str, folder: Path, given: argparse.Namespace) -> float:
    """Peak MB of one batch, in a process that returns free memory at once."""
    done = subprocess.run(
        [
            sys.executable, __file__, "--memory-of", row, "--checkpoint", str(folder),
            "--device", given.device, "--batch", str(given.batch),
        ],
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": str(256 * 1024)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return float(done.stdout.splitlines()[-1])


def compare(models: Models, device: torch.device, rounds: int, peaks: dict[str, float]) -> None:
    """Time each way in turns, and print the table."""
    ways, queries = models.ways(), models.queries(models.texts)
    work = {}
    for name, way in ways.items():
        # One picture is enough, because all four have the same questions.
        some = queries[: len(models.texts)][: way.most]
        work[name] = operations(partial(way.ask, some)) / len(some)
    table = {name: Measured() for name in ways}
    for _ in range(rounds):
        base = 0.0
        for name, way in ways.items():
            peak = rate(device, way.dtype)
            some = queries[: way.most]
            took = timed(partial(way.ask, some), device) / len(some)
            peak = (peak + rate(device, way.dtype)) / 2
            base = took if name == PIPELINE else base
            row = table[name]
            row.seconds.append(took)
            row.ratio.append(base / took)
            row.share.append(work[name] / took / peak)
    print(f"OFA-large, random weights, {device}, {torch.get_num_threads()} threads, 16 questions")
    print(f"about 4 pictures, batches of {models.batch}, median of {rounds} turns")
    print(f"{'':36} s/case  x pipeline  GFLOP/case  of the rate  MB at the peak")
    for name, row in table.items():
        s, ratio, share = map(statistics.median, (row.seconds, row.ratio, row.share))
        done, mb = work[name] / 1e9, peaks[name]
        print(f"{name:36} {s:6.3f}  {ratio:10.2f}  {done:10.0f}  {share:11.0%}  {mb:14.1f}")
    print(
        f"matrix product now: {rate(device, torch.float32) / 1e9:.0f} GFLOP/s in float32, "
        f"{rate(device, torch.bfloat16) / 1e9:.0f} in bfloat16"
    )


def answers(models: Models) -> None:
    """Print how far the fast engine's answers and maps are from the reference engine's."""
    queries = models.queries(models.texts)
    expected = models.asking("reference", NEED)(queries)
    print(f"the most probable answer leads by {min(map(lead, expected)):.3f} at least")
    for name, model in (("fast", "fast"), ("fast, bfloat16", "rough")):
        found = models.asking(model, NEED)(queries)
        same = sum(a.label == b.label for a, b in zip(expected, found, strict=True))
        print(
            f"{name}: {same} of {len(found)} labels as the reference engine, "
            f"probabilities within {farthest(expected, found):.1e}"
        )
        for spec in map(MapSpec.parse, MAPS):
            distances = [
                np.abs(read_map(a, spec) - read_map(b, spec))
                for a, b in zip(expected, found, strict=True)
            ]
            print(
                f"  {spec.key}: cells within {max(d.max() for d in distances):.1e}, "
                f"moved in all {max(d.sum() for d in distances) / 2:.1e}"
            )


def kept_whole(model: Any, query: Query) -> Any:
    """One forward pass of modelscope's model that returns all attention."""
    image = Image.open(query.image).convert("RGB")
    (sample,) = model._samples([Query(image, query.text)])
    with torch.inference_mode():
        return model.torch_model(
            input_ids=sample["source"][None].to(model._device),
            patch_images=sample["patch_image"][None].to(model._device),
            patch_masks=torch.tensor([True], device=model._device),
            decoder_input_ids=torch.tensor([model._answering.prompt(sample)], device=model._device),
            output_attentions=True,
        )


if __name__ == "__main__":
    main()
