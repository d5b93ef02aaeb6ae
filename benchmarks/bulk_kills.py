"""Counts the rows that are lost or doubled if a bulk audit on Ray is killed.

Run ``python benchmarks/bulk_kills.py``. A stub answers some hundred rows with ``audit bulk --ray
--actors 2``. At 10, 50 and 99 % of the rows one process gets ``kill -9``: an actor's (worker), the
machine's part of Ray (raylet), or the command's own (driver), ten times each. If the command does
not end well by itself, it is called again until it does. Then the rows in the folder are counted.

A command that does nothing for ``PATIENCE`` seconds is told as hung, killed, and called again.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from audit.bulk.format import BulkFolder
from tests.bulk_rows import install_toys, rows_of, write_source

ROOT = Path(__file__).parent.parent
SHARD, PATIENCE, CALLS = 10, 240, 4
PLACES = (0.10, 0.50, 0.99)
WHOM = ("worker", "raylet", "driver")


def children(pid: int) -> Iterator[int]:
    """A process's descendants."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        parents.setdefault(parent, []).append(int(folder.name))
    waiting = [pid]
    while waiting:
        found = parents.get(waiting.pop(), [])
        yield from found
        waiting += found


def title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def victim(driver: int, whom: str) -> int | None:
    """The process to kill; None if there is none just now."""
    if whom == "driver":
        return driver
    for pid in children(driver):
        told = title(pid)
        if whom == "raylet" and "/raylet/raylet" in told.split(" ")[0]:
            return pid
        if whom == "worker" and told.startswith("ray::") and "Map" in told:
            return pid
    return None


def written(out: Path) -> int:
    """Rows in the folder, as far as files are named."""
    found = 0
    for path in (out / "rows").glob("part-*.parquet"):
        found += pq.read_metadata(path).num_rows
    return found


def ended(process: subprocess.Popen[bytes], out: Path) -> bool:
    """Wait for a command; False if it hung and was killed."""
    last, since = -1, time.monotonic()
    while process.poll() is None:
        time.sleep(0.2)
        now = written(out)
        if now != last:
            last, since = now, time.monotonic()
        if time.monotonic() - since > PATIENCE:
            below = list(children(process.pid))
            for pid in (process.pid, *below):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            process.wait()
            return False
    return True


def once(work: Path, whom: str, place: float, rows: int) -> dict[str, int]:
    """Kill once, call again, count."""
    toys = install_toys(work / "packages")
    source, out = write_source(work, rows_of(rows)), work / "out"
    command = [
        sys.executable, "-m", "audit", "bulk", str(source), "--out", str(out), "--model", "toy:x",
        "--shard", str(SHARD), "--batch", "5", "--ray", "--actors", "2", "--json",
    ]  # fmt: skip
    path = os.pathsep.join([str(ROOT), str(toys)])
    environment = {**os.environ, "PYTHONPATH": path, "TOY_SECONDS": "0.05"}

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command, env=environment, cwd=work, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    # The last shard is still being asked at 99 %: all others are written.
    wanted = min(int(place * rows), rows - SHARD)
    process, killed = start(), False
    while process.poll() is None and not killed:
        if written(out) >= wanted and (pid := victim(process.pid, whom)) is not None:
            os.kill(pid, signal.SIGKILL)
            killed = True
        time.sleep(0.02)
    hung, calls = int(not ended(process, out)), 1
    while process.returncode != 0 and calls < CALLS:
        process, calls = start(), calls + 1
        hung += not ended(process, out)
    ids: Counter[str] = Counter()
    for file in BulkFolder(out).files():
        ids.update(pq.read_table(file, columns=["id"])["id"].to_pylist())
    return {
        "killed": int(killed),
        "calls": calls,
        "hung": hung,
        "bad": int(process.returncode != 0),
        "lost": len({f"row-{n}" for n in range(rows)} - ids.keys()),
        "doubled": sum(ids.values()) - len(ids),
    }


def main() -> None:
    """Kill and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--whom", nargs="+", choices=WHOM, default=list(WHOM))
    asked = parser.parse_args()
    print(f"{'killed':8} {'at':>5}  times  calls  hung  unfinished  rows lost  rows doubled")
    for whom in asked.whom:
        for place in PLACES:
            total: Counter[str] = Counter()
            for _ in range(asked.times):
                with tempfile.TemporaryDirectory() as temporary:
                    total.update(once(Path(temporary), whom, place, asked.rows))
            print(
                f"{whom:8} {place:5.0%}  {total['killed']:5}  {total['calls']:5}  "
                f"{total['hung']:4}  {total['bad']:10}  {total['lost']:9}  {total['doubled']:12}",
                flush=True,
            )


if __name__ == "__main__":
    main()
