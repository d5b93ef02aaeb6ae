"""Loads a model as studies measure it: where a kind has several engines, by the plain one."""

from __future__ import annotations

from collections.abc import Mapping

from audit.models.kit.altering import NotPossible
from audit.models.protocol import Model
from audit.models.registry import load_model, options_of
from audit.studies.conditions import NO_OPTIONS

_PLAIN = "reference"
"""The engine that runs a model's own passes, in which nothing was computed ahead from weights."""


def load_plainly(
    source: str,
    device: str = "cpu",
    dtype: str = "float32",
    threads: int | None = None,
    engine: str = "",
    options: Mapping[str, str] = NO_OPTIONS,
) -> Model:
    """Load a model for a study that changes its weights.

    Args:
        engine: another engine than the plain one.
        options: others of the model's own kind.

    Raises:
        NotPossible: models of its kind have no such engine.
        ModelError: it cannot be loaded.
    """
    check_engine(source, engine)
    engines = options_of(source).get("engine", ())
    chosen = engine or (_PLAIN if _PLAIN in engines else "")
    more = {"engine": chosen} if chosen else {}
    return load_model(source, device, dtype, threads, **more, **options)


def check_engine(source: str, engine: str) -> None:
    """Refuse an engine that models of this kind have not; the empty one is always fine.

    Raises:
        NotPossible: there is no such engine.
    """
    if engine and engine not in options_of(source).get("engine", ()):
        raise NotPossible(f"models of its kind have no engine {engine!r}")
