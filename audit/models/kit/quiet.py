"""Loading without the libraries' notes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from audit.base.quiet import silenced


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the loaders' notes to developers and their bars out of the terminal; errors still raise.

    What they would warn of and a user must know, as missing weights, is checked here and refused.
    """
    from transformers.utils import logging as bars  # noqa: PLC0415  slow

    shown = bars.is_progress_bar_enabled()
    with silenced("transformers", "modelscope"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            bars.disable_progress_bar()
            yield
        finally:
            if shown:
                bars.enable_progress_bar()
