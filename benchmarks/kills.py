"""Counts what is left when an update of 200 baselines is interrupted.

Run ``python benchmarks/kills.py``. It audits a project of 200 cases without baselines three times,
in two processes with ``--audit-update=new``, and stops it after some proposals: by Ctrl-C (SIGINT
to the controller), by killing the controller, by killing a worker. Then it counts how many cases
had been audited, how many baselines are accepted and complete, how many more ``audit accept`` takes
from the run folder, and how many there are after a second session.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from audit.gate.accepted import load
from audit.reference.hypotheses import LABELS, hypothesis
from audit.reference.scenes import scene

CASES, PICTURES, STOP_AT = 200, 25, 60
SEED = 31


def project(folder: Path) -> None:
    """Make a project of 200 cases about rendered scenes."""
    (folder / "cases" / "images").mkdir(parents=True)
    (folder / "pytest.ini").write_text("[pytest]\n")
    lines = ["cases:"]
    for picture in range(PICTURES):
        drawn = scene(SEED, picture)
        drawn.image.save(folder / "cases" / "images" / f"{picture}.png")
        rng = np.random.default_rng([SEED, picture])
        for number in range(CASES // PICTURES):
            said = hypothesis(drawn, LABELS[number % 3], rng)
            lines += [
                f"  - id: case-{picture}-{number}",
                f"    image: images/{picture}.png",
                f'    text: "{said.text}"',
                f"    expect: {{label: {said.label}}}",
            ]
    (folder / "cases" / "all.yaml").write_text("\n".join(lines) + "\n")


def command(run: str) -> list[str]:
    return [
        sys.executable, "-m", "pytest", "cases", "-n", "2", "-q", "--audit-update=new",
        f"--audit-run-dir={run}", "-p", "no:cacheprovider", "--tb=no",
    ]  # fmt: skip


def count(folder: Path, pattern: str) -> int:
    return len(list(folder.glob(pattern)))


def whole(folder: Path) -> int:
    """The number of accepted baselines that can be read, with their maps."""
    found = 0
    for path in folder.glob("*.json"):
        stored = load(folder, path.stem)
        assert stored is not None
        assert stored.maps()
        found += 1
    return found


def children(pid: int) -> list[int]:
    found = subprocess.run(
        ["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False
    ).stdout
    return [int(line) for line in found.split()]


def stop(process: subprocess.Popen[bytes], how: str) -> None:
    if how == "Ctrl-C":
        process.send_signal(signal.SIGINT)
    elif how == "kill -9 of the controller":
        process.kill()
    else:
        os.kill(children(process.pid)[0], signal.SIGKILL)


def main() -> None:
    """Interrupt three times and print one table."""
    # A shell that starts this in the background makes it and its children ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    environment = {k: v for k, v in os.environ.items() if k != "CI"}
    print(f"{'':28}exit  audited  accepted  by audit accept  after a second session")
    for how in ("Ctrl-C", "kill -9 of the controller", "kill -9 of a worker"):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            project(folder)
            process = subprocess.Popen(
                command("first"), cwd=folder, env=environment,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            while count(folder, "first/proposals/*.json") < STOP_AT and process.poll() is None:
                time.sleep(0.05)
            stop(process, how)
            code = process.wait()
            time.sleep(3)  # orphaned workers notice that the controller is gone
            audited = count(folder, "first/outcomes/*.json")
            accepted = whole(folder / "baselines" / "reference")
            subprocess.run(
                [sys.executable, "-m", "audit", "accept", "first"], cwd=folder,
                env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
            )  # fmt: skip
            more = whole(folder / "baselines" / "reference") - accepted
            subprocess.run(
                command("second"), cwd=folder, env=environment, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, check=False,
            )  # fmt: skip
            end = whole(folder / "baselines" / "reference")
            print(f"{how:28}{code:4}  {audited:7}  {accepted:8}  {more:15}  {end:22}", flush=True)


if __name__ == "__main__":
    main()
