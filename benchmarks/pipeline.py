"""Capture against the plain pipeline, on OFA-large at its true size with random weights.

Run ``python benchmarks/pipeline.py``. It makes a checkpoint of 473 million random parameters in a
temporary folder (2 GB), then times modelscope's pipeline as its users call it and audit's model
with capture on, in one process and on the same cases, in alternation. Times are per case; only
their ratio says anything beyond this machine.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ofa_large import large_checkpoint, seconds

from audit import load_model
from audit.models import Query
from audit.models.standins import stand_ins
from audit.reference.scenes import scene

TEXTS = (
    "there are two birds on a branch",
    "a cat is sleeping on the sofa",
    "there are animals in nature",
    "the rabbit is three years old and waiting for dinner",
)


def main() -> None:
    """Make the checkpoint, measure, print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        large_checkpoint(folder)
        picture = folder / "scene.png"
        scene(1, 0).image.save(picture)
        with stand_ins():
            from modelscope.pipelines import pipeline  # noqa: PLC0415

            plain = pipeline("visual-entailment", model=str(folder), device="cpu")
        audited = load_model(str(folder), device="cpu")
        queries = [Query(picture, text) for text in TEXTS]
        inputs = [{"image": str(picture), "text": text} for text in TEXTS]
        runs: dict[str, Callable[[], Any]] = {
            "modelscope pipeline, no attention": lambda: [plain(i) for i in inputs],
            "audit, capture on, one by one": lambda: [audited.trace([q]) for q in queries],
            "audit, capture on, one batch": lambda: audited.trace(queries),
        }
        times: dict[str, list[float]] = {name: [] for name in runs}
        peaks: dict[str, int] = {}
        plain(inputs[0])
        for _ in range(rounds):
            for name, run in runs.items():
                times[name].append(seconds(run) / len(queries))
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
                peaks.setdefault(name, peak)
        base = statistics.median(times["modelscope pipeline, no attention"])
        print(f"{'OFA-large, random weights':38} s/case   ratio   peak MB so far")
        for name, values in times.items():
            middle = statistics.median(values)
            print(f"{name:38} {middle:6.2f}  {middle / base:6.2f}  {peaks[name]:8}")
        (trace,) = audited.trace(queries[:1])
        print(f"kept attention: {trace.cross_attention.nbytes / 1e6:.2f} MB a case")


if __name__ == "__main__":
    main()
