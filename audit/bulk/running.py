"""Runs a bulk audit from its source to its account, in this process or on Ray."""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from audit.base.errors import BulkError, Unfinished
from audit.base.files import counted, make_output, shown_path, write_json
from audit.bulk.accounting import take_account
from audit.bulk.floor import measure_floor
from audit.bulk.format import MAPS, RECORD, REFUSED, ROWS, Account, BulkFolder
from audit.bulk.job import Job
from audit.bulk.plan import MOST_REGIONS, PLAN, Part, Plan, Rows, make_plan
from audit.bulk.questions import JOINED
from audit.bulk.retrying import forget_failed
from audit.bulk.rows import PICTURES
from audit.bulk.worker import Told, Worker

Runner = Callable[[Job, Sequence[Part], Told], None]
"""Asks what is left of every part, and measures the floor; tells of rows that are done."""

Started = Callable[[Plan], Told]
"""Told of the plan, gives what is told of rows."""


def in_this_process(job: Job, parts: Sequence[Part], tell: Told) -> None:
    """One model, one part after the other."""
    worker = Worker(job)
    for part in parts:
        worker.part(part.name, tell)
    measure_floor(worker)


def run(
    job: Job,
    rows: Rows,
    sample: int,
    started: Started,
    runner: Runner = in_this_process,
    *,
    retry: bool = False,
) -> Account:
    """Plan, ask, and take account.

    Args:
        job: without what only the plan knows.
        rows: reads the source.
        sample: of about how many rows maps are kept besides those of wrong answers.
        retry: whether rows that failed in an earlier run are asked again.

    Raises:
        BulkError: see :func:`audit.bulk.plan.make_plan` and :func:`audit.bulk.job.claim`; or
            another process works in the folder.
        ModelError: the model cannot be loaded.
        Unfinished: rows are missing, because the model answers no more or processes died.
    """
    began = time.monotonic()
    out, folder = job.out, BulkFolder(job.out)
    with _alone(out), _full_disk_is_no_end(out):
        if retry:
            forget_failed(folder)
        plan = make_plan(rows, out, job.shard, job.seed)
        if not plan.rows:
            raise BulkError(
                f"{job.source}: none of its {counted(plan.read, 'row')} can be asked; "
                f"{out / REFUSED} says why"
            )
        job = _completed(job, plan, sample)
        runner(job, plan.parts, started(plan))
        account = take_account(folder, plan, time.monotonic() - began)
        shutil.rmtree(out / PLAN, ignore_errors=True)
        for kind in (ROWS, MAPS):  # of processes that were killed while they wrote
            for left in (out / kind).glob(".*.tmp"):
                left.unlink(missing_ok=True)
    return account


@contextmanager
def _full_disk_is_no_end(out: Path) -> Iterator[None]:
    """Let a disk that is full end the audit as anything does after which it can continue."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        place = shown_path(error.filename or out)
        raise Unfinished(f"{place}: nothing more can be written: {error.strerror}") from None


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keep other processes from planning in the same folder."""
    try:
        make_output(out)
        strange = [p.name for p in out.iterdir() if p.name not in _OURS and p.name[0] != "."]
    except OSError as error:
        raise BulkError(f"{out}: nothing can be written there: {error.strerror}") from None
    if strange and not BulkFolder(out).is_one():
        raise BulkError(f"{out}: it holds other files ({strange[0]}): name an empty folder")
    lock = FileLock(out / ".lock")
    try:
        with lock.acquire(timeout=0):
            yield
    except Timeout:
        raise BulkError(f"{out}: another process is at work there") from None


_OURS = {PLAN, ROWS, MAPS, RECORD, REFUSED, PICTURES}
"""What a folder may hold before it has a record."""


def _completed(job: Job, plan: Plan, sample: int) -> Job:
    """The job with what the plan knows of the source."""
    joined = len(plan.regions) > MOST_REGIONS
    regions, kept = sorted(plan.regions), sorted(plan.kept)
    threshold = min(1.0, sample / plan.rows)
    folder = BulkFolder(job.out)
    if folder.is_one():
        held = folder.record()
        # A source that has grown may have more columns; those of the earlier rows stay.
        more = {
            "regions": [JOINED] if joined else sorted({*held.regions, *regions}),
            "kept": sorted({*held.kept, *kept}),
        }
        if held.joined == joined and any(getattr(held, k) != v for k, v in more.items()):
            about = held.model_copy(update=more).model_dump(mode="json")
            write_json(job.out / RECORD, about)
        regions, kept = more["regions"], more["kept"]
    return replace(
        job, regions=tuple(regions), joined=joined, kept=tuple(kept), threshold=threshold,
        labels=tuple(sorted(plan.labels)), run=uuid4().hex,
    )  # fmt: skip
