"""Silence the notes of libraries."""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def silenced(*names: str) -> Iterator[None]:
    """Keep these loggers out of the terminal, even their errors: they also raise what they log."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def import_bars_quietly() -> None:
    """In a notebook, import tqdm without its advice to install ipywidgets.

    It gives it when it is imported, and transformers and others import it. Its bars work anyway.
    """
    if "ipykernel" in sys.modules and "tqdm.auto" not in sys.modules:
        with warnings.catch_warnings(), suppress(ImportError):
            warnings.simplefilter("ignore")
            importlib.import_module("tqdm.auto")
