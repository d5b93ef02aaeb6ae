"""Keeps the models that were last named, so that asking again does not load them again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from audit.models.protocol import Model
from audit.models.registry import is_scheme, load_model

MOST = 2
"""The most models that are kept: enough to compare two, and each may take gigabytes."""

State = tuple[tuple[str, int, int], ...]


class Kept:
    """Models by the source they were loaded from; the one that waited longest makes room first.

    A checkpoint folder whose files changed is loaded again. Threads wait for each other, so that
    none loads what another one is loading.
    """

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._models: OrderedDict[tuple[str, str, State], Model] = OrderedDict()

    def get(self, source: str) -> Model:
        """The model of ``source``, with the settings that :func:`audit.load_model` has by default.

        Raises:
            ModelError: it cannot be loaded.
        """
        with self._lock:
            place = (source, *_state(source))
            if place in self._models:
                self._models.move_to_end(place)
                return self._models[place]
            for old in [key for key in self._models if key[:2] == place[:2]]:
                del self._models[old]
            while len(self._models) >= self.most:
                self._models.popitem(last=False)
            self._models[place] = model = load_model(source)
            return model


def _state(source: str) -> tuple[str, State]:
    """The folder that a source names, and its files' names, times and sizes; empty for others."""
    rest = source.partition(":")[2] if is_scheme(source) else source
    folder = Path(rest)
    if not rest or not folder.is_dir():
        return "", ()
    files = [(path.name, path.stat()) for path in sorted(folder.iterdir()) if path.is_file()]
    return (
        str(folder.resolve()),
        tuple((name, about.st_mtime_ns, about.st_size) for name, about in files),
    )


KEPT = Kept()
"""The models of this process that :func:`audit.explain` was given by name."""
