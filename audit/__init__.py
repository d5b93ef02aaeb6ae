"""audit: a pytest-driven audit and regression harness for visual entailment models."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from audit.models.base import Model

__version__ = "0.1.0"
__all__ = ["load_model"]


def load_model(
    source: str, device: str = "auto", dtype: str = "float32", engine: str = "fast"
) -> Model:
    """Load a visual entailment model; see :func:`audit.models.load_model`."""
    from audit.models import load_model as load  # noqa: PLC0415  keeps `import audit` light

    return load(source, device=device, dtype=dtype, engine=engine)
