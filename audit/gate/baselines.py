"""Changes baselines on disk: propose new ones, promote proposals, prune those without a case.

:mod:`audit.gate.accepted` reads them. A session writes proposals in the same format into its run
folder. Only :func:`promote` and :func:`prune` touch accepted baselines, one process at a time.
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
    digest_stream,
    read_bytes,
    rounded,
    shown_path,
    sync_folder,
    write_atomically,
    write_json,
)
from audit.base.geometry import WHOLE, Box, same_view
from audit.base.names import name_of, stem_of
from audit.base.settings import UNKNOWN
from audit.gate import accepted
from audit.gate.accepted import FORMAT, Baseline, Held
from audit.gate.drift import figure_key, probability_name
from audit.gate.outcomes import Outcome
from audit.gate.stack import asked_otherwise
from audit.gate.tolerances import UNSAID
from audit.metrics.registry import REGISTRY_VERSION


@dataclass(frozen=True)
class Proposal:
    """What may become the baseline of a case.

    Attributes:
        record: the content of ``<case>.json``, without the digest of the maps.
        maps: by map key.
    """

    record: Mapping[str, Any]
    maps: Mapping[str, NDArray[np.float64]]

    def write(self, folder: Path) -> None:
        """Write both files into ``folder``, maps first, each of them completely or not at all."""
        name = stem_of(self.record["case"])
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

    The anchor of a figure is taken over from ``before``, unless the case itself or the asking
    file changed, or the figure left its tolerance: the reviewer saw that step, so accepting it
    moves the anchor too.
    Steps that were too small to be reported leave the anchor where it is, and so add up. Anchors
    are not taken over if the maps of ``before`` cover another part of the picture.

    Args:
        anew: move all anchors, so that creep is measured from the values accepted now.
    """
    kept = (
        before is not None
        and not before.is_stale(outcome.case_digest, outcome.former_digest)
        and not asked_otherwise(provenance, before.provenance)
        and not anew
    )
    view = Box(*outcome.view)
    likely, figures = (before.anchor_probabilities, before.anchors) if before and kept else ({}, {})
    if before is not None and not same_view(before.view, view):
        figures = {}
    unsaid = before.unsaid[1] if before and kept and before.unsaid else None
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
                label: anchored(value, likely.get(label), probability_name(label))
                for label, value in outcome.probabilities.items()
            },
            **(
                {}
                if outcome.unsaid is None
                else {"unsaid": anchored(outcome.unsaid, unsaid, UNSAID)}
            ),
            "figures": {
                key: {
                    name: anchored(
                        value, figures.get(key, {}).get(name), str(figure_key(name, key, outcome))
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
    """Lock ``folder`` for an update by this process, which may take the lock more than once.

    It is a lock of the operating system, which releases it when the process is killed.

    Raises:
        BaselineError: the folder cannot be written, or another process holds it for too long.
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
            f"{_PATIENCE:.0f} s; wait until it is done, then try again"
        ) from None
    except OSError as error:
        raise _unwritable(folder, error) from None
    try:
        yield
    except OSError as error:
        raise _unwritable(folder, error) from None
    finally:
        if lock.lock_counter == 1:
            # A process that waits for the lock notices that the file is gone, and makes a new one.
            path.unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):  # remove folders made above if nothing was written into them
            for each in made:
                each.rmdir()


def _unwritable(folder: Path, error: OSError) -> BaselineError:
    name = f" ({shown_path(Path(str(error.filename)))})" if error.filename else ""
    return BaselineError(
        f"{shown_path(folder)}: baselines cannot be written: {error.strerror or error}{name}"
    )


def promote(proposals: Path, folder: Path) -> list[str]:
    """Accept every proposal of a folder as a baseline, all or none; return the cases, sorted.

    All files are first written beside the baselines, then a mark says that they are complete, and
    only then are they renamed into place. A process that dies before the mark has changed nothing.
    If it dies after the mark, :func:`recover` finishes its work.

    Raises:
        BaselineError: a proposal is damaged, or the folder cannot be written; nothing has changed.
    """
    names = sorted(name_of(path.stem) for path in proposals.glob("*.json"))
    if not names:
        recover(folder)
        return []
    with updating(folder):
        recover(folder)
        staged = folder / f"{_STAGED}{secrets.token_hex(4)}"
        try:
            for name in names:
                _stage(proposals, name, folder, staged)
            os.sync()  # flush all files at once, before the mark says that they are complete
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
    """Finish the update of a process that died in this folder, or clear it if it had no mark yet.

    Files without a mark that are younger than an hour may belong to a process still at work, and
    stay. A folder that cannot be written is left as it is; its baselines can still be read.
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
    # Maps first: the figures hold the digest of their maps, so a mismatch is noticed.
    for suffix in ("npz", "json"):
        for path in sorted(staged.glob(f"*.{suffix}")):
            path.replace(folder / path.name)
    sync_folder(folder)  # before the mark is removed, so that a crash cannot undo half the renames
    shutil.rmtree(staged, ignore_errors=True)


def held(folder: Path, case: str) -> Held:
    """What ``folder`` holds for ``case``; never a mixture of old and new files during an update.

    Damage is reported in the result and never raised.
    """
    found = accepted.held(folder, case)
    if found.damage:
        # Perhaps it was read amid an update, which may have ended since; nobody updates under lock.
        with suppress(BaselineError), updating(folder):
            found = accepted.held(folder, case)
    return found


def refuse_other_dtype(folder: Path, dtype: str) -> None:
    """Refuse to mix precisions, because their figures differ by more than the tolerances.

    It is enough to look at one baseline, since all in a folder have the same precision.

    Raises:
        BaselineError: the folder's baselines were accepted in another precision than ``dtype``.
    """
    theirs = origin_of(folder).get("model", {}).get("dtype", dtype)
    if theirs != dtype and UNKNOWN not in (theirs, dtype):
        raise BaselineError(
            f"{folder} holds baselines in {theirs}, and this run is in {dtype}, whose figures "
            f"differ: use a separate folder for it, such as --audit-baselines {folder}-{dtype}"
        )


def origin_of(folder: Path) -> Mapping[str, Any]:
    """Where the baselines of a folder came from, as the first that can be read says; else empty."""
    for path in sorted(folder.glob("*.json")):
        with suppress(BaselineError):  # a damaged baseline is reported with its own case
            one = accepted.load(folder, name_of(path.stem))
            return one.provenance if one else {}
    return {}


def digest_of(folder: Path) -> str:
    """What a folder of baselines holds, with its noise, its heads and what it sets aside.

    Each file of figures has the digest of its maps, so the maps are not read. Empty if there is
    nothing.
    """
    found = (p for pattern in ("*.json", "provenance/*.json") for p in folder.glob(pattern))
    files = sorted((p.relative_to(folder).as_posix(), p) for p in found if p.is_file())
    return digest_stream(each for n, p in files for each in (n, p.read_bytes())) if files else ""


def prune(folder: Path, cases: Iterable[str], *, delete: bool = False) -> list[str]:
    """Baselines without a case, sorted; with ``delete`` they are removed.

    Damaged ones are included. Other files, such as another program's JSON, are not.
    """
    known = set(cases)
    there = {name_of(p.stem) for kind in ("json", "npz") for p in folder.glob(f"*.{kind}")}
    names = sorted(there - known)
    orphans = [name for name in names if _ours(folder, name)]
    if delete and orphans:
        with updating(folder):
            for name in orphans:
                for suffix in ("json", "npz"):
                    (folder / f"{stem_of(name)}.{suffix}").unlink(missing_ok=True)
            sync_folder(folder)
    return orphans


def _ours(folder: Path, name: str) -> bool:
    path = folder / f"{stem_of(name)}.json"
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
