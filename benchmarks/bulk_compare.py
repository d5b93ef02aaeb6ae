"""Measures the comparison of two bulk folders: seconds, and the peak memory of the process.

Run ``python benchmarks/bulk_compare.py [--rows 1000000]``. It makes two folders of made-up rows,
five to a picture, with three probabilities, the figures of one map, two kept columns of few values
and one of many; in the second folder one row in fifty has another label and all masses are a
little lower. A row is printed for half of the rows, and one for all of them: seconds should double,
and memory should not.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from audit.bulk.format import row_schema
from tests.bulk_folders import FIGURES, record, written

TO_A_PICTURE, SHARD = 5, 10_000

COMPARE = """
import resource, sys, time
from audit.commands import main as cli
began = time.perf_counter()
try:
    cli.app(["compare", *sys.argv[1:]], standalone_mode=False)
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds, busy = time.perf_counter() - began, used.ru_utime + used.ru_stime
    print(f"{seconds:.1f} {busy:.1f} {used.ru_maxrss / 1024:.0f}", file=sys.stderr)
"""


def made(folder: Path, rows: int, *, after: bool) -> Path:
    """A bulk folder of so many rows; the second differs from the first a little."""
    about = record(kept=["split", "kind", "source"], model={"name": "toy", "weights": str(after)})

    def tables() -> Iterator[pa.Table]:
        for start in range(0, rows, SHARD):
            yield _table(np.arange(start, min(start + SHARD, rows)), about, after)

    return written(folder, about, tables())


def _table(numbers: np.ndarray, about: object, after: bool) -> pa.Table:
    rng = np.random.default_rng([int(numbers[0]), 1])
    other = np.random.default_rng([int(numbers[0]), 2 + after])
    yes = rng.uniform(0.3, 0.95, len(numbers))
    yes = np.clip(yes + other.normal(0, 0.01, len(numbers)), 0, 1)
    if after:
        yes = np.where(other.uniform(size=len(numbers)) < 0.02, 1 - yes, yes)
    label = np.where(yes > 0.5, "yes", "no")
    figures = {
        name: rng.uniform(0, 1, len(numbers)) + other.normal(0, 0.02, len(numbers)) - 0.001 * after
        for name in FIGURES
    }
    pictures = numbers // TO_A_PICTURE
    columns = {
        "id": [f"row-{n}" for n in numbers], "position": numbers, "asked": numbers,
        "picture": [f"images/{p}.png" for p in pictures],
        "picture.digest": [f"{p:064x}" for p in pictures],
        "text": [f"there are {n} birds on a branch" for n in numbers],
        "expected": ["yes"] * len(numbers), "label": label, "right": label == "yes",
        "probability.yes": yes, "probability.no": 1 - yes, "probability.maybe": 0 * yes,
        "tags": [["birds", f"set-{n % 7}"] for n in numbers],
        "kept.split": [f"split-{n % 3}" for n in numbers],
        "kept.kind": [f"kind-{p % 20}" for p in pictures],
        "kept.source": [f"caption-{n}" for n in numbers], **figures,
    }  # fmt: skip
    schema = row_schema(about)
    missing = pa.nulls(len(numbers))
    return pa.table(
        [
            pa.array(columns[f.name], f.type) if f.name in columns else missing.cast(f.type)
            for f in schema
        ],
        schema=schema,
    )


def main() -> None:
    """Make the folders, compare them in a process of its own, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--work", type=Path, help="a folder to keep; by default a temporary one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        print("| rows a side | MB a side | seconds | of a processor | peak MB | verdict |")
        print("| --- | --- | --- | --- | --- | --- |")
        for rows in (given.rows // 2, given.rows):
            sides = [
                made(work / f"{rows}-{name}", rows, after=name == "after")
                for name in ("before", "after")
            ]
            size = sum(p.stat().st_size for p in sides[0].rglob("*.parquet")) / 1e6
            done = subprocess.run(
                [sys.executable, "-c", COMPARE, *map(str, sides), "--json", "--out",
                 str(work / f"{rows}.html")],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if not done.stdout:
                sys.exit(done.stderr)
            took = " | ".join(done.stderr.split()[-3:])
            told = json.loads(done.stdout)
            print(f"| {rows:,} | {size:.0f} | {took} | {told['headline']} |", flush=True)


if __name__ == "__main__":
    main()
