"""A small project on disk and a run of it by the toy model, without pytest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from audit.cases.loading import Case, load_cases
from audit.gate import baselines
from audit.gate.outcomes import Outcome
from audit.gate.runfolder import Run
from audit.gate.verdict import Policy
from audit.models.protocol import Model
from audit.runs.runner import audit_cases
from audit.runs.storing import store
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


def stored_in(
    run: Run, cases: Sequence[Case], model: Model, policy: Policy | None = None
) -> list[Outcome]:
    """The outcomes of the cases, each stored in the run before the next is asked about."""
    return [store(run, found) for found in audit_cases(cases, model, policy=policy)]


def audited(file: Path, run: Path, folder: Path, update: baselines.Update = "") -> list[Outcome]:
    """A run of the project by the toy model, as a session leaves it, with the paths as given."""
    model, stored = ToyModel(), Run(run)
    about = model.fingerprint.to_dict()
    stored.start({"id": run.name, "model": about, "baselines": str(folder), "update": update})
    policy = Policy(folder, update, {"model": about, "date": "2026-11-25", "accepted_by": ""})
    outcomes = stored_in(stored, load_cases(file), model, policy)
    if stored.proposals.exists():
        baselines.promote(stored.proposals, folder)
    stored.finish({"promoted": [], "suite": None})
    return outcomes
