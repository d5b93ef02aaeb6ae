"""Accepted outcomes on disk: propose new ones, promote proposals, prune what no case needs.

How one is read is in :mod:`audit.gate.accepted`. A session writes proposals of the same form into
its run folder; only :func:`promote` and :func:`prune` touch accepted baselines, one process at a
time.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from audit.base.arrays import LIMIT, read_arrays, write_arrays
from audit.base.errors import BaselineError
from audit.base.files import (
    digest_file,
    read_bytes,
    rounded,
    shown_path,
    sync_folder,
    write_atomically,
    write_json,
)
from audit.base.geometry import WHOLE, Box, same_view
from audit.gate import accepted
from audit.gate.accepted import FORMAT, Baseline, Held
from audit.gate.drift import named, said
from audit.gate.outcomes import Outcome
from audit.metrics.registry import REGISTRY_VERSION


@dataclass(frozen=True)
class Proposal:
    """What may become the baseline of a case.

    Attributes:
        record: the content of ``<case>.json``, but for the digest of the maps.
        maps: by map key.
    """

    record: Mapping[str, Any]
    maps: Mapping[str, NDArray[np.float64]]

    def write(self, folder: Path) -> None:
        """Write both files into ``folder``, maps first, each of them whole or not at all."""
        name = self.record["case"]
        arrays = folder / f"{name}.npz"
        stored = {key: value.astype(np.float32) for key, value in self.maps.items()}
        # Not flushed to disk yet: promoting it does that.
        write_arrays(arrays, stored, durable=False)
        provenance = {**self.record["provenance"], "maps": digest_file(arrays)}
        record = {**self.record, "provenance": provenance}
        write_json(folder / f"{name}.json", record, durable=False)


def propose(
    outcome: Outcome,
    maps: Mapping[str, NDArray[np.float64]],
    before: Baseline | None,
    provenance: Mapping[str, Any],
    *,
    anew: bool = False,
) -> Proposal:
    """What would become the baseline of a case.

    The anchor of a figure is kept from ``before``, unless the case itself changed, or the figure
    left its tolerance: that was shown, and who accepts it accepts the whole step. So anchors tell
    what steps that were each too small to be shown add up to. Figures of maps that covered another
    part of the picture are no anchors for these.

    Args:
        anew: move all anchors: what is accepted now is where creep is measured from.
    """
    kept = before is not None and not before.is_stale(outcome.case_digest) and not anew
    view = Box(*outcome.view)
    likely, figures = (before.anchor_probabilities, before.anchors) if before and kept else ({}, {})
    if before is not None and not same_view(before.view, view):
        figures = {}
    seen = {row.figure for row in outcome.drift if row.verdict in ("drifted", "improved")}

    def anchored(value: float | str, anchor: float | str | None, row: str) -> dict[str, Any]:
        first = value if anchor is None or row in seen else anchor
        return {"anchor": _stored(first), "accepted": _stored(value)}

    return Proposal(
        {
            "format": FORMAT,
            "case": outcome.case,
            "case_digest": outcome.case_digest,
            "text": outcome.text,
            "expected": outcome.expected,
            "image": outcome.image_digest,
            "default_map": outcome.default_map,
            **({} if same_view(view, WHOLE) else {"view": [rounded(v) for v in view]}),
            "label": outcome.label,
            "probabilities": {
                label: anchored(value, likely.get(label), said(label))
                for label, value in outcome.probabilities.items()
            },
            "figures": {
                key: {
                    name: anchored(
                        value, figures.get(key, {}).get(name), str(named(name, key, outcome))
                    )
                    for name, value in values.items()
                }
                for key, values in outcome.metrics.items()
            },
            "provenance": {**provenance, "metric_registry": REGISTRY_VERSION},
        },
        dict(maps),
    )


def _stored(value: float | str) -> Any:
    return {"undefined": value} if isinstance(value, str) else rounded(value)


_STAGED = ".accepting-"
_COMMITTED = "committed"
_LOCK = ".accepting.lock"
_PATIENCE = 60.0
"""Seconds to wait for another process that updates the same folder."""


@contextmanager
def updating(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for an update: one process at a time, which may enter again within.

    The lock is the system's own, so that a process that is killed lets it go.

    Raises:
        BaselineError: the folder cannot be written, or another process does not come to its end.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    path = folder.resolve() / _LOCK
    lock = FileLock(path, timeout=_PATIENCE, is_singleton=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise BaselineError(
            f"{shown_path(folder)}: another process has been updating these baselines for "
            f"{_PATIENCE:.0f} s; wait for its end, then do this again"
        ) from None
    except OSError as error:
        raise _unwritable(folder, error) from None
    try:
        yield
    except OSError as error:
        raise _unwritable(folder, error) from None
    finally:
        if lock.lock_counter == 1:
            # Whoever waits sees that the file it has open has no name any more, and makes another.
            path.unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):  # what was made for nothing is empty, and only then goes
            for each in made:
                each.rmdir()


def _unwritable(folder: Path, error: OSError) -> BaselineError:
    name = f" ({shown_path(Path(str(error.filename)))})" if error.filename else ""
    return BaselineError(
        f"{shown_path(folder)}: baselines cannot be written: {error.strerror or error}{name}"
    )


def promote(proposals: Path, folder: Path) -> list[str]:
    """Make every proposal of a folder the accepted baseline, all or none; return the cases, sorted.

    All files are first written beside the baselines; a mark then says that they are whole, and only
    after it they are renamed into place. A process that dies before the mark has changed nothing;
    what one that dies after it left to do, :func:`recover` does.

    Raises:
        BaselineError: a proposal is damaged, or the folder cannot be written; nothing has changed.
    """
    names = sorted(path.stem for path in proposals.glob("*.json"))
    if not names:
        recover(folder)
        return []
    with updating(folder):
        recover(folder)
        staged = folder / f"{_STAGED}{secrets.token_hex(4)}"
        try:
            for name in names:
                _stage(proposals, name, folder, staged)
            os.sync()  # all of them at once, before the mark says that they are there
            write_atomically(staged / _COMMITTED, b"")
        except (OSError, BaselineError):
            shutil.rmtree(staged, ignore_errors=True)
            raise
        _finish(staged, folder)
    return names


def _stage(proposals: Path, name: str, folder: Path, staged: Path) -> None:
    proposed = accepted.load(proposals, name)
    assert proposed is not None
    for path in (proposed.maps_path(), proposed.path):
        target = folder / path.name
        if target.is_dir():
            raise BaselineError(f"{shown_path(target)}: is a folder; move it away")
        write_atomically(staged / path.name, read_bytes(path, LIMIT), durable=False)


def recover(folder: Path) -> None:
    """Finish what a process that died had committed to this folder, clear what it had not.

    What is younger than an hour and not committed may belong to a process that is at work. Where
    the folder cannot be written, it is left as it is: baselines can be read all the same.
    """
    if not _left(folder):
        return
    with suppress(BaselineError), updating(folder):
        for staged in _left(folder):
            if (staged / _COMMITTED).exists():
                _finish(staged, folder)
            elif time.time() - staged.stat().st_mtime > 3600:
                shutil.rmtree(staged, ignore_errors=True)


def _left(folder: Path) -> list[Path]:
    found = folder.glob(f"{_STAGED}*")
    return sorted(path for path in found if path.is_dir() and not path.is_symlink())


def _finish(staged: Path, folder: Path) -> None:
    # Maps first: figures without their maps are seen at once, and maps of other figures too.
    for suffix in ("npz", "json"):
        for path in sorted(staged.glob(f"*.{suffix}")):
            path.replace(folder / path.name)
    sync_folder(folder)  # before the mark goes, so that a crash cannot undo half of the names
    shutil.rmtree(staged, ignore_errors=True)


def held(folder: Path, case: str) -> Held:
    """What ``folder`` holds for ``case``, not a mixture of what an update found and left.

    Raises:
        BaselineError: never for what is damaged, which is told.
    """
    found = accepted.held(folder, case)
    if found.damage and (folder / _LOCK).exists():
        with suppress(BaselineError), updating(folder):
            found = accepted.held(folder, case)
    return found


def refuse_other_dtype(folder: Path, dtype: str) -> None:
    """Refuse to mix precisions: their figures differ by more than the tolerances.

    One baseline tells for all, since nothing is added to a folder that this refuses.

    Raises:
        BaselineError: the folder's baselines were accepted in another precision than ``dtype``.
    """
    for path in sorted(folder.glob("*.json")):
        try:
            one = accepted.load(folder, path.stem)
        except BaselineError:
            continue  # costs its own case only
        theirs = one.provenance.get("model", {}).get("dtype", dtype) if one else dtype
        if theirs != dtype:
            raise BaselineError(
                f"{folder} holds baselines in {theirs}, and this run is in {dtype}, whose figures "
                f"differ: audit it against a folder of its own, such as "
                f"--audit-baselines {folder}-{dtype}"
            )
        return


def prune(folder: Path, cases: Iterable[str], *, delete: bool = False) -> list[str]:
    """Baselines of no case, sorted; with ``delete`` they are removed.

    Damaged ones count. What is no baseline, such as another program's JSON, does not.
    """
    known = set(cases)
    names = sorted({p.stem for kind in ("json", "npz") for p in folder.glob(f"*.{kind}")} - known)
    orphans = [name for name in names if _ours(folder, name)]
    if delete and orphans:
        with updating(folder):
            for name in orphans:
                for suffix in ("json", "npz"):
                    (folder / f"{name}.{suffix}").unlink(missing_ok=True)
            sync_folder(folder)
    return orphans


def _ours(folder: Path, name: str) -> bool:
    path = folder / f"{name}.json"
    maps = path.with_suffix(".npz")
    if any(each.is_dir() for each in (path, maps)):
        return False
    try:
        if not path.exists():
            return bool(read_arrays(maps, BaselineError))
        return accepted.load(folder, name) is not None
    except BaselineError:
        return path.exists() and (maps.exists() or _looks_like_one(path))


def _looks_like_one(path: Path) -> bool:
    with suppress(OSError):
        return b'"case_digest"' in read_bytes(path, LIMIT)
    return False
