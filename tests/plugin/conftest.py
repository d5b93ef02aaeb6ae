"""A project of its own for each test: two case files, a picture, the toy model."""

from __future__ import annotations

from pathlib import Path

import hypothesis.core
import hypothesis.strategies
import pytest
import scipy.ndimage
import torch  # pytester forgets what a session imported, and torch loads only once
from PIL import Image

import audit.models.ofa.loaders
import audit.plugin.end
import audit.plugin.items
import audit.report.gallery
import audit.runs.session

# Loaded before pytester takes note of the modules, so that each inner session need not again:
# what a session imports only when it needs it, and what Hypothesis' plugin imports at each start.
for each in (
    audit.models.ofa.loaders, audit.plugin.end, audit.plugin.items, audit.report.gallery,
    hypothesis.core, hypothesis.strategies, scipy.ndimage, torch,
):  # fmt: skip
    assert each
Image.init()

ROOT = Path(__file__).parents[2]

BIRDS = """\
cases:
  - id: birds
    image: images/a.png
    text: there are two birds
    tags: [guide]
    regions: {birds: [[0.25, 0.25, 0.5, 0.5]]}
    expect:
      label: yes
      attention:
        - {metric: mass, region: birds, min: 0.5}
  - id: no-cat
    image: images/a.png
    text: a cat is sleeping
    expect:
      label: no
      attention:
        - {metric: entropy, min: 0.8}
"""
OTHERS = """\
cases:
  - id: hungry
    image: images/b.png
    text: the birds are hungry
    expect: {label: maybe}
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project whose model is the toy; run it with ``project.runpytest("cases")``."""
    monkeypatch.delenv("CI", raising=False)
    # The inner sessions' conftest.py puts the toy there, in this process too.
    monkeypatch.setattr(audit.runs.session, "load_model", audit.runs.session.load_model)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.syspath_prepend(str(ROOT))
    images = pytester.path / "cases" / "images"
    images.mkdir(parents=True)
    for name, colour in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (80, 80), colour).save(images / f"{name}.png")
    (pytester.path / "cases" / "birds.yaml").write_text(BIRDS)
    (pytester.path / "cases" / "others.yaml").write_text(OTHERS)
    pytester.makeini("[pytest]\naudit_baselines = baselines\naudit_run_dir = run\n")
    pytester.makeconftest(
        """
        import audit.runs.session
        from tests.toy_model import ToyModel
        audit.runs.session.load_model = lambda *_: ToyModel()
        """
    )
    return pytester


@pytest.fixture
def accepted(project: pytest.Pytester) -> pytest.Pytester:
    """The project after its baselines were accepted."""
    project.runpytest("cases", "--audit-update=new").assert_outcomes(passed=3)
    return project


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sessions of several processes take seconds to start: they are slow tests."""
    here, several = Path(__file__).parent, ("'-n2'", "'-n1'", "'-n'")
    for item in items:
        given = getattr(item, "callspec", None)
        asked = str(given.params) if given and item.path.is_relative_to(here) else ""
        if any(option in asked for option in several):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def many(project: pytest.Pytester) -> pytest.Pytester:
    """Sixteen cases on sixteen pictures, accepted: the toy moves all by exactly as much, which is
    taken for whole steps and needs more pictures than a shift that scatters."""
    for path in (project.path / "cases").glob("*.yaml"):
        path.unlink()
    lines = ["cases:"]
    for i in range(16):
        Image.new("RGB", (80, 80), (i, 0, 0)).save(project.path / "cases" / "images" / f"{i}.png")
        lines += [
            f"  - id: case-{i}", f"    image: images/{i}.png", "    text: a bird",
            "    critical: true" if i == 0 else "    tags: [guide]", "    expect: {label: yes}",
        ]  # fmt: skip
    (project.path / "cases" / "many.yaml").write_text("\n".join(lines) + "\n")
    project.runpytest("cases", "--audit-update=new").assert_outcomes(passed=16)
    return project
