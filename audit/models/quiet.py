"""Loading without the libraries' notes."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging as transformers_logging


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the loaders' notes to developers and their bars out of the terminal; errors still raise.

    What they would warn of and a user must know, as missing weights, is checked here and refused.
    """
    loggers = [logging.getLogger(name) for name in ("transformers", "modelscope")]
    levels = [logger.level for logger in loggers]
    bars = transformers_logging.is_progress_bar_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            transformers_logging.disable_progress_bar()
            for logger in loggers:
                # Also errors: what they log, they raise too.
                logger.setLevel(logging.CRITICAL + 1)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            if bars:
                transformers_logging.enable_progress_bar()
