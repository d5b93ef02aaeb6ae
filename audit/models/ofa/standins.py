"""Stand-ins for what visual entailment imports but never calls: missing, or slow to import.

*Missing*: ``modelscope.models.multi_modal.ofa`` and ``modelscope.preprocessors.ofa`` import
fairseq, librosa, soundfile, torchaudio and decord for their speech and video tasks. fairseq needs a
C++ compiler and is no longer maintained; the others are large. A stand-in satisfies the import and
raises an error as soon as anything of it is used. If the real package is installed, it is used and
not replaced.

*Late*: functions and a class that are imported for other tasks, and whose modules take seconds to
import (torch's compiler and its distributed tensors, scikit-learn, timm ...). A stand-in takes the
place of each, and imports the real one when it is called or an attribute of it is read.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from PIL import ImageFile

PACKAGES = ("decord", "fairseq", "librosa", "soundfile", "torchaudio")

LATE: Mapping[str, tuple[str, ...]] = {
    "scipy.optimize": ("linear_sum_assignment",),
    "sklearn": (),
    "sklearn.metrics": ("roc_curve",),
    "timm": (),
    "timm.data": ("create_transform",),
    "torch._dynamo": (),
    "torch._dynamo.utils": ("is_compile_supported",),
    "torch.distributed.tensor": ("DTensor",),
    "transformers.integrations.flex_attention": ("flex_attention_forward",),
    "transformers.integrations.tensor_parallel": (
        "_get_parameter_tp_plan",
        "distribute_model",
        "initialize_tensor_parallelism",
        "repack_weights",
        "replace_state_dict_local_with_dtensor",
        "shard_and_distribute_module",
        "verify_tp_plan",
    ),
    "transformers.model_debugging_utils": ("model_addition_debugger_context",),
    "zhconv": ("convert",),
}
"""By module, the names that are imported only when they are used. Any other name imports the module
at once, so that another version of modelscope or transformers still works, only more slowly."""

NOTED: Mapping[str, str] = {"torch._dynamo": "allow_in_graph"}
"""By late module, a decorator that registers a function there and returns it, as transformers does
with the compiler. The function is registered when somebody really imports the module."""


class StandInUsed(RuntimeError):
    """Something called a package that is not installed, and that audit replaced for the import."""


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
    # A class, because modelscope also derives classes from what it imports, and decorates with it.
    module, _, name = path.rpartition(".")
    return _StandInMeta(name, (), {"__module__": module})


class _StandInModule(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return _attribute(f"{self.__name__}.{name}")


class _LateMeta(type):
    def _real(cls) -> Any:
        finder: _LateFinder = vars(cls)["finder"]
        return finder.real(cls.__module__, cls.__name__)

    def __getattr__(cls, name: str) -> Any:
        return getattr(cls._real(), name)

    def __call__(cls, *given: Any, **named: Any) -> Any:
        return cls._real()(*given, **named)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls._real())

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls._real())


class _LateModule(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        finder: _LateFinder = vars(self)["__loader__"]
        if name == NOTED.get(self.__name__):
            return _Noting.of(self.__name__).note
        if name not in LATE[self.__name__]:
            return finder.real(self.__name__, name)
        return _LateMeta(name, (), {"__module__": self.__name__, "finder": finder})


class _LateFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self) -> None:
        self._imported: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in LATE or fullname in self._imported:
            return None
        real = importlib.machinery.PathFinder.find_spec(fullname, path)
        if real is None:
            return None
        late = importlib.machinery.ModuleSpec(fullname, self, origin=real.origin)
        late.submodule_search_locations = real.submodule_search_locations
        return late

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _LateModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass

    def real(self, module: str, name: str) -> Any:
        """The attribute ``name`` of ``module``, once it and its late relatives are imported."""
        root = next(late for late in LATE if f"{module}.".startswith(f"{late}."))
        for late in LATE:
            if f"{late}.".startswith(f"{root}."):
                self._imported.add(late)
                if isinstance(sys.modules.get(late), _LateModule):
                    _forget(late)
        return getattr(importlib.import_module(module), name)


class _Noting(importlib.abc.MetaPathFinder):
    """Waits for the import of a module, and registers there what was decorated before.

    It stays in ``sys.meta_path`` until then, and finds the same modules as would be found without
    it.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._decorated: list[Callable[..., Any]] = []

    @classmethod
    def of(cls, module: str) -> _Noting:
        for finder in sys.meta_path:
            if isinstance(finder, _Noting) and finder._module == module:
                return finder
        sys.meta_path.insert(0, cls(module))
        return cls.of(module)

    def note(self, function: Callable[..., Any]) -> Callable[..., Any]:
        self._decorated.append(function)
        return function

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        spec = (
            importlib.machinery.PathFinder.find_spec(fullname, path)
            if (fullname == self._module)
            else None
        )
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_note(module: ModuleType) -> None:
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
                for function in self._decorated:
                    getattr(module, NOTED[self._module])(function)

        spec.loader.exec_module = execute_and_note  # type: ignore[method-assign]
        return spec


def _forget(name: str) -> None:
    """Remove a module from ``sys.modules``, and from the package that has it as an attribute."""
    module = sys.modules.pop(name)
    package, _, last = name.rpartition(".")
    held = vars(sys.modules[package]) if package in sys.modules else {}
    if held.get(last) is module:
        delattr(sys.modules[package], last)


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
    """Import stand-ins for what is missing or late while the context is open, then forget them.

    The modules of modelscope and transformers keep the names that they imported. Nothing else in
    the process sees a stand-in: a later ``import librosa`` elsewhere still fails as it should, and
    a later ``import timm`` gives timm. modelscope also tells Pillow to fill up truncated files with
    grey, for the whole process; that is taken back.
    """
    lenient = ImageFile.LOAD_TRUNCATED_IMAGES
    missing, late = _Finder(), _LateFinder()
    # An installed package must be found before a stand-in for a missing one, but after a late one.
    sys.meta_path.append(missing)
    sys.meta_path.insert(0, late)
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient
        sys.meta_path.remove(missing)
        sys.meta_path.remove(late)
        for name, module in list(sys.modules.items()):
            if isinstance(module, _StandInModule | _LateModule):
                _forget(name)
