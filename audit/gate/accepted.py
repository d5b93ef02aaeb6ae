"""Reads a baseline, an accepted outcome, from disk and checks its form.

``<folder>/<case>.json`` holds the figures and where they came from, ``<folder>/<case>.npz`` the
maps; the files of a variant are called ``<case>+<variant>``. A figure has two values: the *anchor*,
which was accepted first, and the one *accepted* last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, JsonValue, TypeAdapter, model_validator

from audit.base.arrays import LIMIT, read_arrays, refuse_map
from audit.base.errors import BaselineError, nearest
from audit.base.files import digest, digest_file, shown_path
from audit.base.geometry import WHOLE, Box
from audit.base.names import stem_of
from audit.base.records import (
    EDITED,
    WRITTEN,
    CaseId,
    Count,
    Digest,
    Figure,
    ModelRecord,
    Probability,
    View,
    read_record,
)
from audit.maps.keys import canonical_key, spelled_twice
from audit.metrics.keys import canonical_name

FORMAT = 2

MEND = (
    "restore both files from version control, or accept the case anew: audit it, then "
    "`audit accept RUN CASE`, or --audit-update=changed"
)
"""What to do about a damaged baseline; both ways replace it."""


class _Anchored(BaseModel):
    model_config = EDITED

    accepted: Figure
    anchor: Figure


class _AnchoredProbability(BaseModel):
    model_config = EDITED

    accepted: Probability
    anchor: Probability


class _Provenance(BaseModel):
    model_config = WRITTEN
    __pydantic_extra__: dict[str, JsonValue]

    maps: Digest
    model: ModelRecord = ModelRecord()
    stack: dict[str, str] = {}
    metric_registry: Count = 0
    date: str = ""
    accepted_by: str = ""
    reason: str = ""
    run: str = ""


class _Record(BaseModel):
    """The form of ``<case>.json``."""

    model_config = EDITED

    format: Literal[2]
    case: CaseId
    case_digest: Digest
    text: str
    expected: str
    image: Digest
    default_map: str
    label: str
    probabilities: dict[str, _AnchoredProbability]
    figures: dict[str, dict[str, _Anchored]]
    provenance: _Provenance
    view: View = (0.0, 0.0, 1.0, 1.0)
    unsaid: _AnchoredProbability | None = None

    @model_validator(mode="after")
    def _fits(self) -> _Record:
        twice = spelled_twice(self.figures)
        if twice:
            raise ValueError(f"figures: {twice}")
        named = (
            ("label", self.label, "probability", self.probabilities),
            ("default_map", self.default_map, "figures", self.figures),
        )
        for key, value, missing, known in named:
            if value not in known:
                hint = nearest(value, known).rstrip("?")
                raise ValueError(f"{key}: {value[:60]!r} has no {missing}; {hint}")
        return self


@cache
def _schema() -> TypeAdapter[_Record]:
    return TypeAdapter(_Record)


@dataclass(frozen=True)
class Baseline:
    """An accepted outcome.

    Attributes:
        image: the picture's identity; of the file's bytes if an older version wrote it.
        default_map: key of the case's own map.
        figures, anchors: the values accepted last and first, by map key and stored metric name.
        view: the part of the picture that the maps cover; stored if it is not the whole.
        unsaid: what the model left unsaid, as accepted last and first; None if it has no such.
    """

    case: str
    case_digest: str
    text: str
    expected: str
    image: str
    default_map: str
    label: str
    probabilities: dict[str, float]
    anchor_probabilities: dict[str, float]
    figures: dict[str, dict[str, float | str]]
    anchors: dict[str, dict[str, float | str]]
    provenance: dict[str, Any]
    path: Path
    view: Box
    unsaid: tuple[float, float] | None
    _record: _Record = field(repr=False, compare=False)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file's content; line ends and the order of keys make no difference."""
        # A baseline keeps the digest that it had before it could say these.
        without: dict[str, Any] = {"view": True} if self.view == WHOLE else {}
        if self.unsaid is None:
            without["unsaid"] = True
        provenance: dict[str, Any] = {}
        if not self._record.provenance.stack:
            provenance["stack"] = True
        if not self._record.provenance.model.asking:
            provenance["model"] = {"asking": True}
        without["provenance"] = provenance
        return digest(json.dumps(self._record.model_dump(exclude=without), sort_keys=True))

    def is_stale(self, case_digest: str, former_digest: str) -> bool:
        """Whether the case has changed since it was accepted.

        Args:
            case_digest: fingerprint of the case now.
            former_digest: the fingerprint that older versions gave it; empty if it is not known.
        """
        return self.case_digest not in (case_digest, former_digest)

    def maps_path(self) -> Path:
        """The file of the accepted maps.

        Raises:
            BaselineError: the file is missing, or is not the one that was accepted.
        """
        path = self.path.with_suffix(".npz")
        if not _is_file(path) or digest_file(path) != self.provenance["maps"]:
            raise BaselineError(
                f"{shown_path(path)}: missing, or not the maps that {self.path.name} was accepted "
                f"with; {MEND}"
            )
        return path

    def maps(self) -> dict[str, NDArray[np.float64]]:
        """The accepted maps, by map key.

        Raises:
            BaselineError: the file is missing, damaged, or not the one that was accepted.
        """
        path = self.maps_path()
        found = read_arrays(path, BaselineError)
        for key, p in found.items():
            wrong = refuse_map(key, p, None)
            if wrong:
                raise BaselineError(f"{shown_path(path)}: {wrong}; {MEND}")
        return {canonical_key(key): p for key, p in found.items()}


def _is_file(path: Path) -> bool:
    return path.is_file() and path.stat().st_size <= LIMIT


def load(folder: Path, case: str) -> Baseline | None:
    """The baseline of ``case``, or None if there is none.

    Raises:
        BaselineError: there is one, but it cannot be read or has another format.
    """
    path = folder / f"{stem_of(case)}.json"
    try:
        record = read_record(path, _schema(), BaselineError)
    except FileNotFoundError:
        return None
    except BaselineError as error:
        raise BaselineError(f"{error}; {MEND}") from None
    if record.case != case:
        raise BaselineError(f"{shown_path(path)}: case: is the baseline of {record.case}; {MEND}")
    return Baseline(
        case=case,
        case_digest=record.case_digest,
        text=record.text,
        expected=record.expected,
        image=record.image,
        default_map=canonical_key(record.default_map),
        label=record.label,
        probabilities={name: v.accepted for name, v in record.probabilities.items()},
        anchor_probabilities={name: v.anchor for name, v in record.probabilities.items()},
        figures=_each(record.figures, "accepted"),
        anchors=_each(record.figures, "anchor"),
        provenance=record.provenance.model_dump(exclude_unset=True),
        path=path,
        view=Box(*record.view),
        unsaid=None if record.unsaid is None else (record.unsaid.accepted, record.unsaid.anchor),
        _record=record,
    )


def _each(
    figures: Mapping[str, Mapping[str, _Anchored]], which: Literal["accepted", "anchor"]
) -> dict[str, dict[str, float | str]]:
    return {
        canonical_key(key): {canonical_name(n): getattr(v, which) for n, v in values.items()}
        for key, values in figures.items()
    }


@dataclass(frozen=True)
class Held:
    """What a folder holds for a case.

    Attributes:
        baseline: None if there is none, or it cannot be read.
        maps: the accepted ones; empty if they cannot be read.
        damage: what is wrong with the figures or the maps; empty if nothing is.
        digest: changes when the baseline changes; empty if there is none.
    """

    baseline: Baseline | None = None
    maps: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    damage: str = ""
    digest: str = ""


def held(folder: Path, case: str) -> Held:
    """What ``folder`` holds for ``case``. Damage is reported in the result and never raised."""
    path = folder / f"{stem_of(case)}.json"
    try:
        baseline = load(folder, case)
    except BaselineError as error:
        return Held(damage=str(error), digest=digest_file(path) if _is_file(path) else "damaged")
    if baseline is None:
        return Held()
    try:
        return Held(baseline, baseline.maps(), digest=baseline.digest)
    except BaselineError as error:
        return Held(baseline, damage=str(error), digest=baseline.digest)
