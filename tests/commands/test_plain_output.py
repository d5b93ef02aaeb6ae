"""What commands print is plain text: names in brackets and colons are neither markup nor emoji."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.table import Table

from audit.base.console import tables
from audit.base.geometry import Grid
from audit.commands.asking import _print_all
from audit.explaining import NoMap
from audit.gate.outcomes import State
from audit.maps.spec import MapSpec
from audit.maps.trace import Trace
from audit.report.terminal import failure_text
from tests.outcomes import outcome
from tests.toy_model import ToyModel

NAMES = ("mass[birds]", "birds[mirror]", "a :cat: sits", "[/bold]")


@pytest.mark.parametrize("name", NAMES)
def test_a_table_and_a_line_have_names_as_they_are(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Table("case", box=None)
    table.add_row(name)
    console = tables()
    console.print(table)
    console.print(f"label not stable: {name} (threads 1): yes → no")
    shown = capsys.readouterr().out
    assert shown.count(name) == 2


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_is_printed_as_the_model_calls_it(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = Trace({name: 0.75, "no": 0.25}, name, "a prompt", (), Grid(1, 1))
    _print_all([(NoMap(trace, MapSpec(), "nothing to see", ToyModel.fingerprint), {})])
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == f"{name} (75.0%)"
    assert shown[1] == f"{name} 0.7500 no 0.2500"


def test_a_failing_case_has_its_text_as_it_is() -> None:
    failed = replace(outcome("a", State.BROKEN), text="a :cat: sits")
    assert "'a :cat: sits'" in failure_text(failed)
