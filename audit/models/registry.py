"""The table of models that can be audited, and how the loader of a source is found.

A row is an entry point in the group ``audit.models``; audit's own rows (see ``pyproject.toml``)
work like those of other packages. A row has a *scheme*, which is the entry point's name, and a
:class:`~audit.models.protocol.Loader`, which is imported only when it is needed. What a user
writes, a *source*, is looked up in this order:

1. ``scheme`` or ``scheme:rest``, if the scheme is registered: that row and no other;
2. the path of a folder: the row ``folder``;
3. a ModelScope id: the row ``modelscope``.

So write ``./reference`` for a folder that has the name of a scheme. Another package cannot take one
of audit's own schemes; a scheme that two other packages bring is refused until one of them is
uninstalled. A broken row does not affect the others.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from importlib.metadata import EntryPoint, distribution, distributions
from typing import Any

from audit.base.errors import AuditError, MissingExtra, ModelError, in_a_sentence, nearest
from audit.base.quiet import import_bars_quietly
from audit.maps.methods import METHODS
from audit.models.protocol import Fingerprint, Known, Loader, Model, Query, check_dtype

__all__ = ["Fingerprint", "Model", "Query", "load_model"]

GROUP = "audit.models"
"""The group of entry points."""

_OURS = "ofa-audit"
_WITHOUT_SCHEME = ("folder", "modelscope")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_PARTS = ("about", "accepted", "options", "accepts", "known", "load")
_PARTS_OF_A_MODEL = ("labels", "methods", "fingerprint", "trace")


@dataclass(frozen=True)
class Row:
    """One scheme, and what loads its models.

    Attributes:
        package, version: the installed package that brings it.
        fault: why it cannot be used, if that is known without importing it; else empty.
    """

    scheme: str
    package: str
    version: str
    fault: str
    entry: EntryPoint

    @property
    def origin(self) -> str:
        """The package that brings it, in words."""
        return f"{self.package} {self.version}".strip()

    def loader(self) -> Loader:
        """The loader that the entry point names, imported.

        Raises:
            ModelError: it cannot be imported, or is not a loader; the message is always one line.
        """
        fault = self.fault
        if not fault:
            try:
                found: Any = self.entry.load()
                fault = _fault_of(found)
            except (Exception, SystemExit) as error:  # importing it runs somebody else's code
                fault = f"{self.entry.value} cannot be imported: {in_a_sentence(error)}"
        if fault:
            raise ModelError(f"the model {self.scheme!r} of {self.origin} cannot be used: {fault}")
        loader: Loader = found
        return loader


def _fault_of(found: Any) -> str:
    """Why an object is not a loader; empty if it is one."""
    if isinstance(found, type):
        return f"{found.__name__} is a class; the entry point must name an object of it"
    missing = [name for name in _PARTS if not hasattr(found, name)]
    return f"it is not a loader: it has no {', '.join(missing)}" if missing else ""


def rows() -> tuple[Row, ...]:
    """Every row, audit's own first, then by scheme; rows that cannot be used are included."""
    return _rows(tuple(sys.path))


@lru_cache(maxsize=4)
def _rows(path: tuple[str, ...]) -> tuple[Row, ...]:
    """Read the rows once for each search path, because every case file needs them."""
    del path
    found = []
    for entry in _entries():
        brings = entry.dist
        package = (brings and brings.name) or "a package without a name"
        found.append((entry, package, (brings and brings.version) or ""))
    ours = {entry.name for entry, package, _ in found if package == _OURS}
    brought = Counter(entry.name for entry, _, _ in found)
    made = []
    for entry, package, version in found:
        fault = ""
        if package != _OURS and entry.name in ours:
            fault = "audit itself has a model of this name, which is used"
        elif brought[entry.name] > 1 and entry.name not in ours:
            others = sorted({p for e, p, _ in found if e.name == entry.name} - {package})
            also = ", ".join(others) or "it"
            fault = f"{also} brings a model of this name too; uninstall one of the two"
        elif _SCHEME.fullmatch(entry.name) is None:
            fault = "a scheme has letters, digits, '+', '-' and '.', and begins with a letter"
        made.append(Row(entry.name, package, version, fault, entry))
    own = ("reference", "shortcut", "reference-chat", "folder", "modelscope", "hf")
    order = {scheme: place for place, scheme in enumerate(own)}
    made.sort(key=lambda r: (r.package != _OURS, order.get(r.scheme, len(order)), r.scheme))
    return tuple(made)


_LIST = "entry_points.txt"


def _entries() -> list[EntryPoint]:
    """The entry points of the group; a package whose list cannot be read is left out.

    Packages are read one by one, because one damaged list would otherwise hide all others; and of
    most, only whether they name the group, because all names of a large environment take a while.
    """
    found: list[EntryPoint] = []
    seen: set[str] = set()
    for package in distributions():
        with suppress(Exception):  # what is in somebody else's metadata is unknown
            listed = package.read_text(_LIST) or ""
            if GROUP not in listed:
                continue
            name = package.metadata["Name"]
            if name in seen or distribution(name).read_text(_LIST) != listed:
                continue  # an older copy further down the search path
            seen.add(name)
            found += package.entry_points.select(group=GROUP)
    return found


def is_scheme(source: str) -> bool:
    """Whether ``source`` is looked up by its scheme, even if there is a folder of this name."""
    scheme = source.partition(":")[0]
    return bool(_SCHEME.fullmatch(scheme)) and scheme in {row.scheme for row in rows()}


def row_of(source: str) -> Row:
    """The row that loads ``source``.

    Raises:
        ModelError: there is none; the message has the nearest scheme and what is accepted.
    """
    usable = [row for row in rows() if _SCHEME.fullmatch(row.scheme)]
    table = {row.scheme: row for row in reversed(usable)}  # audit's own win
    if not set(_WITHOUT_SCHEME) <= table.keys():
        raise ModelError("audit's own models are not registered: install audit again")
    if not source.strip():
        raise ModelError(f"no model is named: give {_accepted()}")
    scheme = source.partition(":")[0]
    if scheme in table:
        row = table[scheme]
        if not _accepts(row, source):
            raise ModelError(f"{source}: the model {scheme!r} takes {row.loader().accepted}")
        return row
    for name in _WITHOUT_SCHEME:
        if _accepts(table[name], source):
            return table[name]
    close = get_close_matches(scheme, table, n=1, cutoff=0.65)
    hint = f"; did you mean {source.replace(scheme, close[0], 1)!r}?" if close else ""
    raise ModelError(f"{source}: no such checkpoint folder{hint} (give {_accepted()})")


def _accepts(row: Row, source: str) -> bool:
    with _answering(row):
        return row.loader().accepts(source)


def _accepted() -> str:
    """What a source can be, in words; other packages are not imported, so only their schemes."""
    ours = [row.loader().accepted for row in rows() if row.package == _OURS]
    others = [f"{row.scheme}:…" for row in rows() if row.package != _OURS and not row.fault]
    *most, last = [*ours, *others]
    return f"{', '.join(most)}, or {last}"


@contextmanager
def _answering(row: Row) -> Iterator[None]:
    """Report any error of a row in one line; errors raised on purpose already have one."""
    try:
        yield
    except ModelError:
        raise
    except (Exception, SystemExit) as error:  # a loader is somebody else's code
        raise ModelError(
            f"the model {row.scheme!r} of {row.origin} failed: {in_a_sentence(error)}"
        ) from error


def known(source: str, *, fetch: bool = False) -> Known:
    """What is known of a model without loading it, and without torch.

    Args:
        fetch: whether files that are not on this machine may be downloaded first.

    Raises:
        ModelError: nothing accepts the source, or what is there is not such a model.
    """
    return known_of(row_of(source), source, fetch=fetch)


def known_of(row: Row, source: str, *, fetch: bool = False) -> Known:
    """The same for a row that was already found; here the scheme alone is a source, too.

    Raises:
        ModelError: the row cannot be used, or what is there is not such a model.
    """
    with _answering(row):
        found = row.loader().known(source, fetch=fetch)
        for name in ("labels", "methods"):
            names = getattr(found, name)
            if names is not None and not all(isinstance(each, str) for each in [*names]):
                raise TypeError(f"known() gives {name} that are no texts")
        return found


def options_of(source: str) -> Mapping[str, Sequence[str]]:
    """The options that models of ``source``'s kind take, and the choices for each.

    Raises:
        ModelError: nothing accepts the source.
    """
    row = row_of(source)
    with _answering(row):
        return dict(row.loader().options)


def check_options(source: str, options: Mapping[str, Any]) -> None:
    """Refuse options that models of this kind do not have.

    Raises:
        ModelError: an option or its value is unknown, and the message names the nearest or all
            choices; or nothing accepts the source.
    """
    taken = options_of(source)
    for name, value in options.items():
        if name not in taken:
            hint = nearest(name, taken) if taken else "it has none"
            raise ModelError(f"{source}: a model of this kind has no option {name!r}; {hint}")
        choices = taken[name]
        if choices and value not in choices:
            raise ModelError(f"{name} {value!r} is not known: choose from {', '.join(choices)}")


def check_installed(source: str) -> None:
    """Refuse a model whose packages are not installed, before anything imports them.

    Raises:
        MissingExtra: they are not, and the message says what to install.
        ModelError: nothing accepts the source, or what is there is not such a model.
    """
    if told := known(source).lacking:
        raise MissingExtra(f"{source} {told}")


def load_model(
    source: str,
    device: str = "auto",
    dtype: str = "float32",
    threads: int | None = None,
    **options: Any,
) -> Model:
    """Load a model.

    Args:
        source: ``reference``, ``shortcut`` or ``reference-chat`` for an embedded model, a
            checkpoint folder in ModelScope's format, a ModelScope id, optionally with
            ``@revision``, ``hf:FOLDER`` or ``hf:ORG/NAME[@REVISION]`` for a model of Hugging Face's
            transformers, ``openai:URL#MODEL`` for one behind a server, or ``scheme:rest`` for one
            that another package brings; ``audit model --list`` shows them. An id is looked for in
            ModelScope's or Hugging Face's cache first and downloaded, with a progress bar, only if
            it is not there.
        device: ``auto`` (CUDA if there is one, else CPU), ``cpu``, ``cuda`` or ``cuda:N``.
        dtype: ``float32``, or ``bfloat16`` for less memory; figures of different types differ
            slightly, so each needs its own baselines. Torch's own (``torch.bfloat16``) will do.
        threads: torch's threads in this process, at least 1; None leaves them as they are, one for
            each core.
        options: options of the model's own kind. Models of transformers and served ones have
            ``asking``, the path of an asking file; served ones ``requests`` and ``key``, too. OFA
            has ``engine``: ``fast`` computes the same in less time; ``reference`` runs modelscope's
            passes untouched. Figures are the same to a millionth. A kind of OFA that the fast
            engine does not know runs as ``reference``, and the fingerprint says so.

    Returns:
        The model, on its device, ready to trace. ``model.fingerprint`` says what was loaded.

    Raises:
        ModelError: the source cannot be found or is not supported, the device is not there, models
            of its kind have no such option, or what loads it fails.
    """
    row = row_of(source)
    # A device or type of torch is as good as its name, which the fingerprint records.
    device, dtype = str(device), str(dtype).removeprefix("torch.")
    check_dtype(dtype)
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise ModelError(f"threads is a whole number of at least 1, not {threads!r}")
    check_options(source, options)
    import_bars_quietly()
    loader = row.loader()
    try:
        model = loader.load(source, device=device, dtype=dtype, threads=threads, **options)
    except AuditError:
        raise
    except ImportError as error:
        raise ModelError(
            f"{source}: a package that this model needs cannot be imported: {in_a_sentence(error)}"
        ) from error
    except (Exception, SystemExit) as error:  # a loader is somebody else's code
        raise ModelError(
            f"{source}: the model of {row.origin} could not be loaded: {in_a_sentence(error)}"
        ) from error
    checked = checked_model(model)
    if row.package != _OURS:
        _check_known(row, source, checked)
    return checked


def _check_known(row: Row, source: str, model: Model) -> None:
    """Compare what another package's loader says of a model with the model that it loaded.

    Cases are refused by what the loader says, before anything is loaded.
    """
    said = known_of(row, source)
    for name in ("labels", "methods"):
        before, now = getattr(said, name), getattr(model, name)
        if before is not None and tuple(before) != tuple(now):
            raise ModelError(
                f"{source}: the loader of {row.origin} says that the {name} are "
                f"{', '.join(before)}, but the model that it loads has {', '.join(now)}"
            )


def checked_model(model: Model) -> Model:
    """The model, checked to say properly what it answers with and which maps it gives.

    Everything else is checked with each trace; a wrong label or method would be blamed on a case.

    Raises:
        ModelError: its labels are not distinct texts, it names a method that is none of audit's, or
            it lacks a part; the message names the model.
    """
    missing = [name for name in _PARTS_OF_A_MODEL if not hasattr(model, name)]
    if missing:
        raise ModelError(
            f"the loader gave an object of the type {type(model).__name__}, which is no model: it "
            f"has no {', '.join(missing)}"
        )
    fault = _fault_of_texts("labels", model.labels) or _fault_of_texts("methods", model.methods)
    if not fault and not model.labels:
        fault = "it has no labels"
    known_methods = [name for name, row in METHODS.items() if row.from_model]
    for method in () if fault else model.methods:
        if method not in known_methods:
            fault = f"methods has {method!r}; {nearest(method, known_methods)}"
    if fault:
        raise ModelError(f"the model {model.fingerprint.name!r} cannot be used: {fault}")
    return model


def _fault_of_texts(name: str, given: object) -> str:
    """Why these are not distinct texts; empty if they are."""
    if not isinstance(given, tuple) or not all(isinstance(each, str) for each in given):
        return f"{name} must be a tuple of texts"
    twice = [each for each, times in Counter(given).items() if times > 1]
    return f"{name} has {twice[0]!r} twice" if twice else ""
