"""The run folder, which stores the results of a session.

A run folder has ``run.json`` (what was run), ``outcomes/<case id>.json`` and
``outcomes/<case id>.npz`` (one pair for each case, written by the process that audited it), and
``images/<digest>.png`` (each picture once). When the session ends, ``results.json`` is added; the
reports are made from it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import TypeAdapter

from audit.base.arrays import read_arrays, refuse_map, write_arrays
from audit.base.errors import ImageError, RunError
from audit.base.files import shown_path, write_atomically, write_json
from audit.base.images import open_image
from audit.base.names import name_of, stem_of
from audit.base.records import (
    MEGABYTE,
    T,
    read_record,
)
from audit.gate.outcomes import Outcome, State, schema_of, totals
from audit.gate.runfiles import BASELINE, FORMAT, About, Results, respelled, spelled
from audit.maps.keys import canonical_key, spelled_twice
from audit.metrics.keys import canonical_name

Strip = Sequence[tuple[str, NDArray[np.float64]]]
"""Named maps in order, such as one for each layer."""

_STRIP = "strip:"

KEPT = (1024, 1024)
"""Largest width and height in pixels of a picture that a run keeps."""


@dataclass(frozen=True)
class Run:
    """A run folder. Reading it needs no model."""

    folder: Path
    _read: Mapping[str, Outcome] | None = field(default=None, repr=False, compare=False)

    @property
    def proposals(self) -> Path:
        """The folder of proposals, which may become baselines when the session ends."""
        return self.folder / "proposals"

    def settled(self) -> Run:
        """The same run with all outcomes read and kept, for when no more are added."""
        return Run(self.folder, {outcome.case: outcome for outcome in self.outcomes()})

    def start(self, about: Mapping[str, Any]) -> None:
        """Create the folder and write ``run.json``: model fingerprint, options, time."""
        write_json(self.folder / "run.json", {"format": FORMAT, **about})

    def about(self) -> dict[str, Any]:
        """What :meth:`start` wrote.

        Raises:
            RunError: the folder is not a run, or has another format.
        """
        found: dict[str, Any] = self._record("run.json", schema_of(About)).model_dump(
            exclude_unset=True
        )
        return found

    def add(
        self,
        outcome: Outcome,
        maps: Mapping[str, NDArray[np.float64]],
        strips: Mapping[str, Strip] | None = None,
    ) -> None:
        """Store one outcome and its maps (by map key, and ``baseline:`` + key for accepted ones).

        Both files are written atomically, maps first, so that an outcome on disk is complete.

        Args:
            strips: maps to show side by side, such as ``layers`` and ``words``; stored in half
                precision, since nothing is measured on them.
        """
        stem = self.folder / "outcomes" / stem_of(outcome.case)
        arrays: dict[str, NDArray[Any]] = {k: v.astype(np.float32) for k, v in maps.items()}
        for strip, panels in (strips or {}).items():
            for number, (name, p) in enumerate(panels):
                arrays[f"{_STRIP}{strip}:{number}:{name}"] = p.astype(np.float16)
        write_arrays(stem.with_name(f"{stem.name}.npz"), arrays, durable=False)
        path = stem.with_name(f"{stem.name}.json")
        write_json(path, outcome.to_dict(), indent=None, durable=False)

    def add_image(self, digest: str, image: Image.Image) -> None:
        """Store a picture under its digest, once, at most 1024 pixels wide or high."""
        path = self.image_path(digest)
        if path.exists():
            return
        small = image.copy()
        small.thumbnail(KEPT, Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        small.save(buffer, format="PNG", compress_level=1)  # a third of the time, a little larger
        write_atomically(path, buffer.getvalue())

    def image_path(self, digest: str) -> Path:
        """The file of the picture with ``digest``."""
        return self.folder / "images" / f"{digest}.png"

    def image(self, digest: str) -> Image.Image | None:
        """The stored picture with ``digest``, or None if there is none.

        Raises:
            RunError: it is damaged, or not a file inside this run.
        """
        path = self.image_path(digest)
        self._own("images")
        if path.is_symlink():
            raise RunError(f"{shown_path(path)}: cannot be read: it is a symbolic link")
        if not path.exists():
            return None
        if not path.is_file():
            raise RunError(f"{shown_path(path)}: cannot be read: it is not a file")
        try:
            return open_image(path)
        except ImageError as error:
            raise RunError(str(error)) from None

    def outcome(self, case: str) -> Outcome:
        """The outcome of one case.

        Raises:
            RunError: it is missing or has another format.
        """
        if self._read is not None and case in self._read:
            return self._read[case]
        name = f"outcomes/{stem_of(case)}.json"
        found: Outcome = self._record(name, schema_of(Outcome))
        if found.case != case:
            where = shown_path(self.folder / name)
            raise RunError(f"{where}: case: is the outcome of another case, {found.case}")
        twice = spelled_twice(found.metrics)
        if twice:
            raise RunError(f"{shown_path(self.folder / name)}: metrics: {twice}")
        # Earlier versions of audit had other names for some methods.
        found.default_map = canonical_key(found.default_map)
        found.metrics = respelled(found.metrics)
        found.spread = respelled(found.spread)
        found.drift = [replace(row, figure=canonical_name(row.figure)) for row in found.drift]
        return found

    def outcomes(self) -> list[Outcome]:
        """All outcomes, worst state first, then by file and line.

        Raises:
            RunError: one of them is damaged or has another format.
        """
        if self._read is not None:
            return list(self._read.values())
        self._own("outcomes")
        names = [name_of(path.stem) for path in (self.folder / "outcomes").glob("*.json")]
        found = [self.outcome(name) for name in names]
        order = list(State)
        return sorted(found, key=lambda o: (order.index(o.state), o.file, o.line, o.case))

    def maps(self, case: str) -> dict[str, NDArray[np.float64]]:
        """The maps of one case, by map key; empty if the case gave none.

        Raises:
            RunError: their file is damaged, or they do not have the outcome's grid.
        """
        found = {spelled(key): p for key, p in self._arrays(case, strips=False).items()}
        if found:
            grid = self.outcome(case).grid
            for key, p in list(found.items()):
                accepted = key.startswith(BASELINE)
                wrong = refuse_map(key, p, None if accepted else grid)
                if wrong:
                    raise RunError(f"{shown_path(self._arrays_path(case))}: {wrong}")
                if accepted and p.shape != grid:
                    del found[key]  # from a model with another grid, so they cannot be compared
        return found

    def strips(self, case: str) -> dict[str, Strip]:
        """The strips of one case by name, each a list of (panel name, map) in order.

        Raises:
            RunError: their file is damaged.
        """
        found: dict[str, list[tuple[int, str, NDArray[np.float64]]]] = {}
        for key, p in self._arrays(case, strips=True).items():
            named = re.fullmatch(rf"{_STRIP}(\w+):([0-9]{{1,6}}):(.*)", key)
            if named is None:
                path = shown_path(self._arrays_path(case))
                raise RunError(f"{path}: {key[:60]!r} does not name a panel of a strip")
            found.setdefault(named[1], []).append((int(named[2]), named[3], p))
        return {
            strip: [(name, p) for _, name, p in sorted(panels, key=lambda panel: panel[0])]
            for strip, panels in found.items()
        }

    def _arrays_path(self, case: str) -> Path:
        return self.folder / "outcomes" / f"{stem_of(case)}.npz"

    def _arrays(self, case: str, *, strips: bool) -> dict[str, NDArray[np.float64]]:
        self._own("outcomes")
        try:
            return read_arrays(
                self._arrays_path(case),
                RunError,
                wanted=lambda name: name.startswith(_STRIP) is strips,
                follow=False,
            )
        except FileNotFoundError:
            return {}

    def _record(self, name: str, schema: TypeAdapter[T], limit: int = 16 * MEGABYTE) -> T:
        path = self.folder / name
        self._own(path.parent.name if "/" in name else "")
        try:
            return read_record(path, schema, RunError, limit=limit, follow=False)
        except FileNotFoundError:
            raise RunError(
                f"{shown_path(self.folder)}: not a run, or not whole: there is no {name}"
            ) from None

    def _own(self, name: str) -> None:
        """Refuse a folder that is a link: a stranger's run could show files from elsewhere."""
        if name and (self.folder / name).is_symlink():
            raise RunError(f"{shown_path(self.folder / name)}: is a symbolic link, not a folder")

    def results(self) -> dict[str, Any]:
        """What :meth:`finish` wrote.

        Raises:
            RunError: the session was not finished.
        """
        read = self._record("results.json", schema_of(Results), 1024 * MEGABYTE)
        found: dict[str, Any] = read.model_dump(exclude_unset=True)
        return found

    def finish(self, more: Mapping[str, Any] | None = None) -> None:
        """Write ``results.json``: what was run, totals by state, and every outcome."""
        outcomes = self.outcomes()
        write_json(
            self.folder / "results.json",
            {
                **self.about(),
                **(more or {}),
                "totals": totals(outcomes),
                "outcomes": [o.to_dict() for o in outcomes],
            },
            indent=None,
        )
