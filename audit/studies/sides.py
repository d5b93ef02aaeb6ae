"""The two sides of a comparison: runs or folders of baselines, read into one form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audit.base.files import inside
from audit.base.geometry import WHOLE, Box
from audit.base.names import name_of
from audit.cases.project import project_at
from audit.gate import accepted
from audit.gate.outcomes import Outcome
from audit.gate.runfolder import Run
from audit.gate.stack import Origin
from audit.gate.tolerances import Noise, load_noise
from audit.maps.reading import Map
from audit.metrics.keys import FigureKey
from audit.metrics.registry import Better


@dataclass(frozen=True)
class Subject:
    """One side's answer to a case, with the figures of the case's own map.

    Attributes:
        said: the expectations of its verdicts; None if they are not known, as of a baseline.
        origin: what made it: the model and what else computed.
        wanted: by region, whether it is better if more of the map falls there; empty if this side
            does not know.
    """

    case: str
    text: str
    image: str
    expected: str
    case_digest: str
    label: str
    probabilities: Mapping[str, float | str]
    figures: Mapping[str, float | str]
    method: str
    map: Map | None
    critical: bool = False
    origin: Origin = field(default_factory=dict)
    wanted: Mapping[str, Better] = field(default_factory=dict)
    regions: Mapping[str, list[tuple[float, float, float, float]]] | None = None
    view: Box = WHOLE
    tags: tuple[str, ...] = ()
    said: frozenset[str] | None = None
    former_digest: str = ""

    @property
    def digests(self) -> set[str]:
        """The case's fingerprint, and that of older versions if this side knows it."""
        return {self.case_digest, self.former_digest or self.case_digest}


@dataclass(frozen=True)
class Side:
    """One side of a comparison.

    Attributes:
        title: the folder that it was read from, or the model's source.
        run: the run, if it is one; it has the pictures.
        failed: cases without an answer on this side.
        errors: of these, why there is none, as far as it is known.
        noise: what was measured beside its baselines, if anything was.
    """

    title: str
    subjects: dict[str, Subject]
    run: Run | None = None
    failed: tuple[str, ...] = ()
    noise: Noise = field(default_factory=Noise)
    errors: Mapping[str, str] = field(default_factory=dict)


def side_of_run(run: Run, title: str, *, maps: bool = True) -> Side:
    """A run as a side.

    Args:
        maps: whether to read its maps; without them no distances between maps can be told.
    """
    run = run.settled()
    outcomes = run.outcomes()
    about = run.about() if (run.folder / "run.json").exists() else {}
    answered = [o for o in outcomes if o.label]
    return Side(
        title,
        {o.case: _of_outcome(o, run if maps else None, about) for o in answered},
        run,
        tuple(o.case for o in outcomes if not o.label),
        _noise_of(about),
        {o.case: o.sentence for o in outcomes if not o.label and o.sentence},
    )


def _noise_of(about: Mapping[str, Any]) -> Noise:
    """The noise of the baselines that a run names, from the project's root, if they are its own."""
    named = about.get("baselines", "")
    folder = inside(project_at().root, named) if named else None
    return load_noise(folder) if folder else Noise()


def _of_outcome(outcome: Outcome, run: Run | None, about: Mapping[str, Any]) -> Subject:
    key = outcome.default_map
    return Subject(
        outcome.case, outcome.text, outcome.image_digest, outcome.expected, outcome.case_digest,
        outcome.label, outcome.probabilities, outcome.metrics.get(key, {}), key,
        run.maps(outcome.case).get(key) if run else None, outcome.critical, about, _wanted(outcome),
        outcome.regions, Box(*outcome.view), tuple(outcome.tags),
        frozenset(verdict.expectation for verdict in outcome.verdicts),
        outcome.former_digest,
    )  # fmt: skip


def _wanted(outcome: Outcome) -> Mapping[str, Better]:
    """What the case wants of its regions; runs of earlier versions tell it in their drift."""
    if outcome.wanted:
        return outcome.wanted
    known = ((FigureKey.known(row.figure), row.better) for row in outcome.drift)
    return {key.region: better for key, better in known if key is not None and key.region}


def side_of_baselines(folder: Path) -> Side:
    """A folder of baselines as a side.

    Raises:
        BaselineError: one of them cannot be read.
    """
    subjects = {}
    for path in sorted(folder.glob("*.json")):
        stored = accepted.load(folder, name_of(path.stem))
        assert stored is not None
        key = stored.default_map
        subjects[stored.case] = Subject(
            stored.case, stored.text, stored.image, stored.expected, stored.case_digest,
            stored.label, stored.probabilities, stored.figures.get(key, {}), key,
            stored.maps().get(key), origin=stored.provenance, view=stored.view,
        )  # fmt: skip
    return Side(str(folder), subjects, noise=load_noise(folder))


def side_of_folder(folder: Path) -> Side | None:
    """A run folder or a folder of baselines as a side; None if it is neither."""
    if (folder / "run.json").exists():
        return side_of_run(Run(folder), str(folder))
    if any(path.with_suffix(".npz").exists() for path in folder.glob("*.json")):
        return side_of_baselines(folder)
    return None
