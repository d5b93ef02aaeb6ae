"""Outcomes and the folder of a run, to disk and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audit.base import files
from audit.base.errors import RunError
from audit.gate.outcomes import State, totals
from audit.gate.runfolder import Run
from tests.outcomes import outcome


def test_outcomes_survive_the_run_folder_worst_first(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.start({"model": {}, "started": "now", "baselines": ""})
    stored = [
        outcome("fine", State.PASSED),
        outcome("late", State.BROKEN, line=9),
        outcome("early", State.BROKEN, line=2),
        outcome("worst", State.ERROR),
    ]
    for one in stored:
        run.add(one, {"m": np.full((2, 2), 0.25)})
    found = run.outcomes()
    assert [o.case for o in found] == ["worst", "early", "late", "fine"]
    assert found[3] == stored[0]
    assert totals(found) == {"error": 1, "contract broken": 2, "passed": 1}
    assert run.maps("fine")["m"].sum() == 1
    assert (
        '"undefined": "the region is empty"' in (run.folder / "outcomes" / "fine.json").read_text()
    )


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run"):
        Run(tmp_path).about()
    files.write_json(tmp_path / "run.json", {"format": 99})
    with pytest.raises(RunError, match="format 99"):
        Run(tmp_path).about()
    (tmp_path / "outcomes").mkdir()
    stored = {**outcome("a", State.PASSED).to_dict(), "more": 1}
    files.write_json(tmp_path / "outcomes" / "a.json", stored)
    with pytest.raises(RunError, match=r"a.json:.*: more: unknown key"):
        Run(tmp_path).outcomes()
