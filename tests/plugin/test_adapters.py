"""A model that another package brings: its conformance, and its cases, through pytest."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import audit.plugin.end
import audit.plugin.items
import audit.report.gallery
import audit.runs.session
from audit.models.kit.conformance import CHECKS
from audit.models.protocol import Query
from tests.packages import TOY, install
from tests.second_adapter import BlipMatching

# Loaded before pytester takes note of the modules, so that each inner session need not again.
assert audit.plugin.end
assert audit.plugin.items
assert audit.report.gallery
assert audit.runs.session

ROOT = Path(__file__).parents[2]

BLIP = """
    from audit import Known

    about = "image-text matching by a BLIP with random weights"
    accepted = "blip:SEED"
    options = {}

    def accepts(source):
        return source.startswith("blip:")

    def known(source, *, fetch=False):
        return Known(("no", "yes"), ("answer_attention", "word_attention", "rollout", "relevance"))

    def load(source, *, device, dtype, threads, **options):
        from tests.second_adapter import BlipMatching

        return BlipMatching(device, dtype, seed=int(source.removeprefix("blip:")))
"""

BROKEN = (
    TOY
    + """
    class Broken(ToyModel):
        def _one(self, query, need=frozenset()):
            found = super()._one(query, need)
            found.probabilities["no"] += 0.05
            return found

    class Raising(ToyModel):
        def _one(self, query, need=frozenset()):
            return super()._one(query, need).labels_of_the_model

    def load(source, *, device, dtype, threads, **options):
        return Raising() if "raising" in source else Broken()
"""
)

CASES = """\
cases:
  - id: square
    image: images/square.png
    text: a red square
    regions: {{square: [[0.1, 0.1, 0.4, 0.6]]}}
    expect:
      label: {square}
      attention:
        - {{metric: entropy, min: 0.1}}
        - {{metric: mass, region: square, min: 0.0, map: {{method: word_attention, word: square}}}}
        - {{metric: mass, region: square, min: 0.0, map: {{method: relevance}}}}
        - {{metric: js, max: 1.0, map: {{method: rollout}}, against: {{method: uniform}}}}
  - id: no-square
    image: images/green.png
    text: two white stripes
    map: {{method: rollout}}
    expect: {{label: {green}}}
"""


@pytest.fixture
def brought(
    tmp_path: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.Pytester]:
    """A project in an environment with two packages that bring models."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.syspath_prepend(str(ROOT))
    for package, scheme, content in (("blip-audit", "blip", BLIP), ("broken", "toy", BROKEN)):
        folder = install(tmp_path / package, package, {scheme: scheme}, **{scheme: content})
        monkeypatch.syspath_prepend(str(folder))
    pytester.makeini("[pytest]\naudit_run_dir = run\naudit_device = cpu\n")
    yield pytester
    for name in ("blip", "toy"):
        sys.modules.pop(name, None)


def checked(project: pytest.Pytester, *options: str) -> pytest.RunResult:
    return project.runpytest("--pyargs", "audit.models.kit.check", *options)


def test_an_adapter_is_checked_on_the_command_line(brought: pytest.Pytester) -> None:
    checked(brought, "--audit-model=blip:0").assert_outcomes(passed=len(CHECKS))
    assert not (brought.path / "run").exists()


@pytest.mark.parametrize("folder", ["cases", "other"])
def test_no_case_is_missed_where_an_adapter_is_checked(
    brought: pytest.Pytester, folder: str
) -> None:
    (brought.mkdir(folder) / "own.yaml").write_text("cases: []")
    result = checked(brought, "--audit-model=toy:x", "-k", "methods")
    result.assert_outcomes(passed=1)
    assert "no case was collected" not in result.stdout.str()


def test_what_is_wrong_with_an_adapter_is_one_sentence(brought: pytest.Pytester) -> None:
    result = checked(brought, "--audit-model=toy:x", "-k", "probabilities or methods")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["the model's probabilities sum to 1.05; they must sum to 1"])
    result.stdout.no_fnmatch_line("*another exception*")
    result.stdout.no_fnmatch_line("*conformance.py*")


def test_what_an_adapter_raises_is_shown_with_where_it_was_raised(brought: pytest.Pytester) -> None:
    result = checked(brought, "--audit-model=toy:raising", "-k", "batch")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "asked about *, the model raised AttributeError: *",
            "  *toy.py:* in *labels_of_the_model*",
        ]
    )
    result.stdout.no_fnmatch_line("*conformance.py*")
    result.stdout.no_fnmatch_line("*Traceback*")


def test_its_cases_are_audited_and_held_against_their_baselines(brought: pytest.Pytester) -> None:
    images = brought.path / "cases" / "images"
    images.mkdir(parents=True)
    square = Image.new("RGB", (80, 60), "navy")
    square.paste("red", (8, 8, 32, 36))
    square.save(images / "square.png")
    Image.new("RGB", (60, 60), "green").save(images / "green.png")
    model, labels = BlipMatching("cpu", seed=4), {}
    for name, text in (("square", "a red square"), ("green", "two white stripes")):
        (trace,) = model.trace([Query(images / f"{name}.png", text)])
        labels[name] = trace.label
    (brought.path / "cases" / "own.yaml").write_text(CASES.format(**labels))
    asked = ("cases", "--audit-model=blip:4", "--audit-gallery=all")
    brought.runpytest(*asked, "--audit-update=new").assert_outcomes(passed=2)
    brought.runpytest(*asked).assert_outcomes(passed=2)
    assert (brought.path / "run" / "gallery.html").exists()
    run = json.loads((brought.path / "run" / "run.json").read_text())
    assert run["model"]["name"] == "blip-matching"
    assert run["labels"] == ["no", "yes"]
    # Other weights give other figures: what their baselines are for.
    other = brought.runpytest("cases", "--audit-model=blip:5")
    assert other.ret == pytest.ExitCode.TESTS_FAILED


def test_a_case_for_a_label_it_has_not_is_refused_at_collection(brought: pytest.Pytester) -> None:
    images = brought.path / "cases" / "images"
    images.mkdir(parents=True)
    for name in ("square", "green"):
        Image.new("RGB", (60, 60), "green").save(images / f"{name}.png")
    text = CASES.format(square="maybe", green="yes")
    (brought.path / "cases" / "own.yaml").write_text(text)
    result = brought.runpytest("cases", "--audit-model=blip:4")
    result.stdout.fnmatch_lines(["*own.yaml:7:*'maybe'*no, yes*"])
