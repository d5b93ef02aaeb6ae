"""The show of a served model runs as the docs tell it: sessions, then the gate of its stack."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from audit.cases.loading import check_methods, load_cases
from tests.chat_server import ChatServer
from tools.served_audit import LABELS, MAP, chosen, in_project, prepare, show

pytestmark = pytest.mark.slow


def test_its_cases_are_shipped_ones_and_ask_for_what_a_server_gives(
    tmp_path: Path, checkpoint: Path
) -> None:
    prepare(tmp_path, checkpoint)
    cases = load_cases(tmp_path / "cases" / "some.yaml")
    assert [case.id for case in cases] == [*LABELS, MAP]
    check_methods(cases, ())
    assert yaml.safe_load(chosen())["cases"][-1]["expect"]["attention"]


def test_it_audits_and_compares_through_a_real_server(
    tmp_path: Path, checkpoint: Path, server: ChatServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """A model with random weights answers wrongly, and its stack moves nothing until it changes."""
    prepare(tmp_path, checkpoint)
    resample = server.processor.image_processor.resample
    try:
        first, second, same, moved = show(in_project(tmp_path), checkpoint, server)
    finally:
        server.processor.image_processor.resample = resample
    printed = capfd.readouterr().out
    assert (first, second) == (1, 1)
    assert same == 0
    assert moved in (0, 1)  # whether one moved far enough depends on the weights
    for line in (
        f"$ pytest cases --audit-model '{server.source}' --audit-update=new",
        "baselines accepted: 6, in baselines/tiny--chat--7b",
        "the weights of 6 cases are said to be the same, none of them moved by more than",
        "what differs: device cpu → server",
    ):
        assert line in printed
