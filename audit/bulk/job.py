"""What one bulk audit asks of which model, and whether a folder's rows are of the same."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from audit.base.errors import BulkError, ModelError, nearest
from audit.base.files import digest, to_json
from audit.bulk.format import FORMAT, RECORD, BulkFolder, BulkRecord
from audit.bulk.questions import JOINED
from audit.cases.methods import readable_methods
from audit.gate.stack import device_class
from audit.maps.spec import CHOSEN, MapSpec, default_map
from audit.metrics.registry import REGISTRY_VERSION
from audit.models.kit.stack import installed, stack
from audit.models.protocol import Model
from audit.runs.session import usual_batch


@dataclass(frozen=True)
class Job:
    """What every process of a bulk audit needs to know; it travels by pickle.

    Attributes:
        out: the bulk folder, on a disk that all machines share.
        source: what the rows were read from; for messages and the record.
        root: the folder that pictures are relative to.
        options: options of the model's own kind.
        threads: of torch in each process; None leaves them as they are.
        batch: rows that the model is asked about at a time; 0 lets the device decide.
        shard: rows of the source that one file covers.
        maps: keys of the maps that are measured; empty for the model's default.
        labels_only: whether no map is measured.
        seed, threshold: see :class:`audit.bulk.format.BulkRecord`.
        regions, joined, kept, labels: what the source has; see :class:`audit.bulk.plan.Plan`.
        run: names this run, for what its processes tell each other through the folder.
    """

    out: Path
    source: str
    root: Path
    model: str
    device: str = "auto"
    dtype: str = "float32"
    options: Mapping[str, Any] = field(default_factory=dict)
    threads: int | None = None
    batch: int = 0
    shard: int = 1000
    maps: tuple[str, ...] = ()
    labels_only: bool = False
    seed: int = 0
    threshold: float = 0.0
    regions: tuple[str, ...] = ()
    joined: bool = False
    kept: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    run: str = ""


def specs_for(job: Job, model: Model) -> list[MapSpec]:
    """The maps that are measured; a model without maps is only asked for labels.

    Raises:
        BulkError: the model does not give one of them.
    """
    if job.labels_only:
        return []
    specs = [MapSpec.parse(key) for key in job.maps]
    if not specs:
        return [default_map(model.methods)] if model.methods else []
    for spec in specs:
        if spec.heads == CHOSEN:
            raise BulkError(
                f"--map '{spec.key}': the chosen heads are in heads.json beside a project's "
                "baselines, and bulk audits have none: name the heads themselves, as in "
                f"--map '{spec.method} heads=L4H2,L5H0' (audit heads prints them)"
            )
        readable = readable_methods(model.methods)
        if spec.method not in readable:
            raise BulkError(
                f"--map: the model gives no map {spec.method!r}; {nearest(spec.method, readable)}"
            )
    return list({spec.key: spec for spec in specs}.values())


def record_for(job: Job, model: Model, specs: Sequence[MapSpec]) -> BulkRecord:
    """What the rows of this process depend on."""
    known = model.fingerprint
    return BulkRecord.model_validate(
        {
            "format": FORMAT,
            "audit": installed("ofa-audit"),
            "model": known.to_dict(),
            "stack": stack(known.device),
            "labels": list(model.labels),
            "maps": [spec.key for spec in specs],
            "regions": [JOINED] if job.joined else list(job.regions),
            "joined": job.joined,
            "kept": list(job.kept),
            "batch": job.batch or usual_batch(known.device),
            "shard": job.shard,
            "seed": job.seed,
            "threshold": job.threshold,
            "registry": REGISTRY_VERSION,
            "source": job.source,
            "root": str(job.root),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    )


def claim(folder: Path, mine: BulkRecord) -> BulkRecord:
    """Give a new folder its record, or hold the record that it has against this process.

    Of several processes the first writes it, and the others are held to that.

    Returns:
        The folder's record.

    Raises:
        BulkError: its rows depend on something else; the message says what differs.
    """
    path = folder / RECORD
    if not path.exists():
        mark = digest(str(os.getpid()), os.uname().nodename)[:16]
        temporary = folder / f".{RECORD}.{mark}.tmp"
        temporary.write_text(to_json(mine.model_dump(mode="json")), encoding="utf-8")
        try:
            os.link(temporary, path)  # unlike a renaming, it fails if another process was first
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    held = BulkFolder(folder).record()
    differing = differences(held, mine)
    if differing:
        raise BulkError(
            f"{folder}: its rows are of another audit, and two are not mixed: {differing}; write "
            "to another folder, or ask as before"
        )
    return held


_MACHINE = ("processor", "threads")
"""Of a stack, what differs between machines of one kind and moves figures by rounding alone."""


def differences(held: BulkRecord, mine: BulkRecord) -> str:
    """What rows depend on and what differs between two records; empty if nothing does."""
    first, second = _depends(held), _depends(mine)
    found = [
        f"{name} {_short(first.get(name))} → {_short(second.get(name))}"
        for name in dict.fromkeys([*first, *second])
        if first.get(name) != second.get(name)
    ]
    return ", ".join(found)


def _depends(record: BulkRecord) -> dict[str, str]:
    model = record.model
    # Nobody can see the weights of a served model; its address and name stand for them.
    parts = ("name", "weights", "configuration", "tokenizer", "preprocessing", "asking")
    found: dict[str, Any] = {
        **{part: getattr(model, part) for part in parts},
        "source": "" if model.weights else model.source,
        "precision": model.dtype,
        "engine": model.engine,
        "device": device_class(model.device),
        **model.packages,
        **{name: value for name, value in record.stack.items() if name not in _MACHINE},
        "labels": ", ".join(record.labels),
        "maps": ", ".join(record.maps) or "none",
        "all regions as one": record.joined,
        "batch size": record.batch,
        "rows of a shard": record.shard,
        "seed": record.seed,
        "definition of the metrics": record.registry,
    }
    return {name: str(value) for name, value in found.items()}


def _short(value: str | None) -> str:
    flat = " ".join((value or "none").split())
    return flat if len(flat) <= 40 else f"{flat[:12]}…"


def check_labels(job: Job, labels: Sequence[str]) -> None:
    """Refuse a source of whose labels the model has none: they have other names.

    Raises:
        ModelError: so it is.
    """
    if job.labels and not set(job.labels) & set(labels):
        raise ModelError(
            f"{job.source}: it expects {', '.join(job.labels[:5])}, but the model answers with "
            f"{', '.join(labels)}: say which stands for which, as in "
            f"--labels {job.labels[0]}={labels[0]}"
        )
