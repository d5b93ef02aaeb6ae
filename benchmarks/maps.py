"""Measures what each map costs on OFA-large at its true size, against one plain forward pass.

Run ``python benchmarks/maps.py`` on a machine that does nothing else. The reference engine reads
the maps; for the fast one see ``benchmarks/engines.py``. The plain pass is modelscope's own
``OFAModel.forward`` without any hook. All are timed in one process, in turns. Each is compared with
a plain pass right before it, because the machine's speed drifts within a turn by more than the maps
cost; the table shows the median of these ratios. Memory is the peak of the resident set during the
call (Linux: ``VmHWM``, reset before each) minus that of the plain pass.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measuring import peak_megabytes, reset_peak, seconds
from ofa_large import large_checkpoint

from audit import load_model
from audit.base.geometry import Grid
from audit.maps.reading import read_map
from audit.maps.spec import MapSpec
from audit.maps.trace import Window
from audit.models.protocol import Query
from audit.reference.scenes import scene
from audit.runs.evidence import STEPS, gather, placements, window_of

TEXT = "there are two birds on a branch"

RUNS: dict[str, tuple[str, ...]] = {
    "answer_attention": ("answer_attention",),
    "word_attention": ("word_attention word=birds",),
    "rollout": ("rollout",),
    "all without gradient": (
        "answer_attention",
        "answer_attention layers=last:4 heads=max",
        "word_attention word=birds",
        "word_attention word=branch",
        "rollout",
        "uniform",
        "centre",
        "random",
    ),
    "relevance": ("relevance", "relevance variant=paper"),
    "blank": ("blank",),
}


def main() -> None:
    """Make the checkpoint, measure, print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        large_checkpoint(folder)
        model: Any = load_model(str(folder), device="cpu", engine="reference")
        query = Query(scene(1, 0).image, TEXT)
        (sample,) = model._samples([query])
        inputs = {
            "input_ids": sample["source"][None],
            "patch_images": sample["patch_image"][None],
            "patch_masks": torch.tensor([True]),
            "decoder_input_ids": torch.tensor([model._answering.prompt(sample)]),
        }

        def plain() -> None:
            with torch.inference_mode():
                model.torch_model(**inputs)

        def reading(texts: tuple[str, ...]) -> Callable[[], None]:
            specs = [MapSpec.parse(text) for text in texts]

            def run() -> None:
                (evidence,) = gather(model, [query], [specs], 1)
                for spec in specs:
                    read_map(evidence, spec)

            return run

        def measured(run: Callable[[], None]) -> tuple[float, float]:
            reset_peak()
            return seconds(run), peak_megabytes()

        runs = {"plain forward pass": plain, **{n: reading(texts) for n, texts in RUNS.items()}}
        print(f"{'OFA-large, random weights':24} s/case   ratio   MB more than a plain pass")
        pairs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in runs}
        for turn in range(rounds + 1):
            for name, run in runs.items():
                measured(plain)  # clears what the run before left in memory
                before, ground = measured(plain)
                took, peak = measured(run)
                if turn:  # the first turn warms up
                    pairs[name].append((took, took / before, peak - ground))
        for name, found in pairs.items():
            took, ratio, more = (statistics.median(column) for column in zip(*found, strict=True))
            print(f"{name:24} {took:6.2f}  {ratio:6.2f}  {more:10.1f}")
        for name in ("all without gradient", "relevance"):
            specs = [MapSpec.parse(text) for text in RUNS[name]]
            (evidence,) = gather(model, [query], [specs], 1)
            readings = evidence.trace.readings.values()
            kept = sum(r.cells.nbytes + r.share.nbytes for r in readings) / 1e3
            print(f"kept for a case, {name}: {kept:.1f} kB in {len(readings)} readings")
        grid = Grid(30, 30)
        side, stride = window_of(Window(), grid)
        passes = len(placements(grid.rows, side, stride)) ** 2
        print(f"occlusion: {passes} passes of a window of {side} cells, step {stride}")
        print(f"deletion and insertion: {2 * (STEPS + 1)} passes a map")


if __name__ == "__main__":
    main()
