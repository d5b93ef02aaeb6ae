"""audit: a pytest-driven audit and regression harness for visual entailment models.

The names listed here are for users; all others may move. Each is imported from its module when it
is first used, so that ``import audit`` is quick and needs neither torch nor numpy.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from audit.base.lazy import lazily

if TYPE_CHECKING:
    from audit.base.errors import AuditError, ImageError, MapError, ModelError, TextError
    from audit.base.geometry import Box, Grid
    from audit.explaining import Explanation, explain
    from audit.maps.reading import UndefinedMap, read_map
    from audit.maps.spec import MapSpec
    from audit.maps.trace import Evidence, HeadPlace, Need, Reading, ReadingKey, Trace, Word
    from audit.models.protocol import Fingerprint, Known, Loader, Model, Query
    from audit.models.registry import load_model
    from audit.runs.evidence import gather
    from audit.runs.session import Auditor

__version__ = "0.1.0"
__all__ = [
    "AuditError",
    "Auditor",
    "Box",
    "Evidence",
    "Explanation",
    "Fingerprint",
    "Grid",
    "HeadPlace",
    "ImageError",
    "Known",
    "Loader",
    "MapError",
    "MapSpec",
    "Model",
    "ModelError",
    "Need",
    "Query",
    "Reading",
    "ReadingKey",
    "TextError",
    "Trace",
    "UndefinedMap",
    "Word",
    "explain",
    "gather",
    "load_model",
    "read_map",
]

_HOMES = {
    "audit.base.errors": ("AuditError", "ImageError", "MapError", "ModelError", "TextError"),
    "audit.base.geometry": ("Box", "Grid"),
    "audit.explaining": ("Explanation", "explain"),
    "audit.maps.reading": ("UndefinedMap", "read_map"),
    "audit.maps.spec": ("MapSpec",),
    "audit.maps.trace": ("Evidence", "HeadPlace", "Need", "Reading", "ReadingKey", "Trace", "Word"),
    "audit.models.protocol": ("Fingerprint", "Known", "Loader", "Model", "Query"),
    "audit.models.registry": ("load_model",),
    "audit.runs.evidence": ("gather",),
    "audit.runs.session": ("Auditor",),
}

# torch's threads spin while they wait for each other. If the machine has other work, they take each
# other's time, and a small model's cases take twice as long as with this (docs/speed.md has the
# figures, also of a large model, which gains nothing). torch reads it once, when it is loaded;
# processes started from here inherit it. What the user has set stays.
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

__getattr__, __dir__ = lazily(__name__, _HOMES)
