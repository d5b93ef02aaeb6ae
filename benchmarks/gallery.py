"""Measures size and speed of a gallery of 1,000 cases with a picture each, of which 100 fail.

Run ``python benchmarks/gallery.py`` where Debian's chromium is installed. It prints the time to
draw the gallery (for each case, without the model), its size, and in headless chromium: first
contentful paint, the time until the page responds, the longest frame and the mean rate while
scrolling through it, and memory.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

from audit.cases.expectations import Verdict
from audit.gate.outcomes import DriftRow, Outcome, State
from audit.gate.runfolder import Run
from audit.reference.scenes import scene
from audit.report.gallery import Content, write_gallery

GRID = 30
METRICS = ("mass[animals]", "lift[animals]", "entropy", "gini", "spread", "centre_x", "centre_y")

_SCROLL = """async () => {
  const frames = [];
  let last = performance.now();
  const end = last + 4000;
  await new Promise((done) => {
    const step = (now) => {
      frames.push(now - last);
      last = now;
      window.scrollBy(0, 120);
      if (now < end) requestAnimationFrame(step); else done();
    };
    requestAnimationFrame(step);
  });
  const sorted = frames.slice(1).sort((a, b) => a - b);
  const total = sorted.reduce((a, b) => a + b);
  return [1000 * sorted.length / total, sorted[Math.floor(sorted.length * 0.95)]];
}"""


def made(folder: Path, cases: int, failing: int) -> Run:
    """Make a run with rendered scenes as pictures and random maps."""
    run = Run(folder)
    run.start({"id": "bench", "model": {"source": "stub"}, "started": "", "baselines": "baselines"})
    rng = np.random.default_rng(3)
    for number in range(cases):
        drawn = scene(91, number)
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        run.add_image(digest, drawn.image)
        fails = number < failing
        p = rng.gamma(0.3, size=(GRID, GRID))
        maps = {"answer_attention": p / p.sum()}
        strips = {}
        if fails:
            q = rng.gamma(0.3, size=(GRID, GRID))
            maps["baseline:answer_attention"] = q / q.sum()
            layers = [(f"layer {n}", rng.gamma(0.3, size=(GRID, GRID))) for n in range(1, 13)]
            strips = {"layers": [(name, x / x.sum()) for name, x in layers]}
        figures = {name: float(rng.random()) for name in METRICS}
        verdict = "drifted" if fails else "within"
        outcome = Outcome(
            case=f"case-{number}", file="cases/all.yaml", line=number,
            state=State.DRIFTED if fails else State.PASSED,
            sentence="mass[animals] drifted" if fails else "all 3 expectations hold",
            text="there are animals on the grass", premise=None, tags=["bench"], expected="yes",
            image=f"{number}.png", image_digest=digest, image_size=(480, 480), case_digest="",
            regions={"animals": [tuple(v / 480 for v in b) for b in drawn.boxes()]},
            default_map="answer_attention",
        )  # fmt: skip
        outcome = replace(
            outcome, label="yes", probabilities={"yes": 0.9, "no": 0.05, "maybe": 0.05},
            metrics={"answer_attention": figures}, grid=(GRID, GRID),
            verdicts=[Verdict("label", True, "yes", "yes", "")],
            drift=[
                DriftRow("label", "yes", "yes", 0.0, 0.0, "within"),
                DriftRow("probability of yes", "0.9", "0.9", 0.0, 0.05, "within"),
                *(DriftRow(n, "0.5", f"{v}", v - 0.5, 0.1, verdict) for n, v in figures.items()),
            ],
        )  # fmt: skip
        run.add(outcome, maps, strips)
    run.finish({"suite": None})
    return run


def main() -> None:
    """Draw the gallery twice, by default and with everything, and open both in a browser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--failing", type=int, default=100)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        run = made(Path(temporary) / "run", given.cases, given.failing)
        contents: tuple[Content, ...] = ("failed", "all")
        for content in contents:
            began = time.perf_counter()
            path = write_gallery(run, content)
            took = 1000 * (time.perf_counter() - began) / given.cases
            browser = playwright.chromium.launch(
                executable_path="/usr/bin/chromium",
                args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
            )
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            opened = time.perf_counter()
            page.goto(path.as_uri(), wait_until="commit")
            page.wait_for_selector("html[data-ready]")
            ready = time.perf_counter() - opened
            paint = page.evaluate(
                "performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000"
            )
            rate, late = page.evaluate(_SCROLL)
            heap = page.evaluate("performance.memory.usedJSHeapSize / 1e6")
            print(
                f"{content:7} {given.cases} cases, {given.failing} fail: {took:.1f} ms a case, "
                f"{path.stat().st_size / 1e6:.1f} MB; first paint {paint:.2f} s, ready {ready:.2f} "
                f"s; scrolling {rate:.0f} frames/s, 95 % under {late:.0f} ms; heap {heap:.0f} MB",
                flush=True,
            )
            browser.close()


if __name__ == "__main__":
    main()
