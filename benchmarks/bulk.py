"""Measures bulk audits: rows a second against plain loops, memory, and what a million rows cost.

Run ``python benchmarks/bulk.py``. It makes a CSV of rows about rendered scenes, five to a picture,
and prints a row for each measurement:

- the embedded model called in a plain loop, in batches, with its default map and the map's figures,
  without start and loading; or two such loops side by side, each with half of the cores;
- between two runs of these loops, because machines that others use change their speed, ``audit
  bulk`` over the same rows, in one process and with ``--ray --actors 2``: whole commands, with
  start, planning, loading and account;
- the peak memory of one process with half of the rows and with all;
- a stub that answers at once, over ``--stub-rows`` rows (labels alone).

With the stub's it prints what a cluster would need for ten million rows: a plan, not a measurement.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audit.base.files import make_output
from audit.bulk.plan import make_plan
from audit.bulk.rows import of_source
from audit.maps.reading import read_map
from audit.maps.spec import MapSpec
from audit.metrics.measuring import measure
from audit.models.protocol import Query
from audit.models.registry import load_model
from audit.reference.hypotheses import LABELS, hypothesis
from audit.reference.scenes import scene
from audit.runs.evidence import gather
from audit.sources.reading import open_source
from audit.sources.rows import Options
from tests.bulk_rows import install_toys

ROOT = Path(__file__).parent.parent
TO_A_PICTURE, BATCH = 5, 8
SEED = 41


def make_source(folder: Path, rows: int) -> Path:
    """A CSV of rows about rendered scenes."""
    (folder / "images").mkdir(parents=True)
    path = folder / "rows.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "image", "text", "label"])
        for number in range(rows):
            if number % TO_A_PICTURE == 0:
                drawn = scene(SEED, number // TO_A_PICTURE)
                name = f"images/{number // TO_A_PICTURE}.png"
                drawn.image.save(folder / name)
            said = hypothesis(drawn, LABELS[number % 3], np.random.default_rng([SEED, number]))
            writer.writerow([f"row-{number}", name, said.text, said.label])
    return path


def make_stub_source(folder: Path, rows: int) -> Path:
    """A CSV of rows about a hundred tiny pictures."""
    from PIL import Image  # noqa: PLC0415

    (folder / "images").mkdir(parents=True)
    for number in range(100):
        image = Image.new("RGB", (16, 16), (2 * number, 90, 30))
        image.save(folder / "images" / f"{number}.png")
    path = folder / "rows.csv"
    with path.open("w") as file:
        file.write("id,image,text,label\n")
        for number in range(rows):
            file.write(f"row-{number},images/{number // 10 % 100}.png,bird {number} sings,yes\n")
    return path


def loop(source: Path, start: int, stop: int, threads: int) -> tuple[float, float]:
    """Call the model in a plain loop; rows a second, and CPU ms a row, without loading."""
    model = load_model("reference", "cpu", threads=threads or None)
    with source.open(newline="") as file:
        rows = list(csv.DictReader(file))[start:stop]
    spec = MapSpec()
    began, cpu = time.perf_counter(), time.process_time()
    for first in range(0, len(rows), BATCH):
        queries = [
            Query(source.parent / r["image"], r["text"]) for r in rows[first : first + BATCH]
        ]
        for evidence in gather(model, queries, [[spec]] * len(queries), BATCH):
            measure(read_map(evidence, spec), {}, evidence, spec)
    each = 1000 * (time.process_time() - cpu) / len(rows)
    return len(rows) / (time.perf_counter() - began), each


def loops(source: Path, rows: int, processes: int) -> tuple[float, float]:
    """Loops side by side: the sum of their rows a second, and CPU ms a row."""
    share, cores = rows // processes, os.cpu_count() or 1
    running = [
        subprocess.Popen(
            [
                sys.executable, __file__, "--loop", str(source), str(n * share),
                str((n + 1) * share), str(cores // processes),
            ],
            env=environment(), stdout=subprocess.PIPE, text=True,
        )
        for n in range(processes)
    ]  # fmt: skip
    speeds, cpu = zip(*(map(float, e.communicate()[0].split()[-2:]) for e in running), strict=True)
    return sum(speeds), sum(cpu) / processes


def environment(*more: Path) -> dict[str, str]:
    path = os.pathsep.join(map(str, (ROOT, *more)))
    return {**os.environ, "PYTHONPATH": path}


@dataclass(frozen=True)
class Measured:
    """A command: seconds of wall and CPU time, peak memory in MB of its process, its account."""

    seconds: float
    cpu: float
    peak: float
    account: dict[str, object]


def bulk(source: Path, out: Path, *options: str, packages: Sequence[Path] = ()) -> Measured:
    """Run ``audit bulk`` as a user does."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "audit", "bulk", str(source), "--out", str(out), "--json", *options],
        env=environment(*packages), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    said, told = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(told[-2000:])
    seconds, cpu = time.perf_counter() - began, usage.ru_utime + usage.ru_stime
    return Measured(seconds, cpu, usage.ru_maxrss / 1024, json.loads(said))


def say(what: str, value: str) -> None:
    print(f"{what:52} {value}", flush=True)


def told_loops(what: str, source: Path, rows: int, processes: int) -> float:
    """Rows a second of loops, which are printed."""
    rate, cpu = loops(source, rows, processes)
    say(what, f"{rate:8.1f} rows/s, {cpu:.1f} ms CPU a row ({rows:,} rows)")
    return rate


def speed(source: Path, work: Path, rows: int, loop_rows: int) -> None:
    """Rows a second of commands, each between two runs of the loops that it is held against."""
    for name, processes, options in (
        ("audit bulk", 1, ()),
        ("audit bulk --ray, 2", 2, ("--ray", "--actors", "2")),
    ):
        loop = "plain loop" if processes == 1 else "two plain loops"
        # Small shards, so that two actors end at nearly the same time.
        limit = ("--limit", str(rows), "--shard", str(min(250, rows // 20)))
        before = told_loops(f"{loop}, before", source, loop_rows, processes)
        out = work / name.replace(" ", "-")
        done = bulk(source, out, "--batch", str(BATCH), *limit, *options)
        after = told_loops(f"{loop}, after", source, loop_rows, processes)
        rate = rows / done.seconds
        ratio = 2 * rate / (before + after)
        cpu_told = "" if options else f", {1000 * done.cpu / rows:.1f} ms CPU a row"
        say(name, f"{rate:8.1f} rows/s{cpu_told} ({rows:,} rows, {done.seconds:.0f} s, "
            f"{ratio:.2f} of {loop}, peak {done.peak:.0f} MB)")  # fmt: skip


def memory(source: Path, work: Path, rows: int) -> None:
    """Peak memory of one process with half of the rows and with all."""
    for number in (rows // 2, rows):
        done = bulk(
            source, work / f"memory-{number}", "--limit", str(number), "--batch", str(BATCH)
        )
        say(f"audit bulk, {number:,} rows", f"peak {done.peak:8.0f} MB, {done.seconds:.0f} s")


def stub(work: Path, rows: int) -> dict[str, float]:
    """A stub over many rows; rows a second of the whole command, and of planning alone."""
    packages = install_toys(work / "packages")
    source = make_stub_source(work / "stub", rows)
    found = {}
    for number in (rows // 10, rows):
        asked = ("--model", "toy:x", "--labels-only", "--limit", str(number), "--batch", "64")
        done = bulk(source, work / f"stub-{number}", *asked, packages=[packages])
        found["stub"] = number / done.seconds
        say(f"stub, {number:,} rows", f"peak {done.peak:8.0f} MB, {done.seconds:.0f} s, "
            f"{found['stub']:,.0f} rows/s")  # fmt: skip
    out = work / "planned"
    make_output(out)
    opened = open_source(source, Options(label_needed=False, limit=rows // 10))
    began = time.perf_counter()
    plan = make_plan(of_source(opened, source.parent, out, None), out, 1000, 0)
    found["planning"] = plan.rows / (time.perf_counter() - began)
    say(f"planning alone, {plan.rows:,} rows", f"{found['planning']:,.0f} rows/s")
    return found


MILLIONS, RATES, GPUS = 10, (20, 100, 500), (1, 8, 64)


def plan_of(found: dict[str, float]) -> None:
    """Print what ten million rows would need; the rates of a model on a GPU are made up."""
    print(f"\nA plan for {MILLIONS},000,000 rows, not a measurement:\n")
    print("| model, rows/s on a GPU | GPUs | rows an hour | hours | bottleneck |")
    print("| --- | --- | --- | --- | --- |")
    for rate in RATES:
        for gpus in GPUS:
            asking = MILLIONS * 1e6 / (gpus * min(rate, found["stub"]))
            planning = MILLIONS * 1e6 / found["planning"]
            hours = (asking + planning) / 3600
            told = "the model" if asking > planning else "planning, in one process"
            rows = f"{MILLIONS * 1e6 / hours:,.0f}"
            print(f"| {rate} | {gpus} | {rows} | {hours:.1f} | {told} |")


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--loop"]:
        source, *numbers = sys.argv[2:]
        start, stop, threads = map(int, numbers)
        print(*loop(Path(source), start, stop, threads))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--loop-rows", type=int, default=4_000, help="rows of the plain loops")
    parser.add_argument("--stub-rows", type=int, default=1_000_000)
    parser.add_argument(
        "--only",
        nargs="+",
        default=["speed", "memory", "stub"],
        choices=["speed", "memory", "stub"],
    )
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        if {"speed", "memory"} & set(asked.only):
            source = make_source(work / "rows", asked.rows)
        if "speed" in asked.only:
            speed(source, work, asked.rows, min(asked.rows, asked.loop_rows))
        if "memory" in asked.only:
            memory(source, work, asked.rows)
        if "stub" in asked.only:
            plan_of(stub(work, asked.stub_rows))


if __name__ == "__main__":
    main()
