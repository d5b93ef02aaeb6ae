"""A small project on disk and a run of it by the toy model, without pytest."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from audit.cases.loading import load_cases
from audit.gate import baselines
from audit.gate.outcomes import Outcome, Run
from audit.runs.runner import Gate, audit_cases
from tests.toy_model import ToyModel

CASES = """\
cases:
  - id: birds
    image: images/a.png
    text: there are two birds
    regions: {birds: [[0.25, 0.25, 0.5, 0.5]]}
    expect:
      label: yes
      attention:
        - {metric: mass, region: birds, min: 0.5}
  - id: hungry
    image: images/a.png
    text: the birds are hungry
    expect: {label: maybe}
"""


def made(root: Path) -> Path:
    """The project's case file, with its picture beside it."""
    images = root / "cases" / "images"
    images.mkdir(parents=True)
    Image.new("RGB", (80, 80), "red").save(images / "a.png")
    file = root / "cases" / "birds.yaml"
    file.write_text(CASES)
    return file


def audited(file: Path, run: Path, folder: Path, update: baselines.Update = "") -> list[Outcome]:
    """A run of the project by the toy model, as a session leaves it; paths as they are given."""
    model, stored = ToyModel(), Run(run)
    about = model.fingerprint.to_dict()
    stored.start({"id": run.name, "model": about, "baselines": str(folder), "update": update})
    gate = Gate(folder, update, {"model": about, "date": "2026-11-25", "accepted_by": ""})
    outcomes = list(audit_cases(load_cases(file), model, stored, gate=gate))
    if (run / "proposals").exists():
        baselines.promote(run / "proposals", folder)
    stored.finish({"promoted": [], "suite": None})
    return outcomes
