"""Inert stand-ins for five packages that visual entailment imports and never calls.

``modelscope.models.multi_modal.ofa`` and ``modelscope.preprocessors.ofa`` import fairseq, librosa,
soundfile, torchaudio and decord for their speech and video tasks. fairseq needs a C++ compiler and
is no longer maintained; the others are large. A stand-in satisfies the import and raises as soon
as anything of it is used. Where the real package is installed, it is used and not replaced.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

PACKAGES = ("decord", "fairseq", "librosa", "soundfile", "torchaudio")


class StandInUsed(RuntimeError):
    """Something called a package that is not installed and that audit replaced for the import."""


class _StandInMeta(type):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return _attribute(f"{cls.__module__}.{cls.__qualname__}.{name}")

    def __call__(cls, *_args: Any, **_kwargs: Any) -> Any:
        raise StandInUsed(
            f"{cls.__module__}.{cls.__qualname__} was called, but "
            f"{cls.__module__.partition('.')[0]} is not installed; visual entailment does not "
            "need it, other tasks do"
        )


def _attribute(path: str) -> type:
    # A class, because modelscope also derives from and decorates with what it imports.
    module, _, name = path.rpartition(".")
    return _StandInMeta(name, (), {"__module__": module})


class _StandInModule(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return _attribute(f"{self.__name__}.{name}")


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] not in PACKAGES:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _StandInModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


@contextmanager
def stand_ins() -> Iterator[None]:
    """Let the five packages be imported while the context is open, then forget the stand-ins.

    modelscope's modules keep the names they imported; nothing else in the process sees them, so a
    later ``import librosa`` elsewhere still fails as it should.
    """
    finder = _Finder()
    # Last on the path: a really installed package is found first.
    sys.meta_path.append(finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name, module in list(sys.modules.items()):
            if isinstance(module, _StandInModule):
                del sys.modules[name]
