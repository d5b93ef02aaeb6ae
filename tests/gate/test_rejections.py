"""Which rejections still stand, of all decisions that a log holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

from audit.gate.decisions import Entry, rejections

START = datetime(2026, 11, 26, tzinfo=UTC)


def log(*said: tuple[str, Literal["accept", "reject"]]) -> list[Entry]:
    """Decisions about one case, an hour apart, all of the same baseline."""
    return [
        Entry(
            case="birds", decision=decision, reviewer=reviewer, run="r", baseline="same",
            time=START + timedelta(hours=n),
        )
        for n, (reviewer, decision) in enumerate(said)
    ]  # fmt: skip


def standing(entries: list[Entry], baseline: str = "same") -> list[str]:
    return [entry.reviewer for entry in rejections(entries, lambda _: baseline)]


def test_who_rejected_stands_once_in_the_order_of_the_last_word() -> None:
    assert standing(log(("Ada", "reject"), ("Ben", "reject"), ("Ada", "reject"))) == ["Ben", "Ada"]


def test_an_acceptance_ends_earlier_rejections_and_no_later_one() -> None:
    assert standing(log(("Ada", "reject"), ("Ben", "accept"))) == []
    assert standing(log(("Ada", "reject"), ("Ben", "accept"), ("Cyd", "reject"))) == ["Cyd"]


def test_another_baseline_ends_them() -> None:
    assert standing(log(("Ada", "reject")), "other") == []
