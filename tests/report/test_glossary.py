"""The words of the gallery: each that is marked has a meaning on the page."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from audit.gate.outcomes import DriftRow, State
from audit.gate.runfolder import Run
from audit.metrics.registry import METRICS
from audit.report.gallery import write_gallery
from audit.report.glossary import WORDS, glossary, key_of, of_state
from tests.outcomes import outcome


def test_every_state_but_passed_has_a_word() -> None:
    for state in State:
        assert (of_state(state) == "") == (state is State.PASSED)
    assert {of_state(s) for s in State} - {""} <= {key_of(word) for word in WORDS}


def test_metrics_are_told_in_the_words_of_the_registry_and_only_those_of_the_run() -> None:
    found = {term.word: str(term.meaning) for term in glossary(["mass[birds]", "entropy", "label"])}
    assert set(found) - set(WORDS) == {"mass", "entropy"}
    assert found["mass"].startswith(METRICS["mass"].summary)
    assert "Range: 0 to 1." in found["mass"]
    # The letters of a formula are explained where they stand.
    assert found["mass"].endswith("K/N. K of the map's N cells lie in the region.")
    assert "N cells" not in found["entropy"]


def test_summaries_of_metrics_are_plain_text() -> None:
    for metric in METRICS.values():
        assert not re.search(r"``|:\w+:`", metric.summary)


def test_every_marked_word_leads_to_its_entry(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.start({"id": "r", "model": {}, "baselines": ""})
    row = DriftRow("lift[birds]", "1", "0", -1.0, 0.2, "drifted")
    for state in State:
        run.add(replace(outcome(state.name, state), drift=[row]), {})
    page = write_gallery(run).read_text()
    marked = set(re.findall(r'class="term[^"]*" href="#([^"]+)"', page))
    assert {"word-contract", "word-drift", "word-creep", "metric-lift"} <= marked
    assert marked <= set(re.findall(r'<div id="([^"]+)"><dt', page))
