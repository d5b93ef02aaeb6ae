"""What of a suite a person has set aside for one model, and why.

A suite's limits on maps say where its author expects a model to look. Another model may be right
and look elsewhere, or in a way that a limit was not set for. ``provenance/waived.json``, beside
that model's baselines and written by hand, sets them aside: the maps are measured and held to the
baselines as ever, but not to the limits. It also names the cases that this model is known to fail.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, TypeAdapter

from audit.base.errors import BaselineError
from audit.base.records import EDITED, CaseId, read_record
from audit.base.texts import readable

_Reason = Annotated[str, Field(min_length=1), AfterValidator(readable)]


class Waived(BaseModel):
    """What is set aside; empty means nothing."""

    model_config = EDITED

    attention: _Reason | None = Field(
        None, description="Why limits on maps are not judged, nor whether a variant's map follows."
    )
    cases: dict[CaseId, _Reason] = Field(
        {}, description="By case that this model is known to fail: why; as xfail of the case."
    )


@cache
def _schema() -> TypeAdapter[Waived]:
    return TypeAdapter(Waived)


def waived_path(folder: Path) -> Path:
    """The file that sets limits aside for a folder of baselines."""
    return folder / "provenance" / "waived.json"


def load_waived(folder: Path) -> Waived:
    """What is set aside for a folder of baselines.

    Raises:
        BaselineError: the file cannot be read, or says something that cannot be.
    """
    try:
        return read_record(waived_path(folder), _schema(), BaselineError)
    except FileNotFoundError:
        return Waived()
