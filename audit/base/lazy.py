"""Names of a package that are imported from their modules when they are first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazily(
    package: str, homes: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """A module's ``__getattr__`` and ``__dir__`` (PEP 562) for names that live elsewhere.

    Unlike ``lazy_loader``, it takes names from modules outside of the package.

    Args:
        package: the module's ``__name__``.
        homes: by module, the names that are imported from it.
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def import_name(name: str) -> Any:
        """Import a name from its module, once."""
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(home_of[name]), name)
        setattr(sys.modules[package], name, found)
        return found

    def names() -> list[str]:
        """All names, including those that have not been imported yet."""
        return sorted({*vars(sys.modules[package]), *home_of})

    return import_name, names
