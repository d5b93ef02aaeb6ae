"""Checks what a run folder claims before its outcomes are accepted as baselines.

A run may come from anywhere: a pipeline's artefact, a stranger's mail. The baselines and the case
files that it names must be the project's own, and must not have changed since.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audit.base.arrays import LIMIT
from audit.base.errors import BaselineError, CaseError, FigureError, RunError, nearest
from audit.base.files import digest_file, inside
from audit.base.names import name_of, stem_of
from audit.cases.loading import Case, load_cases
from audit.cases.pictures import Pictures
from audit.gate import accepted
from audit.gate.accepted import Held
from audit.gate.headsfile import looked_up
from audit.gate.outcomes import Outcome, State
from audit.gate.runfiles import BASELINE
from audit.gate.runfolder import Run
from audit.metrics.keys import FigureKey


def looks_like_cases(path: Path) -> bool:
    """Whether a file is named like a case file; used where no patterns are configured."""
    return path.suffix in (".yaml", ".yml")


def baselines_of(run: Run, root: Path, configured: Path | None = None) -> Path:
    """The folder of baselines that a run names, if it belongs to the project.

    It does if it lies in the configured folder or in ``baselines``, or if it already holds
    baselines; but never if it lies in the run folder itself, and so came with the run.

    Args:
        configured: the folder of baselines that the project's configuration names.

    Raises:
        RunError: the run names no folder, or one that does not belong to the project.
    """
    written = run.about().get("baselines", "")
    where = f"{run.folder / 'run.json'}: baselines: "
    if not written:
        raise RunError(f"{where}the run was not compared with any")
    place = inside(root, written)
    if place is None:
        raise RunError(
            f"{where}{written!r} lies outside {root.resolve()}; to accept baselines "
            "there, name the folder yourself with --baselines"
        )
    homes = [home.resolve() for home in (configured, root / "baselines") if home is not None]
    known = any(place.is_relative_to(home) for home in homes)
    if _brought(place, run, root) or not (known or _holds_baselines(place)):
        raise RunError(
            f"{where}{written!r} is not a folder of baselines of this project; to accept "
            "baselines there, name it yourself with --baselines"
        )
    return root / str(written)


def _holds_baselines(folder: Path) -> bool:
    for path in sorted(folder.glob("*.json"))[:_LOOKED_AT]:
        with suppress(BaselineError):
            if accepted.load(folder, name_of(path.stem)) is not None:
                return True
    return False


def _brought(path: Path, run: Run, root: Path) -> bool:
    """Whether a path lies in a run folder, and so came with the run."""
    if path.is_relative_to(run.folder.resolve()):
        return True
    top = root.resolve()
    between = [p for p in (path, *path.parents) if p != top and p.is_relative_to(top)]
    return any((p / "run.json").exists() for p in between)


_LOOKED_AT = 20
"""How many files of a folder are read to see whether it holds baselines."""


@dataclass(frozen=True)
class Checks:
    """Whether outcomes of a run may become baselines; each case file is read once.

    Attributes:
        folder: of the baselines.
        root: of the project; paths in the run are relative to it and must lie inside it.
        collects: whether a file is one of the project's case files.
    """

    run: Run
    folder: Path
    root: Path
    collects: Callable[[Path], bool]
    _files: dict[str, dict[str, Case] | str] = field(default_factory=dict)
    _pictures: Pictures = field(default_factory=dict)

    def problems(self, name: str, outcomes: Mapping[str, Outcome], held: Held) -> list[str]:
        """The reasons why the outcome of a case may not be accepted, one sentence each."""
        outcome = outcomes.get(name)
        if outcome is None:
            return [f"{name}: the run has no case of this name; {nearest(name, outcomes)}"]
        if not _measured(outcome, held):
            return [f"{name}: {outcome.state.value}: {outcome.sentence}"]
        cases = self._cases(outcome.file)
        if isinstance(cases, str):
            return [f"{name}: {cases}"]
        found = []
        now = cases.get(name)
        if now is None:
            found.append(f"{name}: the case is gone from {outcome.file}")
        elif outcome.case_digest not in (now.digest, now.former_digest):
            found.append(f"{name}: the case changed since the run; audit it again")
        if not self._same(name, outcome, held):
            stored = held.baseline
            mine = stored is not None and stored.provenance.get("run") == self.run.about().get(
                "id", ""
            )
            found.append(
                f"{name}: this outcome was accepted already"
                if mine
                else f"{name}: its baseline changed since the run; audit it again"
            )
        if outcome.default_map not in outcome.metrics:
            found.append(
                f"{name}: the run has no figures of the case's own map "
                f"{outcome.default_map[:60]!r}; audit it again"
            )
        maps = self.maps(name)
        measured = [key for key, figures in outcome.metrics.items() if _has_map(figures)]
        lost = [key for key in measured if key not in maps]
        if lost:
            found.append(f"{name}: the run lacks its map {lost[0]!r}; audit it again")
        return [*found, *_unknown(outcome)]

    def renewed(self, outcome: Outcome) -> Outcome:
        """An outcome without problems as this version stores it: a picture is known by its pixels.

        Older versions knew it by its file's bytes, which are still the same.
        """
        cases = self._cases(outcome.file)
        assert not isinstance(cases, str)
        now = cases[outcome.case]
        if outcome.case_digest == now.digest:
            return outcome
        return replace(
            outcome, image_digest=now.image_digest, case_digest=now.digest,
            former_digest=now.former_digest,
        )  # fmt: skip

    def maps(self, name: str) -> dict[str, NDArray[np.float64]]:
        """The maps that were measured, without the accepted maps stored beside them."""
        maps = self.run.maps(name)
        return {key: p for key, p in maps.items() if not key.startswith(BASELINE)}

    def compared(self, outcome: Outcome, held: Held) -> str:
        """Digest of the baseline that an outcome was compared with, as this version writes it."""
        same = self._same(outcome.case, outcome, held)
        return held.digest if same else outcome.baseline_digest

    def _same(self, name: str, outcome: Outcome, held: Held) -> bool:
        """Whether the baseline is the one that the outcome was compared with."""
        if held.digest == outcome.baseline_digest:
            return True
        path = self.folder / f"{stem_of(name)}.json"
        if not path.is_file() or path.stat().st_size > LIMIT:
            return False
        # Version 0.1 stored the digest of the file's bytes.
        return digest_file(path) == outcome.baseline_digest

    def _cases(self, written: str) -> dict[str, Case] | str:
        """The cases of a file of this project by id, or the reason why they cannot be read."""
        if written not in self._files:
            self._files[written] = self._load(written)
        return self._files[written]

    def _load(self, written: str) -> dict[str, Case] | str:
        root = self.root
        path = inside(root, written)
        if path is None or _brought(path, self.run, root) or not self.collects(path):
            return (
                f"the run says that it comes from {written!r}, which is not a case file of the "
                f"project in {root.resolve()}"
            )
        try:
            cases = looked_up(load_cases(path, self._pictures), self.folder)
            return {case.id: case for case in cases}
        except (CaseError, BaselineError) as error:
            return f"its case file can no longer be read: {error}"


def _measured(outcome: Outcome, held: Held) -> bool:
    """Whether a case was audited completely; it was if only its baseline is damaged."""
    whole = bool(outcome.label and held.damage) or outcome.state is not State.ERROR
    return whole and not outcome.undefined and outcome.state is not State.UNDEFINED


def _unknown(outcome: Outcome) -> list[str]:
    """A sentence about the first figure that this version does not know; empty if there is none."""
    for figures in outcome.metrics.values():
        for name in figures:
            try:
                FigureKey.parse(name)
            except FigureError as error:
                return [f"{outcome.case}: the run holds a figure that audit does not know: {error}"]
    return []


def _has_map(figures: Mapping[str, float | str]) -> bool:
    return any(isinstance(value, float) for value in figures.values())
