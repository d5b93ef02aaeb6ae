"""Lets audit read files that were damaged, edited or forged, and finds what is not refused clearly.

Run ``python -m benchmarks.fuzz`` from the project's root (minutes; two processes). It changes valid
files at random, each with its own seed, and lets audit read them:

- case files, by the loader;
- stored folders (a run, its baselines, a review), by ``audit report``, ``accept``, ``status`` and
  ``compare``, and some by a pytest session;
- pictures, by the reader, and then by drawing them;
- checkpoint folders, by loading the model and asking it;
- tables, data sets and folders of pictures, by importing them.

Each must be read, or be refused with one of audit's own errors. Any other exception, a process that
dies, or more than ten seconds is a fault. ``--only stored --from 417 --count 1 --show`` repeats
a single one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from benchmarks.probes import PROBES

COUNTS = {"cases": 20_000, "stored": 5_000, "pictures": 3_000, "checkpoints": 300, "sources": 5_000}
LONGEST = 10.0
"""Seconds after which a file counts as hanging."""


@dataclass
class Found:
    """The results for the files of one kind.

    Attributes:
        ends: how many were read, and how many refused.
        faults: seed and description of each fault.
        peak: largest resident memory of a process, in MB.
        slowest: longest time of an item, in seconds.
    """

    ends: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[int, str]] = field(default_factory=list)
    peak: float = 0.0
    slowest: float = 0.0


def _work(kind: str, seeds: range, to: Connection) -> None:
    """Try all ``seeds`` in this process, and report when each begins and how it ends."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    with tempfile.TemporaryDirectory(prefix="audit-fuzz-") as folder:
        probe = PROBES[kind](Path(folder))
        for seed in seeds:
            to.send((seed, "", 0.0))
            try:
                end = probe(seed)
            except BaseException:  # SystemExit too: whatever is not a refusal is a fault
                end = traceback.format_exc()
            to.send((seed, end, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
    to.close()


def fuzz(kind: str, seeds: range) -> Found:
    """Try all ``seeds`` in new processes, until none is left."""
    found = Found()
    context = multiprocessing.get_context("spawn")
    while seeds:
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(kind, seeds, there), daemon=True)
        process.start()
        there.close()
        seeds = _watched(kind, here, process, seeds, found)
    return found


def _watched(
    kind: str, here: Connection, process: BaseProcess, seeds: range, found: Found
) -> range:
    """Follow one process to its end, and return the seeds that are left if it died or hung."""
    seed, begun = None, 0.0
    while True:
        if not here.poll(LONGEST if seed is not None else 120.0):
            process.kill()
            if seed is None:
                raise RuntimeError(f"the unchanged {kind} could not be made")
            found.faults.append((seed, f"still running after {LONGEST:g} seconds"))
            found.slowest = max(found.slowest, LONGEST)
            return range(seed + seeds.step, seeds.stop, seeds.step)
        try:
            at, end, peak = here.recv()
        except EOFError:
            process.join()
            if seed is None and process.exitcode == 0:
                return range(0)
            if seed is None and not found.ends:
                raise RuntimeError(f"the unchanged {kind} could not be made or read") from None
            found.faults.append((seed or seeds.start, f"the process died ({process.exitcode})"))
            return range((seed or seeds.start) + seeds.step, seeds.stop, seeds.step)
        if not end:
            seed, begun = at, time.perf_counter()
            continue
        found.slowest = max(found.slowest, time.perf_counter() - begun)
        found.peak = max(found.peak, peak)
        if end in ("read", "refused"):
            found.ends[end] += 1
        else:
            found.faults.append((at, end))
        seed = None


def main() -> int:
    """Print a row for each kind, then every fault; exit with 1 if there is one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=tuple(PROBES), action="append")
    parser.add_argument("--from", dest="first", type=int, default=0, help="first seed")
    parser.add_argument("--count", type=int, help="how many of each kind")
    parser.add_argument("--show", action="store_true", help="whole tracebacks")
    asked = parser.parse_args()
    print(
        f"{'':12} {'items':>7} {'read':>7} {'refused':>8} {'faults':>7} "
        f"{'slowest':>8} {'peak MB':>8}"
    )
    failed = False
    for kind in asked.only or PROBES:
        last = asked.first + (asked.count or COUNTS[kind])
        shares = [range(asked.first + n, last, 2) for n in range(2) if asked.first + n < last]
        with ThreadPoolExecutor(len(shares)) as pool:
            parts = list(pool.map(partial(fuzz, kind), shares))
        ends = sum((part.ends for part in parts), Counter())
        faults = sorted(fault for part in parts for fault in part.faults)
        print(
            f"{kind:12} {last - asked.first:7} {ends['read']:7} {ends['refused']:8} "
            f"{len(faults):7} "
            f"{max(p.slowest for p in parts):7.1f}s {max(p.peak for p in parts):8.0f}",
            flush=True,
        )
        for seed, fault in faults:
            lines = fault.strip().splitlines()
            print(f"  seed {seed}: " + (fault if asked.show else lines[-1][:200]), flush=True)
        failed = failed or bool(faults)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
