"""Measures what everything but the model costs: thousands of cases on a stub that answers at once.

Run ``python benchmarks/overhead.py``. It collects a project of thousands of cases over 100 pictures
(``pytest --collect-only``), audits it twice with a stub model (once to accept baselines, once
against them), and draws its gallery. A conftest puts the stub in, so that the timed commands are
those of a user. Sizes are doubled to see how the cost grows; times are wall time for each case.
``audit --help`` is timed against a bare ``python -c pass``.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from audit.reference.scenes import scene

ROOT = Path(__file__).parent.parent
PICTURES = 100
PER_FILE = 1000

CONFTEST = """
from dataclasses import replace

from PIL import Image

import audit.runs.session
from tests.toy_model import ToyModel

BLANK = Image.new("RGB", (8, 8))


class Stub(ToyModel):
    def trace(self, queries, *more):
        return super().trace([replace(query, image=BLANK) for query in queries], *more)


audit.runs.session.load_model = lambda *_: Stub()
"""


def project(folder: Path, cases: int) -> None:
    (folder / "cases" / "images").mkdir(parents=True)
    (folder / "pytest.ini").write_text("[pytest]\naudit_baselines = baselines\n")
    (folder / "conftest.py").write_text(CONFTEST)
    for number in range(PICTURES):
        scene(17, number).image.save(folder / "cases" / "images" / f"{number}.png")
    lines: list[str] = []
    for number in range(cases):
        if number % PER_FILE == 0:
            lines = ["cases:"]
        lines += [
            f"  - id: case-{number}",
            f"    image: images/{number % PICTURES}.png",
            f"    text: there are {number} birds",
            "    regions: {birds: [[0.25, 0.25, 0.5, 0.5]]}",
            "    expect:",
            "      label: yes",
            "      attention: [{metric: mass, region: birds, min: 0.5}]",
        ]
        file = folder / "cases" / f"{number // PER_FILE}.yaml"
        if number % PER_FILE == PER_FILE - 1 or number == cases - 1:
            file.write_text("\n".join(lines) + "\n")


def pytest(folder: Path, *options: str) -> tuple[float, str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("CI", None)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # compile modules once, as most machines do
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "cases", "-q", "-p", "no:cacheprovider", *options],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stdout[-2000:])
    return time.perf_counter() - began, done.stdout


def fastest(*command: str) -> float:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    """Measure each size and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, nargs="+", default=[2500, 5000, 10000])
    print("  cases  collect only    accept, ms a case   audit, ms a case   gallery, ms a case")
    for cases in parser.parse_args().cases:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            project(folder, cases)
            collect, listed = pytest(folder, "--collect-only")
            assert re.search(rf"^{cases} tests collected", listed, re.MULTILINE)
            accept, _ = pytest(folder, "--audit-update=new", "--audit-run-dir=first")
            audited, _ = pytest(folder, "--audit-run-dir=second")
            began = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "audit", "report", "second"],
                cwd=folder, capture_output=True, check=True,
            )  # fmt: skip
            gallery = time.perf_counter() - began
        per = [1000 * t / cases for t in (accept, audited, gallery)]
        print(
            f"{cases:7} {collect:11.1f} s {per[0]:20.2f} {per[1]:18.2f} {per[2]:20.2f}", flush=True
        )
    bare = fastest(sys.executable, "-c", "pass")
    helped = fastest(sys.executable, "-m", "audit", "--help")
    print(f"audit --help: {helped:.2f} s; python -c pass: {bare:.2f} s")


if __name__ == "__main__":
    main()
