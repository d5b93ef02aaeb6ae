"""A toy model that is installed, and a bulk audit of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from audit.bulk.format import Account, BulkFolder
from audit.bulk.job import Job
from audit.bulk.plan import Plan
from audit.bulk.rows import of_source
from audit.bulk.running import Runner, in_this_process, run
from audit.bulk.worker import Told
from audit.sources.reading import open_source
from audit.sources.rows import Options
from tests.bulk_rows import install_toys

Audited = Callable[..., Account]


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The toys, installed."""
    folder = install_toys(tmp_path / "packages")
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.fixture
def audited(toys: Path, tmp_path: Path) -> Audited:
    """Audits a source into a folder and gives the account."""

    def audit(
        source: Path,
        out: Path = tmp_path / "out",
        *,
        model: str = "toy:x",
        runner: Runner = in_this_process,
        sample: int = 0,
        labels: Mapping[str, str] = {},
        started: Callable[[Plan], Told] = lambda _: lambda *_: None,
        retry: bool = False,
        **options: Any,
    ) -> Account:
        read = open_source(source, Options(label_needed=False, labels=labels))
        rows = of_source(read, source.parent, out, None)
        job = Job(out, str(source), source.parent, model, **{"batch": 4, "shard": 10, **options})
        return run(job, rows, sample, started, runner, retry=retry)

    return audit


def table_of(out: Path, kind: str = "rows") -> list[dict[str, Any]]:
    """Everything in a bulk folder."""
    return [row for path in BulkFolder(out).files(kind) for row in pq.read_table(path).to_pylist()]


def ids(out: Path) -> Sequence[str]:
    """The ids in a bulk folder, in order of the source."""
    return [row["id"] for row in sorted(table_of(out), key=lambda row: row["position"])]
