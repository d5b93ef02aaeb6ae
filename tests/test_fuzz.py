"""A little of ``benchmarks/fuzz.py``: what was changed is read or refused, and nothing else."""

from __future__ import annotations

import pytest

from benchmarks.fuzz import LONGEST, fuzz


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("cases", 300),
        ("pictures", 300),
        ("sources", 100),
        pytest.param("stored", 30, marks=pytest.mark.slow),
        pytest.param("checkpoints", 10, marks=pytest.mark.slow),
    ],
)
def test_every_changed_file_is_read_or_refused_in_time(kind: str, count: int) -> None:
    found = fuzz(kind, range(count))
    assert found.faults == []
    assert found.ends.total() == count
    assert found.slowest < LONGEST
    assert found.ends["refused"] > count / 4
