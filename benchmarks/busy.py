"""Measures how long answers take while the machine is busy, for three ways in which threads wait.

Run ``python benchmarks/busy.py`` on a machine that does nothing else. Each row is measured in its
own process, because torch reads how threads wait only once, when it is loaded. It is measured on
the quiet machine, and again beside two processes that only take CPU time. *As torch comes* means
that nothing is set: threads spin while they wait. *Passive* is what ``import audit`` sets.

``--models`` chooses between the embedded reference model, which is asked about the shipped cases,
and OFA-large at its true size with random weights (2 GB; ``--checkpoint`` keeps it), which is asked
a few questions. Times are wall-clock seconds of the answers only, the median of ``--rounds``
rounds; loading and the first answer do not count.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
CASES = ROOT / "cases"

WAYS: dict[str, dict[str, str]] = {
    # If a spin count is set, `import audit` sets nothing. This one is libgomp's default.
    "as torch comes": {"GOMP_SPINCOUNT": "300000"},
    "passive (default)": {"OMP_WAIT_POLICY": "PASSIVE"},
    "passive, one thread": {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"},
}
"""Environment variables that are set before torch is loaded."""

QUIET, BUSY = "quiet", "busy"


@contextmanager
def loops(number: int) -> Iterator[None]:
    """Run processes beside this one that only take CPU time."""
    count = [sys.executable, "-c", "while True: pass"]
    running = [subprocess.Popen(count) for _ in range(number)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def measured(model: str, way: dict[str, str], given: argparse.Namespace) -> list[float]:
    """Seconds of each round, measured in a new process."""
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS")
    clean = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [
            sys.executable, __file__, "--answer", model, "--rounds", str(given.rounds),
            "--cases", str(given.cases),
        ],
        env={**clean, **way}, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


def answer(model: str, rounds: int, most: int) -> list[float]:
    """Seconds that the cases take in each round."""
    from measuring import seconds  # noqa: PLC0415

    from audit.cases.loading import load_cases  # noqa: PLC0415
    from audit.models.protocol import Query  # noqa: PLC0415
    from audit.models.registry import load_model  # noqa: PLC0415

    loaded = load_model(model, "cpu")
    cases = [case for path in sorted(CASES.glob("*.yaml")) for case in load_cases(path)][:most]
    queries = [Query(case.image, case.text, case.premise) for case in cases]

    def ask() -> None:
        for start in range(0, len(queries), 8):
            loaded.trace(queries[start : start + 8])

    loaded.trace(queries[:1])
    return [seconds(ask) for _ in range(rounds)]


def main() -> None:
    """Measure all rows and print one table for each model."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loops", type=int, default=2, help="busy processes beside it")
    parser.add_argument("--models", nargs="+", default=["reference", "large"])
    parser.add_argument("--cases", type=int, default=53, help="cases for the embedded model")
    parser.add_argument("--large-cases", type=int, default=8)
    parser.add_argument(
        "--checkpoint", type=Path, help="folder to keep OFA-large in, or to take it from"
    )
    parser.add_argument("--answer", metavar="MODEL", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.answer:
        print(json.dumps(answer(given.answer, given.rounds, given.cases)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        for name in given.models:
            source, asked = name, argparse.Namespace(rounds=given.rounds, cases=given.cases)
            if name == "large":
                source = str(large(given.checkpoint or Path(temporary)))
                asked.cases = given.large_cases
            table(name, source, asked, given.loops)


def large(folder: Path) -> Path:
    """The folder of OFA-large's checkpoint, which is made if it does not exist."""
    from ofa_large import large_checkpoint  # noqa: PLC0415  loads torch, only for this model

    if not (folder / "pytorch_model.bin").exists():
        folder.mkdir(parents=True, exist_ok=True)
        large_checkpoint(folder)
    return folder


def table(name: str, source: str, asked: argparse.Namespace, beside: int) -> None:
    """Measure a model in all ways, quiet and busy in turn, and print the table."""
    found: dict[str, dict[str, float]] = {}
    for way, environment in WAYS.items():
        found[way] = {QUIET: statistics.median(measured(source, environment, asked))}
        with loops(beside):
            found[way][BUSY] = statistics.median(measured(source, environment, asked))
    base = next(iter(found.values()))
    print(f"{name}: {asked.cases} cases, {os.cpu_count()} cores, {beside} busy loops", flush=True)
    print(f"{'':22} {'quiet':>9} {'busy':>9} {'busy / quiet':>13} {'of torch, busy':>15}")
    for way, row in found.items():
        print(
            f"{way:22} {row[QUIET]:7.2f} s {row[BUSY]:7.2f} s {row[BUSY] / row[QUIET]:13.1f} "
            f"{row[BUSY] / base[BUSY]:15.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
