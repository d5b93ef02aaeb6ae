"""A matcher under pytest: cases held against baselines, and labels that it does not have."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import audit.plugin.end
import audit.plugin.items
import audit.report.gallery
import audit.runs.session
from audit.models.hf.matching import MatchingModel
from audit.models.protocol import Query
from tests import tiny_matchers

# Loaded before pytester takes note of the modules, so that each inner session need not again.
assert audit.plugin.end
assert audit.plugin.items
assert audit.report.gallery
assert audit.runs.session

CASES = """\
cases:
  - id: square
    image: images/square.png
    text: a red square
    regions: {{square: [[0.1, 0.1, 0.4, 0.6]]}}
    expect:
      label: {label}
      attention:
        - {{metric: entropy, min: 0.1}}
        - {{metric: mass, region: square, min: 0.0, map: {{method: word_attention, word: square}}}}
        - {{metric: mass, region: square, min: 0.0, map: {{method: relevance}}}}
        - {{metric: js, max: 1.0, map: {{method: occlusion}}, against: {{method: uniform}}}}
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("CI", raising=False)
    images = pytester.path / "cases" / "images"
    images.mkdir(parents=True)
    square = Image.new("RGB", (80, 60), "navy")
    square.paste("red", (8, 8, 32, 36))
    square.save(images / "square.png")
    pytester.makeini("[pytest]\naudit_run_dir = run\naudit_device = cpu\naudit_threads = 1\n")
    return pytester


@pytest.mark.slow
def test_its_cases_are_audited_and_held_against_their_baselines(
    project: pytest.Pytester,
    matcher: Callable[[str], MatchingModel],
    matcher_folder: Callable[[str], Path],
) -> None:
    image = project.path / "cases" / "images" / "square.png"
    (trace,) = matcher("blip").trace([Query(image, "a red square")])
    (project.path / "cases" / "own.yaml").write_text(CASES.format(label=trace.label))
    asked = ("cases", f"--audit-model=hf:{matcher_folder('blip')}")
    project.runpytest(*asked, "--audit-update=new").assert_outcomes(passed=1)
    project.runpytest(*asked).assert_outcomes(passed=1)
    run = json.loads((project.path / "run" / "run.json").read_text())
    assert run["labels"] == ["no", "yes"]
    # Other weights give other figures: what baselines are for.
    other = tiny_matchers.save("blip", project.path / "blip", seed=1)
    result = project.runpytest("cases", f"--audit-model=hf:{other}")
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_label_that_it_does_not_have_is_refused_with_the_nearest(
    project: pytest.Pytester, matcher_folder: Callable[[str], Path]
) -> None:
    (project.path / "cases" / "own.yaml").write_text(CASES.format(label="yess"))
    result = project.runpytest("cases", f"--audit-model=hf:{matcher_folder('blip')}")
    assert result.ret != pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*own.yaml:7:*'yess'*yes*"])
