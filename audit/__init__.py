"""audit: a pytest-driven audit and regression harness for visual entailment models."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from audit.models.protocol import Model

__version__ = "0.1.0"
__all__ = ["load_model"]

# torch's threads spin while they wait for each other, and beside other work they take each other's
# time: then the same cases take seven times as long. Read once, when torch is loaded; what the user
# has set stays, and so it is in every process that is started from here.
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def load_model(
    source: str,
    device: str = "auto",
    dtype: str = "float32",
    engine: str = "fast",
    threads: int | None = None,
) -> Model:
    """Load a visual entailment model; see :func:`audit.models.registry.load_model`."""
    from audit.models.registry import load_model as load  # noqa: PLC0415  keeps `import audit` light

    return load(source, device=device, dtype=dtype, engine=engine, threads=threads)
