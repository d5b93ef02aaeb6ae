"""The form of ``heads.json``, which ``audit heads`` writes beside the baselines of a model.

It says which heads ``heads: chosen`` stands for. They were chosen on one half of the pictures and
tested on the other; if they did not beat the controls there, the file holds the figures and no
heads.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, JsonValue, TypeAdapter, model_validator

from audit.base.errors import BaselineError, CaseError
from audit.base.files import shown_path
from audit.base.records import (
    EDITED,
    WRITTEN,
    Count,
    Digest,
    Finite,
    Fraction,
    ModelRecord,
    read_record,
)
from audit.cases.case import Case
from audit.cases.heads import asks_for_chosen, with_heads
from audit.maps.spec import Place, place_of
from audit.maps.trace import HeadPlace

HEADS_FORMAT = 1


class BoundsRecord(BaseModel):
    """A mean over pictures; of fewer than five it has no interval."""

    model_config = EDITED

    mean: Finite
    low: Finite | None = None
    high: Finite | None = None


class PlacedRecord(BaseModel):
    """Figures of one map: of itself, and minus those of each control."""

    model_config = EDITED

    figures: dict[str, BoundsRecord]
    differences: dict[str, dict[str, BoundsRecord]] = {}


class HalfRecord(BaseModel):
    """What one half of the pictures gave."""

    model_config = EDITED

    pictures: Count
    questions: Count
    maps: dict[str, PlacedRecord]


class _Weights(ModelRecord):
    digest: Digest


class HeadsRecord(BaseModel):
    """``heads.json``.

    Attributes:
        model: whose heads were compared.
        layers, heads_per_layer: how many it has.
        boxes: where the true boxes came from.
        method: how heads were chosen, in words.
        heads: the chosen ones, the best first; empty if they did not beat the controls.
        tried: those that were tested on the held-out half.
        p_values: of the test that they beat a control there, by control and figure.
    """

    model_config = WRITTEN
    __pydantic_extra__: dict[str, JsonValue]

    format: Literal[1]
    model: _Weights
    layers: Annotated[Count, Field(ge=1)]
    heads_per_layer: Annotated[Count, Field(ge=1)]
    map: Literal["answer_attention"] = "answer_attention"
    boxes: str = ""
    seed: Count = 0
    method: str = ""
    heads: list[Place]
    tried: list[Place] = []
    p_values: dict[str, dict[str, Fraction]] = {}
    fitting: HalfRecord
    held_out: HalfRecord
    date: str = ""
    stack: dict[str, str] = {}

    @model_validator(mode="after")
    def _there(self) -> HeadsRecord:
        if len(set(self.heads)) != len(self.heads):
            raise ValueError("heads: one is listed twice")
        last = HeadPlace(self.layers, self.heads_per_layer)
        for place in map(place_of, self.heads):
            if place.layer > last.layer or place.head > last.head:
                raise ValueError(f"heads: there is no {place}, since the last head is {last}")
        return self

    def note(self, digest: str) -> str:
        """What to know before these heads are used with the model of a digest; often nothing."""
        if self.model.digest == digest:
            return ""
        return (
            f"the chosen heads ({', '.join(self.heads)}) were measured with other weights, "
            f"{self.model.digest[:12]}; figures can be compared, but whether the heads of these "
            "weights beat the controls was not measured: audit heads does"
        )


@cache
def _schema() -> TypeAdapter[HeadsRecord]:
    return TypeAdapter(HeadsRecord)


def heads_path(folder: Path) -> Path:
    """The file with the chosen heads of a folder of baselines."""
    return folder / "provenance" / "heads.json"


def read_heads(folder: Path) -> HeadsRecord | None:
    """The chosen heads of a folder of baselines; None if none were measured.

    Raises:
        BaselineError: there is a file, but it cannot be read or has another format.
    """
    try:
        return read_record(heads_path(folder), _schema(), BaselineError)
    except FileNotFoundError:
        return None
    except BaselineError as error:
        raise BaselineError(f"{error}; restore it, or measure it anew with audit heads") from None


def looked_up(cases: Iterable[Case], folder: Path) -> list[Case]:
    """The cases with the chosen heads of a folder of baselines in them.

    Cases stay as they are if they ask for none, or if the folder has no choice.

    Raises:
        BaselineError: a case asks for them, and the folder's file is damaged.
    """
    found = list(cases)
    if not any(map(asks_for_chosen, found)):
        return found
    record = read_heads(folder)
    return [with_heads(each, record.heads) for each in found] if record and record.heads else found


def heads_for(cases: Iterable[Case], folder: Path) -> list[str]:
    """The chosen heads of a folder of baselines, if one of the cases asks for them; else none.

    Raises:
        BaselineError: the folder's file is damaged.
        CaseError: cases ask, and there are none; the message names file and line of each.
    """
    asking = [case for case in cases if asks_for_chosen(case)]
    record = read_heads(folder) if asking else None
    if not asking or (record and record.heads):
        return record.heads if record else []
    path = shown_path(heads_path(folder))
    why = (
        f"no heads beat the controls when they were measured ({path})"
        if record
        else f"there is no {path}; choose them with audit heads"
    )
    lines = [f"{case.file}:{case.line}: {case.id}: heads: chosen: {why}" for case in asking]
    raise CaseError("\n".join(dict.fromkeys(lines)))
