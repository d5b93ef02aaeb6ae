"""What a case made is written by its caller: the outcome, its maps, its picture, its proposal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audit.cases.loading import load_cases
from audit.gate import accepted
from audit.gate.outcomes import State
from audit.gate.runfolder import Run
from audit.gate.verdict import Policy
from audit.runs.runner import Concluded, audit_cases
from audit.runs.storing import store
from tests.toy_model import ToyModel

CASE = """\
cases:
  - id: one
    image: white.png
    text: a bird
    expect: {label: yes}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cases").mkdir()
    Image.new("RGB", (40, 40), "white").save(tmp_path / "cases" / "white.png")
    (tmp_path / "cases" / "one.yaml").write_text(CASE)
    return tmp_path


def concluded(folder: Path, policy: Policy | None = None) -> Concluded:
    cases = load_cases(folder / "cases" / "one.yaml")
    (found,) = audit_cases(cases, ToyModel(), policy=policy)
    return found


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_auditing_writes_nothing(folder: Path) -> None:
    before = files(folder)
    found = concluded(folder, Policy(folder / "baselines", "all"))
    assert found.outcome.state is State.PASSED
    assert found.proposal is not None
    assert files(folder) == before


def test_what_is_stored_is_what_was_concluded(folder: Path) -> None:
    found = concluded(folder, Policy(folder / "baselines", "all"))
    run = Run(folder / "run")
    assert store(run, found) == found.outcome == run.outcome("one")
    assert run.image(found.case.image_digest) is not None
    assert set(run.maps("one")) == set(found.maps) == {"answer_attention"}
    assert set(run.strips("one")) == set(found.strips)
    proposed = accepted.load(run.proposals, "one")
    assert proposed is not None
    assert set(proposed.maps()) == {"answer_attention"}


def test_the_maps_of_the_baseline_are_stored_beside_the_cases_own_unless_it_is_stale(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = concluded(folder, Policy(folder / "baselines", "all"))
    assert first.proposal is not None
    first.proposal.write(folder / "baselines")
    monkeypatch.setenv("TOY_CELL", "9")
    run = Run(folder / "run")
    store(run, concluded(folder, Policy(folder / "baselines")))
    maps = run.maps("one")
    assert set(maps) == {"answer_attention", "baseline:answer_attention"}
    np.testing.assert_allclose(maps["baseline:answer_attention"], first.maps["answer_attention"])
    (folder / "cases" / "one.yaml").write_text(CASE.replace("a bird", "two birds"))
    found = concluded(folder, Policy(folder / "baselines"))
    assert store(run, found).state is State.STALE
    assert set(run.maps("one")) == {"answer_attention"}


def test_a_picture_that_is_gone_by_then_is_the_error_of_its_case_and_proposes_nothing(
    folder: Path,
) -> None:
    found = concluded(folder, Policy(folder / "baselines", "all"))
    (folder / "cases" / "white.png").unlink()
    run = Run(folder / "run")
    outcome = store(run, found)
    assert outcome.state is State.ERROR
    assert outcome.sentence.endswith("white.png: no such picture")
    assert run.outcome("one") == outcome
    assert not run.proposals.exists()


def test_a_proposal_that_cannot_be_written_is_the_error_of_its_case(folder: Path) -> None:
    found = concluded(folder, Policy(folder / "baselines", "all"))
    run = Run(folder / "run")
    (run.proposals / "one.json").mkdir(parents=True)
    outcome = store(run, found)
    assert outcome.state is State.ERROR
    assert outcome.sentence.startswith("IsADirectoryError: ")
    assert run.outcome("one") == outcome
