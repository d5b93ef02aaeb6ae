"""Load models without the libraries' log messages."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from audit.base.quiet import silenced


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the loaders' notes and progress bars out of the terminal; errors are still raised.

    If something that they warn about matters to users, such as missing weights, audit itself checks
    it and refuses the model.
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
