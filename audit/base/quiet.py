"""Loading without the libraries' notes."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silenced(*names: str) -> Iterator[None]:
    """Keep these loggers out of the terminal, errors included: what they log, they raise too."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the loaders' notes to developers and their bars out of the terminal; errors still raise.

    What they would warn of and a user must know, as missing weights, is checked here and refused.
    """
    from transformers.utils import logging as bars  # noqa: PLC0415  `silenced` needs none of it

    shown = bars.is_progress_bar_enabled()
    with silenced("transformers", "modelscope"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            bars.disable_progress_bar()
            yield
        finally:
            if shown:
                bars.enable_progress_bar()
