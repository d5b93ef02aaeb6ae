"""Models that can be audited, and how to load them."""

from __future__ import annotations

from audit.models.protocol import Fingerprint, Model, Query

__all__ = ["Fingerprint", "Model", "Query", "load_model"]


def load_model(
    source: str,
    device: str = "auto",
    dtype: str = "float32",
    engine: str = "fast",
    threads: int | None = None,
) -> Model:
    """Load a visual entailment model.

    Args:
        source: ``reference`` for the embedded model, a checkpoint folder in ModelScope's format,
            or a ModelScope id, optionally with ``@revision``. An id is looked for in ModelScope's
            cache first and downloaded, with a progress bar, only if it is not there.
        device: ``auto`` (CUDA if there is one, else CPU), ``cpu``, ``cuda`` or ``cuda:N``.
        dtype: ``float32``, or ``bfloat16`` for less memory; figures of different types differ
            slightly, so each needs baselines of its own.
        engine: ``fast`` computes what the model computes in less time; ``reference`` runs
            modelscope's passes untouched. Figures are the same to a millionth. A kind of OFA that
            the fast engine does not know runs as ``reference``, and the fingerprint says so.
        threads: of torch in this process; None leaves them as they are, one for each core.

    Returns:
        The model, on its device, ready to trace. ``model.fingerprint`` says what was loaded.

    Raises:
        ModelError: the source cannot be found or is not supported, or the device is not there.
    """
    # Imported here so that `import audit` and collecting tests need neither torch nor modelscope.
    from audit.models.ofa.adapter import OFAVisualEntailment  # noqa: PLC0415
    from audit.models.ofa.sources import resolve  # noqa: PLC0415

    return OFAVisualEntailment(
        resolve(source), device=device, dtype=dtype, engine=engine, threads=threads
    )
