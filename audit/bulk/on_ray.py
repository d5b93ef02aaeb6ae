"""Runs the parts of a bulk audit on Ray Data: one model in each actor, on one machine or many.

Only names of parts travel through Ray. Each actor reads the questions of a part from the folder and
writes their answers there, with the same code as one process alone.
"""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from audit.base.errors import AuditError, BulkError, Unfinished, in_a_sentence
from audit.bulk.floor import measure_floor
from audit.bulk.job import Job
from audit.bulk.plan import PLAN, SAMPLE, Part
from audit.bulk.worker import Told, Worker

_FLOOR = ""
"""Stands for the measurement of the floor among the names of parts."""

_CORES = 4
"""Cores of a model where there are no GPUs."""

_BLOCKS = 2000
"""Ray's tasks at most; one of them may be several parts."""

_STORE = 100_000_000
"""Bytes of Ray's object store on this machine: names of parts need next to nothing."""

_TRIES = 3
"""How many processes of one run may die at the same part."""


class Actor:
    """A worker in a process of Ray. Errors are results: Ray's own would hide their sentence."""

    def __init__(self, job: Job) -> None:
        """Load the model."""
        self._job = job
        self._error: dict[str, list[Any]] | None = None
        try:
            self._worker = Worker(job)
        except Exception as error:
            self._error = _told(error, stops=True)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Ask and write the one part that ``batch`` names."""
        (name,) = batch["part"]
        if self._error is not None:
            return self._error
        try:
            with self._counted(str(name) or Path(SAMPLE).stem):
                if name == _FLOOR:
                    measure_floor(self._worker)
                    return _done(0, 0)
                return _done(*self._worker.part(str(name)))
        except Exception as error:
            return _told(error, stops=False)

    @contextmanager
    def _counted(self, name: str) -> Iterator[None]:
        """Count the processes that died at a part: Ray would start another one for ever."""
        file = self._job.out / PLAN / f"{name}.tries"
        tries = file.read_text().split() if file.exists() else []
        if tries.count(self._job.run) >= _TRIES:
            raise Unfinished(
                f"{_TRIES} processes died while they asked the rows of {PLAN}/{name}.parquet: too "
                "little memory, or a picture that its decoder cannot survive"
            )
        file.write_text(" ".join([*tries, self._job.run]))
        yield
        file.unlink(missing_ok=True)


def _done(rows: int, failed: int) -> dict[str, list[Any]]:
    return {"rows": [rows], "failed": [failed], "error": [""], "stops": [False]}


def _told(error: BaseException, *, stops: bool) -> dict[str, list[Any]]:
    """An error as a row; ``stops`` if nothing was asked yet."""
    ours = isinstance(error, AuditError) and not isinstance(error, Unfinished)
    return {"rows": [0], "failed": [0], "error": [in_a_sentence(error)], "stops": [stops and ours]}


@dataclass(frozen=True)
class Shares:
    """How a cluster is shared: actors, and of each one the threads and GPUs."""

    actors: int
    threads: int
    gpus: int


def shares(nodes: Sequence[dict[str, float]], actors: int, device: str) -> Shares:
    """How the machines are shared.

    >>> shares([{"CPU": 16.0, "GPU": 2.0}] * 2, 0, "auto")
    Shares(actors=4, threads=8, gpus=1)
    >>> shares([{"CPU": 2.0}], 2, "auto"), shares([{"CPU": 16.0}], 0, "auto").actors
    (Shares(actors=2, threads=1, gpus=0), 4)

    Args:
        nodes: the resources of each machine, as Ray names them.
        actors: how many are wanted; 0 for one a GPU, or for every few cores.
    """
    cores = [node.get("CPU", 0.0) for node in nodes]
    gpus = 0 if device == "cpu" else int(sum(node.get("GPU", 0.0) for node in nodes))
    wanted = actors or gpus or sum(max(1, int(each) // _CORES) for each in cores)
    on_each = math.ceil(wanted / len(nodes))
    return Shares(wanted, max(1, int(min(cores)) // on_each), int(gpus > 0))


def on_ray(job: Job, parts: Sequence[Part], tell: Told, *, address: str, actors: int) -> None:
    """Run all parts.

    Args:
        address: of a cluster; empty to start Ray on this machine.

    Raises:
        BulkError: there is no such cluster, or an actor cannot do what is asked.
        Unfinished: it ended early.
    """
    # Ray tells of processes that died on standard output, where the results go.
    with redirect_stdout(sys.stderr), _connected(address) as nodes:
        import ray.data  # noqa: PLC0415  it takes a second, and only this needs it
        from ray.exceptions import RayError  # noqa: PLC0415

        share = shares(nodes, actors, job.device)
        job = replace(job, threads=job.threads or share.threads)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        names = [*(part.name for part in parts), _FLOOR]
        done = ray.data.from_items(
            [{"part": name} for name in names], override_num_blocks=min(len(names), _BLOCKS)
        ).map_batches(
            Actor, fn_constructor_kwargs={"job": job}, batch_size=1, num_gpus=share.gpus,
            num_cpus=share.threads if share.gpus == 0 else 1,
            compute=ray.data.ActorPoolStrategy(
                size=min(share.actors, len(names)), max_tasks_in_flight_per_actor=2
            ),
        )  # fmt: skip
        try:
            for row in done.iter_rows():
                if row["error"]:
                    raise (BulkError if row["stops"] else Unfinished)(row["error"])
                tell(row["rows"], row["failed"])
        except RayError as error:
            raise Unfinished(f"Ray ended the work: {in_a_sentence(error)}") from error


@contextmanager
def _connected(address: str) -> Iterator[list[dict[str, float]]]:
    """Connect to a cluster, or start one here; gives the resources of its machines."""
    # Before Ray is imported; the driver's log is its standard error.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray.data  # noqa: PLC0415

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    mine = not ray.is_initialized()
    if mine:
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        try:
            if address:
                ray.init(address=address, **quiet)
            else:
                ray.init("local", include_dashboard=False, object_store_memory=_STORE, **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise BulkError(f"--ray: {in_a_sentence(error)}") from error
    try:
        every: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        yield [node["Resources"] for node in every if node["Alive"]]
    finally:
        if mine:
            ray.shutdown()
